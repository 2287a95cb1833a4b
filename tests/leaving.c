// SPDX-License-Identifier: GPL-2.0
/*
 * Leaving in good order: what shutdown() for receiving ends, and what it does
 * not. What has arrived is received, what is in hand is answered, and nobody
 * waits in a connection that is read no more.
 */
#include "sptest.h"

/* A request's id. */
#define I "\x80\0\0\1"

/* At the end, and for good. */
static void expect_end(int s)
{
	char body[8];
	struct iovec iov = { body, sizeof(body) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	must_eq(0, recv(s, body, sizeof(body), MSG_PEEK));
	must_eq(0, recv(s, body, sizeof(body), 0));
	must_eq(0, recvmsg(s, &msg, 0));
	must_eq(0, msg.msg_flags & MSG_EOR);
	must_eq(POLLIN | POLLRDHUP, ready(s, POLLIN | POLLRDHUP));
}

TEST(what_has_arrived_is_received_and_then_nothing)
{
	struct addr addr;
	int rep = sp_listener(SOCK_REP, &addr);
	int one = raw_peer(SOCK_REQ, &addr), two = raw_peer(SOCK_REQ, &addr);

	raw_frame(one, LIT(I "one"));
	raw_frame(two, LIT(I "two"));
	await_counter(rep, sp_rx_queued, 6);
	must(shutdown(rep, SHUT_RD));
	/* Too late, and the end of that connection once it has its reply. */
	raw_frame(one, LIT("\x80\0\0\2" "late"));
	raw_await_acked(one);
	must_eq(POLLIN | POLLRDHUP, ready(rep, POLLIN | POLLRDHUP));
	sp_expect(rep, LIT("one"));
	sp_send(rep, LIT("1"));
	raw_expect_frame(one, LIT(I "1"));
	raw_expect_closed(one);
	sp_expect(rep, LIT("two"));
	expect_end(rep);
	must_eq(POLLOUT, ready(rep, POLLOUT));
	sp_send(rep, LIT("2"));
	raw_expect_frame(two, LIT(I "2"));
	/* Who asks nothing more may stay. */
	await_peers(rep, 1);
	raw_frame(two, LIT("\x80\0\0\3" "later"));
	raw_expect_closed(two);
	await_peers(rep, 0);
	expect_end(rep);
	EXPECT_EQ(2, counter(rep, sp_rx_msgs));
}

TEST(what_is_under_way_does_not_arrive)
{
	static unsigned char zeroes[100000];
	struct addr addr;
	int rep = sp_listener(SOCK_REP, &addr);
	int small = raw_peer(SOCK_REQ, &addr), large = raw_peer(SOCK_REQ, &addr);

	raw_header(small, 6);
	raw_write(small, LIT(I));
	raw_header(large, sizeof(zeroes) + 4);
	raw_write(large, LIT(I));
	raw_write(large, zeroes, 50000);
	raw_await_acked(large);
	must(shutdown(rep, SHUT_RD));
	expect_end(rep);
	raw_write(small, LIT("ab"));
	raw_write(large, zeroes, 50000);
	raw_expect_closed(small);
	raw_expect_closed(large);
	await_peers(rep, 0);
	expect_end(rep);
	EXPECT_EQ(0, counter(rep, sp_rx_msgs));
}

TEST(what_is_no_request_is_more_all_the_same)
{
	struct addr addr;
	int rep = sp_listener(SOCK_REP, &addr);
	int peer = raw_peer(SOCK_REQ, &addr);

	await_peers(rep, 1);
	must(shutdown(rep, SHUT_RD));
	raw_frame(peer, LIT("xy"));
	raw_expect_closed(peer);
	await_peers(rep, 0);
}

TEST(what_waits_for_room_goes_elsewhere)
{
	struct raw_flood flood = { .type = SOCK_REQ, .len = 5000 };
	struct addr addr;
	int rep = sp_listener(SOCK_REP, &addr), got = 0;
	char body[5000];
	ssize_t n;

	sol_set(rep, SO_RCVBUF, 20000);
	flood.fd = raw_peer(SOCK_REQ, &addr);
	sol_set(flood.fd, SO_SNDBUF, 20000);
	raw_flood_until_stuck(&flood, 2000);
	must(shutdown(rep, SHUT_RD));
	while ((n = must(recv(rep, body, sizeof(body), 0))) > 0) {
		must_eq(5000, n);
		got++;
		sp_send(rep, LIT("R"));
	}
	must_be(got > 0 && got < flood.sent);
	await_peers(rep, 0);
	expect_end(rep);
	free(flood.frame);
}

TEST(nobody_comes_and_the_port_is_kept)
{
	struct addr addr, other;
	int rep = sp_listener(SOCK_REP, &addr);
	int silent = raw_connect(&addr), greeted = raw_peer(SOCK_REQ, &addr);
	const int one = 1;
	int fd, s;

	await_peers(rep, 1);
	other = sp_bind(rep, AF_INET6);
	must(shutdown(rep, SHUT_RD));
	/* Who has not said what it is, too. */
	raw_expect_greeting(silent, SOCK_REP);
	raw_expect_closed(silent);
	fd = must(socket(addr.sa.sa_family, SOCK_STREAM, 0));
	must_fail(ECONNREFUSED, connect(fd, &addr.sa, addr.len));
	close(fd);
	/* Not even for who would share it, as with any that does not listen. */
	fd = must(socket(addr.sa.sa_family, SOCK_STREAM, 0));
	must(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)));
	must_fail(EADDRINUSE, bind(fd, &addr.sa, addr.len));
	close(fd);
	s = sp_open(SOCK_REP);
	must_fail(EADDRINUSE, bind(s, &addr.sa, addr.len));
	must_fail(EADDRINUSE, bind(s, &other.sa, other.len));
	/* No more of them. */
	must_fail(EINVAL, listen(rep, 5));
	must_fail(EINVAL, connect(rep, &addr.sa, addr.len));
	other.len = sizeof(other.storage);
	must(getsockname(rep, &other.sa, &other.len));
	((struct sockaddr_in6 *)&other.sa)->sin6_port = 0;
	must_fail(EINVAL, bind(rep, &other.sa, other.len));
	EXPECT_EQ(1, sp_get(rep, SP_PEERS));
	must(shutdown(rep, SHUT_RD));
	close(rep);
	raw_expect_closed(greeted);
	must(bind(s, &addr.sa, addr.len));
}

