/* SPDX-License-Identifier: MIT */
/*
 * The one of the pair that has work: hands each job to one of the workers.
 *
 * A PUSH socket gives each message to one peer, in turn, and to those alone that
 * have room for it. When none has, send() waits: the slowest worker does not hold
 * the others up, and all of them together hold up the one who has the work.
 */
#include <netinet/sp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "endpoint.h"

static const char usage[] =
	"Usage: jobs_push [OPTION]... HOST PORT [JOB]...\n"
	"Hands each JOB to one of the workers; by default three of its own.\n"
	"HOST is a name, an IPv4 or an IPv6 address; :: and 0.0.0.0 are all of this machine.\n"
	"\n"
	"  --bind             listen on HOST and PORT (default)\n"
	"  --connect          connect to HOST and PORT, where a worker listens\n"
	"  --count N          hand out N jobs, beginning again after the last; default each once\n"
	"  --interval SECONDS pause between two jobs; default 0\n"
	"  --timeout SECONDS  fail when no worker takes a job for so long\n"
	"  -h, --help         show this text\n";

static char *chores[] = { "sweep the floor", "wash the dishes", "feed the cat", NULL };

int main(int argc, char **argv)
{
	struct options options = { .bind = true, .rest_max = 1000 };
	char **jobs, **next;
	int s;

	options_parse(&options, argc, argv, usage);
	jobs = *options.rest ? options.rest : chores;
	if (!options.count)
		for (next = jobs; *next; next++)
			options.count++;

	s = socket(PF_SP, SOCK_PUSH, IPPROTO_TCP);
	if (s < 0)
		fail("socket");
	endpoint_add(s, &options);

	next = jobs;
	for (long i = 0; i < options.count; i++) {
		if (i)
			wait_seconds(options.interval);
		if (send(s, *next, strlen(*next), 0) < 0)
			fail("send");
		printf("handed out %s\n", *next);
		if (!*++next)
			next = jobs;
	}

	/* What the workers' connections hold is still delivered. */
	close(s);
	return 0;
}
