/* SPDX-License-Identifier: MIT */
/*
 * Sends a message, waits for the answer, and so on; reports half of what that took. A
 * tenth of them go before, unreported. IDLE other peers have one message answered before
 * that, and then are only there; reported is also what memory of the whole system one of
 * them takes, both its ends, and how long it takes to connect and to close.
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

static void round_trip(struct end *end, void *body, long size)
{
	end_send(end, body, (size_t)size);
	if (end_recv(end, body, (size_t)size) != size)
		fail_with("remote_lat", "an answer of another length");
}

int main(int argc, char **argv)
{
	enum { PORT, SIZE, COUNT, IDLE, ARGS };
	long arg[ARGS], before, count;
	struct reading from, to;
	int64_t *took, sent;
	int64_t connecting, connected, memory, closing;
	struct end *end, **idle;
	char extra[256];
	void *body;
	int n;

	arguments(argc, argv, ARGS, arg, "PORT SIZE COUNT IDLE");
	body = room_for((size_t)arg[SIZE]);
	took = room_for((size_t)arg[COUNT] * sizeof(*took));
	before = arg[COUNT] / 10;
	count = arg[COUNT] - before;
	idle = room_for((size_t)arg[IDLE] * sizeof(struct end *));
	memory = free_memory();
	connecting = now_ns();
	for (long i = 0; i < arg[IDLE]; i++) {
		idle[i] = end_open(ASKS, false, (int)arg[PORT], 0);
		round_trip(idle[i], body, arg[SIZE]);
	}
	connected = now_ns();
	memory -= free_memory();
	end = end_open(ASKS, false, (int)arg[PORT], 0);
	for (long i = 0; i < arg[COUNT]; i++) {
		if (i == before)
			from = reading_now();
		sent = now_ns();
		round_trip(end, body, arg[SIZE]);
		took[i] = (now_ns() - sent) / 2;
	}
	to = reading_now();
	qsort(took + before, (size_t)count, sizeof(*took), ascending);
	n = snprintf(extra, sizeof(extra), ", \"p50\": %lld, \"p99\": %lld",
		     (long long)took[before + count / 2], (long long)took[before + count * 99 / 100]);
	closing = now_ns();
	for (long i = 0; i < arg[IDLE]; i++)
		end_close(idle[i]);
	closing = now_ns() - closing;
	if (arg[IDLE])
		snprintf(extra + n, sizeof(extra) - (size_t)n,
			 ", \"idle\": %ld, \"memory\": %lld, \"connect\": %lld, \"close\": %lld", arg[IDLE],
			 (long long)(memory / arg[IDLE]), (long long)((connected - connecting) / arg[IDLE]),
			 (long long)(closing / arg[IDLE]));
	report((size_t)arg[SIZE], 2 * count, &from, &to, extra);
	end_close(end);
	return 0;
}
