// SPDX-License-Identifier: GPL-2.0
/*
 * Goes on with a socket that it was given as descriptor FD.
 *
 *	spheir FD STEP...
 *
 *	send TEXT	sends a message
 *	expect TEXT	the next message is this one
 *	tell OTHER	meet_tell() on this descriptor
 *	gone		FD is not open
 */
#include "must.h"
#include "sock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
	int s = argc > 1 ? atoi(argv[1]) : -1, i;

	for (i = 2; i < argc; i++) {
		const char *step = argv[i];

		if (strcmp(step, "gone") == 0) {
			must_fail(EBADF, fcntl(s, F_GETFD));
			continue;
		}
		if (++i == argc)
			die("%s needs an argument", step);
		if (strcmp(step, "send") == 0)
			sp_send(s, argv[i], strlen(argv[i]));
		else if (strcmp(step, "expect") == 0)
			sp_expect(s, argv[i], strlen(argv[i]));
		else if (strcmp(step, "tell") == 0)
			must(send(atoi(argv[i]), "!", 1, MSG_NOSIGNAL));
		else
			die("no such step: %s", step);
	}
	return 0;
}
