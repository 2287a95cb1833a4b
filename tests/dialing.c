// SPDX-License-Identifier: GPL-2.0
/*
 * Dialers that fail, by the thousand: what they cost others, and that a few of
 * them go on as they are set.
 */
#include "sptest.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

enum {
	NOBODY = 65534,
	/* A user's dials are that many milliseconds apart: rust/endpoint/pace.rs. */
	STEP_MS = 4,
};

FIXTURE(dialers)
{
};

FIXTURE_SETUP(dialers)
{
	netns_enter_new();
}

FIXTURE_TEARDOWN(dialers)
{
}

/* A process of another user with sockets full of dialers that fail. */
struct attacker {
	pid_t pid;
	struct meet ready;
};

static void attacker_start(struct attacker *a, int sockets, int dialers, const struct addr *to)
{
	meet_init(&a->ready);
	a->pid = (pid_t)must(fork());
	if (a->pid)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	must(setresuid(NOBODY, NOBODY, NOBODY));
	for (int i = 0; i < sockets; i++) {
		int s = sp_open(SOCK_REQ);

		sp_set(s, SP_RECONNECT_IVL, 1);
		for (int j = 0; j < dialers; j++)
			sp_connect(s, to);
	}
	meet_tell(&a->ready);
	for (;;)
		pause();
}

/* Kills it and returns how long its exit took. */
static int64_t attacker_kill(struct attacker *a)
{
	int64_t start = now_us();

	must(kill(a->pid, SIGKILL));
	child_status(a->pid);
	return now_us() - start;
}

/* The dials of all sockets of this user in this namespace: the last column. */
static unsigned long redials_of(unsigned int uid)
{
	FILE *f = fopen("/proc/self/net/sp", "r");
	unsigned long sum = 0;
	char line[1024];

	must_be(f);
	while (fgets(line, sizeof(line), f)) {
		char *last = strrchr(line, ' ');
		unsigned int owner;

		if (sscanf(line, "%*u %*s %u", &owner) == 1 && owner == uid)
			sum += strtoul(last, NULL, 10);
	}
	fclose(f);
	return sum;
}

/* What all CPUs have worked, in milliseconds. */
static long busy_ms(void)
{
	long user, nice, system, irq, softirq;
	FILE *f = fopen("/proc/stat", "r");

	must_be(f);
	must_eq(5, fscanf(f, "cpu %ld %ld %ld %*d %*d %ld %ld", &user, &nice, &system, &irq,
			  &softirq));
	fclose(f);
	return (user + nice + system + irq + softirq) * 1000 / sysconf(_SC_CLK_TCK);
}

/* How long a client waits for the greeting of a socket, in microseconds. */
static int64_t greeting_us(const struct addr *to)
{
	int64_t start = now_us();
	int fd = raw_connect(to);
	char greeting[GREETING_LEN];

	raw_read(fd, greeting, sizeof(greeting));
	close(fd);
	return now_us() - start;
}

TEST_F_TIMEOUT(dialers, others_are_served_while_dialers_fail, 120)
{
	int64_t us, worst = 0, sum = 0, start;
	const int sockets = 4, dialers = at_speed(1024), rounds = 100;
	struct attacker a;
	struct addr to, dead = nowhere(AF_INET);
	unsigned long redials;
	long busy;
	int s = sp_listener(SOCK_REP, &to);

	greeting_us(&to);
	attacker_start(&a, sockets, dialers, &dead);
	meet_await(&a.ready);
	/* All have failed and been counted, and have begun to dial again. */
	start = now_ms();
	while (redials_of(NOBODY) < (unsigned long)dialers && now_ms() - start < 60000)
		pass_ms(10);
	start = now_us();
	busy = busy_ms();
	redials = redials_of(NOBODY);
	for (int i = 0; i < rounds; i++) {
		us = greeting_us(&to);
		sum += us;
		if (us > worst)
			worst = us;
		pass_ms(30);
	}
	redials = redials_of(NOBODY) - redials;
	busy = busy_ms() - busy;
	start = now_us() - start;
	TH_LOG("greeting: mean %lld us, worst %lld us; in %lld ms %lu dials, %ld ms of work",
	       (long long)sum / rounds, (long long)worst, (long long)start / 1000, redials, busy);
	EXPECT_LT(worst, slow_ms(50) * 1000);
	/* Those that were about to dial when they were counted come on top. */
	EXPECT_LT(redials, start / 1000 / STEP_MS * 3 / 2 + 100);
	/* A slow machine works that much for the greetings alone. */
	if (slow_ms(1) <= 2)
		EXPECT_LT(busy, start / 1000 / 2);
	us = attacker_kill(&a);
	TH_LOG("exit: %lld us", (long long)us);
	EXPECT_LT(us, slow_ms(1000) * 1000);
	close(s);
}

TEST_F_TIMEOUT(dialers, own_calls_do_not_wait_for_failing_dialers, 120)
{
	const int dialers = at_speed(1000);
	int64_t start, worst = 0;
	struct addr dead = nowhere(AF_INET);
	int s = sp_open(SOCK_REQ);

	sp_set(s, SP_RECONNECT_IVL, 1);
	for (int i = 0; i < dialers; i++)
		sp_connect(s, &dead);
	pass_ms(100);
	for (int i = 0; i < 20; i++) {
		start = now_us();
		sp_connect(s, &dead);
		if (now_us() - start > worst)
			worst = now_us() - start;
		pass_ms(5);
	}
	start = now_us();
	must(close(s));
	TH_LOG("connect: worst %lld us; close: %lld us", (long long)worst,
	       (long long)(now_us() - start));
	EXPECT_LT(worst, slow_ms(50) * 1000);
	EXPECT_LT(now_us() - start, slow_ms(500) * 1000);
}

