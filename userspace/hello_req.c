/* SPDX-License-Identifier: MIT */
/*
 * The client of the pair: sends the request "Hello", prints the reply.
 *
 * A REQ socket may have several servers, and gives each request to one of them.
 * Should that one die before it has replied, the kernel hands the request to
 * another, or to the same one when it is back. The program notices nothing.
 */
#include <netinet/sp.h>
#include <stdio.h>
#include <unistd.h>

#include "endpoint.h"

static const char usage[] =
	"Usage: hello_req [OPTION]... HOST PORT\n"
	"Sends the request Hello and prints the reply.\n"
	"HOST is a name, an IPv4 or an IPv6 address.\n"
	"\n"
	"  --connect          connect to HOST and PORT (default)\n"
	"  --bind             listen on HOST and PORT, where the server connects\n"
	"  --count N          send N requests, one after the other; default 1\n"
	"  --interval SECONDS pause between them\n"
	"  --timeout SECONDS  fail when there is no server, or no reply, for so long\n"
	"  -h, --help         show this text\n";

int main(int argc, char **argv)
{
	struct options options = { .count = 1 };
	char reply[256];
	ssize_t length;
	int s;

	options_parse(&options, argc, argv, usage);

	s = socket(PF_SP, SOCK_REQ, IPPROTO_TCP);
	if (s < 0)
		fail("socket");
	endpoint_add(s, &options);

	for (long i = 0; i < options.count; i++) {
		if (i)
			wait_seconds(options.interval);

		/* Waits until there is a server that can take it. */
		if (send(s, "Hello", 5, 0) < 0)
			fail("send");

		/* Only the reply to this very request gets here. */
		length = recv(s, reply, sizeof(reply), 0);
		if (length < 0)
			fail("recv");
		printf("sent Hello, received %.*s\n", (int)length, reply);
	}

	close(s);
	return 0;
}
