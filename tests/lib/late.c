// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include "late.h"
#include "clock.h"

#include <sched.h>

static void pin_to(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	must_(sched_setaffinity(0, sizeof(set), &set), "sched_setaffinity");
}

static void nap(void *arg)
{
	const struct sched_param first = { .sched_priority = 50 };
	struct late *l = arg;

	pin_to(l->cpu);
	must_(sched_setscheduler(0, SCHED_FIFO, &first), "sched_setscheduler");
	while (!__atomic_load_n(&l->stop, __ATOMIC_RELAXED)) {
		int64_t due = now_us() + 1000, late;

		pass_ms(1);
		late = now_us() - due;
		l->worst_us = late > l->worst_us ? late : l->worst_us;
	}
}

void late_start_(struct late *l, int cpu)
{
	*l = (struct late){ .cpu = cpu };
	pin_to(cpu);
	task_start_(&l->task, nap, l);
}

int64_t late_stop_us_(struct late *l)
{
	__atomic_store_n(&l->stop, true, __ATOMIC_RELAXED);
	task_join_(&l->task);
	return l->worst_us;
}
