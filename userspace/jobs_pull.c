/* SPDX-License-Identifier: MIT */
/*
 * A worker of the pair: takes jobs and does them, one after the other.
 *
 * A PULL socket receives from all its peers in turn. Start more of these, and the
 * work is shared among them.
 */
#include <netinet/sp.h>
#include <stdio.h>
#include <unistd.h>

#include "endpoint.h"

static const char usage[] =
	"Usage: jobs_pull [OPTION]... HOST PORT\n"
	"Takes jobs from HOST and PORT and prints them.\n"
	"HOST is a name, an IPv4 or an IPv6 address.\n"
	"\n"
	"  --connect          connect to HOST and PORT (default)\n"
	"  --bind             listen on HOST and PORT, where those who have work connect\n"
	"  --count N          end after N jobs; else work until interrupted\n"
	"  --interval SECONDS how long a job takes; default 0\n"
	"  --timeout SECONDS  fail when no job comes for so long\n"
	"  -h, --help         show this text\n";

int main(int argc, char **argv)
{
	struct options options = { 0 };
	char job[1024];
	ssize_t length;
	int s;

	options_parse(&options, argc, argv, usage);

	s = socket(PF_SP, SOCK_PULL, IPPROTO_TCP);
	if (s < 0)
		fail("socket");
	endpoint_add(s, &options);

	for (long i = 0; !options.count || i < options.count; i++) {
		length = recv(s, job, sizeof(job), 0);
		if (length < 0)
			fail("recv");
		wait_seconds(options.interval);
		printf("done: %.*s\n", (int)length, job);
	}

	close(s);
	return 0;
}
