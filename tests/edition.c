// SPDX-License-Identifier: GPL-2.0
/*
 * What a PUB sends in quick succession is collected for all peers, and what can be
 * copied from and to the program's memory at once is: nobody is to notice.
 */
#include "sptest.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

enum { BURST = 60 };

static void send_burst(int pub, size_t len)
{
	uint32_t i;

	for (i = 0; i < BURST; i++)
		sp_send_filled(pub, len, i);
}

static void expect_burst(int sub, size_t len)
{
	uint32_t i;

	for (i = 0; i < BURST; i++)
		sp_expect_filled(sub, len, i);
}

/* Each as often as it likes, and none before what was sent before it. */
TEST(lengths_of_all_kinds_keep_their_order)
{
	static const size_t lengths[] = { 64, 0,    1,	1024, 64, 1025,
					  7,  9000, 64, 64,   20000 };
	const uint32_t n = (uint32_t)at_speed(1000);
	struct addr addr;
	int pub = sp_open(SOCK_PUB), subs[3];
	uint32_t i;
	size_t s;

	sol_set(pub, SO_SNDBUF, 16 << 20);
	addr = sp_bind(pub, AF_INET);
	for (s = 0; s < ARRAY_SIZE(subs); s++) {
		subs[s] = sp_open(SOCK_SUB);
		sol_set(subs[s], SO_RCVBUF, 16 << 20);
		subscribe(subs[s], LIT(""));
		sp_connect(subs[s], &addr);
	}
	await_peers(pub, ARRAY_SIZE(subs));
	for (i = 0; i < n; i++)
		sp_send_filled(pub, lengths[i / 5 % ARRAY_SIZE(lengths)], i);
	for (s = 0; s < ARRAY_SIZE(subs); s++) {
		for (i = 0; i < n; i++)
			sp_expect_filled(subs[s],
					 lengths[i / 5 % ARRAY_SIZE(lengths)],
					 i);
		sp_expect_nothing(subs[s]);
	}
	EXPECT_EQ(0, counter(pub, sp_tx_dropped));
}

/* It is given what is sent from when it is there. */
TEST(newcomer_gets_nothing_from_before)
{
	struct addr addr;
	int pub = sp_listener(SOCK_PUB, &addr), i;
	int first = raw_peer(SOCK_SUB, &addr);

	await_peers(pub, 1);
	for (i = 0; i < at_speed(30); i++) {
		int late = raw_connect(&addr), k;

		/* It is there from when it has greeted. */
		raw_expect_greeting(late, SOCK_PUB);
		for (k = 0; k < BURST; k++)
			sp_send(pub, LIT("before"));
		raw_greet(late, SOCK_SUB);
		await_peers(pub, 2);
		sp_send(pub, LIT("after"));
		raw_expect_frame(late, LIT("after"));
		for (k = 0; k < BURST; k++)
			raw_expect_frame(first, LIT("before"));
		raw_expect_frame(first, LIT("after"));
		close(late);
		await_peers(pub, 1);
	}
}

/* Whoever is parted with has what was sent before. */
TEST(who_leaves_gets_all_from_before)
{
	const struct sockaddr none = { .sa_family = AF_UNSPEC };
	int i;

	for (i = 0; i < at_speed(20); i++) {
		struct addr addr;
		int sub = sp_listener(SOCK_SUB, &addr), pub;

		subscribe(sub, LIT(""));
		pub = sp_dialer(SOCK_PUB, &addr);
		await_peers(pub, 1);
		send_burst(pub, 64);
		if (i % 2)
			must(connect(pub, &none, sizeof(none)));
		else
			close(pub);
		expect_burst(sub, 64);
		sp_expect_nothing(sub);
		if (i % 2)
			close(pub);
		close(sub);
	}
}

/* Enough for a time slice to end on the way, where that is told apart from other load. */
static int each(void)
{
	return time_is_work() ? 1000 : at_speed(200);
}

/* Who has it sent may lose the CPU, and meanwhile others collect more. */
static void send_empty_ones(void *arg)
{
	int i, n = each(), pub = *(const int *)arg;

	for (i = 0; i < n; i++)
		sp_send(pub, LIT(""));
}

