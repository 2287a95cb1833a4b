// SPDX-License-Identifier: GPL-2.0

#include <linux/pid.h>
#include <linux/sched/signal.h>

#include "helpers.h"

void sp_helper_get_pid(struct pid *pid)
{
	get_pid(pid);
}

/*
 * Whether the last thread of a process has begun to exit. The leader may have done so
 * long before, and may wait to be reaped long after.
 */
bool sp_helper_process_ended(struct pid *pid)
{
	struct task_struct *leader;
	bool over;

	rcu_read_lock();
	leader = pid_task(pid, PIDTYPE_TGID);
	over = !leader || !atomic_read(&leader->signal->live);
	rcu_read_unlock();
	return over;
}

/* Whether a thread has begun to exit. */
bool sp_helper_thread_ended(struct pid *pid)
{
	struct task_struct *thread;
	bool over;

	rcu_read_lock();
	thread = pid_task(pid, PIDTYPE_PID);
	over = !thread || (READ_ONCE(thread->flags) & PF_EXITING);
	rcu_read_unlock();
	return over;
}

/* The pid of the process of the task that runs, not counted. */
struct pid *sp_helper_process(void)
{
	return task_tgid(current);
}

/* The pid of the task that runs, not counted. */
struct pid *sp_helper_thread(void)
{
	return task_pid(current);
}

/*
 * Where the process of the task that runs comes from. The pid of the parent is not
 * counted: it is that of a pid that somebody has counted since before, or a number.
 *
 * Orphans are adopted by the first process of a namespace and by those that asked for
 * it. (Within a process, a thread's children are adopted by another thread.)
 */
void sp_helper_birth(struct sp_birth *birth)
{
	const struct task_struct *self = current->group_leader;
	struct task_struct *parent;
	struct pid *pid;

	birth->at = self->start_time;
	rcu_read_lock();
	parent = rcu_dereference(self->real_parent);
	pid = task_tgid(parent);
	birth->parent = pid;
	birth->adopted = !pid || is_child_reaper(pid) || parent->signal->is_child_subreaper;
	rcu_read_unlock();
}

bool sp_helper_has_threads(void)
{
	return !thread_group_empty(current);
}

/* Children of the thread that runs. */
bool sp_helper_has_children(void)
{
	return !list_empty(&current->children);
}

/* Nobody of ordinary priority runs on its CPU before it sleeps. */
bool sp_helper_is_urgent(void)
{
	return current->prio < MAX_RT_PRIO;
}

/* How often it has lost its CPU, or given it up. */
u64 sp_helper_switches(void)
{
	return current->nvcsw + current->nivcsw;
}

/* Who is to run once this task is back in user space may run now. */
void sp_helper_give_way(void)
{
	if (need_resched() || test_thread_flag(TIF_NEED_RESCHED_LAZY))
		schedule();
}
