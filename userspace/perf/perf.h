/* SPDX-License-Identifier: MIT */
/* What the benchmark programs share. */
#ifndef PERF_H
#define PERF_H

#include <stddef.h>
#include <stdint.h>

/* Of the whole system: time, and how often tasks were switched and TCP sent a segment. */
struct reading {
	int64_t ns;
	uint64_t switches, segments;
};

int64_t now_ns(void);
struct reading reading_now(void);

/* In bytes. */
int64_t free_memory(void);

/* The numbers that the program was called with, COUNT of them; USAGE names them. */
void arguments(int argc, char **argv, int count, long *numbers, const char *usage);

void *room_for(size_t size);

/* One line of JSON; EXTRA is more of it, or "". */
void report(size_t size, long messages, const struct reading *from, const struct reading *to, const char *extra);

#endif
