// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include "ready.h"
#include "clock.h"

#include <errno.h>
#include <poll.h>

static short ready_within(int fd, short events, int ms)
{
	struct pollfd p = { .fd = fd, .events = events };
	int64_t deadline = now_ms() + ms;

	for (;;) {
		int64_t left = deadline - now_ms();
		int n = poll(&p, 1, left > 0 ? (int)left : 0);

		if (n >= 0)
			return p.revents;
		if (errno != EINTR)
			die("poll: errno %d", errno);
	}
}

short ready(int fd, short events)
{
	return ready_within(fd, events, 0);
}

void await_ready_(int fd, short events)
{
	short seen = ready_within(fd, events, PATIENCE_MS);

	if (!(seen & events))
		die("waited %d ms for events 0x%x, poll says 0x%x",
		    PATIENCE_MS, events, seen);
}

void expect_ready_(int fd, short event, bool expected)
{
	short seen = ready(fd, event);

	if (!!(seen & event) != expected)
		die("poll says 0x%x, expected event 0x%x %s", seen, event,
		    expected ? "set" : "clear");
}

void expect_events_(short events, int fd)
{
	short seen = ready(fd, POLLIN | POLLOUT | POLLRDHUP);

	if (seen != events)
		die("poll says 0x%x, expected exactly 0x%x", seen, events);
}

bool becomes_ready(int fd, short event)
{
	return ready_within(fd, event, quiet_ms()) & event;
}

void expect_stays_not_(int fd, short event)
{
	short seen = ready_within(fd, event, quiet_ms());

	if (seen & event)
		die("poll says 0x%x, expected event 0x%x to stay away", seen,
		    event);
}
