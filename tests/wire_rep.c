// SPDX-License-Identifier: GPL-2.0
/*
 * REP against raw TCP peers that play REQ.
 *
 * Conformance to the protocol as nanomsg and nng speak it, seen from a raw TCP
 * peer: one test for each case, named by its number in conformance.md, and
 * one for each sentence with MUST in sp-request-reply-01 that those leave out.
 */
#include "sptest.h"

#define I "\x80\0\0\1"
#define J "\x80\0\0\2"
#define HOP(n) "\0\0\0" n

static int rep_with(int *peer, int n)
{
	struct addr addr;
	int rep = sp_listener(SOCK_REP, &addr);
	int i;

	for (i = 0; i < n; i++) {
		peer[i] = raw_peer(SOCK_REQ, &addr);
		await_peers(rep, i + 1);
	}
	return rep;
}

TEST(case_31_one_reply_for_one_request)
{
	int peer, rep = rep_with(&peer, 1);

	must_fail(EBADFD, send(rep, "x", 1, MSG_NOSIGNAL));
	expect_not_out(rep);
	raw_frame(peer, LIT(I "one"));
	sp_expect(rep, LIT("one"));
	expect_out(rep);
	sp_send(rep, LIT("r"));
	raw_expect_frame(peer, LIT(I "r"));
	must_fail(EBADFD, send(rep, "x", 1, MSG_NOSIGNAL));
	expect_not_out(rep);
}

TEST(case_32_backtrace_goes_back)
{
	int peer, rep = rep_with(&peer, 1);

	raw_frame(peer, LIT(HOP("\x11") HOP("\x22") I "b"));
	sp_expect(rep, LIT("b"));
	sp_send(rep, LIT("r"));
	raw_expect_frame(peer, LIT(HOP("\x11") HOP("\x22") I "r"));
}

TEST(case_33_ttl)
{
	int peer, rep = rep_with(&peer, 1);

#define SEVEN HOP("\1") HOP("\2") HOP("\3") HOP("\4") HOP("\5") HOP("\6") \
	HOP("\7")
	raw_frame(peer, LIT(SEVEN I "x"));
	sp_expect(rep, LIT("x"));
	raw_frame(peer, LIT(SEVEN HOP("\x08") I "x"));
	await_counter(rep, sp_rx_ttl, 1);
	sp_expect_nothing(rep);

	/* The pipe is still good, and the limit is an option. */
	sp_set(rep, SP_MAXTTL, 9);
	raw_frame(peer, LIT(SEVEN HOP("\x08") I "y"));
	sp_expect(rep, LIT("y"));
	sp_set(rep, SP_MAXTTL, 1);
	raw_frame(peer, LIT(HOP("\1") I "no"));
	raw_frame(peer, LIT(I "z"));
	sp_expect(rep, LIT("z"));
	EXPECT_EQ(2, counter(rep, sp_rx_ttl));
}

TEST(case_34_requests_without_an_id)
{
	int peer, rep = rep_with(&peer, 1);

	raw_frame(peer, LIT(""));
	raw_frame(peer, LIT("abc"));
	raw_frame(peer, LIT(HOP("\1") HOP("\2")));
	await_counter(rep, sp_rx_malformed, 3);
	sp_expect_nothing(rep);
	/* The pipe is still good. */
	raw_frame(peer, LIT(I "x"));
	sp_expect(rep, LIT("x"));
}

TEST(case_35_odd_but_good_requests)
{
	int peer, rep = rep_with(&peer, 1);

	raw_frame(peer, LIT(I));
	raw_frame(peer, LIT("\xff\xff\xff\xff"
			    "Z"));
	sp_expect(rep, LIT(""));
	sp_send(rep, LIT(""));
	raw_expect_frame(peer, LIT(I));
	sp_expect(rep, LIT("Z"));
	sp_send(rep, LIT("z"));
	raw_expect_frame(peer, LIT("\xff\xff\xff\xff"
				   "z"));
}

TEST(case_36_recv_again_drops_the_first_request)
{
	int peer, rep = rep_with(&peer, 1);

	raw_frame(peer, LIT(I "one"));
	raw_frame(peer, LIT(J "two"));
	sp_expect(rep, LIT("one"));
	sp_expect(rep, LIT("two"));
	sp_send(rep, LIT("r"));
	raw_expect_frame(peer, LIT(J "r"));
	must_fail(EBADFD, send(rep, "x", 1, MSG_NOSIGNAL));
	raw_expect_quiet(peer);
}

