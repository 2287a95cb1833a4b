// SPDX-License-Identifier: GPL-2.0
/*
 * REQ against raw TCP peers that play REP.
 *
 * Conformance to the protocol as nanomsg and nng speak it, seen from a raw TCP
 * peer: one test for each case, named by its number in conformance.md, and
 * one for each sentence with MUST in sp-request-reply-01 that those leave out.
 */
#include "sptest.h"

/* A listening REQ and n peers, in the order in which their pipes came up. */
static int req_with(int *peer, int n)
{
	struct addr addr;
	int req = sp_listener(SOCK_REQ, &addr);
	int i;

	for (i = 0; i < n; i++) {
		peer[i] = raw_peer(SOCK_REP, &addr);
		await_peers(req, i + 1);
	}
	return req;
}

/* Which of the peers has something to read; waits for the first. */
static int who_got_it(const int *peer, int n)
{
	int64_t deadline = patience();
	int i;

	for (;;) {
		for (i = 0; i < n; i++)
			if (ready(peer[i], POLLIN) & POLLIN)
				return i;
		tick(deadline, "any peer to get the request");
	}
}

TEST(case_18_ids)
{
	int peer, req = req_with(&peer, 1);
	uint32_t first, second;

	sp_send(req, LIT("one"));
	first = raw_expect_request(peer, LIT("one"));
	sp_send(req, LIT("two"));
	second = raw_expect_request(peer, LIT("two"));
	/* 31 bits that count up and wrap; the top bit is always set. */
	EXPECT_EQ((first + 1) | 0x80000000, second);
}

TEST(case_19_one_reply_for_one_request)
{
	int peer, req = req_with(&peer, 1);
	const int interval = 200 + slow_ms(2);
	int i, resends;
	uint32_t id;
	char c;

	sp_set(req, SP_REQ_RESEND_IVL, interval);
	must_fail(EBADFD, recv(req, &c, 1, 0));
	expect_not_in(req);
	sp_send(req, LIT("Q"));
	id = raw_expect_request(peer, LIT("Q"));
	raw_reply(peer, id, LIT("R"));
	await_in(req);
	/* On a busy machine that may have taken longer than the interval. */
	resends = counter(req, sp_resends);
	for (i = 0; i < resends; i++)
		EXPECT_EQ(id, raw_expect_request(peer, LIT("Q")));
	sp_expect(req, LIT("R"));
	expect_not_in(req);
	must_fail(EBADFD, recv(req, &c, 1, 0));
	/* Answered, so never resent. */
	pass_ms(interval + interval / 4);
	raw_expect_quiet(peer);
	EXPECT_EQ(resends, counter(req, sp_resends));
}

TEST(case_20_reply_to_a_replaced_request)
{
	int peer, req = req_with(&peer, 1);
	uint32_t old, new;

	sp_send(req, LIT("old"));
	old = raw_expect_request(peer, LIT("old"));
	sp_send(req, LIT("new"));
	new = raw_expect_request(peer, LIT("new"));

	raw_reply(peer, old, LIT("X"));
	await_counter(req, sp_rx_stale, 1);
	sp_expect_nothing(req);
	raw_reply(peer, new, LIT("R"));
	sp_expect(req, LIT("R"));
}

TEST(case_21_bad_replies_are_ignored)
{
	int peer, req = req_with(&peer, 1);
	struct bytes deep = { 0 };
	uint32_t id, tag;

	sp_send(req, LIT("Q"));
	id = raw_expect_request(peer, LIT("Q"));

	raw_reply(peer, id & 0x7fffffff, LIT("X"));
	tag = htobe32(7);
	bytes_add(&deep, &tag, sizeof(tag));
	tag = htobe32(id);
	bytes_add(&deep, &tag, sizeof(tag));
	raw_frame(peer, deep.at, deep.len);
	raw_frame(peer, LIT("abc"));
	raw_frame(peer, LIT(""));
	await_refused(req, 4);
	sp_expect_nothing(req);

	/* The pipe is still good. */
	raw_reply(peer, id, LIT("R"));
	sp_expect(req, LIT("R"));
	EXPECT_EQ(1, sp_get(req, SP_PEERS));
}

