// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include "start.h"
#include "clock.h"
#include "netns.h"
#include "raw.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static void trip(int from, int to)
{
	char c = 0;

	must(send(from, &c, 1, 0));
	must(recv(to, &c, 1, 0));
}

static void calibrate(void)
{
	struct addr addr;
	int l = raw_listen(&addr), a = raw_connect(&addr), b = raw_accept(l);
	int64_t start;
	int i;

	for (i = 0; i < 8; i++) {
		trip(a, b);
		trip(b, a);
	}
	start = now_us();
	for (i = 0; i < 16; i++) {
		trip(a, b);
		trip(b, a);
	}
	clock_calibrate((now_us() - start) / 32);
	close(a);
	close(b);
	close(l);
}

void sp_test_start(void)
{
	netns_enter_new();
	sp_test_start_here();
}

void sp_test_start_here(void)
{
	const struct rlimit no_core = { 0, 0 };
	struct rlimit files;
	int s;

	/* A failed test aborts: no image of it is wanted. */
	setrlimit(RLIMIT_CORE, &no_core);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < 8192) {
		files.rlim_cur = files.rlim_max < 8192 ? files.rlim_max : 8192;
		setrlimit(RLIMIT_NOFILE, &files);
	}

	calibrate();

	s = socket(PF_SP, SOCK_REP, 0);
	if (s < 0) {
		printf("TAP version 13\n"
		       "Bail out! socket(PF_SP): %s (is the module loaded?)\n",
		       strerror(errno));
		exit(1);
	}
	close(s);
}
