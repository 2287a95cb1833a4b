// SPDX-License-Identifier: GPL-2.0
/*
 * One exchange from a shell: the SP side of interop_nanocat.sh.
 *
 *	sppeer req|rep|pub|sub|push|pull bind|connect PORT [TEXT]
 *
 * A REQ sends TEXT and prints the reply; a REP prints a request and replies
 * TEXT; a PUB waits for a subscriber and publishes TEXT; a SUB takes every
 * message and prints the first; a PUSH sends TEXT, and a PULL prints a message.
 * All on 127.0.0.1, bounded in time.
 */
#include "must.h"
#include "sock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print_message(int s)
{
	char buf[256];
	ssize_t n = must(recv(s, buf, sizeof(buf), 0));

	printf("%.*s\n", (int)n, buf);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	static const char *const names[] = { "req", "rep", "pub",
					     "sub", "push", "pull" };
	static const int types[] = { SOCK_REQ, SOCK_REP,  SOCK_PUB,
				     SOCK_SUB, SOCK_PUSH, SOCK_PULL };
	const char *text = argc > 4 ? argv[4] : "";
	struct addr addr;
	size_t i;
	int s;

	for (i = 0; argc > 3 && i < 6 && strcmp(argv[1], names[i]); i++)
		;
	if (argc < 4 || i == 6) {
		fprintf(stderr, "usage: sppeer req|rep|pub|sub|push|pull bind|connect PORT [TEXT]\n");
		return 2;
	}
	s = sp_open(types[i]);
	addr = loopback(AF_INET, atoi(argv[3]));
	if (strcmp(argv[2], "bind") == 0)
		must(bind(s, &addr.sa, addr.len));
	else
		sp_connect(s, &addr);

	switch (types[i]) {
	case SOCK_REQ:
		sp_send(s, text, strlen(text));
		print_message(s);
		break;
	case SOCK_REP:
		print_message(s);
		sp_send(s, text, strlen(text));
		break;
	case SOCK_PUB:
		await_peers(s, 1);
		sp_send(s, text, strlen(text));
		break;
	case SOCK_SUB:
		subscribe(s, "", 0);
		print_message(s);
		break;
	case SOCK_PUSH:
		sp_send(s, text, strlen(text));
		break;
	case SOCK_PULL:
		print_message(s);
		break;
	}
	return 0;
}
