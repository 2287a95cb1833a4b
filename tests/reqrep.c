// SPDX-License-Identifier: GPL-2.0
/*
 * REQ and REP between SP sockets: states, routing, balance, resending,
 * backpressure, large messages.
 */
#include "sptest.h"

TEST(states_of_req)
{
	struct pair p = sp_pair(SOCK_REP, SOCK_REQ);
	int rep = p.bound, req = p.connected;
	char c;

	must_fail(EBADFD, recv(req, &c, 1, 0));
	must_fail(EBADFD, recv(req, &c, 1, MSG_DONTWAIT));
	sp_send(req, LIT("Q"));
	must_fail(EAGAIN, recv(req, &c, 1, MSG_DONTWAIT));
	sp_expect(rep, LIT("Q"));
	sp_send(rep, LIT("R"));
	sp_expect(req, LIT("R"));
	must_fail(EBADFD, recv(req, &c, 1, 0));
	sp_round_trip(req, rep);
}

TEST(states_of_rep)
{
	struct pair p = sp_pair(SOCK_REP, SOCK_REQ);
	int rep = p.bound, req = p.connected;
	char c;

	must_fail(EBADFD, send(rep, "x", 1, MSG_NOSIGNAL));
	must_fail(EAGAIN, recv(rep, &c, 1, MSG_DONTWAIT));
	sp_send(req, LIT("Q"));
	await_in(rep);
	must_fail(EBADFD, send(rep, "x", 1, MSG_NOSIGNAL));
	sp_expect(rep, LIT("Q"));
	sp_send(rep, LIT("R"));
	must_fail(EBADFD, send(rep, "x", 1, MSG_NOSIGNAL));
	sp_expect(req, LIT("R"));
}

TEST(new_request_replaces_the_old)
{
	struct pair p = sp_pair(SOCK_REP, SOCK_REQ);
	int rep = p.bound, req = p.connected;

	sp_send(req, LIT("old"));
	sp_expect(rep, LIT("old"));
	sp_send(req, LIT("new"));
	sp_send(rep, LIT("to the old"));
	await_counter(req, sp_rx_stale, 1);
	sp_expect_nothing(req);
	sp_expect(rep, LIT("new"));
	sp_send(rep, LIT("to the new"));
	sp_expect(req, LIT("to the new"));
}

TEST(new_request_drops_an_unread_reply)
{
	struct pair p = sp_pair(SOCK_REP, SOCK_REQ);
	int rep = p.bound, req = p.connected;

	sp_send(req, LIT("old"));
	sp_expect(rep, LIT("old"));
	sp_send(rep, LIT("to the old"));
	await_in(req);
	sp_send(req, LIT("new"));
	sp_expect_nothing(req);
	sp_expect(rep, LIT("new"));
	sp_send(rep, LIT("to the new"));
	sp_expect(req, LIT("to the new"));
}

struct reader {
	int s, err;
	struct task task;
};

static void read_one(void *arg)
{
	struct reader *r = arg;
	char c;

	r->err = recv(r->s, &c, 1, 0) < 0 ? errno : 0;
}

TEST(replaced_request_cancels_its_reader)
{
	struct pair p = sp_pair(SOCK_REP, SOCK_REQ);
	struct reader r = { .s = p.connected };

	sp_send(p.connected, LIT("old"));
	sp_expect(p.bound, LIT("old"));
	task_start(&r.task, read_one, &r);
	task_await_asleep(&r.task);
	sp_send(p.connected, LIT("new"));
	task_join(&r.task);
	EXPECT_EQ(ECANCELED, r.err);

	sp_expect(p.bound, LIT("new"));
	sp_send(p.bound, LIT("R"));
	sp_expect(p.connected, LIT("R"));
}

TEST(refused_send_leaves_the_old_request)
{
	struct addr addr;
	int req = sp_listener(SOCK_REQ, &addr);
	int rep = sp_dialer(SOCK_REP, &addr);

	sp_send(req, LIT("old"));
	sp_expect(rep, LIT("old"));
	close(rep);
	await_peers(req, 0);
	must_fail(EAGAIN, send(req, "new", 3, MSG_DONTWAIT));
	rep = sp_dialer(SOCK_REP, &addr);
	sp_expect(rep, LIT("old"));
	sp_send(rep, LIT("R"));
	sp_expect(req, LIT("R"));
}

