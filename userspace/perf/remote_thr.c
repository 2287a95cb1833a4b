/* SPDX-License-Identifier: MIT */
/* Sends one message more than so many, as fast as they are taken. */
#include "perf.h"
#include "transport.h"

int main(int argc, char **argv)
{
	enum { PORT, SIZE, COUNT, ARGS };
	struct end *end;
	long arg[ARGS];
	void *body;

	arguments(argc, argv, ARGS, arg, "PORT SIZE COUNT");
	body = room_for((size_t)arg[SIZE]);
	end = end_open(PUSHES, false, (int)arg[PORT], 0);
	for (long i = 0; i <= arg[COUNT]; i++)
		end_send(end, body, (size_t)arg[SIZE]);
	end_close(end);
	return 0;
}
