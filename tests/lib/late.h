/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How long others have to wait for a CPU: a real-time thread that naps there
 * and notes by how much it overslept. Whoever works in the kernel without
 * letting others run, and be it in an interrupt, shows.
 */
#ifndef SP_TESTS_LATE_H
#define SP_TESTS_LATE_H

#include "must.h"
#include "task.h"

#include <stdbool.h>
#include <stdint.h>

struct late {
	struct task task;
	int cpu;
	bool stop;
	int64_t worst_us;
};

/* The caller shares the CPU from then on. Needs root. */
#define late_start(l, cpu) AT(late_start_((l), (cpu)))
void late_start_(struct late *l, int cpu);
/* By how much it overslept at most. */
#define late_stop_us(l) AT(late_stop_us_((l)))
int64_t late_stop_us_(struct late *l);

#endif