TEST(replies_go_to_their_requesters)
{
	enum { CLIENTS = 6, ROUNDS = 4 };
	struct addr addr;
	int rep = sp_listener(SOCK_REP, &addr);
	int req[CLIENTS], i, round;
	char body[2];

	for (i = 0; i < CLIENTS; i++)
		req[i] = sp_dialer(SOCK_REQ, &addr);
	for (round = 0; round < ROUNDS; round++) {
		/* All ask before the first is answered. */
		for (i = 0; i < CLIENTS; i++) {
			body[0] = (char)('a' + i);
			body[1] = (char)('0' + round);
			sp_send(req[i], body, 2);
		}
		for (i = 0; i < CLIENTS; i++) {
			must_eq(2, recv(rep, body, 2, 0));
			sp_send(rep, body, 2);
		}
		for (i = 0; i < CLIENTS; i++) {
			body[0] = (char)('a' + i);
			body[1] = (char)('0' + round);
			sp_expect(req[i], body, 2);
		}
	}
	EXPECT_EQ(CLIENTS * ROUNDS, counter(rep, sp_tx_msgs));
	EXPECT_EQ(0, counter(rep, sp_tx_dropped));
}

TEST(requests_go_round)
{
	enum { SERVERS = 3, REQUESTS = 9 };
	int req = sp_open(SOCK_REQ), rep[SERVERS], i, j;

	for (i = 0; i < SERVERS; i++) {
		struct addr addr;

		rep[i] = sp_listener(SOCK_REP, &addr);
		sp_connect(req, &addr);
		await_peers(req, i + 1);
	}
	for (j = 0; j < REQUESTS; j++) {
		int64_t deadline = patience();

		sp_send(req, LIT("Q"));
		for (i = 0; !(ready(rep[i], POLLIN) & POLLIN);
		     i = (i + 1) % SERVERS)
			if (i == SERVERS - 1)
				tick(deadline, "a server to get the request");
		sp_expect(rep[i], LIT("Q"));
		sp_send(rep[i], LIT("R"));
		sp_expect(req, LIT("R"));
	}
	for (i = 0; i < SERVERS; i++)
		EXPECT_EQ(REQUESTS / SERVERS, counter(rep[i], sp_rx_msgs));
}

TEST(request_moves_on_when_its_server_dies)
{
	struct addr addr;
	int req = sp_listener(SOCK_REQ, &addr);
	int rep = sp_dialer(SOCK_REP, &addr), next;

	await_peers(req, 1);
	sp_send(req, LIT("Q"));
	sp_expect(rep, LIT("Q"));
	next = sp_dialer(SOCK_REP, &addr);
	await_peers(req, 2);
	close(rep);
	sp_expect(next, LIT("Q"));
	sp_send(next, LIT("R"));
	sp_expect(req, LIT("R"));
	EXPECT_EQ(1, counter(req, sp_resends));
}

TEST(no_resend_reports_the_loss_once)
{
	struct addr addr;
	int req = sp_listener(SOCK_REQ, &addr);
	int rep = sp_dialer(SOCK_REP, &addr);
	char c;

	sp_set(req, SP_REQ_RESEND_IVL, 0);
	sp_send(req, LIT("Q"));
	sp_expect(rep, LIT("Q"));
	must_fail(EAGAIN, recv(req, &c, 1, MSG_DONTWAIT));
	close(rep);
	await_in(req);
	must_fail(ECONNRESET, recv(req, &c, 1, 0));
	must_fail(EBADFD, recv(req, &c, 1, 0));
	expect_not_in(req);

	/* And so is one that sleeps in recv(). */
	rep = sp_dialer(SOCK_REP, &addr);
	sp_send(req, LIT("Q2"));
	sp_expect(rep, LIT("Q2"));
	{
		struct reader r = { .s = req };

		task_start(&r.task, read_one, &r);
		task_await_asleep(&r.task);
		close(rep);
		task_join(&r.task);
		EXPECT_EQ(ECONNRESET, r.err);
	}
	EXPECT_EQ(0, counter(req, sp_resends));
}

