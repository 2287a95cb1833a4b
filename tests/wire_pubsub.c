// SPDX-License-Identifier: GPL-2.0
/*
 * PUB and SUB against raw TCP peers.
 *
 * Conformance to the protocol as nanomsg and nng speak it, seen from a raw TCP
 * peer: one test for each case, named by its number in conformance.md.
 */
#include "sptest.h"

static int sub_with(int *peer)
{
	struct addr addr;
	int sub = sp_listener(SOCK_SUB, &addr);

	*peer = raw_peer(SOCK_PUB, &addr);
	await_peers(sub, 1);
	return sub;
}

TEST(case_41_sub_fair_queue)
{
	struct addr addr;
	int sub = sp_listener(SOCK_SUB, &addr);

	subscribe(sub, LIT(""));
	raw_expect_turns(sub, SOCK_PUB, &addr);
}

/* SP_RCVPRIO is strict, and that of the endpoint as it was when added. */
TEST(sub_priorities)
{
	static const int priority[] = { 8, 2, 16 };
	int sub = sp_open(SOCK_SUB), peer[3], i, p;

	subscribe(sub, LIT(""));
	for (p = 0; p < 3; p++) {
		struct addr addr;

		sp_set(sub, SP_RCVPRIO, priority[p]);
		addr = sp_bind(sub, AF_INET);
		sp_set(sub, SP_RCVPRIO, 1);
		peer[p] = raw_peer(SOCK_PUB, &addr);
		await_peers(sub, p + 1);
	}
	for (p = 0; p < 3; p++) {
		for (i = 0; i < 3; i++)
			raw_frame(peer[p], &"abc"[p], 1);
		raw_await_acked(peer[p]);
	}
	for (i = 0; i < 2; i++)
		sp_expect(sub, LIT("b"));
	raw_frame(peer[1], LIT("B"));
	raw_await_acked(peer[1]);
	sp_expect(sub, LIT("b"));
	sp_expect(sub, LIT("B"));
	for (i = 0; i < 3; i++)
		sp_expect(sub, LIT("a"));
	for (i = 0; i < 3; i++)
		sp_expect(sub, LIT("c"));
	sp_expect_nothing(sub);
}

TEST(case_42_no_subscription)
{
	int peer, sub = sub_with(&peer);

	raw_frame(peer, LIT("abc"));
	raw_frame(peer, LIT(""));
	await_counter(sub, sp_rx_filtered, 2);
	sp_expect_nothing(sub);
	/* Subscriptions never cross the wire either. */
	subscribe(sub, LIT("abc"));
	raw_expect_quiet(peer);
}

TEST(case_43_prefixes)
{
	int peer, sub = sub_with(&peer);

	subscribe(sub, LIT("ab"));
	raw_frame(peer, LIT("ab"));
	raw_frame(peer, LIT("abc"));
	raw_frame(peer, LIT("a"));
	raw_frame(peer, LIT("xab"));
	raw_frame(peer, LIT(""));
	await_counter(sub, sp_rx_filtered, 3);
	sp_expect(sub, LIT("ab"));
	sp_expect(sub, LIT("abc"));
	sp_expect_nothing(sub);

	unsubscribe(sub, LIT("ab"));
	subscribe(sub, LIT(""));
	subscribe(sub, LIT("q"));
	raw_frame(peer, LIT("q1"));
	raw_frame(peer, LIT(""));
	sp_expect(sub, LIT("q1"));
	sp_expect(sub, LIT(""));
	sp_expect_nothing(sub);
}

TEST(case_44_subscriptions_are_counted)
{
	int peer, sub = sub_with(&peer);

	subscribe(sub, LIT("ab"));
	subscribe(sub, LIT("ab"));
	unsubscribe(sub, LIT("ab"));
	raw_frame(peer, LIT("abc"));
	sp_expect(sub, LIT("abc"));
	unsubscribe(sub, LIT("ab"));
	raw_frame(peer, LIT("abc"));
	await_counter(sub, sp_rx_filtered, 1);
	sp_expect_nothing(sub);
}

TEST(case_45_unsubscribe_unknown)
{
	int peer, sub = sub_with(&peer);

	must_fail(EINVAL, setsockopt(sub, SOL_SP, SP_UNSUBSCRIBE, "x", 1));
	must_fail(EINVAL, setsockopt(sub, SOL_SP, SP_UNSUBSCRIBE, "", 0));
	subscribe(sub, LIT("abc"));
	must_fail(EINVAL, setsockopt(sub, SOL_SP, SP_UNSUBSCRIBE, "ab", 2));
	must_fail(EINVAL, setsockopt(sub, SOL_SP, SP_UNSUBSCRIBE, "abcd", 4));
	must_fail(EINVAL, setsockopt(sub, SOL_SP, SP_UNSUBSCRIBE, "", 0));
	raw_frame(peer, LIT("abcd"));
	sp_expect(sub, LIT("abcd"));
}