TEST(many_senders_lose_nothing)
{
	enum { THREADS = 4, SUBS = 16 };
	int pub = sp_open(SOCK_PUB), subs[SUBS], i;
	struct task tasks[THREADS];
	struct addr addr;

	sol_set(pub, SO_SNDBUF, 8192);
	addr = sp_bind(pub, AF_INET);
	/* They want none of it, and TCP has room for all. */
	for (i = 0; i < SUBS; i++) {
		subs[i] = sp_open(SOCK_SUB);
		sp_connect(subs[i], &addr);
	}
	await_peers(pub, SUBS);
	for (i = 0; i < THREADS; i++)
		task_start(&tasks[i], send_empty_ones, &pub);
	for (i = 0; i < THREADS; i++)
		task_join(&tasks[i]);
	EXPECT_EQ(THREADS * each(), counter(pub, sp_tx_msgs));
	EXPECT_EQ(0, counter(pub, sp_tx_dropped));
}

/* By one call, so that they are collected however slow the machine is. */
static void send_together(int pub, int n, const char *body, size_t len)
{
	static const struct mmsghdr none;
	struct iovec vec = { (void *)body, len };
	struct mmsghdr some[200];
	int i;

	must_be(n <= (int)ARRAY_SIZE(some));
	for (i = 0; i < n; i++) {
		some[i] = none;
		some[i].msg_hdr.msg_iov = &vec;
		some[i].msg_hdr.msg_iovlen = 1;
	}
	must_eq(n, sendmmsg(pub, some, (unsigned int)n, 0));
}

struct looker {
	int pub;
	bool sets, goes, stops;
};

static void look_on(void *arg)
{
	struct looker *l = arg;
	int held, sndbuf = 1 << 20;

	while (!__atomic_load_n(&l->stops, __ATOMIC_ACQUIRE)) {
		if (!__atomic_load_n(&l->goes, __ATOMIC_ACQUIRE))
			sched_yield();
		else if (l->sets)
			must(setsockopt(l->pub, SOL_SOCKET, SO_SNDBUF, &sndbuf,
					sizeof(sndbuf)));
		else
			must(ioctl(l->pub, SIOCOUTQ, &held));
	}
}

/* Whoever has what was collected sent, at any moment: all the rest is, too. */
TEST(nothing_is_held_back_whoever_looks)
{
	static const char body[64];
	int sets, i;

	for (sets = 0; sets < 2; sets++) {
		struct pair p = sp_pair(SOCK_PUB, SOCK_SUB);
		struct looker l = { .pub = p.bound, .sets = sets };
		int64_t end = now_ms() + 2500;
		struct task task;
		int n;

		subscribe(p.connected, LIT(""));
		task_start(&task, look_on, &l);
		for (n = 2; now_ms() < end; n = 2 + n % 150) {
			__atomic_store_n(&l.goes, true, __ATOMIC_RELEASE);
			send_together(p.bound, 33, body, sizeof(body));
			send_together(p.bound, n, body, sizeof(body));
			__atomic_store_n(&l.goes, false, __ATOMIC_RELEASE);
			for (i = 0; i < 33 + n; i++)
				sp_expect(p.connected, body, sizeof(body));
		}
		__atomic_store_n(&l.stops, true, __ATOMIC_RELEASE);
		task_join(&task);
		EXPECT_EQ(0, counter(p.bound, sp_tx_dropped));
		close(p.bound);
		close(p.connected);
	}
}

struct burster {
	int pub;
	bool goes, stops;
};

static void send_bursts(void *arg)
{
	struct burster *b = arg;

	while (!__atomic_load_n(&b->stops, __ATOMIC_ACQUIRE)) {
		if (!__atomic_load_n(&b->goes, __ATOMIC_ACQUIRE)) {
			sched_yield();
			continue;
		}
		send_together(b->pub, BURST, "not yet?", 8);
		send_together(b->pub, BURST, "not yet?", 8);
		__atomic_store_n(&b->goes, false, __ATOMIC_RELEASE);
	}
}