TEST(case_37_failed_recv_keeps_the_request)
{
	int peer, rep = rep_with(&peer, 1);
	char c;

	raw_frame(peer, LIT(I "one"));
	sp_expect(rep, LIT("one"));
	must_fail(EAGAIN, recv(rep, &c, 1, MSG_DONTWAIT));
	set_timeout(rep, SO_RCVTIMEO, 20);
	must_fail(EAGAIN, recv(rep, &c, 1, 0));
	expect_out(rep);
	sp_send(rep, LIT("r"));
	raw_expect_frame(peer, LIT(I "r"));
}

TEST(case_38_requester_has_gone)
{
	int peer, rep = rep_with(&peer, 1);

	raw_frame(peer, LIT(I "one"));
	sp_expect(rep, LIT("one"));
	close(peer);
	await_peers(rep, 0);
	expect_out(rep);
	sp_send(rep, LIT("r"));
	EXPECT_EQ(1, counter(rep, sp_tx_no_peer));
	must_fail(EBADFD, send(rep, "x", 1, MSG_NOSIGNAL));
}

TEST(case_39_stalled_requester_harms_nobody)
{
	const size_t reply_len = 60000;
	const int requests = 16;
	struct addr addr;
	int rep = sp_open(SOCK_REP);
	unsigned char *buf = malloc(reply_len + 4);
	int a, b, i, whole = 0, last = -1;
	struct sp_info info;
	uint32_t id;
	long n;

	ASSERT_NE(NULL, buf);
	sol_set(rep, SO_SNDBUF, 65536);
	addr = sp_bind(rep, AF_INET);
	a = raw_peer_small(SOCK_REQ, &addr);
	for (i = 0; i < requests; i++)
		raw_reply(a, 0x80000000u + (uint32_t)i, LIT("more"));
	for (i = 0; i < requests; i++) {
		sp_expect(rep, LIT("more"));
		expect_out(rep);
		sp_send_filled(rep, reply_len, (uint32_t)i);
	}
	info = sp_info(rep);
	EXPECT_LT(0, info.sp_tx_dropped);

	b = raw_peer(SOCK_REQ, &addr);
	raw_frame(b, LIT(I "B"));
	sp_expect(rep, LIT("B"));
	sp_send(rep, LIT("b"));
	raw_expect_frame(b, LIT(I "b"));

	/* What the pipe holds arrives after close, then the end. */
	close(rep);
	while ((n = raw_read_frame_or_end(a, buf, reply_len + 4)) >= 0) {
		ASSERT_EQ(reply_len + 4, n);
		memcpy(&id, buf, 4);
		id = be32toh(id) & 0x7fffffff;
		ASSERT_LT(last, (int)id);
		last = (int)id;
		must_be_filled(buf + 4, reply_len, id);
		whole++;
	}
	EXPECT_LT(0, whole);
	EXPECT_EQ(requests - (int)info.sp_tx_dropped, whole);
	free(buf);
}

TEST(case_40_pipelined_requests_in_order)
{
	int peer, rep = rep_with(&peer, 1);
	struct bytes b = { 0 };
	char tagged[] = I "0";
	int i;

	for (i = 0; i < 5; i++, tagged[3]++, tagged[4]++)
		bytes_frame(&b, tagged, 5);
	raw_write(peer, b.at, b.len);
	tagged[3] = 1;
	tagged[4] = '0';
	for (i = 0; i < 5; i++, tagged[3]++, tagged[4]++) {
		sp_expect(rep, tagged + 4, 1);
		sp_send(rep, tagged + 4, 1);
		raw_expect_frame(peer, tagged, 5);
	}
}

TEST(case_41_fair_queue)
{
	int peer[2], rep = rep_with(peer, 2);
	char request[] = I "R0";
	char expected[] = "R0";
	int i, p;

	for (p = 0; p < 2; p++) {
		request[4] = "RQ"[p];
		for (i = 0; i < 4; i++) {
			request[3] = (char)i;
			request[5] = (char)('0' + i);
			raw_frame(peer[p], request, 6);
		}
		raw_await_acked(peer[p]);
	}
	for (i = 0; i < 4; i++) {
		expected[1] = (char)('0' + i);
		for (p = 0; p < 2; p++) {
			expected[0] = "RQ"[p];
			sp_expect(rep, expected, 2);
		}
	}
	sp_expect_nothing(rep);
}

/*
 * A client that asks again while its request waits is served once: one of the
 * last 16 of its connection that nobody has received yet is known.
 */
