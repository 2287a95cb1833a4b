// SPDX-License-Identifier: GPL-2.0
/*
 * One REP that more processes use than can have a request in hand. They share
 * their memory, which makes them small.
 */
#include "sptest.h"

#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>

enum { TAKERS = 1024 };

struct taker {
	struct many *all;
	pid_t pid;
	uint32_t request;
	bool took;
};

struct many {
	int rep;
	sigset_t go;
	struct taker of[TAKERS + 1];
	char stack[TAKERS + 1][8192] __attribute__((aligned(16)));
};

/* No function of the C library that keeps something for its thread. */
static int taker_main(void *arg)
{
	struct taker *t = arg;
	int sig;

	if (recv(t->all->rep, &t->request, 4, 0) != 4)
		return 1;
	__atomic_store_n(&t->took, true, __ATOMIC_RELEASE);
	sigwait(&t->all->go, &sig);
	return send(t->all->rep, &t->request, 4, MSG_NOSIGNAL) != 4;
}

static void taker_start(struct many *m, int nth)
{
	char *stack = m->stack[nth] + sizeof(m->stack[nth]);
	struct taker *t = &m->of[nth];
	int64_t deadline = patience();

	t->all = m;
	t->pid = (pid_t)must(clone(taker_main, stack,
				   CLONE_VM | CLONE_FILES | SIGCHLD, t));
	while (!__atomic_load_n(&t->took, __ATOMIC_ACQUIRE))
		tick(deadline, "a process to receive");
}

static void request(int peer, uint32_t nth)
{
	uint32_t frame[] = { htobe32(0x80000000u + nth), nth };

	raw_frame(peer, frame, 8);
}

static void expect_reply(int peer, uint32_t nth)
{
	uint32_t frame[] = { htobe32(0x80000000u + nth), nth };

	raw_expect_frame(peer, frame, 8);
}

TEST(more_than_a_thousand_processes)
{
	struct many *m = mmap(NULL, sizeof(*m), PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct addr addr;
	int64_t deadline;
	int peer, i, n;
	uint32_t nth;

	must_be(m != MAP_FAILED);
	sigemptyset(&m->go);
	sigaddset(&m->go, SIGUSR1);
	must(sigprocmask(SIG_BLOCK, &m->go, NULL));
	m->rep = sp_listener(SOCK_REP, &addr);
	peer = raw_peer(SOCK_REQ, &addr);
	for (i = 0; i < TAKERS; i++) {
		request(peer, (uint32_t)i);
		await_in(m->rep);
		taker_start(m, i);
		must_eq(i, m->of[i].request);
	}

	/* We have not received yet: now it is too late. */
	request(peer, TAKERS);
	await_counter(m->rep, sp_rx_queued, 4);
	expect_events(0, m->rep);
	must_fail(EBADFD, recv(m->rep, &nth, 4, MSG_DONTWAIT));
	must_fail(EBADFD, recv(m->rep, &nth, 4, 0));
	must_fail(EBADFD, recv(m->rep, &nth, 4, MSG_PEEK));
	must(ioctl(m->rep, FIONREAD, &n));
	EXPECT_EQ(0, n);
	must_fail(EBADFD, send(m->rep, &nth, 4, MSG_NOSIGNAL));

	/* A place gets free when a process ends, reaped or not; no event tells. */
	must(kill(m->of[7].pid, SIGKILL));
	for (deadline = patience(); !ready(m->rep, POLLIN);)
		tick(deadline, "a process to end");
	must_eq(4, recv(m->rep, &nth, 4, 0));
	EXPECT_EQ(TAKERS, nth);
	EXPECT_EQ(SIGKILL, WTERMSIG(child_status(m->of[7].pid)));
	request(peer, TAKERS + 1);
	await_in(m->rep);
	expect_out(m->rep);
	sp_send(m->rep, &nth, 4);
	expect_reply(peer, TAKERS);

	/* All others have what they had. */
	for (i = TAKERS - 1; i >= 0; i--) {
		if (i == 7)
			continue;
		must(kill(m->of[i].pid, SIGUSR1));
		expect_reply(peer, (uint32_t)i);
		child_join(m->of[i].pid);
	}
	must_eq(4, recv(m->rep, &nth, 4, 0));
	EXPECT_EQ(TAKERS + 1, nth);
	/* Newcomers get their places. */
	request(peer, TAKERS + 2);
	taker_start(m, TAKERS);
	must(kill(m->of[TAKERS].pid, SIGUSR1));
	expect_reply(peer, TAKERS + 2);
	child_join(m->of[TAKERS].pid);
	sp_send(m->rep, &nth, 4);
	expect_reply(peer, TAKERS + 1);
}

/*
 * Who has no room is told nothing by a request, and must not be the only one that
 * is woken for it.
 */
static int wait_exclusively(int rep, int told)
{
	struct epoll_event e = { .events = EPOLLIN | EPOLLEXCLUSIVE };
	int ep = (int)must(epoll_create1(0));

	must(epoll_ctl(ep, EPOLL_CTL_ADD, rep, &e));
	must(write(told, "w", 1));
	return epoll_wait(ep, &e, 1, PATIENCE_MS) == 1 ? 0 : 1;
}

TEST(wake_ups_pass_who_has_no_room)
{
	struct addr addr;
	int rep = sp_listener(SOCK_REP, &addr), peer = raw_peer(SOCK_REQ, &addr);
	int told[2], go[2], status, i;
	pid_t pid[TAKERS], none;
	uint32_t got;
	char c;

	must(pipe(told));
	must(pipe(go));
	for (i = 0; i < TAKERS; i++) {
		request(peer, (uint32_t)i);
		pid[i] = (pid_t)must(fork());
		if (pid[i]) {
			must_eq(1, read(told[0], &c, 1));
			continue;
		}
		must_eq(4, recv(rep, &got, 4, 0));
		must(write(told[1], "t", 1));
		if (i == TAKERS - 1 && read(go[0], &c, 1) == 1)
			_exit(wait_exclusively(rep, told[1]));
		pause();
		_exit(1);
	}
	none = (pid_t)must(fork());
	if (none == 0)
		_exit(wait_exclusively(rep, told[1]));
	must_eq(1, read(told[0], &c, 1));
	must(write(go[1], "g", 1));
	must_eq(1, read(told[0], &c, 1));
	pass_ms(quiet_ms());
	request(peer, TAKERS);
	must(waitpid(pid[TAKERS - 1], &status, 0));
	EXPECT_EQ(0, status);
	kill(none, SIGKILL);
	for (i = 0; i < TAKERS - 1; i++)
		kill(pid[i], SIGKILL);
	while (wait(NULL) > 0)
		;
}

SP_TEST_MAIN