TEST_F_TIMEOUT(dialers, few_dialers_redial_as_set, 120)
{
	enum { DIALERS = 8, IVL = 100, ROUNDS = 20 };
	struct addr dead = nowhere(AF_INET);
	int64_t start, waits;
	int s = sp_open(SOCK_REQ);
	uint64_t redials;

	for (int i = 0; i < DIALERS; i++)
		sp_connect(s, &dead);
	start = now_ms();
	await_counter(s, sp_reconnects, DIALERS * ROUNDS);
	waits = now_ms() - start;
	redials = counter(s, sp_reconnects);
	/* None waits less than half of the interval. */
	EXPECT_LE(redials, (uint64_t)(waits / (IVL / 2) + 1) * DIALERS);
	EXPECT_LT(waits, ROUNDS * (IVL + slow_ms(40)));
	close(s);
}

TEST_F_TIMEOUT(dialers, user_is_not_held_up_by_another, 120)
{
	struct addr dead = nowhere(AF_INET);
	struct attacker a;
	int64_t start;
	int s;

	attacker_start(&a, 1, at_speed(1024), &dead);
	meet_await(&a.ready);
	pass_ms(100);
	s = sp_open(SOCK_REQ);
	sp_set(s, SP_RECONNECT_IVL, 20);
	sp_connect(s, &dead);
	start = now_ms();
	await_counter(s, sp_reconnects, 20);
	EXPECT_LT(now_ms() - start, 20 * (20 + slow_ms(30)));
	close(s);
	attacker_kill(&a);
}

/* Somebody in a user namespace of his own is still himself. */
TEST_F_TIMEOUT(dialers, user_is_one_in_all_namespaces_of_his, 120)
{
	const int others = at_speed(400);
	struct addr dead = nowhere(AF_INET);
	struct attacker a;
	int status;
	int64_t start;
	pid_t pid;

	attacker_start(&a, 1, others, &dead);
	meet_await(&a.ready);
	pass_ms(300);
	pid = (pid_t)must(fork());
	if (!pid) {
		int s;

		must(setresuid(NOBODY, NOBODY, NOBODY));
		if (unshare(CLONE_NEWUSER) < 0)
			_exit(4);
		s = sp_open(SOCK_REQ);
		sp_set(s, SP_RECONNECT_IVL, 1);
		sp_connect(s, &dead);
		start = now_ms();
		await_counter(s, sp_reconnects, 1);
		/* It draws from half of the mean to three halves of it. */
		_exit(now_ms() - start > others * STEP_MS * 2 / 5 ? 0 : 1);
	}
	status = child_status(pid);
	attacker_kill(&a);
	if (status == 4 << 8)
		SKIP(return, "no user namespaces");
	EXPECT_EQ(0, status);
}

/* Accepts, greets and hangs up, as fast as it can. */
static void greet_and_hang_up(void *arg)
{
	static const unsigned char rep[] = { 0, 'S', 'P', 0, 0, 0x31, 0, 0 };
	int l = *(int *)arg;

	for (;;) {
		int fd = accept(l, NULL, NULL);

		if (fd < 0)
			return;
		if (write(fd, rep, sizeof(rep)) < 0)
			errno = 0;
		close(fd);
	}
}

TEST_F_TIMEOUT(dialers, peers_that_greet_and_hang_up_are_dialed_no_faster, 120)
{
	const int dialers = at_speed(200);
	uint64_t redials, before;
	int64_t start;
	struct task task;
	struct addr to;
	int l = raw_listen(&to), s = sp_open(SOCK_REQ);

	task_start(&task, greet_and_hang_up, &l);
	sp_set(s, SP_RECONNECT_IVL, 1);
	for (int i = 0; i < dialers; i++)
		sp_connect(s, &to);
	pass_ms(500);
	start = now_ms();
	before = counter(s, sp_reconnects);
	await_counter(s, sp_reconnects, before + 10);
	pass_ms(2000);
	redials = counter(s, sp_reconnects) - before;
	start = now_ms() - start;
	TH_LOG("in %lld ms %llu dials", (long long)start, (unsigned long long)redials);
	EXPECT_LT(redials, start / STEP_MS * 3 / 2 + 100);
	close(s);
	shutdown(l, SHUT_RDWR);
	task_join(&task);
	close(l);
}

TEST_F_TIMEOUT(dialers, dialers_that_get_through_are_counted_no_more, 120)
{
	const int dialers = at_speed(200);
	struct addr to = nowhere(AF_INET), dead;
	int64_t start;
	int req = sp_open(SOCK_REQ), other, rep, far;

	sp_set(req, SP_RECONNECT_IVL, 1);
	for (int i = 0; i < dialers; i++)
		sp_connect(req, &to);
	pass_ms(500);
	rep = sp_open(SOCK_REP);
	must(bind(rep, &to.sa, to.len));
	await_peers(req, dialers);
	/* Those that just came up may still be lost again. */
	pass_ms(1500);
	far = raw_listen(&dead);
	close(far);
	other = sp_open(SOCK_REQ);
	sp_set(other, SP_RECONNECT_IVL, 20);
	sp_connect(other, &dead);
	start = now_ms();
	await_counter(other, sp_reconnects, 20);
	/* It would be 200 times 4 ms each. */
	EXPECT_LT(now_ms() - start, 20 * (20 + slow_ms(30)));
	close(other);
	close(rep);
	close(req);
}

SP_TEST_MAIN
