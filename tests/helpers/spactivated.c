// SPDX-License-Identifier: GPL-2.0
/*
 * A service that is started with its socket already there, as by systemd:
 * descriptor 3 is the first of $LISTEN_FDS, and they are for process
 * $LISTEN_PID (sd_listen_fds(3)).
 *
 * It replies to each request with "served " and the request, up to and with the
 * request "stop".
 */
#include "must.h"
#include "sock.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FIRST = 3 };

static int option(int s, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);

	must(getsockopt(s, SOL_SOCKET, name, &value, &len));
	return value;
}

int main(void)
{
	const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
	char request[64], reply[80];

	must_be(pid && atoi(pid) == getpid());
	must_be(fds && strcmp(fds, "1") == 0);
	/* What a service can ask about what it was given. */
	must_eq(AF_SP, option(FIRST, SO_DOMAIN));
	must_eq(SOCK_REP, option(FIRST, SO_TYPE));
	must(fcntl(FIRST, F_SETFD, FD_CLOEXEC));
	do {
		ssize_t n = must(recv(FIRST, request, sizeof(request) - 1, 0));

		request[n] = 0;
		n = snprintf(reply, sizeof(reply), "served %s", request);
		sp_send(FIRST, reply, (size_t)n);
	} while (strcmp(request, "stop"));
	return 0;
}
