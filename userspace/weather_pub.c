/* SPDX-License-Identifier: MIT */
/*
 * The publisher of the pair: sends weather reports to whoever listens.
 *
 * A PUB socket never waits. A message goes to every subscriber that is connected
 * now; one too slow to take it misses it, and the others do not notice. A topic
 * is nothing but the first bytes of a message: here, a city.
 */
#include <netinet/sp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "endpoint.h"

static const char usage[] =
	"Usage: weather_pub [OPTION]... HOST PORT [REPORT]...\n"
	"Publishes the REPORTs in turn, by default some of its own.\n"
	"A report begins with its topic, as in 'Paris: 14 C, rain'.\n"
	"HOST is a name, an IPv4 or an IPv6 address; :: and 0.0.0.0 are all of this machine.\n"
	"\n"
	"  --bind             listen on HOST and PORT (default)\n"
	"  --connect          connect to HOST and PORT, where the subscriber listens\n"
	"  --count N          end after N reports; else publish until interrupted\n"
	"  --interval SECONDS pause between two reports; default 1\n"
	"  --peers N          first wait until N subscribers are connected\n"
	"  --timeout SECONDS  fail when they are not there after so long\n"
	"  -h, --help         show this text\n";

static char *forecast[] = {
	"Bratislava: 21 C, sunny",
	"Paris: 14 C, rain",
	"London: 12 C, fog",
	NULL
};

/* Who is not there yet misses what is published now; SP_PEERS tells who is there. */
static void await_peers(int s, const struct options *options)
{
	double waited = 0;
	int peers;

	for (;;) {
		socklen_t size = sizeof(peers);

		if (getsockopt(s, SOL_SP, SP_PEERS, &peers, &size) < 0)
			fail("getsockopt SP_PEERS");
		if (peers >= options->peers)
			return;
		if (options->timeout > 0 && waited >= options->timeout) {
			fprintf(stderr, "weather_pub: %d of %ld subscribers within --timeout\n",
				peers, options->peers);
			_exit(1);
		}
		wait_seconds(0.01);
		waited += 0.01;
	}
}

int main(int argc, char **argv)
{
	struct options options = { .bind = true, .interval = 1, .rest_max = 1000 };
	char **reports, **next;
	int s;

	options_parse(&options, argc, argv, usage);
	reports = *options.rest ? options.rest : forecast;

	s = socket(PF_SP, SOCK_PUB, IPPROTO_TCP);
	if (s < 0)
		fail("socket");
	endpoint_add(s, &options);
	await_peers(s, &options);

	next = reports;
	for (long i = 0; !options.count || i < options.count; i++) {
		if (i)
			wait_seconds(options.interval);
		if (send(s, *next, strlen(*next), 0) < 0)
			fail("send");
		printf("published %s\n", *next);
		if (!*++next)
			next = reports;
	}

	/* What the subscribers' connections hold is still delivered. */
	close(s);
	return 0;
}
