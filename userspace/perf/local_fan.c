/* SPDX-License-Identifier: MIT */
/* Publishes so many messages to so many subscribers, once they are there. */
#include "perf.h"
#include "transport.h"

int main(int argc, char **argv)
{
	enum { PORT, SIZE, COUNT, SUBSCRIBERS, ARGS };
	struct end *end;
	long arg[ARGS];
	void *body;

	arguments(argc, argv, ARGS, arg, "PORT SIZE COUNT SUBSCRIBERS");
	body = room_for((size_t)arg[SIZE]);
	end = end_open(PUBLISHES, true, (int)arg[PORT], 0);
	end_await(end, (int)arg[SUBSCRIBERS]);
	for (long i = 0; i < arg[COUNT]; i++)
		end_send(end, body, (size_t)arg[SIZE]);
	end_close(end);
	return 0;
}
