// SPDX-License-Identifier: GPL-2.0
/*
 * A socket with thousands of peers: whatever is done with it, nobody else waits
 * for long, and a message still reaches all of them in one and the same order.
 *
 * What is measured is how late a real-time thread wakes up that shares its CPU
 * with the call. A busy host delays it as well, but not each time: what is
 * promised is asked for where time is work, and the best of some rounds counts,
 * each of which makes the call.
 */
#include "sptest.h"

#include <endian.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/resource.h>

/* As few bytes as a socket may be told to hold. */
enum { LEAST_SNDBUF = 4608 };

/* Every peer is a descriptor here. */
static void many_files(void)
{
	const struct rlimit files = { 20000, 20000 };

	must(setrlimit(RLIMIT_NOFILE, &files));
}

/*
 * So many raw subscribers in some order of connecting, none of which reads. In
 * batches, because a greeting takes a trip and a backlog is short.
 */
struct audience {
	int fd[10000];
	int n;
};

static void audience_join(struct audience *c, int n, const struct addr *to,
		       bool narrow)
{
	enum { BATCH = 64 };
	int i, j;

	for (i = 0; i < n; i += BATCH) {
		int *fd = c->fd + c->n, batch = n - i < BATCH ? n - i : BATCH;

		for (j = 0; j < batch; j++) {
			fd[j] = narrow ? raw_connect_narrow(to) :
					 raw_connect(to);
			raw_greet(fd[j], SOCK_SUB);
		}
		for (j = 0; j < batch; j++)
			raw_expect_greeting(fd[j], SOCK_PUB);
		c->n += batch;
	}
}

static void audience_leave(struct audience *c)
{
	while (c->n)
		raw_reset(c->fd[--c->n]);
}

static struct audience audience;

/* The thread that wants to run each millisecond. */
static struct {
	struct task task;
	bool stop;
	int ticks;
	int64_t worst_us;
} watch;

static void pin(void)
{
	cpu_set_t first;

	CPU_ZERO(&first);
	CPU_SET(0, &first);
	must(sched_setaffinity(0, sizeof(first), &first));
}

static void keep_time(void *arg)
{
	const struct sched_param first = { .sched_priority = 50 };
	struct timespec next;
	int64_t late;

	(void)arg;
	pin();
	must(sched_setscheduler(0, SCHED_FIFO, &first));
	clock_gettime(CLOCK_MONOTONIC, &next);
	while (!__atomic_load_n(&watch.stop, __ATOMIC_ACQUIRE)) {
		next.tv_nsec += 1000000;
		if (next.tv_nsec >= 1000000000) {
			next.tv_nsec -= 1000000000;
			next.tv_sec++;
		}
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL);
		late = now_us() - ((int64_t)next.tv_sec * 1000000 +
				   next.tv_nsec / 1000);
		if (late > __atomic_load_n(&watch.worst_us, __ATOMIC_ACQUIRE))
			__atomic_store_n(&watch.worst_us, late,
					 __ATOMIC_RELEASE);
		/* What was missed is not made up for. */
		if (late > 1000)
			clock_gettime(CLOCK_MONOTONIC, &next);
		__atomic_add_fetch(&watch.ticks, 1, __ATOMIC_RELEASE);
	}
}

/* Until the watch has told what was going on so far. */
static void await_watch(void)
{
	int seen = __atomic_load_n(&watch.ticks, __ATOMIC_ACQUIRE);
	int64_t deadline = patience();

	while (__atomic_load_n(&watch.ticks, __ATOMIC_ACQUIRE) - seen < 2)
		tick(deadline, "the real-time thread to run");
}

static void watch_start(void)
{
	watch.stop = false;
	task_start(&watch.task, keep_time, NULL);
	pin();
	await_watch();
}

static void watch_end(void)
{
	cpu_set_t all;

	__atomic_store_n(&watch.stop, true, __ATOMIC_RELEASE);
	task_join(&watch.task);
	memset(&all, 0xff, sizeof(all));
	must(sched_setaffinity(0, sizeof(all), &all));
}