/* Also who comes, in an old one's place, while the others are just given something. */
TEST(newcomer_gets_all_from_when_it_is_there)
{
	enum { SLOW = 60 };
	static const char body[2000];
	struct addr addr;
	int pub = sp_open(SOCK_PUB), slow[SLOW], first, i, round;
	struct burster b = { .pub = pub };
	int64_t end;
	struct task task;

	sol_set(pub, SO_SNDBUF, 16 << 20);
	addr = sp_bind(pub, AF_INET);
	first = raw_peer(SOCK_SUB, &addr);
	await_peers(pub, 1);
	for (i = 0; i < SLOW; i++)
		slow[i] = raw_peer_narrow(SOCK_SUB, &addr);
	await_peers(pub, SLOW + 1);
	close(first);
	await_peers(pub, SLOW);
	/* They are given what follows one by one. */
	while (counter(pub, sp_tx_queued) < SLOW * 3 * sizeof(body)) {
		sp_send(pub, body, sizeof(body));
		pass_ms(1);
	}
	task_start(&task, send_bursts, &b);
	end = now_ms() + 6000;
	for (round = 0; round < 200 && now_ms() < end; round++) {
		int late = raw_connect(&addr);
		volatile int spin;
		char got[8];

		raw_expect_greeting(late, SOCK_PUB);
		__atomic_store_n(&b.goes, true, __ATOMIC_RELEASE);
		for (spin = 0; spin < round % 64 * 2000; spin++)
			;
		raw_greet(late, SOCK_SUB);
		while (__atomic_load_n(&b.goes, __ATOMIC_ACQUIRE))
			sched_yield();
		await_peers(pub, SLOW + 1);
		send_together(pub, BURST, "all come", 8);
		do
			must_eq(8, raw_read_frame(late, got, sizeof(got)));
		while (!memcmp(got, "not yet?", 8));
		must_be(!memcmp(got, "all come", 8));
		for (i = 1; i < BURST; i++)
			raw_expect_frame(late, LIT("all come"));
		close(late);
		await_peers(pub, SLOW);
	}
	__atomic_store_n(&b.stops, true, __ATOMIC_RELEASE);
	task_join(&task);
	for (i = 0; i < SLOW; i++)
		close(slow[i]);
}

/* What was collected when there was more has had room. */
TEST(less_room_loses_nothing)
{
	struct pair p = sp_pair(SOCK_PUB, SOCK_SUB);
	static const char body[600];
	int i;

	subscribe(p.connected, LIT(""));
	for (i = 0; i < BURST; i++)
		must_eq((int)sizeof(body),
			send(p.bound, body, sizeof(body), 0));
	sol_set(p.bound, SO_SNDBUF, 4608);
	for (i = 0; i < BURST; i++)
		sp_expect(p.connected, body, sizeof(body));
	EXPECT_EQ(0, counter(p.bound, sp_tx_dropped));
}

/* To the message, whenever it asks. */
TEST(program_is_told_what_is_queued_and_dropped)
{
	struct addr addr;
	int pub = sp_open(SOCK_PUB), slow, held, sent = 0;
	uint64_t dropped, i;

	sol_set(pub, SO_SNDBUF, 32768);
	addr = sp_bind(pub, AF_INET);
	slow = raw_peer_narrow(SOCK_SUB, &addr);
	await_peers(pub, 1);
	do {
		for (i = 0; i < 7; i++, sent++)
			sp_send(pub, LIT("0123456789"));
		must_be(sent < 10000000);
		dropped = counter(pub, sp_tx_dropped);
	} while (dropped < 1000);
	must(ioctl(pub, SIOCOUTQ, &held));
	EXPECT_EQ(held, counter(pub, sp_tx_queued));
	/* Each counts for 202: ten bytes, and what any message does. */
	EXPECT_GE(2 * 32768 / 202 * 10 + 10, held);
	EXPECT_EQ(sent, counter(pub, sp_tx_msgs));
	dropped = counter(pub, sp_tx_dropped);
	for (i = 0; i < sent - dropped; i++)
		raw_expect_frame(slow, LIT("0123456789"));
	raw_expect_quiet(slow);
	must(ioctl(pub, SIOCOUTQ, &held));
	EXPECT_EQ(0, held);
	EXPECT_EQ(dropped, counter(pub, sp_tx_dropped));
}

