// SPDX-License-Identifier: GPL-2.0

#include <linux/cpumask.h>
#include <linux/err.h>
#include <linux/kthread.h>
#include <linux/sched.h>
#include <uapi/linux/sched.h>
#include <uapi/linux/sched/types.h>

#include "helpers.h"

unsigned int sp_helper_cpus(void)
{
	return num_online_cpus();
}

/* Null if there is no memory. */
struct kthread_worker *sp_helper_worker_create(unsigned int nth)
{
	const struct sched_attr attr = { .sched_policy = SCHED_BATCH };
	struct kthread_worker *worker = kthread_run_worker(0, "sp_later/%u", nth);

	if (IS_ERR(worker))
		return NULL;
	/* Should this fail, it takes the CPU from others. */
	sched_setattr_nocheck(worker->task, &attr);
	return worker;
}

void sp_helper_later_init(struct kthread_work *work, kthread_work_func_t func)
{
	kthread_init_work(work, func);
}