static int ascending(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

/*
 * The longest delay while a call is made, over and over for 20 ms at least: the
 * least of several rounds, in microseconds.
 */
static int64_t delay_by(const char *name, int rounds, void (*call)(int s),
			int s)
{
	int64_t worst[16], begun, took, longest = 0;
	int i, calls;

	must_be(rounds <= 16);
	for (i = 0; i < rounds; i++) {
		await_watch();
		__atomic_store_n(&watch.worst_us, 0, __ATOMIC_RELEASE);
		begun = now_us();
		calls = 0;
		do {
			call(s);
			calls++;
		} while (now_us() - begun < 20000);
		took = (now_us() - begun) / calls;
		await_watch();
		worst[i] = __atomic_load_n(&watch.worst_us, __ATOMIC_ACQUIRE);
		longest = took > longest ? took : longest;
	}
	qsort(worst, (size_t)rounds, sizeof(*worst), ascending);
	printf("# %s: a call took up to %lld us; others late by %lld us at least, %lld us (median), %lld us at most\n",
	       name, (long long)longest, (long long)worst[0],
	       (long long)worst[rounds / 2], (long long)worst[rounds - 1]);
	fflush(stdout);
	return worst[0];
}

static void publish_little(int s)
{
	sp_send(s, LIT("a few bytes"));
}

static void publish_much(int s)
{
	static const char much[65536];

	sp_send(s, much, sizeof(much));
}

static void ask_info(int s)
{
	sp_info(s);
}

static void ask_unsent(int s)
{
	int bytes;

	must(ioctl(s, SIOCOUTQ, &bytes));
}

static void ask_peer(int s)
{
	struct addr peer = { .len = sizeof(peer.storage) };

	if (getpeername(s, &peer.sa, &peer.len) < 0)
		must_eq(ENOTCONN, errno);
}

static void set_nodelay(int s)
{
	int on = 1;

	must(setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)));
}

static void set_sndbuf(int s)
{
	sol_set(s, SO_SNDBUF, LEAST_SNDBUF);
}

static void read_proc(int s)
{
	int fd = (int)must(open("/proc/self/net/sp", O_RDONLY));
	static char text[65536];

	(void)s;
	while (must(read(fd, text, sizeof(text))) > 0)
		;
	close(fd);
}

/* What the machine does to it by itself, which is no call's fault. */
static void compute(int s)
{
	static volatile unsigned int n;
	int i;

	for (i = 0; i < 1000; i++)
		n = n + (unsigned int)s;
}

static int64_t bound_us;

static void bound_make(void)
{
	/* Where others work on this machine, what they do to it is no bound. */
	bound_us = slow_ms(time_is_work() ? 2 : 100) * 1000LL +
		   delay_by("nothing", 5, compute, 1);
}

/* How many of as many as there may be, where time is not work. */
static int crowd_of(int most)
{
	int fewer = at_speed(most);

	return time_is_work() || fewer < most / 5 ? fewer : most / 5;
}

#define EXPECT_IN_TIME(...) EXPECT_GE(bound_us, delay_by(__VA_ARGS__))

FIXTURE(fanout)
{
	struct addr addr;
	int pub;
};

FIXTURE_SETUP(fanout)
{
	many_files();
	self->pub = sp_open(SOCK_PUB);
	sol_set(self->pub, SO_SNDBUF, LEAST_SNDBUF);
	self->addr = sp_bind(self->pub, AF_INET);
}

FIXTURE_TEARDOWN(fanout)
{
	audience_leave(&audience);
}

TEST_F_TIMEOUT(fanout, nobody_waits_for_a_walk, 90)
{
	const int idle = crowd_of(10000);
	/* TCP's memory does not suffice for more that are stuck. */
	const int stuck = idle * 6 / 10;
	uint64_t before, sends;
	int i;

	audience_join(&audience, idle, &self->addr, true);
	await_peers(self->pub, idle);
	printf("# %d peers\n", idle);
	watch_start();
	bound_make();
	EXPECT_IN_TIME("getpeername()", 5, ask_peer, self->pub);
	EXPECT_IN_TIME("SP_INFO", 5, ask_info, self->pub);
	EXPECT_IN_TIME("SIOCOUTQ", 5, ask_unsent, self->pub);
	EXPECT_IN_TIME("setsockopt(TCP_NODELAY)", 3, set_nodelay, self->pub);
	EXPECT_IN_TIME("/proc/net/sp", 3, read_proc, self->pub);
	EXPECT_IN_TIME("send() to the idle", 3, publish_little, self->pub);
	EXPECT_EQ(0, counter(self->pub, sp_tx_dropped));

	while (audience.n > stuck)
		raw_reset(audience.fd[--audience.n]);
	await_peers(self->pub, stuck);
	/* More than they take; then none of them takes anything. */
	publish_much(self->pub);
	for (i = 0; i < 20; i++) {
		before = counter(self->pub, sp_tx_dropped);
		publish_little(self->pub);
		if (counter(self->pub, sp_tx_dropped) == before + stuck)
			break;
	}
	ASSERT_GT(20, i);
	printf("# %d peers that are stuck\n", stuck);
	before = counter(self->pub, sp_tx_dropped);
	sends = counter(self->pub, sp_tx_msgs);
	EXPECT_IN_TIME("send() to the stuck", 9, publish_little, self->pub);
	sends = counter(self->pub, sp_tx_msgs) - sends;
	EXPECT_LE(9, sends);
	/* Each of them has missed each of these. */
	EXPECT_EQ(before + sends * stuck, counter(self->pub, sp_tx_dropped));
	EXPECT_IN_TIME("setsockopt(SO_SNDBUF)", 3, set_sndbuf, self->pub);
	watch_end();
}

