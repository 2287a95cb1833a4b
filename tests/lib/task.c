// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include "task.h"
#include "clock.h"
#include "ready.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void *task_main(void *arg)
{
	struct task *task = arg;

	__atomic_store_n(&task->tid, (pid_t)syscall(SYS_gettid),
			 __ATOMIC_RELEASE);
	task->run(task->arg);
	return NULL;
}

static pid_t tid_of(struct task *task)
{
	return __atomic_load_n(&task->tid, __ATOMIC_ACQUIRE);
}

void task_start_(struct task *task, void (*run)(void *arg), void *arg)
{
	int64_t deadline = patience();

	*task = (struct task){ .run = run, .arg = arg };
	if (pthread_create(&task->thread, NULL, task_main, task))
		die("pthread_create");
	while (!tid_of(task))
		tick_(deadline, "a thread to start");
}

/* From /proc/self/task/TID/stat, which stays open: to open it is what is slow. */
static char task_state(int stat)
{
	char text[256], *after_name;
	ssize_t n = pread(stat, text, sizeof(text) - 1, 0);

	if (n < 0)
		return 0;
	text[n] = 0;
	after_name = strrchr(text, ')');
	return after_name ? after_name[2] : 0;
}

void task_await_asleep_(struct task *task)
{
	int64_t deadline = patience();
	int asleep = 0, stat;
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", tid_of(task));
	stat = open(path, O_RDONLY | O_CLOEXEC);
	/* Several looks: it may nap in a page fault on its way there. */
	while (asleep < 5) {
		asleep = task_state(stat) == 'S' ? asleep + 1 : 0;
		tick_(deadline, "a thread to block");
	}
	close(stat);
}

long task_sleeps_(struct task *task)
{
	static const char name[] = "voluntary_ctxt_switches:";
	char path[64], line[256];
	long n = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%d/status", tid_of(task));
	f = fopen(path, "r");
	if (!f)
		die("fopen(%s): errno %d", path, errno);
	while (n < 0 && fgets(line, sizeof(line), f))
		if (!strncmp(line, name, sizeof(name) - 1))
			n = atol(line + sizeof(name) - 1);
	fclose(f);
	if (n < 0)
		die("%s does not tell %s", path, name);
	return n;
}

void task_signal_(struct task *task, int sig)
{
	must_(syscall(SYS_tgkill, getpid(), tid_of(task), sig), "tgkill");
}

void task_join_(struct task *task)
{
	struct timespec until;
	int err;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += PATIENCE_MS / 1000;
	err = pthread_timedjoin_np(task->thread, NULL, &until);
	if (err)
		die("a thread does not end: errno %d", err);
}

int child_status_(pid_t pid)
{
	int pidfd = (int)must_(syscall(SYS_pidfd_open, pid, 0),
			       "pidfd_open");
	struct pollfd p = { .fd = pidfd, .events = POLLIN };
	int status;

	if (poll(&p, 1, PATIENCE_MS) != 1) {
		kill(pid, SIGKILL);
		die("a child does not end");
	}
	close(pidfd);
	must_(waitpid(pid, &status, 0), "waitpid");
	return status;
}

void child_join_(pid_t pid)
{
	int status = child_status_(pid);

	if (status)
		die("a child failed, status 0x%x", status);
}

void meet_init_(struct meet *meet)
{
	must_(socketpair(AF_UNIX, SOCK_STREAM, 0, meet->fd), "socketpair");
}

void meet_tell_(struct meet *meet)
{
	must_(send(meet->fd[0], "!", 1, MSG_NOSIGNAL), "send");
}

void meet_await_(struct meet *meet)
{
	char c;

	await_ready_(meet->fd[1], POLLIN);
	if (recv(meet->fd[1], &c, 1, 0) != 1)
		die("the other process did not keep the rendezvous");
}
