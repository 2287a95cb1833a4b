// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include "must.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static __thread const char *at_file = "?";
static __thread int at_line;

void at(const char *file, int line)
{
	at_file = file;
	at_line = line;
}

void die(const char *fmt, ...)
{
	char text[512];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	/* One write, so that lines of several processes do not mix. */
	fprintf(stderr, "# %s:%d: %s\n", at_file, at_line, text);
	fflush(stderr);
	abort();
}

static const char *named(int err)
{
	const char *name = err ? strerrorname_np(err) : "success";

	/* Newer than this C library: the number will have to do. */
	return name ? name : strerror(err);
}

long must_(long result, const char *call)
{
	if (result == -1)
		die("%s: %s", call, named(errno));
	return result;
}

void must_fail_(int err, long result, const char *call)
{
	if (result != -1)
		die("%s gave %ld, expected %s", call, result, named(err));
	if (errno != err)
		die("%s: %s, expected %s", call, named(errno), named(err));
}

void must_eq_(long long expected, long long seen, const char *expected_text,
	      const char *seen_text)
{
	if (expected != seen)
		die("expected %s (%lld), seen %s (%lld)", expected_text,
		    expected, seen_text, seen);
}