FIXTURE(crowded)
{
};

FIXTURE_SETUP(crowded)
{
	many_files();
}

FIXTURE_TEARDOWN(crowded)
{
	audience_leave(&audience);
}

/*
 * One peer among thousands of connections that have not greeted: it is the only
 * one, and has to be found.
 */
TEST_F_TIMEOUT(crowded, the_only_peer_among_many_connections, 90)
{
	enum { LISTENERS = 8 };
	const int each = crowd_of(500);
	struct addr addr[LISTENERS], peer = { .len = sizeof(peer.storage) },
		    local = { .len = sizeof(local.storage) };
	int sub, i, j, only;

	sub = sp_open(SOCK_SUB);
	for (i = 0; i < LISTENERS; i++)
		addr[i] = sp_bind(sub, AF_INET);
	for (j = 0; j < each; j++)
		for (i = 0; i < LISTENERS; i++)
			audience.fd[audience.n++] = raw_connect(&addr[i]);
	only = raw_peer(SOCK_PUB, &addr[0]);
	await_peers(sub, 1);
	printf("# %u connections, %u peer\n", counter(sub, sp_handshaking),
	       counter(sub, sp_pipes));
	must(getpeername(sub, &peer.sa, &peer.len));
	must(getsockname(only, &local.sa, &local.len));
	EXPECT_EQ(port_of(&local), port_of(&peer));

	watch_start();
	bound_make();
	EXPECT_IN_TIME("getpeername()", 9, ask_peer, sub);
	EXPECT_IN_TIME("SP_INFO", 5, ask_info, sub);
	EXPECT_IN_TIME("SIOCOUTQ", 5, ask_unsent, sub);
	watch_end();
}

/*
 * Order. Several threads publish at once; each message has its number. What the
 * peers have seen is then laid side by side.
 */
enum { THREADS = 4, EACH_MOST = 100, NODES = THREADS * EACH_MOST };

static struct {
	int pub, threads, each;
	size_t len;
	/* follows[a][b]: some peer had b right after a. */
	bool follows[NODES][NODES];
} order;

struct publisher {
	struct task task;
	int id;
};

static void publish_numbered(void *arg)
{
	const struct publisher *p = arg;
	/* A walk of another thread's is no reason to refuse a message. */
	int flags = p->id % 2 ? MSG_DONTWAIT : 0, i;
	unsigned char *body = filler(order.len, 1);
	uint32_t number;

	for (i = 0; i < order.each; i++) {
		number = (uint32_t)(p->id * order.each + i);
		memcpy(body, &number, sizeof(number));
		must_eq(order.len, send(order.pub, body, order.len, flags));
	}
	free(body);
}

static void publish_together(void (*meanwhile)(const struct addr *to),
			     const struct addr *to)
{
	struct publisher p[THREADS];
	int i;

	for (i = 0; i < order.threads; i++) {
		p[i].id = i;
		task_start(&p[i].task, publish_numbered, &p[i]);
	}
	if (meanwhile)
		meanwhile(to);
	for (i = 0; i < order.threads; i++)
		task_join(&p[i].task);
}

/*
 * All that a peer gets until the publisher closes, entered into the order;
 * returns how many there were. A publisher's own are in its order.
 */