TEST(reply_too_long_is_known_by_its_tag)
{
	int peer[3], req = req_with(peer, 3), i;
	uint32_t id, be;
	char c;

	sp_set(req, SP_RCVMAXSIZE, 8);
	sp_send(req, LIT("Q"));
	i = who_got_it(peer, 3);
	id = raw_expect_request(peer[i], LIT("Q"));
	/* As long as can be. */
	raw_reply(peer[i], id, LIT("12345678"));
	sp_expect(req, LIT("12345678"));

	sp_send(req, LIT("Q"));
	i = who_got_it(peer, 3);
	id = raw_expect_request(peer[i], LIT("Q"));
	/* Not ours: another connection is gone, no more. */
	be = htonl(id + 1);
	raw_header(peer[(i + 1) % 3], 13);
	raw_write(peer[(i + 1) % 3], &be, 4);
	raw_expect_closed(peer[(i + 1) % 3]);
	await_counter(req, sp_rx_oversize, 1);
	must_fail(EAGAIN, recv(req, &c, 1, MSG_DONTWAIT));
	/* The end of its connection is not the news, that it is too long is. */
	sp_set(req, SP_REQ_RESEND_IVL, 0);
	be = htonl(id);
	raw_header(peer[i], UINT64_MAX);
	raw_write(peer[i], &be, 3);
	raw_await_acked(peer[i]);
	must_fail(EAGAIN, recv(req, &c, 1, MSG_DONTWAIT));
	raw_write(peer[i], (char *)&be + 3, 1);
	raw_expect_closed(peer[i]);
	must_fail(EMSGSIZE, recv(req, &c, 1, 0));
	must_fail(EBADFD, recv(req, &c, 1, 0));
	EXPECT_EQ(2, counter(req, sp_rx_oversize));
	EXPECT_EQ(0, counter(req, sp_rx_partial));

	sp_send(req, LIT("Q"));
	i = who_got_it(peer, 3);
	raw_reply(peer[i], raw_expect_request(peer[i], LIT("Q")), LIT("R"));
	sp_expect(req, LIT("R"));
}

TEST(case_22_unread_reply_stands)
{
	int peer, req = req_with(&peer, 1);
	uint32_t id;
	char c;

	sp_send(req, LIT("Q"));
	id = raw_expect_request(peer, LIT("Q"));
	raw_reply(peer, id, LIT("R"));
	await_in(req);
	raw_reply(peer, id, LIT("DUP"));
	raw_reply(peer, id + 1, LIT("OTHER"));
	raw_frame(peer, LIT("ab"));
	await_refused(req, 3);
	sp_expect(req, LIT("R"));
	must_fail(EBADFD, recv(req, &c, 1, 0));
	expect_not_in(req);
}

TEST(case_23_resends_every_interval)
{
	int peer, req = req_with(&peer, 1);
	const int interval = 200;
	int64_t start = now_ms(), last = start;
	int i, in_time = 0;
	uint32_t id;

	sp_set(req, SP_REQ_RESEND_IVL, interval);
	sp_send(req, LIT("Q"));
	id = raw_expect_request(peer, LIT("Q"));
	for (i = 1; i <= 6; i++) {
		EXPECT_EQ(id, raw_expect_request(peer, LIT("Q")));
		/* Not early but for a timer tick; late by what a hop costs ... */
		EXPECT_LE(i * interval - 20, now_ms() - start);
		in_time += now_ms() - last <= interval + 100 + slow_ms(10);
		last = now_ms();
	}
	/* ... but for when the machine does something else. */
	EXPECT_LE(3, in_time);
	await_counter(req, sp_resends, 6);
}

TEST(case_24_resend_when_the_pipe_dies)
{
	int peer[2], req = req_with(peer, 2);
	int64_t start;
	uint32_t id;
	int got;

	sp_send(req, LIT("Q"));
	got = who_got_it(peer, 2);
	id = raw_expect_request(peer[got], LIT("Q"));
	start = now_ms();
	close(peer[got]);
	EXPECT_EQ(id, raw_expect_request(peer[!got], LIT("Q")));
	EXPECT_GE(AT_ONCE_MS, now_ms() - start);
	EXPECT_EQ(1, counter(req, sp_resends));
	raw_reply(peer[!got], id, LIT("R"));
	sp_expect(req, LIT("R"));
}

