/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Readiness: waiting for it, and checking it now.
 *
 * expect_in() and its relatives ask poll() with no timeout, so they state a
 * fact about this moment; await_in() and await_out() give it PATIENCE_MS to
 * become one.
 */
#ifndef SP_TESTS_READY_H
#define SP_TESTS_READY_H

#include "must.h"

#include <poll.h>

#include <stdbool.h>

/* What poll() says now. POLLHUP, POLLERR and POLLNVAL come unasked. */
short ready(int fd, short events);

#define await_in(fd) AT(await_ready_((fd), POLLIN))
#define await_out(fd) AT(await_ready_((fd), POLLOUT))
#define await_ready(fd, events) AT(await_ready_((fd), (events)))
void await_ready_(int fd, short events);

#define expect_in(fd) AT(expect_ready_((fd), POLLIN, true))
#define expect_not_in(fd) AT(expect_ready_((fd), POLLIN, false))
#define expect_out(fd) AT(expect_ready_((fd), POLLOUT, true))
#define expect_not_out(fd) AT(expect_ready_((fd), POLLOUT, false))
void expect_ready_(int fd, short event, bool expected);

/* Exactly this of POLLIN, POLLOUT, POLLRDHUP, POLLHUP, POLLERR. */
#define expect_events(events, fd) AT(expect_events_((events), (fd)))
void expect_events_(short events, int fd);

/* Whether it becomes so within quiet_ms(), or something is stuck. */
bool becomes_ready(int fd, short event);

/* Not ready during quiet_ms(): for what no other event could announce. */
#define expect_stays_not_in(fd) AT(expect_stays_not_((fd), POLLIN))
#define expect_stays_not_out(fd) AT(expect_stays_not_((fd), POLLOUT))
void expect_stays_not_(int fd, short event);

#endif