TEST(resent_request_is_answered_once)
{
	struct pair p = sp_pair(SOCK_REP, SOCK_REQ);
	int rep = p.bound, req = p.connected;

	sp_set(req, SP_REQ_RESEND_IVL, 30);
	sp_send(req, LIT("Q"));
	sp_expect(rep, LIT("Q"));
	sp_expect(rep, LIT("Q"));
	await_counter(req, sp_resends, 2);
	sp_send(rep, LIT("R"));
	sp_expect(req, LIT("R"));
	must_fail(EBADFD, recv(req, NULL, 0, 0));
}

TEST(reply_to_a_gone_requester)
{
	struct addr addr;
	int rep = sp_listener(SOCK_REP, &addr);
	int req = sp_dialer(SOCK_REQ, &addr);

	sp_send(req, LIT("Q"));
	sp_expect(rep, LIT("Q"));
	close(req);
	await_peers(rep, 0);
	sp_send(rep, LIT("R"));
	must_fail(EBADFD, send(rep, "R", 1, MSG_NOSIGNAL));
	EXPECT_EQ(1, counter(rep, sp_tx_no_peer));
	/* The server goes on. */
	req = sp_dialer(SOCK_REQ, &addr);
	sp_round_trip(req, rep);
}

TEST(reply_then_close_is_delivered)
{
	struct pair p = sp_pair(SOCK_REP, SOCK_REQ);

	sp_set(p.connected, SP_REQ_RESEND_IVL, 0);
	sp_send(p.connected, LIT("Q"));
	sp_expect(p.bound, LIT("Q"));
	sp_send(p.bound, LIT("R"));
	close(p.bound);
	sp_expect(p.connected, LIT("R"));
}

TEST(one_of_each_on_both_sides)
{
	/* Two requesters, two servers, every one connected to every other. */
	struct addr addr[2];
	int rep[2], req[2], i, j, served = 0;
	int64_t deadline;

	for (i = 0; i < 2; i++)
		rep[i] = sp_listener(SOCK_REP, &addr[i]);
	for (i = 0; i < 2; i++) {
		req[i] = sp_open(SOCK_REQ);
		for (j = 0; j < 2; j++)
			sp_connect(req[i], &addr[j]);
		await_peers(req[i], 2);
	}
	for (j = 0; j < 4; j++) {
		for (i = 0; i < 2; i++)
			sp_send(req[i], j & 1 ? "odd" : "even", 4 - (j & 1));
		deadline = patience();
		for (served = 0, i = 0; served < 2; i = !i) {
			char buf[8];
			ssize_t n = recv(rep[i], buf, sizeof(buf), MSG_DONTWAIT);

			tick(deadline, "both requests to be served");
			if (n < 0)
				continue;
			sp_send(rep[i], buf, (size_t)n);
			served++;
		}
		for (i = 0; i < 2; i++)
			sp_expect(req[i], j & 1 ? "odd" : "even", 4 - (j & 1));
	}
}

/*
 * What a REP does not receive, its peers cannot send: a raw one that pipelines
 * is stopped by TCP, long before its requests are many, and none is lost.
 */
TEST(backpressure_reaches_the_requester)
{
	int rep = sp_open(SOCK_REP);
	struct addr addr;

	sol_set(rep, SO_RCVBUF, 32768);
	addr = sp_bind(rep, AF_INET);
	raw_flood_held_back(SOCK_REQ, 4000, 4000, rep, &addr);
}

/*
 * Large messages, there and back.
 */
FIXTURE(large)
{
	int rep, req;
};

FIXTURE_VARIANT(large)
{
	size_t len;
	int limit;
};

