// SPDX-License-Identifier: GPL-2.0
/*
 * PUSH and PULL against raw TCP peers.
 *
 * Conformance to the protocol as nanomsg and nng speak it, seen from a raw TCP
 * peer: one test for each case, named by its number in conformance.md.
 */
#include "sptest.h"

static int pull_with(int *peer)
{
	struct addr addr;
	int pull = sp_listener(SOCK_PULL, &addr);

	*peer = raw_peer(SOCK_PUSH, &addr);
	await_peers(pull, 1);
	return pull;
}

static int push_with(int *peer, int n)
{
	struct addr addr;
	int push = sp_listener(SOCK_PUSH, &addr), i;

	for (i = 0; i < n; i++) {
		peer[i] = raw_peer(SOCK_PULL, &addr);
		await_peers(push, i + 1);
	}
	return push;
}

static void send_work(void *arg)
{
	sp_send(*(int *)arg, LIT("work"));
}

TEST(case_08_push_waits_for_the_greeting)
{
	struct addr addr;
	int push = sp_listener(SOCK_PUSH, &addr), peer;
	struct task sender;

	task_start(&sender, send_work, &push);
	task_await_asleep(&sender);
	peer = raw_connect(&addr);
	raw_expect_greeting(peer, SOCK_PUSH);
	raw_expect_quiet(peer);
	raw_greet(peer, SOCK_PULL);
	task_join(&sender);
	raw_expect_frame(peer, LIT("work"));
}

TEST(case_11_pull_any_split)
{
	struct bytes b = { 0 };
	int peer, pull = pull_with(&peer);

	bytes_frame(&b, LIT("a"));
	bytes_frame(&b, LIT(""));
	bytes_frame(&b, LIT("bc"));
	bytes_frame(&b, LIT("dddd"));
	raw_write(peer, b.at, b.len - 2);
	raw_await_acked(peer);
	sp_expect(pull, LIT("a"));
	sp_expect(pull, LIT(""));
	sp_expect(pull, LIT("bc"));
	sp_expect_nothing(pull);
	raw_write(peer, b.at + b.len - 2, 2);
	sp_expect(pull, LIT("dddd"));
}

TEST(case_12_pull_limit_counts_before_the_body)
{
	struct addr addr;
	int pull = sp_open(SOCK_PULL), peer;

	sp_set(pull, SP_RCVMAXSIZE, 8);
	addr = sp_bind(pull, AF_INET);
	peer = raw_peer(SOCK_PUSH, &addr);
	raw_frame(peer, LIT("12345678"));
	sp_expect(pull, LIT("12345678"));
	raw_header(peer, 9);
	raw_expect_closed(peer);
	sp_expect_nothing(pull);
	EXPECT_EQ(1, counter(pull, sp_rx_oversize));
}

TEST(case_16_pull_frames_then_fin)
{
	int peer, i, pull = pull_with(&peer);
	char body[] = "0";

	for (i = 0; i < 5; i++, body[0]++)
		raw_frame(peer, body, 1);
	close(peer);
	await_peers(pull, 0);
	for (i = 0, body[0] = '0'; i < 5; i++, body[0]++)
		sp_expect(pull, body, 1);
	sp_expect_nothing(pull);
}

TEST(case_41_pull_fair_queue)
{
	struct addr addr;
	int pull = sp_listener(SOCK_PULL, &addr);

	raw_expect_turns(pull, SOCK_PUSH, &addr);
}

TEST(case_49_pipeline_wrong_direction)
{
	int push = sp_open(SOCK_PUSH), pull = sp_open(SOCK_PULL);
	struct addr addr = sp_bind(push, AF_INET);
	char c;

	must_fail(EOPNOTSUPP, recv(push, &c, 1, 0));
	must_fail(EOPNOTSUPP, send(pull, "x", 1, MSG_NOSIGNAL));
	expect_events(0, push);
	sp_connect(pull, &addr);
	await_peers(push, 1);
	await_peers(pull, 1);
	must_fail(EOPNOTSUPP, recv(push, &c, 1, MSG_DONTWAIT));
	must_fail(EOPNOTSUPP, recv(push, &c, 1, MSG_PEEK));
	must_fail(EOPNOTSUPP, send(pull, "x", 1, MSG_DONTWAIT | MSG_NOSIGNAL));
	expect_events(POLLOUT, push);
	expect_events(0, pull);
}

