/* SPDX-License-Identifier: MIT */
/* Answers each message with itself; one of each idle peer, too. */
#include "perf.h"
#include "transport.h"

int main(int argc, char **argv)
{
	enum { PORT, SIZE, COUNT, IDLE, ARGS };
	long arg[ARGS];
	struct end *end;
	void *body;

	arguments(argc, argv, ARGS, arg, "PORT SIZE COUNT IDLE");
	body = room_for((size_t)arg[SIZE]);
	end = end_open(ANSWERS, true, (int)arg[PORT], 0);
	for (long i = 0; i < arg[COUNT] + arg[IDLE]; i++) {
		if (end_recv(end, body, (size_t)arg[SIZE]) != arg[SIZE])
			fail_with("local_lat", "a message of another length");
		end_send(end, body, (size_t)arg[SIZE]);
	}
	end_close(end);
	return 0;
}
