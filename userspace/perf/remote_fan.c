/* SPDX-License-Identifier: MIT */
/*
 * So many subscribers receive in turn. What was dropped on the way does not come: who
 * waits for long has all, and what arrived is what is reported.
 */
#include "perf.h"
#include "transport.h"

#include <stdbool.h>

enum { LONG_MS = 1000 };

int main(int argc, char **argv)
{
	enum { PORT, SIZE, COUNT, SUBSCRIBERS, ARGS };
	long arg[ARGS], messages = 0;
	struct reading from, to;
	struct end **end;
	int64_t last = 0;
	bool *over, some = true;
	void *body;

	arguments(argc, argv, ARGS, arg, "PORT SIZE COUNT SUBSCRIBERS");
	body = room_for((size_t)arg[SIZE]);
	end = room_for((size_t)arg[SUBSCRIBERS] * sizeof(struct end *));
	over = room_for((size_t)arg[SUBSCRIBERS] * sizeof(*over));
	for (long i = 0; i < arg[SUBSCRIBERS]; i++)
		end[i] = end_open(SUBSCRIBES, false, (int)arg[PORT], LONG_MS);
	from = reading_now();
	for (long n = 0; n < arg[COUNT] && some; n++) {
		some = false;
		for (long i = 0; i < arg[SUBSCRIBERS]; i++) {
			if (over[i])
				continue;
			if (end_recv(end[i], body, (size_t)arg[SIZE]) < 0) {
				over[i] = true;
				continue;
			}
			if (messages++ == 0)
				from = reading_now();
			last = now_ns();
			some = true;
		}
	}
	to = reading_now();
	/* Where something was dropped it was waited for in vain. */
	if (messages < arg[COUNT] * arg[SUBSCRIBERS])
		to.ns = last;
	if (messages < 2)
		fail_with("remote_fan", "nothing arrived");
	report((size_t)arg[SIZE], messages - 1, &from, &to, "");
	return 0;
}