TEST(case_50_push_in_turn)
{
	int peer[3], push = push_with(peer, 3), i;
	char body[] = "0";

	for (i = 0; i < 9; i++, body[0]++) {
		sp_send(push, body, 1);
		raw_expect_frame(peer[i % 3], body, 1);
	}
}

/* What one of them has no room for goes to the other, and at last to nobody. */
TEST(case_50_push_stops_when_all_are_full)
{
	const size_t len = 10000;
	unsigned char *body = filler(len, 1), *seen = malloc(len);
	struct addr addr;
	int push = sp_open(SOCK_PUSH), slow, fast, sent = 0, i;

	ASSERT_NE(NULL, seen);
	sol_set(push, SO_SNDBUF, 65536);
	addr = sp_bind(push, AF_INET);
	slow = raw_peer_small(SOCK_PULL, &addr);
	await_peers(push, 1);
	/* Until nothing moves any more. */
	do {
		while (send(push, body, len, MSG_DONTWAIT) == (ssize_t)len)
			ASSERT_GT(3000, ++sent);
		ASSERT_EQ(EAGAIN, errno);
	} while (becomes_ready(push, POLLOUT));

	/* Another one takes all from here on, though it is the slow one's turn. */
	fast = raw_peer_small(SOCK_PULL, &addr);
	await_peers(push, 2);
	expect_out(push);
	for (i = 0; i < 20; i++) {
		must_eq(len, send(push, body, len, MSG_DONTWAIT));
		must_eq(len, raw_read_frame(fast, seen, len));
	}
	close(fast);
	await_peers(push, 1);
	expect_not_out(push);
	must_fail(EAGAIN, send(push, body, len, MSG_DONTWAIT));

	/* And it goes on where it was, with whole frames and none missing. */
	for (i = 0; i < sent; i++) {
		must_eq(len, raw_read_frame(slow, seen, len));
		must_be(!memcmp(body, seen, len));
	}
	await_out(push);
	sp_send(push, LIT("more"));
	raw_expect_frame(slow, LIT("more"));
	EXPECT_EQ(0, counter(push, sp_tx_dropped));
	free(body);
	free(seen);
}

TEST(case_51_push_gets_data)
{
	int peer, push = push_with(&peer, 1);

	raw_frame(peer, LIT("bogus"));
	raw_frame(peer, LIT(""));
	await_counter(push, sp_rx_malformed, 2);
	expect_events(POLLOUT, push);
	raw_expect_quiet(peer);
	sp_send(push, LIT("work"));
	raw_expect_frame(peer, LIT("work"));
	EXPECT_EQ(1, sp_get(push, SP_PEERS));
}

TEST(push_priorities)
{
	static const int priority[] = { 9, 2 };
	int push = sp_open(SOCK_PUSH), peer[2], p, i;

	for (p = 0; p < 2; p++) {
		struct addr addr;

		sp_set(push, SP_SNDPRIO, priority[p]);
		addr = sp_bind(push, AF_INET);
		peer[p] = raw_peer(SOCK_PULL, &addr);
		await_peers(push, p + 1);
	}
	for (i = 0; i < 3; i++) {
		sp_send(push, LIT("first"));
		raw_expect_frame(peer[1], LIT("first"));
	}
	close(peer[1]);
	await_peers(push, 1);
	sp_send(push, LIT("spare"));
	raw_expect_frame(peer[0], LIT("spare"));
}

TEST(pull_priorities)
{
	static const int priority[] = { 8, 2 };
	int pull = sp_open(SOCK_PULL), peer[2], p, i;

	for (p = 0; p < 2; p++) {
		struct addr addr;

		sp_set(pull, SP_RCVPRIO, priority[p]);
		addr = sp_bind(pull, AF_INET);
		peer[p] = raw_peer(SOCK_PUSH, &addr);
		await_peers(pull, p + 1);
		for (i = 0; i < 2; i++)
			raw_frame(peer[p], &"ab"[p], 1);
		raw_await_acked(peer[p]);
	}
	for (p = 1; p >= 0; p--)
		for (i = 0; i < 2; i++)
			sp_expect(pull, &"ab"[p], 1);
}

SP_TEST_MAIN