TEST(dialers_stop)
{
	struct addr addr, nobody = nowhere(AF_INET);
	int l = raw_listen(&addr), rep = sp_dialer(SOCK_REP, &addr);
	int fd = raw_peer_accept(SOCK_REQ, l);

	await_peers(rep, 1);
	sp_connect(rep, &nobody);
	raw_frame(fd, LIT(I "Q"));
	sp_expect(rep, LIT("Q"));
	must(shutdown(rep, SHUT_RD));
	raw_frame(fd, LIT("\x80\0\0\2" "late"));
	raw_await_acked(fd);
	sp_send(rep, LIT("R"));
	raw_expect_frame(fd, LIT(I "R"));
	raw_expect_closed(fd);
	close(fd);
	await_peers(rep, 0);
	EXPECT_EQ(0, sp_info(rep).sp_dialers);
	pass_ms(300);
	EXPECT_EQ(0, ready(l, POLLIN));
}

/* The point of it: the next server has it before anybody notices. */
TEST(clients_go_to_another_server_at_once)
{
	struct addr addr[2];
	int rep[2] = { sp_listener(SOCK_REP, &addr[0]),
		       sp_listener(SOCK_REP, &addr[1]) };
	int req = sp_open(SOCK_REQ), i;
	int64_t start = now_ms();

	sp_connect(req, &addr[0]);
	await_peers(req, 1);
	sp_send(req, LIT("Q"));
	await_in(rep[0]);
	sp_connect(req, &addr[1]);
	await_peers(req, 2);
	must(shutdown(rep[0], SHUT_RD));
	sp_expect(rep[0], LIT("Q"));
	sp_send(rep[0], LIT("last"));
	sp_expect(req, LIT("last"));
	for (i = 0; i < 4; i++) {
		sp_send(req, LIT("next"));
		sp_expect(rep[1], LIT("next"));
		sp_send(rep[1], LIT("R"));
		sp_expect(req, LIT("R"));
	}
	/* Far below the minute after which it would have asked again. */
	EXPECT_GE(30000, now_ms() - start);
	expect_end(rep[0]);
	EXPECT_EQ(1, counter(rep[0], sp_rx_msgs));
}

static void take_two(void *arg)
{
	int rep = *(int *)arg;

	sp_expect(rep, LIT("1"));
	sp_expect(rep, LIT("2"));
}

/* Only the thread that took it might have answered, and that is gone. */
TEST(what_nobody_can_answer_keeps_nobody)
{
	struct addr addr;
	int rep = sp_listener(SOCK_REP, &addr), fd = raw_peer(SOCK_REQ, &addr);
	struct task taker;

	raw_frame(fd, LIT(I "1"));
	raw_frame(fd, LIT("\x80\0\0\2" "2"));
	task_start(&taker, take_two, &rep);
	task_join(&taker);
	must_fail(EBADFD, send(rep, "R", 1, 0));
	must(shutdown(rep, SHUT_RD));
	raw_frame(fd, LIT("\x80\0\0\3" "late"));
	raw_expect_closed(fd);
	await_peers(rep, 0);
}

