/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Threads and children that are waited for, but never for ever.
 */
#ifndef SP_TESTS_TASK_H
#define SP_TESTS_TASK_H

#include "must.h"

#include <pthread.h>
#include <sys/types.h>

/* A thread. One that calls die() ends the test. */
struct task {
	pthread_t thread;
	pid_t tid;
	void (*run)(void *arg);
	void *arg;
};

#define task_start(task, run, arg) AT(task_start_((task), (run), (arg)))
void task_start_(struct task *task, void (*run)(void *arg), void *arg);

/* Returns once the thread sleeps in the kernel, so in the call under test. */
#define task_await_asleep(task) AT(task_await_asleep_((task)))
void task_await_asleep_(struct task *task);

/*
 * How often the thread went to sleep. While it stays in one call that waits,
 * each wake-up adds one, also those that find nothing to return with.
 */
#define task_sleeps(task) AT(task_sleeps_((task)))
long task_sleeps_(struct task *task);

#define task_signal(task, sig) AT(task_signal_((task), (sig)))
void task_signal_(struct task *task, int sig);

#define task_join(task) AT(task_join_((task)))
void task_join_(struct task *task);

/* Waits for a child of fork() and returns its status as waitpid() does. */
#define child_status(pid) AT(child_status_((pid)))
int child_status_(pid_t pid);

/* Waits for a child of fork() that ends with _exit(0). */
#define child_join(pid) AT(child_join_((pid)))
void child_join_(pid_t pid);

/*
 * A rendezvous between processes: meet_tell() in one releases meet_await() in
 * the other, once per call. Made before fork().
 */
struct meet {
	int fd[2];
};

#define meet_init(meet) AT(meet_init_((meet)))
void meet_init_(struct meet *meet);
#define meet_tell(meet) AT(meet_tell_((meet)))
void meet_tell_(struct meet *meet);
#define meet_await(meet) AT(meet_await_((meet)))
void meet_await_(struct meet *meet);

#endif
