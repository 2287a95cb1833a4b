/* SPDX-License-Identifier: MIT */
/*
 * The subscriber of the pair: prints the weather reports of the cities asked for.
 *
 * A SUB socket receives the messages that begin with one of its topics. The
 * kernel drops the others as they arrive: the program is not even woken.
 */
#include <netinet/sp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "endpoint.h"

static const char usage[] =
	"Usage: weather_sub [OPTION]... HOST PORT [TOPIC]...\n"
	"Prints the reports that begin with a TOPIC; without one, all of them.\n"
	"HOST is a name, an IPv4 or an IPv6 address.\n"
	"\n"
	"  --connect          connect to HOST and PORT (default)\n"
	"  --bind             listen on HOST and PORT, where publishers connect\n"
	"  --count N          end after N reports; else print until interrupted\n"
	"  --timeout SECONDS  fail when no report arrives for so long\n"
	"  -h, --help         show this text\n";

static void subscribe(int s, const char *topic)
{
	if (setsockopt(s, SOL_SP, SP_SUBSCRIBE, topic, (socklen_t)strlen(topic)) < 0)
		fail("setsockopt SP_SUBSCRIBE");
}

int main(int argc, char **argv)
{
	struct options options = { .rest_max = 1000 };
	char report[1024];
	ssize_t length;
	int s;

	options_parse(&options, argc, argv, usage);

	s = socket(PF_SP, SOCK_SUB, IPPROTO_TCP);
	if (s < 0)
		fail("socket");

	/* Before connecting, to miss nothing. Every message begins with the empty topic. */
	for (char **topic = options.rest; *topic; topic++)
		subscribe(s, *topic);
	if (!*options.rest)
		subscribe(s, "");
	endpoint_add(s, &options);

	for (long i = 0; !options.count || i < options.count; i++) {
		length = recv(s, report, sizeof(report), 0);
		if (length < 0)
			fail("recv");
		printf("received %.*s\n", (int)length, report);
	}

	close(s);
	return 0;
}