TEST(case_25_resend_on_the_redialed_pipe)
{
	struct addr addr;
	int l = raw_listen(&addr);
	int req = sp_dialer(SOCK_REQ, &addr);
	int peer = raw_peer_accept(SOCK_REP, l);
	uint32_t id;

	sp_send(req, LIT("Q"));
	id = raw_expect_request(peer, LIT("Q"));
	close(peer);
	peer = raw_peer_accept(SOCK_REP, l);
	EXPECT_EQ(id, raw_expect_request(peer, LIT("Q")));
	raw_reply(peer, id, LIT("R"));
	sp_expect(req, LIT("R"));
}

TEST(case_26_reply_on_another_pipe)
{
	int peer[2], req = req_with(peer, 2);
	uint32_t id;
	int got;

	sp_send(req, LIT("Q"));
	got = who_got_it(peer, 2);
	id = raw_expect_request(peer[got], LIT("Q"));
	raw_reply(peer[!got], id, LIT("R"));
	sp_expect(req, LIT("R"));
}

TEST(case_27_timed_out_recv_keeps_the_request)
{
	int peer, req = req_with(&peer, 1);
	uint32_t id;
	char c;

	sp_send(req, LIT("Q"));
	id = raw_expect_request(peer, LIT("Q"));
	set_timeout(req, SO_RCVTIMEO, 100);
	must_fail(EAGAIN, recv(req, &c, 1, 0));
	raw_reply(peer, id, LIT("R"));
	set_timeout(req, SO_RCVTIMEO, PATIENCE_MS);
	sp_expect(req, LIT("R"));
}

TEST(case_28_empty_reply)
{
	int peer, req = req_with(&peer, 1);
	uint32_t id;

	sp_send(req, LIT(""));
	id = raw_expect_request(peer, LIT(""));
	raw_reply(peer, id, LIT(""));
	await_in(req);
	sp_expect(req, LIT(""));
}

/* Asks once, and tells who was asked; the question is answered. */
static int ask(int req, const int *peer, int n)
{
	int who;

	sp_send(req, LIT("Q"));
	who = who_got_it(peer, n);
	raw_reply(peer[who], raw_expect_request(peer[who], LIT("Q")), LIT("R"));
	sp_expect(req, LIT("R"));
	return who;
}

TEST(case_29_round_robin)
{
	int peer[3], req = req_with(peer, 3);
	int order[9], i;

	for (i = 0; i < 9; i++)
		order[i] = ask(req, peer, 3);
	for (i = 0; i < 9; i++)
		EXPECT_EQ((order[0] + i) % 3, order[i]);
}

/* The priority is that of the endpoint, as it was when it was added. */
TEST(case_29_priorities)
{
	static const int priority[] = { 8, 1, 1 };
	int req = sp_open(SOCK_REQ), peer[3], first, i;

	for (i = 0; i < 3; i++) {
		struct addr addr;

		sp_set(req, SP_SNDPRIO, priority[i]);
		addr = sp_bind(req, AF_INET);
		/* Not for those that are there already. */
		sp_set(req, SP_SNDPRIO, 16);
		peer[i] = raw_peer(SOCK_REP, &addr);
		await_peers(req, i + 1);
	}
	first = ask(req, peer, 3);
	EXPECT_NE(0, first);
	for (i = 1; i < 6; i++)
		EXPECT_EQ(i % 2 ? 3 - first : first, ask(req, peer, 3));
	close(peer[1]);
	await_peers(req, 2);
	peer[1] = peer[2];
	EXPECT_EQ(1, ask(req, peer, 2));
	EXPECT_EQ(1, ask(req, peer, 2));
	/* Only without any of the first class is it the turn of the others. */
	close(peer[1]);
	await_peers(req, 1);
	EXPECT_EQ(0, ask(req, peer, 1));
}

static void send_hello(void *arg)
{
	sp_send(*(int *)arg, LIT("Hello"));
}