TEST(closing_afterwards_loses_nothing)
{
	const size_t len = 3 << 20;
	unsigned char *reply = filler(len, 7);
	struct pair p = sp_pair(SOCK_REP, SOCK_REQ);

	sp_send(p.connected, LIT("Q"));
	await_in(p.bound);
	must(shutdown(p.bound, SHUT_RD));
	sp_expect(p.bound, LIT("Q"));
	sp_send(p.bound, reply, len);
	expect_end(p.bound);
	close(p.bound);
	sp_expect_filled(p.connected, len, 7);
	free(reply);
}

TEST(a_subscriber_hears_what_has_arrived)
{
	struct pair p = sp_pair(SOCK_PUB, SOCK_SUB);

	subscribe(p.connected, LIT(""));
	sp_send(p.bound, LIT("one"));
	sp_send(p.bound, LIT("two"));
	await_counter(p.connected, sp_rx_queued, 6);
	must(shutdown(p.connected, SHUT_RD));
	sp_send(p.bound, LIT("late"));
	sp_expect(p.connected, LIT("one"));
	sp_expect(p.connected, LIT("two"));
	expect_end(p.connected);
	await_peers(p.bound, 0);
	expect_end(p.connected);
}

/* Who receives nothing has nothing to end. */
TEST(a_publisher_goes_on)
{
	struct addr addr;
	int pub = sp_listener(SOCK_PUB, &addr), sub;

	must(shutdown(pub, SHUT_RD));
	sub = sp_dialer(SOCK_SUB, &addr);
	subscribe(sub, LIT(""));
	await_peers(pub, 1);
	sp_send(pub, LIT("news"));
	sp_expect(sub, LIT("news"));
	EXPECT_EQ(0, ready(pub, POLLIN | POLLRDHUP));
}

TEST(a_requester_keeps_the_reply_that_is_there)
{
	struct pair p = sp_pair(SOCK_REP, SOCK_REQ);

	sp_round_trip(p.connected, p.bound);
	sp_send(p.connected, LIT("Q"));
	sp_expect(p.bound, LIT("Q"));
	sp_send(p.bound, LIT("R"));
	await_in(p.connected);
	must(shutdown(p.connected, SHUT_RD));
	sp_expect(p.connected, LIT("R"));
	expect_end(p.connected);
	/* It may still ask, but hears no answer. */
	sp_send(p.connected, LIT("Q"));
	sp_expect(p.bound, LIT("Q"));
	sp_send(p.bound, LIT("R"));
	await_peers(p.bound, 0);
	expect_end(p.connected);
}

/* As sp(7) tells. */
TEST(an_empty_message_is_not_the_end)
{
	struct pair p = sp_pair(SOCK_PUB, SOCK_SUB);
	struct msghdr msg = { 0 };

	subscribe(p.connected, LIT(""));
	sp_send(p.bound, LIT(""));
	sp_send(p.bound, LIT("x"));
	await_counter(p.connected, sp_rx_queued, 1);
	must(shutdown(p.connected, SHUT_RD));
	must_eq(POLLIN | POLLRDHUP, ready(p.connected, POLLIN | POLLRDHUP));
	must_eq(0, recvmsg(p.connected, &msg, 0));
	must_eq(MSG_EOR, msg.msg_flags & MSG_EOR);
	sp_expect(p.connected, LIT("x"));
	expect_end(p.connected);
}

TEST(many_connections)
{
	enum { PEERS = 200 };
	const int peers = many(PEERS);
	struct addr addr;
	int rep = sp_listener(SOCK_REP, &addr), fd[PEERS], i;
	char c;

	for (i = 0; i < peers; i++) {
		fd[i] = raw_peer(SOCK_REQ, &addr);
		raw_frame(fd[i], LIT(I "Q"));
	}
	await_counter(rep, sp_rx_queued, peers);
	must(shutdown(rep, SHUT_RD));
	for (i = 0; i < peers; i++)
		raw_frame(fd[i], LIT("\x80\0\0\2" "late"));
	while (must(recv(rep, &c, 1, 0)) == 1)
		sp_send(rep, LIT("R"));
	for (i = 0; i < peers; i++) {
		raw_expect_frame(fd[i], LIT(I "R"));
		raw_expect_closed(fd[i]);
		close(fd[i]);
	}
	await_peers(rep, 0);
}

SP_TEST_MAIN