/* Pages that are not there yet: they are waited for, and nothing else is. */
TEST(memory_that_is_not_there_will_do)
{
	static const int types[] = { SOCK_PUSH, SOCK_PUB };
	const size_t page = (size_t)sysconf(_SC_PAGESIZE), len = 600;
	size_t t;
	int i;

	for (t = 0; t < ARRAY_SIZE(types); t++) {
		struct pair p = sp_pair(types[t], peer_type(types[t]));
		unsigned char *from = mmap(NULL, (BURST + 1) * page, PROT_READ,
					   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		unsigned char *to = mmap(NULL, (BURST + 1) * page,
					 PROT_READ | PROT_WRITE,
					 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		must_be(from != MAP_FAILED && to != MAP_FAILED);
		if (types[t] == SOCK_PUB)
			subscribe(p.connected, LIT(""));
		/* Each ends in the next page. */
		for (i = 0; i < BURST; i++) {
			sp_send_filled(p.bound, len, (uint32_t)i);
			must_eq((int)len,
				send(p.bound, from + i * page + page - len / 2,
				     len, 0));
		}
		for (i = 0; i < BURST; i++) {
			unsigned char *body = to + i * page + page - len / 2;
			unsigned char zeroes[600] = { 0 };

			must_eq((int)len, recv(p.connected, body, len, 0));
			must_be_filled(body, len, (uint32_t)i);
			sp_expect(p.connected, zeroes, len);
		}
		sp_expect_nothing(p.connected);
		munmap(from, (BURST + 1) * page);
		munmap(to, (BURST + 1) * page);
		close(p.bound);
		close(p.connected);
	}
}

/* And what is not there at all is told, and changes nothing for the others. */
TEST(memory_that_is_none_is_refused)
{
	static const int types[] = { SOCK_PUSH, SOCK_PUB };
	const size_t page = (size_t)sysconf(_SC_PAGESIZE), len = 600;
	size_t t;
	int i;

	for (t = 0; t < ARRAY_SIZE(types); t++) {
		struct pair p = sp_pair(types[t], peer_type(types[t]));
		unsigned char *both = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE,
					   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		must_be(both != MAP_FAILED);
		munmap(both + page, page);
		if (types[t] == SOCK_PUB)
			subscribe(p.connected, LIT(""));
		for (i = 0; i < BURST; i++) {
			sp_send_filled(p.bound, len, (uint32_t)i);
			must_fail(EFAULT, send(p.bound, both + page - len / 2,
					       len, 0));
		}
		EXPECT_EQ(BURST, counter(p.bound, sp_tx_msgs));
		expect_burst(p.connected, len);
		sp_expect_nothing(p.connected);
		munmap(both, page);
		close(p.bound);
		close(p.connected);
	}
}

/*
 * However far the others are behind, and whatever is collected for them: in the callback
 * in which a peer has greeted nobody is given anything.
 */
TEST(newcomer_costs_nobody_anything)
{
	enum { BEHIND = 40 };
	static const char body[2000];
	struct addr addr;
	int pub = sp_listener(SOCK_PUB, &addr), slow[BEHIND], i, n;

	if (!time_is_work())
		SKIP(return, "time is not work here");
	for (i = 0; i < BEHIND; i++)
		slow[i] = raw_peer_narrow(SOCK_SUB, &addr);
	await_peers(pub, BEHIND);
	/* Behind these what follows cannot be copied. */
	while (counter(pub, sp_tx_queued) < BEHIND * 3 * sizeof(body)) {
		sp_send(pub, body, sizeof(body));
		pass_ms(1);
	}
	for (n = 0; n <= BURST; n += BURST) {
		int late = raw_connect(&addr);
		int64_t us;

		raw_expect_greeting(late, SOCK_PUB);
		pass_ms(20);
		for (i = 0; i < n; i++)
			sp_send(pub, LIT(""));
		us = now_us();
		raw_greet(late, SOCK_SUB);
		us = now_us() - us;
		printf("# %d collected: greeting took %lld us\n", n,
		       (long long)us);
		fflush(stdout);
		EXPECT_GT(200, us);
		close(late);
	}
	for (i = 0; i < BEHIND; i++)
		close(slow[i]);
}

SP_TEST_MAIN