TEST(case_30_send_waits_for_a_peer)
{
	struct addr addr;
	int req = sp_listener(SOCK_REQ, &addr);
	struct task sender;
	int peer;

	must_fail(EAGAIN, send(req, "x", 1, MSG_DONTWAIT));
	expect_not_out(req);
	/* What could not be sent was not sent: no request is outstanding. */
	must_fail(EBADFD, recv(req, NULL, 0, MSG_DONTWAIT));

	task_start(&sender, send_hello, &req);
	task_await_asleep(&sender);
	peer = raw_peer(SOCK_REP, &addr);
	task_join(&sender);
	raw_expect_request(peer, LIT("Hello"));
	expect_out(req);
}

/*
 * "First ID assigned MUST be random. [...] different each time the endpoint is
 * re-started, the process that contains it is restarted or similar."
 */
TEST(must_begin_with_a_random_id)
{
	enum { SOCKETS = 8 };
	uint32_t id[SOCKETS];
	int i, j;

	for (i = 0; i < SOCKETS; i++) {
		int peer, req = req_with(&peer, 1);

		sp_send(req, LIT("Q"));
		id[i] = raw_expect_request(peer, LIT("Q")) & 0x7fffffff;
		/* Equal or close with a probability of 1 in 30 millions. */
		for (j = 0; j < i; j++)
			EXPECT_LT(1, llabs((long long)id[i] - id[j]));
		close(peer);
		close(req);
	}
}

/* How many of n requests each of the peers gets. */
static void ask_many(int req, const int *peer, int peers, int n, int *got)
{
	memset(got, 0, sizeof(*got) * (size_t)peers);
	while (n--)
		got[ask(req, peer, peers)]++;
}

/*
 * "The round-robin implementation MUST also take care not to become unfair when
 * new channels are added or old ones are removed on the fly."
 */
TEST(must_stay_fair_as_peers_come_and_go)
{
	struct addr addr;
	int req = sp_listener(SOCK_REQ, &addr), peer[5], got[5], n, i, round;

	for (n = 0; n < 3; n++) {
		peer[n] = raw_peer(SOCK_REP, &addr);
		await_peers(req, n + 1);
	}
	/* Whatever the point of the round at which they come ... */
	for (round = 1; round <= 2; round++) {
		ask_many(req, peer, n, round, got);
		peer[n] = raw_peer(SOCK_REP, &addr);
		await_peers(req, ++n);
		ask_many(req, peer, n, 2 * n, got);
		for (i = 0; i < n; i++)
			EXPECT_EQ(2, got[i]);
	}
	/* ... and go. */
	for (round = 1; round <= 3; round++) {
		ask_many(req, peer, n, round, got);
		close(peer[0]);
		await_peers(req, --n);
		memmove(peer, peer + 1, sizeof(*peer) * (size_t)n);
		ask_many(req, peer, n, 2 * n, got);
		for (i = 0; i < n; i++)
			EXPECT_EQ(2, got[i]);
	}
}

/*
 * "If there are channels, but all of them are already reporting backpressure,
 * the endpoint [...] MUST report the backpressure condition to the user."
 */
TEST(must_report_backpressure_of_all_peers)
{
	enum { LEN = 30000 };
	struct addr addr;
	int req = sp_listener(SOCK_REQ, &addr), peer[2], i, sent = 0;
	unsigned char *body = filler(LEN, 1), *got = malloc(LEN + 4);

	must_be(got);
	for (i = 0; i < 2; i++) {
		peer[i] = raw_peer_narrow(SOCK_REP, &addr);
		await_peers(req, i + 1);
	}
	sol_set(req, SO_SNDBUF, 4 * LEN);
	/* Until nothing more is taken and TCP has stopped taking, too. */
	do {
		while (send(req, body, LEN, MSG_DONTWAIT) == LEN)
			sent++;
		must_eq(EAGAIN, errno);
		expect_not_out(req);
		pass_ms(quiet_ms());
	} while (ready(req, POLLOUT));
	EXPECT_LE(2 * 4, sent);
	expect_stays_not_out(req);
	/* Room at one of them is enough. */
	for (i = 0; !ready(req, POLLOUT); i++) {
		must_eq(LEN + 4, raw_read_frame(peer[0], got, LEN + 4));
		must_be_filled(got + 4, LEN, 1);
		must_be(i < sent);
	}
	must_eq(LEN, send(req, body, LEN, MSG_DONTWAIT));
	free(body);
	free(got);
}

SP_TEST_MAIN