FIXTURE_VARIANT_ADD(large, empty) { 0, 0 };
FIXTURE_VARIANT_ADD(large, one_byte) { 1, 0 };
FIXTURE_VARIANT_ADD(large, kib_64) { 65536, 0 };
FIXTURE_VARIANT_ADD(large, at_the_limit) { 1 << 20, 1 << 20 };
FIXTURE_VARIANT_ADD(large, at_the_default_limit) { 16 << 20, 0 };
FIXTURE_VARIANT_ADD(large, without_limit) { (16 << 20) + 1, -1 };

FIXTURE_SETUP(large)
{
	struct pair p = sp_pair(SOCK_REP, SOCK_REQ);

	self->rep = p.bound;
	self->req = p.connected;
	if (variant->limit) {
		sp_set(self->rep, SP_RCVMAXSIZE, variant->limit);
		sp_set(self->req, SP_RCVMAXSIZE, variant->limit);
		sp_set(self->rep, SP_SNDMAXSIZE, variant->limit);
		sp_set(self->req, SP_SNDMAXSIZE, variant->limit);
	}
}

FIXTURE_TEARDOWN(large)
{
	close(self->rep);
	close(self->req);
}

TEST_F(large, there_and_back)
{
	sp_send_filled(self->req, variant->len, 1);
	sp_expect_filled(self->rep, variant->len, 1);
	sp_send_filled(self->rep, variant->len, 2);
	sp_expect_filled(self->req, variant->len, 2);
	sp_round_trip(self->req, self->rep);
}

TEST(request_over_the_limit)
{
	struct pair p = sp_pair(SOCK_REP, SOCK_REQ);
	struct sockaddr unspec = { .sa_family = AF_UNSPEC };
	struct addr addr = { .len = sizeof(addr.storage) };
	int other;

	must(getsockname(p.bound, &addr.sa, &addr.len));
	sp_set(p.bound, SP_RCVMAXSIZE, 1 << 20);
	sp_send_filled(p.connected, (1 << 20) + 1, 1);
	await_counter(p.bound, sp_rx_oversize, 1);
	/* It would come back and try again, for ever. */
	must(connect(p.connected, &unspec, sizeof(unspec)));
	await_peers(p.bound, 0);
	sp_expect_nothing(p.bound);
	other = sp_dialer(SOCK_REQ, &addr);
	sp_round_trip(other, p.bound);
}

/*
 * There is no use in asking again for a reply that is too long, so the program
 * learns of it.
 */
TEST(reply_over_the_limit)
{
	struct pair p = sp_pair(SOCK_REP, SOCK_REQ);
	uint64_t resends;
	char body[8];
	int i;

	sp_set(p.connected, SP_RCVMAXSIZE, 1 << 20);
	sp_set(p.connected, SP_REQ_RESEND_IVL, 50);
	sp_set(p.connected, SP_RECONNECT_IVL, 1);
	for (i = 1; i <= 3; i++) {
		sp_send(p.connected, LIT("Q"));
		sp_expect(p.bound, LIT("Q"));
		sp_send_filled(p.bound, (1 << 20) + 1, 1);
		await_in(p.connected);
		must_fail(EMSGSIZE, recv(p.connected, body, 8, MSG_PEEK));
		must_fail(EMSGSIZE, recv(p.connected, body, 8, 0));
		expect_not_in(p.connected);
		must_fail(EBADFD, recv(p.connected, body, 8, 0));
		/* As ever it costs the connection, and nobody asks again. */
		await_counter(p.connected, sp_rx_oversize, i);
		await_counter(p.connected, sp_pipe_ups, i + 1);
		resends = counter(p.connected, sp_resends);
		pass_ms(200);
		EXPECT_EQ(resends, counter(p.connected, sp_resends));
		/* Only before there was the reply. */
		while (recv(p.bound, body, 8, MSG_DONTWAIT) == 1)
			;
	}
	sp_send(p.connected, LIT("Q"));
	sp_expect(p.bound, LIT("Q"));
	sp_send_filled(p.bound, 1 << 20, 2);
	sp_expect_filled(p.connected, 1 << 20, 2);
}