static int enter_sequence(int fd, uint32_t *sequence)
{
	int last[THREADS], n, i, id;
	unsigned char *body = malloc(order.len);
	long len;

	must_be(body);
	for (i = 0; i < THREADS; i++)
		last[i] = -1;
	for (n = 0;; n++) {
		len = raw_read_frame_or_end(fd, body, order.len);
		if (len < 0)
			break;
		must_eq(order.len, len);
		must_be(n < order.threads * order.each);
		memcpy(&sequence[n], body, sizeof(*sequence));
		must_be(sequence[n] < (uint32_t)(order.threads * order.each));
		fill(body, sizeof(*sequence), 1);
		must_be_filled(body, order.len, 1);
		id = (int)sequence[n] / order.each;
		if ((int)sequence[n] <= last[id])
			die("message %u came after %d", sequence[n], last[id]);
		last[id] = (int)sequence[n];
		if (n)
			order.follows[sequence[n - 1]][sequence[n]] = true;
	}
	free(body);
	return n;
}

/* There is an order of all messages that every peer's sequence keeps. */
static void must_be_one_order(void)
{
	const int n = order.threads * order.each;
	bool gone[NODES] = { false };
	int left, a, b;

	for (left = n; left; left--) {
		/* One that follows none of the rest. */
		for (b = 0; b < n; b++) {
			if (gone[b])
				continue;
			for (a = 0; a < n; a++)
				if (!gone[a] && order.follows[a][b])
					break;
			if (a == n)
				break;
		}
		if (b == n)
			die("of %d messages, %d were seen in orders that contradict each other",
			    n, left);
		gone[b] = true;
	}
}

TEST_F_TIMEOUT(crowded, one_order_for_all, 90)
{
	const int peers = 220;
	static uint32_t first[NODES], other[NODES];
	struct addr addr;
	int i, n;

	for (order.threads = 2; order.threads <= THREADS; order.threads += 2) {
		order.pub = sp_listener(SOCK_PUB, &addr);
		order.each = (at_speed(30) + 10) / order.threads;
		order.len = 16;
		memset(order.follows, 0, sizeof(order.follows));
		audience_join(&audience, peers, &addr, false);
		await_peers(order.pub, peers);
		publish_together(NULL, NULL);
		/* Small enough for TCP's own buffers, so nothing is dropped. */
		EXPECT_EQ(0, counter(order.pub, sp_tx_dropped));
		close(order.pub);
		n = order.threads * order.each;
		must_eq(n, enter_sequence(audience.fd[0], first));
		for (i = 1; i < peers; i++) {
			must_eq(n, enter_sequence(audience.fd[i], other));
			if (memcmp(first, other, (size_t)n * sizeof(*first)))
				die("peers 0 and %d differ in their order", i);
		}
		must_be_one_order();
		audience_leave(&audience);
	}
}

/* Twenty of the first leave, and twenty others come for good. */
static void come_and_go(const struct addr *to)
{
	int i;

	for (i = 0; i < 20; i++) {
		raw_reset(audience.fd[i]);
		audience.fd[i] = audience.fd[--audience.n];
		audience_join(&audience, 1, to, false);
	}
}

/* Some miss much, some come late, some leave: all the others see one order. */
TEST_F_TIMEOUT(crowded, one_order_for_the_slow_and_the_late, 90)
{
	const int wide = 150, narrow = 100;
	static uint32_t sequence[NODES];
	int i, n, least = NODES, most = 0;
	struct addr addr;
	uint64_t dropped;

	order.threads = 3;
	order.each = at_speed(30) + 10;
	order.len = 1000;
	memset(order.follows, 0, sizeof(order.follows));
	order.pub = sp_open(SOCK_PUB);
	sol_set(order.pub, SO_SNDBUF, LEAST_SNDBUF);
	addr = sp_bind(order.pub, AF_INET);
	audience_join(&audience, wide, &addr, false);
	audience_join(&audience, narrow, &addr, true);
	await_peers(order.pub, wide + narrow);
	publish_together(come_and_go, &addr);
	dropped = counter(order.pub, sp_tx_dropped);
	EXPECT_LE(1, dropped);
	close(order.pub);
	for (i = 0; i < audience.n; i++) {
		n = enter_sequence(audience.fd[i], sequence);
		least = n < least ? n : least;
		most = n > most ? n : most;
	}
	printf("# %d messages; %d to %d of them reached a peer, %llu were dropped\n",
	       order.threads * order.each, least, most,
	       (unsigned long long)dropped);
	EXPECT_LT(least, most);
	must_be_one_order();
}

SP_TEST_MAIN
