/* SPDX-License-Identifier: MIT */
/*
 * The server of the pair: receives a request, replies "World", and again.
 *
 * A REP socket takes requests from any number of clients, in turn, and sends
 * each reply to the client that asked. There is no accept(), no list of
 * connections and no event loop: the socket is the service.
 */
#include <netinet/sp.h>
#include <stdio.h>
#include <unistd.h>

#include "endpoint.h"

static const char usage[] =
	"Usage: hello_rep [OPTION]... HOST PORT\n"
	"Receives requests and replies World to each.\n"
	"HOST is a name, an IPv4 or an IPv6 address; :: and 0.0.0.0 are all of this machine.\n"
	"\n"
	"  --bind             listen on HOST and PORT (default)\n"
	"  --connect          connect to HOST and PORT, where the client listens\n"
	"  --count N          end after N requests; else serve until interrupted\n"
	"  --timeout SECONDS  fail when no request arrives for so long\n"
	"  -h, --help         show this text\n";

int main(int argc, char **argv)
{
	struct options options = { .bind = true };
	char request[256];
	ssize_t length;
	int s;

	options_parse(&options, argc, argv, usage);

	s = socket(PF_SP, SOCK_REP, IPPROTO_TCP);
	if (s < 0)
		fail("socket");
	endpoint_add(s, &options);

	for (long i = 0; !options.count || i < options.count; i++) {
		/* One recv() is one whole message, whatever TCP made of it on the way. */
		length = recv(s, request, sizeof(request), 0);
		if (length < 0)
			fail("recv");

		/* No address: the socket knows who asked. */
		if (send(s, "World", 5, 0) < 0)
			fail("send");

		/* The precision also stops at a NUL, which some clients send along. */
		printf("received %.*s, replied World\n", (int)length, request);
	}

	/* The last reply is still on its way; the kernel sees it through. */
	close(s);
	return 0;
}