TEST(request_that_waits_is_not_queued_again)
{
	int peer[2], rep = rep_with(peer, 2), i;
	char request[] = I "0";

	for (i = 0; i < 3; i++)
		raw_frame(peer[0], LIT(HOP("\7") I "a"));
	raw_frame(peer[0], LIT(HOP("\x08") I "b"));
	raw_frame(peer[0], LIT(HOP("\x08") I "b"));
	await_counter(rep, sp_rx_stale, 3);
	/* Another client's of the same name is another one. */
	raw_frame(peer[1], LIT(HOP("\7") I "c"));
	raw_await_acked(peer[1]);
	sp_expect(rep, LIT("a"));
	sp_send(rep, LIT("A"));
	raw_expect_frame(peer[0], LIT(HOP("\7") I "A"));
	sp_expect(rep, LIT("c"));
	sp_send(rep, LIT("C"));
	raw_expect_frame(peer[1], LIT(HOP("\7") I "C"));
	sp_expect(rep, LIT("b"));
	sp_expect_nothing(rep);
	EXPECT_EQ(3, counter(rep, sp_rx_stale));

	for (i = 0; i < 17; i++) {
		request[3] = (char)i;
		request[4] = (char)('A' + i);
		raw_frame(peer[0], request, 5);
	}
	/* The last of them, the first of the last 16, and the one before. */
	for (i = 16; i >= 0; i -= i == 16 ? 15 : 1) {
		request[3] = (char)i;
		request[4] = (char)('A' + i);
		raw_frame(peer[0], request, 5);
	}
	await_counter(rep, sp_rx_stale, 5);
	for (i = 0; i < 18; i++) {
		request[4] = (char)('A' + i % 17);
		sp_expect(rep, request + 4, 1);
	}
	sp_expect_nothing(rep);
	EXPECT_EQ(5, counter(rep, sp_rx_stale));
}

/* One that somebody works on may be received again, until it is answered. */
TEST(request_that_waits_is_dropped_with_its_reply)
{
	int peer, rep = rep_with(&peer, 1);

	raw_frame(peer, LIT(I "one"));
	sp_expect(rep, LIT("one"));
	raw_frame(peer, LIT(I "one"));
	await_in(rep);
	sp_expect(rep, LIT("one"));
	raw_frame(peer, LIT(I "one"));
	raw_frame(peer, LIT(J "two"));
	raw_await_acked(peer);
	sp_send(rep, LIT("r"));
	EXPECT_EQ(1, counter(rep, sp_rx_stale));
	raw_expect_frame(peer, LIT(I "r"));
	sp_expect(rep, LIT("two"));
	expect_not_in(rep);

	raw_frame(peer, LIT(J "two"));
	await_in(rep);
	sp_send(rep, LIT("s"));
	raw_expect_frame(peer, LIT(J "s"));
	expect_events(0, rep);
	/* It has lost its reply, for all we know. */
	raw_frame(peer, LIT(J "two"));
	sp_expect(rep, LIT("two"));
	EXPECT_EQ(2, counter(rep, sp_rx_stale));
}

/* Queues requests that say whose they are. */
static void request_many(int peer, char name, int n)
{
	char request[] = I "?";

	request[4] = name;
	for (; n--; request[3]++)
		raw_frame(peer, request, 5);
	raw_await_acked(peer);
}

/* Receives as many requests as there are names, one from each of them. */
static void expect_one_of_each(int rep, const char *names)
{
	size_t n = strlen(names);
	char left[8], c, *found;

	strcpy(left, names);
	while (n--) {
		must_eq(1, recv(rep, &c, 1, MSG_DONTWAIT));
		found = strchr(left, c);
		if (!found)
			die("%c again, and it is the turn of %s", c, left);
		*found = ' ';
	}
}

/*
 * "REP endpoint MUST fair-queue [...] in such a way that adding or removing
 * channels don't break its fairness."
 */
TEST(must_stay_fair_as_peers_come_and_go)
{
	struct addr addr;
	int rep = sp_listener(SOCK_REP, &addr), peer[4], i;

	for (i = 0; i < 3; i++) {
		peer[i] = raw_peer(SOCK_REQ, &addr);
		await_peers(rep, i + 1);
		request_many(peer[i], "ABC"[i], 8);
	}
	expect_one_of_each(rep, "ABC");
	sp_expect(rep, LIT("A"));
	/* In the middle of a round, and so part of it. */
	peer[3] = raw_peer(SOCK_REQ, &addr);
	await_peers(rep, 4);
	request_many(peer[3], 'D', 8);
	expect_one_of_each(rep, "BCD");
	expect_one_of_each(rep, "ABCD");
	sp_expect(rep, LIT("A"));
	sp_expect(rep, LIT("B"));
	/* One that has nothing more is gone from the next round on. */
	close(peer[2]);
	await_peers(rep, 3);
	expect_one_of_each(rep, "CD");
	expect_one_of_each(rep, "ABCD");
	expect_one_of_each(rep, "ABCD");
	expect_one_of_each(rep, "ABCD");
	expect_one_of_each(rep, "ABCD");
	expect_one_of_each(rep, "D");
	sp_expect_nothing(rep);
}

SP_TEST_MAIN
