// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include "program.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_ARGUMENTS = 30 };

void program_exec_(const char *name, ...)
{
	const char *argv[MOST_ARGUMENTS + 1] = { name };
	char path[PATH_MAX] = "";
	int argc = 0;
	va_list list;
	char *base;

	va_start(list, name);
	while (argv[argc]) {
		if (++argc == MOST_ARGUMENTS)
			die("too many arguments for %s", name);
		argv[argc] = va_arg(list, const char *);
	}
	va_end(list);

	if (readlink("/proc/self/exe", path, sizeof(path) - 1) < 0)
		die("readlink(/proc/self/exe): errno %d", errno);
	base = strrchr(path, '/') + 1;
	snprintf(base, sizeof(path) - (size_t)(base - path), "%s", name);
	execv(path, (char **)argv);
	die("execv(%s): %s (it is built with the tests)", path,
	    strerrorname_np(errno));
}

const char *number(long n)
{
	char *text;

	if (asprintf(&text, "%ld", n) < 0)
		die("no memory for a number");
	return text;
}