/*
 * What stopped the second message of a recvmmsg() is kept for the next call,
 * which has nothing to do with it.
 */
FIXTURE(batches)
{
	struct pair p;
	struct mmsghdr m[2];
	struct iovec iov[2];
	char body[2][8];
};

FIXTURE_SETUP(batches)
{
	int i;

	self->p = sp_pair(SOCK_REP, SOCK_REQ);
	for (i = 0; i < 2; i++) {
		self->iov[i] = (struct iovec){ self->body[i], 8 };
		self->m[i].msg_hdr.msg_iov = &self->iov[i];
		self->m[i].msg_hdr.msg_iovlen = 1;
	}
}

FIXTURE_TEARDOWN(batches)
{
	close(self->p.bound);
	close(self->p.connected);
}

static int error_of(int s)
{
	int error;
	socklen_t len = sizeof(error);

	must(getsockopt(s, SOL_SOCKET, SO_ERROR, &error, &len));
	return error;
}

TEST_F(batches, of_replies_one_by_one)
{
	int i;

	for (i = 0; i < 5; i++) {
		sp_send(self->p.connected, LIT("Q"));
		sp_expect(self->p.bound, LIT("Q"));
		sp_send(self->p.bound, LIT("R"));
		must_eq(1, recvmmsg(self->p.connected, self->m, 2, 0, NULL));
		must_eq(1, self->m[0].msg_len);
	}
	/* Nobody has asked since, so it can be seen. */
	EXPECT_EQ(EBADFD, error_of(self->p.connected));
	EXPECT_EQ(0, error_of(self->p.connected));
}

TEST_F(batches, left_an_error_before_the_reply_came)
{
	int i;

	for (i = 0; i < 2; i++) {
		sp_send(self->p.connected, LIT("Q"));
		sp_expect(self->p.bound, LIT("Q"));
		sp_send(self->p.bound, LIT("R"));
		await_in(self->p.connected);
		must_eq(1, recvmmsg(self->p.connected, self->m, 2, 0, NULL));
	}
	/* What poll says is what the next call does. */
	expect_not_in(self->p.connected);
	must_fail(EBADFD, recvmmsg(self->p.connected, self->m, 2, 0, NULL));
	sp_send(self->p.connected, LIT("Q"));
	must_fail(EAGAIN, recvmmsg(self->p.connected, self->m, 2, MSG_DONTWAIT,
				   NULL));
}

/*
 * A server that takes longer than its client likes to wait serves each request
 * once, and so keeps up.
 */
static void serve_slowly(void *arg)
{
	int rep = *(int *)arg;
	char buf[8];
	ssize_t n;

	while ((n = must(recv(rep, buf, sizeof(buf), 0))) > 0) {
		pass_ms(250);
		sp_send(rep, buf, (size_t)n);
	}
}

TEST(slow_server_is_not_asked_to_death)
{
	enum { REQUESTS = 5 };
	struct pair p = sp_pair(SOCK_REP, SOCK_REQ);
	struct task server;
	int64_t took = 0;
	char q[] = "Q0";
	int i;

	sp_set(p.connected, SP_REQ_RESEND_IVL, 100);
	set_timeout(p.bound, SO_RCVTIMEO, 0);
	task_start(&server, serve_slowly, &p.bound);
	for (i = 0; i < REQUESTS; i++, q[1]++) {
		took = -now_ms();
		sp_send(p.connected, q, 2);
		sp_expect(p.connected, q, 2);
		took += now_ms();
	}
	TH_LOG("the last took %d ms, %d sent again, %d received", (int)took,
	       (int)counter(p.connected, sp_resends),
	       (int)counter(p.bound, sp_rx_msgs));
	EXPECT_LE(REQUESTS, counter(p.connected, sp_resends));
	/* One of each may be on its way while the reply is. */
	EXPECT_GE(2 * REQUESTS, counter(p.bound, sp_rx_msgs));
	EXPECT_LT(0, counter(p.bound, sp_rx_stale));
	shutdown(p.bound, SHUT_RD);
	task_join(&server);
}

SP_TEST_MAIN
