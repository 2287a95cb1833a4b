/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Time in tests: how long to wait for what should come, and how long for what
 * should not.
 *
 * The same programs run on bare metal and on an emulated machine with every
 * checker on, where a byte takes a hundred times longer. Each program therefore
 * measures one trip through loopback TCP when it starts (start.c) and all
 * durations derive from that.
 */
#ifndef SP_TESTS_CLOCK_H
#define SP_TESTS_CLOCK_H

#include "must.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * What is bound to happen gets this long before the test fails. That costs
 * nothing when things go well, and the machine may be busy with something else.
 */
#define PATIENCE_MS 30000

/*
 * What happens because of something, and not because a time is over: it has
 * happened by then, also on a busy machine, and no timer of ours has (a closing
 * socket has 30 s, a request a minute, a greeting 10 s).
 */
#define AT_ONCE_MS 5000

int64_t now_us(void);
int64_t now_ms(void);

void clock_calibrate(int64_t one_way_us);

/* An upper bound that suits a fast machine, stretched for this one. */
int slow_ms(int ms);

/*
 * How many of what only needs to be many: all on a fast machine, a quarter of
 * it on one where that would take the time of all other tests together.
 */
int many(int n);

/* The same where even a quarter takes too long: down to a fiftieth. */
int at_speed(int n);

/*
 * Whether time is work and nothing else: the machine's clock counts
 * instructions and jumps ahead when there are none. There a bound may be what
 * was promised, and hours pass in seconds.
 */
bool time_is_work(void);

/* How long nothing must happen until we believe that nothing will. */
int quiet_ms(void);

/*
 * For conditions that cannot be polled on: looks again every millisecond.
 *
 *	int64_t deadline = patience();
 *
 *	while (!condition)
 *		tick(deadline, "what is awaited");
 */
int64_t patience(void);
#define tick(deadline, what) AT(tick_((deadline), (what)))
void tick_(int64_t deadline, const char *what);

/* Lets time pass. Only where time itself is under test. */
void pass_ms(int ms);

#endif