TEST(case_46_late_subscriber)
{
	struct addr addr;
	int pub = sp_listener(SOCK_PUB, &addr);
	int early, late;

	early = raw_peer(SOCK_SUB, &addr);
	await_peers(pub, 1);
	sp_send(pub, LIT("one"));
	late = raw_peer(SOCK_SUB, &addr);
	await_peers(pub, 2);
	sp_send(pub, LIT("two"));
	sp_send(pub, LIT(""));

	raw_expect_frame(early, LIT("one"));
	raw_expect_frame(early, LIT("two"));
	raw_expect_frame(early, LIT(""));
	raw_expect_frame(late, LIT("two"));
	raw_expect_frame(late, LIT(""));
}

struct slow_reader {
	int fd;
	size_t len;
	int last;
	bool done;
};

/* Reads frames, all whole and in order, until the one that says "end". */
static void read_to_the_end(void *arg)
{
	struct slow_reader *r = arg;
	unsigned char *buf = malloc(r->len);
	uint32_t seq;

	must_be(buf);
	for (;;) {
		size_t n = raw_read_frame(r->fd, buf, r->len);

		if (n == 3)
			break;
		must_eq(r->len, n);
		memcpy(&seq, buf, sizeof(seq));
		must_be((int)seq > r->last);
		must_be_filled(buf + 4, n - 4, seq);
		r->last = (int)seq;
	}
	must_be(!memcmp(buf, "end", 3));
	free(buf);
	__atomic_store_n(&r->done, true, __ATOMIC_RELEASE);
}

TEST(case_47_slow_subscriber)
{
	const size_t len = 10000;
	struct slow_reader slow = { .len = len, .last = -1 };
	unsigned char *body = malloc(len), *seen = malloc(len);
	struct addr addr;
	int pub = sp_open(SOCK_PUB);
	struct task reader;
	int64_t deadline;
	uint32_t seq;
	int fast;

	ASSERT_NE(NULL, body);
	ASSERT_NE(NULL, seen);
	sol_set(pub, SO_SNDBUF, 65536);
	addr = sp_bind(pub, AF_INET);
	slow.fd = raw_peer_small(SOCK_SUB, &addr);
	fast = raw_peer(SOCK_SUB, &addr);
	await_peers(pub, 2);

	/* Until the slow one has missed some; the fast one gets every one. */
	for (seq = 0; counter(pub, sp_tx_dropped) < 10; seq++) {
		ASSERT_GT(3000, seq);
		memcpy(body, &seq, sizeof(seq));
		fill(body + 4, len - 4, seq);
		expect_out(pub);
		must_eq(len, send(pub, body, len, MSG_DONTWAIT));
		must_eq(len, raw_read_frame(fast, seen, len));
		must_be(!memcmp(body, seen, len));
	}
	close(fast);

	task_start(&reader, read_to_the_end, &slow);
	deadline = patience();
	while (!__atomic_load_n(&slow.done, __ATOMIC_ACQUIRE)) {
		sp_send(pub, LIT("end"));
		tick(deadline, "the slow subscriber to get new messages");
	}
	task_join(&reader);
	EXPECT_LE(0, slow.last);
	free(body);
	free(seen);
}

TEST(case_48_pub_gets_data)
{
	static const struct {
		const char *body;
		size_t len;
	} data[] = { { LIT("x") }, { LIT("") } };
	struct addr addr;
	int pub = sp_listener(SOCK_PUB, &addr);
	int good = raw_peer(SOCK_SUB, &addr);
	size_t i;

	for (i = 0; i < ARRAY_SIZE(data); i++) {
		int fd = raw_peer(SOCK_SUB, &addr);

		await_peers(pub, 2);
		raw_frame(fd, data[i].body, data[i].len);
		raw_expect_closed(fd);
		await_peers(pub, 1);
		close(fd);
		sp_send(pub, LIT("live"));
		raw_expect_frame(good, LIT("live"));
	}
	expect_not_in(pub);
}

TEST(case_49_wrong_direction)
{
	int pub = sp_open(SOCK_PUB), sub = sp_open(SOCK_SUB);
	struct addr addr = sp_bind(pub, AF_INET);
	char c;

	must_fail(EOPNOTSUPP, recv(pub, &c, 1, 0));
	must_fail(EOPNOTSUPP, send(sub, "x", 1, MSG_NOSIGNAL));
	sp_connect(sub, &addr);
	await_peers(pub, 1);
	await_peers(sub, 1);
	must_fail(EOPNOTSUPP, recv(pub, &c, 1, MSG_DONTWAIT));
	must_fail(EOPNOTSUPP, send(sub, "x", 1, MSG_DONTWAIT | MSG_NOSIGNAL));
	expect_events(POLLOUT, pub);
	expect_events(0, sub);
}

SP_TEST_MAIN
