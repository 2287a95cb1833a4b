/* SPDX-License-Identifier: MIT */
/* Receives so many messages, and reports how long that took from the first to the last. */
#include "perf.h"
#include "transport.h"

int main(int argc, char **argv)
{
	enum { PORT, SIZE, COUNT, ARGS };
	struct reading from, to;
	struct end *end;
	long arg[ARGS];
	void *body;

	arguments(argc, argv, ARGS, arg, "PORT SIZE COUNT");
	body = room_for((size_t)arg[SIZE]);
	end = end_open(PULLS, true, (int)arg[PORT], 0);
	for (long i = 0; i <= arg[COUNT]; i++) {
		if (end_recv(end, body, (size_t)arg[SIZE]) != arg[SIZE])
			fail_with("local_thr", "a message of another length");
		if (i == 0)
			from = reading_now();
	}
	to = reading_now();
	report((size_t)arg[SIZE], arg[COUNT], &from, &to, "");
	end_close(end);
	return 0;
}
