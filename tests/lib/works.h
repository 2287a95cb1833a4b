/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The module's works: held up for a while, and counted.
 */
#ifndef SP_TESTS_WORKS_H
#define SP_TESTS_WORKS_H

#include "must.h"

#include <sched.h>

/*
 * From hold to release no work of the module begins to run: the kernel's works
 * are confined to one processor, and that one is ours, at a real-time priority.
 * So the thread must not sleep in between, nor take longer than some hundred
 * milliseconds, after which the kernel gives others their turn. Needs root.
 */
struct works {
	cpu_set_t cpus;
	char mask[64];
};

#define works_hold(w) AT(works_hold_((w)))
void works_hold_(struct works *w);
#define works_release(w) AT(works_release_((w)))
void works_release_(struct works *w);

/*
 * How often the workers that last worked for the module went to sleep or were
 * woken: at least once for each time that a work of it ran alone.
 */
#define works_switches() AT(works_switches_())
long works_switches_(void);

#endif
