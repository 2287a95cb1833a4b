/* SPDX-License-Identifier: MIT */
/*
 * Sends a message, waits for the answer, and so on; reports half of what that took. A
 * tenth of them go before, unreported.
 */
#include "perf.h"
#include "transport.h"

#include <stdio.h>
#include <stdlib.h>

static int ascending(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	enum { PORT, SIZE, COUNT, ARGS };
	long arg[ARGS], before, count;
	struct reading from, to;
	int64_t *took, sent;
	struct end *end;
	char extra[128];
	void *body;

	arguments(argc, argv, ARGS, arg, "PORT SIZE COUNT");
	body = room_for((size_t)arg[SIZE]);
	took = room_for((size_t)arg[COUNT] * sizeof(*took));
	before = arg[COUNT] / 10;
	count = arg[COUNT] - before;
	end = end_open(ASKS, false, (int)arg[PORT], 0);
	for (long i = 0; i < arg[COUNT]; i++) {
		if (i == before)
			from = reading_now();
		sent = now_ns();
		end_send(end, body, (size_t)arg[SIZE]);
		if (end_recv(end, body, (size_t)arg[SIZE]) != arg[SIZE])
			fail_with("remote_lat", "an answer of another length");
		took[i] = (now_ns() - sent) / 2;
	}
	to = reading_now();
	qsort(took + before, (size_t)count, sizeof(*took), ascending);
	snprintf(extra, sizeof(extra), ", \"p50\": %lld, \"p99\": %lld",
		 (long long)took[before + count / 2], (long long)took[before + count * 99 / 100]);
	report((size_t)arg[SIZE], 2 * count, &from, &to, extra);
	end_close(end);
	return 0;
}
