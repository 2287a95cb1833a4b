/* SPDX-License-Identifier: MIT */
#include "perf.h"
#include "transport.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void fail_with(const char *what, const char *why)
{
	fprintf(stderr, "%s: %s\n", what, why);
	exit(1);
}

void fail(const char *what)
{
	fail_with(what, strerror(errno));
}

int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* The number behind the first word of a file's line that begins with it. */
static uint64_t word_of(const char *path, const char *begin, int nth)
{
	char line[4096], *word = NULL, *rest;
	FILE *f = fopen(path, "r");
	int seen = 0;

	if (!f)
		fail(path);
	/* /proc/net/snmp has two lines for each protocol: names, and values. */
	while (fgets(line, sizeof(line), f)) {
		if (strncmp(line, begin, strlen(begin)) || (nth > 1 && !seen++))
			continue;
		word = strtok_r(line, " ", &rest);
		for (int i = 0; word && i < nth; i++)
			word = strtok_r(NULL, " ", &rest);
		break;
	}
	fclose(f);
	if (!word)
		fail_with(path, begin);
	return strtoull(word, NULL, 10);
}

struct reading reading_now(void)
{
	struct reading r = {
		.switches = word_of("/proc/stat", "ctxt", 1),
		/* OutSegs. */
		.segments = word_of("/proc/net/snmp", "Tcp:", 11),
	};

	r.ns = now_ns();
	return r;
}

int64_t free_memory(void)
{
	return (int64_t)word_of("/proc/meminfo", "MemFree:", 1) * 1024;
}

void arguments(int argc, char **argv, int count, long *numbers, const char *usage)
{
	char *end;
	int i;

	for (i = 0; i < count && i + 1 < argc; i++) {
		numbers[i] = strtol(argv[i + 1], &end, 10);
		if (*end || end == argv[i + 1] || numbers[i] < 0)
			break;
	}
	if (i == count && argc == count + 1)
		return;
	fprintf(stderr, "usage: %s %s\n", argv[0], usage);
	exit(2);
}

void *room_for(size_t size)
{
	void *room = calloc(1, size ? size : 1);

	if (!room)
		fail("calloc");
	return room;
}

void report(size_t size, long messages, const struct reading *from, const struct reading *to, const char *extra)
{
	printf("{\"size\": %zu, \"messages\": %ld, \"ns\": %" PRId64 ", \"switches\": %" PRIu64
	       ", \"segments\": %" PRIu64 "%s}\n",
	       size, messages, to->ns - from->ns, to->switches - from->switches,
	       to->segments - from->segments, extra);
}
