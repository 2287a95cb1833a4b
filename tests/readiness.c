// SPDX-License-Identifier: GPL-2.0
/*
 * Readiness: POLLIN iff recv() would not say EAGAIN, EBADFD or EOPNOTSUPP,
 * POLLOUT iff send() would not; exact at every step of each pattern, the same
 * through poll(), select() and epoll, and each edge told once.
 */
#include "sptest.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/select.h>

TEST(fresh_sockets)
{
	expect_events(0, sp_open(SOCK_REQ));
	expect_events(0, sp_open(SOCK_REP));
	expect_events(POLLOUT, sp_open(SOCK_PUB));
	expect_events(0, sp_open(SOCK_SUB));
}

TEST(req_and_rep_step_by_step)
{
	struct pair p = sp_pair(SOCK_REP, SOCK_REQ);
	int rep = p.bound, req = p.connected;

	expect_events(POLLOUT, req);
	expect_events(0, rep);
	sp_send(req, LIT("Q"));
	await_in(rep);
	expect_events(POLLIN, rep);
	/* A REQ may change its mind at any time. */
	expect_events(POLLOUT, req);
	sp_expect(rep, LIT("Q"));
	expect_events(POLLOUT, rep);
	sp_send(rep, LIT("R"));
	expect_events(0, rep);
	await_in(req);
	expect_events(POLLIN | POLLOUT, req);
	sp_expect(req, LIT("R"));
	expect_events(POLLOUT, req);

	close(rep);
	await_peers(req, 0);
	/* The loss of all peers is no error and no end. */
	expect_events(0, req);
}

TEST(pub_and_sub_step_by_step)
{
	struct pair p = sp_pair(SOCK_PUB, SOCK_SUB);
	int pub = p.bound, sub = p.connected;

	expect_events(POLLOUT, pub);
	expect_events(0, sub);
	subscribe(sub, LIT("topic"));
	sp_send(pub, LIT("another"));
	await_counter(sub, sp_rx_filtered, 1);
	expect_events(0, sub);
	sp_send(pub, LIT("topic 1"));
	sp_send(pub, LIT("topic 2"));
	await_in(sub);
	expect_events(POLLIN, sub);
	sp_expect(sub, LIT("topic 1"));
	sp_expect(sub, LIT("topic 2"));
	expect_events(0, sub);
	close(pub);
	await_peers(sub, 0);
	expect_events(0, sub);
}

TEST(poll_wakes_for_a_message_and_for_a_peer)
{
	struct addr addr;
	int rep = sp_listener(SOCK_REP, &addr);
	int req = sp_open(SOCK_REQ);

	sp_connect(req, &addr);
	await_out(req);
	sp_send(req, LIT("Q"));
	await_in(rep);
}

TEST(select_agrees)
{
	struct pair p = sp_pair(SOCK_REP, SOCK_REQ);
	struct timeval wait = { PATIENCE_MS / 1000, 0 }, now = { 0, 0 };
	fd_set in, out, bad;

	sp_send(p.connected, LIT("Q"));
	FD_ZERO(&in);
	FD_SET(p.bound, &in);
	must_eq(1, select(p.bound + 1, &in, NULL, NULL, &wait));
	must_be(FD_ISSET(p.bound, &in));
	sp_expect(p.bound, LIT("Q"));

	FD_ZERO(&in);
	FD_SET(p.bound, &in);
	out = in;
	bad = in;
	must_eq(1, select(p.bound + 1, &in, &out, &bad, &now));
	must_be(!FD_ISSET(p.bound, &in));
	must_be(FD_ISSET(p.bound, &out));
	must_be(!FD_ISSET(p.bound, &bad));
}

struct epoll {
	int ep, s;
};

static struct epoll epoll_on(int s, uint32_t events)
{
	struct epoll_event ev = { .events = events };
	struct epoll e = { .ep = (int)must(epoll_create1(0)), .s = s };

	must(epoll_ctl(e.ep, EPOLL_CTL_ADD, s, &ev));
	return e;
}

/* The events told within so many milliseconds; 0 if none. */
static uint32_t told(struct epoll e, int ms)
{
	struct epoll_event ev = { .events = 0 };

	must(epoll_wait(e.ep, &ev, 1, ms));
	return ev.events;
}

TEST(epoll_level_triggered)
{
	struct pair p = sp_pair(SOCK_PUB, SOCK_SUB);
	struct epoll e = epoll_on(p.connected, EPOLLIN | EPOLLOUT);

	subscribe(p.connected, LIT(""));
	EXPECT_EQ(0, told(e, 0));
	sp_send(p.bound, LIT("a"));
	EXPECT_EQ(EPOLLIN, told(e, PATIENCE_MS));
	EXPECT_EQ(EPOLLIN, told(e, 0));
	sp_expect(p.connected, LIT("a"));
	EXPECT_EQ(0, told(e, 0));
}

TEST(epoll_edge_triggered)
{
	struct pair p = sp_pair(SOCK_PUB, SOCK_SUB);
	struct epoll e = epoll_on(p.connected, EPOLLIN | EPOLLET);

	subscribe(p.connected, LIT("t"));
	sp_send(p.bound, LIT("t1"));
	EXPECT_EQ(EPOLLIN, told(e, PATIENCE_MS));
	/* Not read, and still told only once. */
	EXPECT_EQ(0, told(e, 0));
	/* What is filtered is no edge. */
	sp_send(p.bound, LIT("x"));
	await_counter(p.connected, sp_rx_filtered, 1);
	EXPECT_EQ(0, told(e, 0));
	/* Every arrival is one, whether or not the last was read. */
	sp_send(p.bound, LIT("t2"));
	EXPECT_EQ(EPOLLIN, told(e, PATIENCE_MS));
	sp_expect(p.connected, LIT("t1"));
	sp_expect(p.connected, LIT("t2"));
	EXPECT_EQ(0, told(e, 0));
	sp_send(p.bound, LIT("t3"));
	EXPECT_EQ(EPOLLIN, told(e, PATIENCE_MS));
}

TEST(epoll_one_edge_for_each_arrival)
{
	struct pair p = sp_pair(SOCK_PUB, SOCK_SUB);
	struct epoll e = epoll_on(p.connected, EPOLLIN | EPOLLOUT | EPOLLET);
	int i;

	subscribe(p.connected, LIT(""));
	for (i = 0; i < many(400); i++) {
		sp_send(p.bound, &i, sizeof(i));
		must_eq(EPOLLIN, told(e, PATIENCE_MS));
		sp_expect(p.connected, &i, sizeof(i));
		must_eq(0, told(e, 0));
	}
}

/* What changes for the other direction is no event, whatever is unread. */
TEST(epoll_edges_are_keyed)
{
	struct addr addr;
	int req = sp_listener(SOCK_REQ, &addr);
	struct epoll in = epoll_on(req, EPOLLIN | EPOLLET);
	struct epoll out = epoll_on(req, EPOLLOUT | EPOLLET);
	int peer = raw_peer(SOCK_REP, &addr), i;

	EXPECT_EQ(EPOLLOUT, told(out, PATIENCE_MS));
	/* Sending and receiving leave a pipe that has room as it is. */
	for (i = 0; i < 5; i++) {
		sp_send(req, LIT("Q"));
		raw_reply(peer, raw_expect_request(peer, LIT("Q")), LIT("R"));
		EXPECT_EQ(EPOLLIN, told(in, PATIENCE_MS));
		EXPECT_EQ(0, told(out, 0));
		sp_expect(req, LIT("R"));
	}
	sp_send(req, LIT("Q"));
	raw_reply(peer, raw_expect_request(peer, LIT("Q")), LIT("R"));
	EXPECT_EQ(EPOLLIN, told(in, PATIENCE_MS));
	raw_peer(SOCK_REP, &addr);
	await_peers(req, 2);
	EXPECT_EQ(0, told(in, 0));
	sp_expect(req, LIT("R"));
	EXPECT_EQ(0, told(in, 0));
}

/* A REP may send when it has received: each time it is told. */
TEST(epoll_edge_triggered_out_of_a_rep)
{
	struct pair p = sp_pair(SOCK_REP, SOCK_REQ);
	struct epoll e = epoll_on(p.bound, EPOLLOUT | EPOLLET);
	int i;

	for (i = 0; i < 3; i++) {
		EXPECT_EQ(0, told(e, 0));
		sp_send(p.connected, LIT("Q"));
		await_in(p.bound);
		EXPECT_EQ(0, told(e, 0));
		sp_expect(p.bound, LIT("Q"));
		EXPECT_EQ(EPOLLOUT, told(e, 0));
		sp_send(p.bound, LIT("R"));
		sp_expect(p.connected, LIT("R"));
	}
}

TEST(epoll_edge_triggered_out)
{
	struct addr addr;
	int req = sp_listener(SOCK_REQ, &addr);
	struct epoll e = epoll_on(req, EPOLLOUT | EPOLLET);
	int peer;

	EXPECT_EQ(0, told(e, 0));
	peer = raw_peer(SOCK_REP, &addr);
	EXPECT_EQ(EPOLLOUT, told(e, PATIENCE_MS));
	EXPECT_EQ(0, told(e, 0));
	close(peer);
	await_peers(req, 0);
	EXPECT_EQ(0, told(e, 0));
	peer = raw_peer(SOCK_REP, &addr);
	EXPECT_EQ(EPOLLOUT, told(e, PATIENCE_MS));
	close(peer);
}

TEST(epoll_one_shot)
{
	struct pair p = sp_pair(SOCK_PUB, SOCK_SUB);
	struct epoll e = epoll_on(p.connected, EPOLLIN | EPOLLONESHOT);
	struct epoll_event again = { .events = EPOLLIN | EPOLLONESHOT };

	subscribe(p.connected, LIT(""));
	sp_send(p.bound, LIT("a"));
	EXPECT_EQ(EPOLLIN, told(e, PATIENCE_MS));
	sp_send(p.bound, LIT("b"));
	sp_expect(p.connected, LIT("a"));
	await_in(p.connected);
	EXPECT_EQ(0, told(e, 0));
	must(epoll_ctl(e.ep, EPOLL_CTL_MOD, p.connected, &again));
	EXPECT_EQ(EPOLLIN, told(e, 0));
}

TEST(epoll_one_shot_is_armed_each_time)
{
	struct pair p = sp_pair(SOCK_PUB, SOCK_SUB);
	struct epoll e = epoll_on(p.connected, EPOLLIN | EPOLLONESHOT);
	struct epoll_event again = { .events = EPOLLIN | EPOLLONESHOT };
	int i;

	subscribe(p.connected, LIT(""));
	for (i = 0; i < 20; i++) {
		/* Armed before there is something, or after. */
		if (i && i % 2)
			must(epoll_ctl(e.ep, EPOLL_CTL_MOD, e.s, &again));
		sp_send(p.bound, &i, sizeof(i));
		if (i && i % 2 == 0) {
			await_in(p.connected);
			must_eq(0, told(e, 0));
			must(epoll_ctl(e.ep, EPOLL_CTL_MOD, e.s, &again));
		}
		must_eq(EPOLLIN, told(e, PATIENCE_MS));
		must_eq(0, told(e, 0));
		sp_expect(p.connected, &i, sizeof(i));
	}
}

/*
 * poll() and select() and their relatives with a signal mask.
 */
TEST(poll_of_several)
{
	struct pair a = sp_pair(SOCK_REP, SOCK_REQ);
	struct pair b = sp_pair(SOCK_PUB, SOCK_SUB);
	struct pollfd p[] = {
		{ .fd = a.bound, .events = POLLIN | POLLOUT },
		{ .fd = -1, .events = POLLIN },
		{ .fd = b.connected, .events = POLLIN | POLLOUT },
		{ .fd = a.connected, .events = POLLIN },
		{ .fd = b.bound, .events = 0 },
	};
	const struct timespec limit = { PATIENCE_MS / 1000, 0 };

	subscribe(b.connected, LIT(""));
	must_eq(0, poll(p, ARRAY_SIZE(p), 0));
	sp_send(b.bound, LIT("x"));
	must_eq(1, ppoll(p, ARRAY_SIZE(p), &limit, NULL));
	EXPECT_EQ(POLLIN, p[2].revents);
	sp_send(a.connected, LIT("Q"));
	await_in(a.bound);
	must_eq(2, ppoll(p, ARRAY_SIZE(p), &limit, NULL));
	EXPECT_EQ(POLLIN, p[0].revents);
	EXPECT_EQ(POLLIN, p[2].revents);
	EXPECT_EQ(0, p[3].revents);
}

static volatile sig_atomic_t handled;

static void on_usr1(int sig)
{
	(void)sig;
	handled++;
}

/* Sleeps with the signal let in, so it is not missed; readiness comes first. */
TEST(ppoll_and_pselect_let_a_signal_in)
{
	struct sigaction sa = { .sa_handler = on_usr1 };
	struct pair s = sp_pair(SOCK_PUB, SOCK_SUB);
	struct pollfd p = { .fd = s.connected, .events = POLLIN };
	const struct timespec limit = { PATIENCE_MS / 1000, 0 };
	const struct timespec now = { 0, 0 };
	sigset_t blocked, open;
	fd_set in;

	subscribe(s.connected, LIT(""));
	must(sigaction(SIGUSR1, &sa, NULL));
	sigemptyset(&open);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGUSR1);
	must(sigprocmask(SIG_BLOCK, &blocked, NULL));
	must(raise(SIGUSR1));
	must_fail(EINTR, ppoll(&p, 1, &limit, &open));
	EXPECT_EQ(1, handled);
	must(raise(SIGUSR1));
	FD_ZERO(&in);
	FD_SET(s.connected, &in);
	must_fail(EINTR, pselect(s.connected + 1, &in, NULL, NULL, &limit,
				 &open));
	EXPECT_EQ(2, handled);

	sp_send(s.bound, LIT("x"));
	must_eq(1, ppoll(&p, 1, &limit, &open));
	EXPECT_EQ(POLLIN, p.revents);
	FD_ZERO(&in);
	FD_SET(s.connected, &in);
	must_eq(1, pselect(s.connected + 1, &in, NULL, NULL, &limit, &open));
	sp_expect(s.connected, LIT("x"));
	must_eq(0, ppoll(&p, 1, &now, &open));
	FD_SET(s.connected, &in);
	must_eq(0, pselect(s.connected + 1, &in, NULL, NULL, &now, &open));
}

/* Sends until refused for so long that TCP has surely taken what it will. */
static int fill_up(int s, const void *body, size_t len)
{
	struct pollfd p = { .fd = s, .events = POLLOUT };
	int n = 0;

	do {
		while (send(s, body, len, MSG_DONTWAIT) == (ssize_t)len)
			must_be(n++ < 1000);
		must_be(errno == EAGAIN);
	} while (poll(&p, 1, quiet_ms()) == 1);
	return n;
}

TEST(full_pipe_is_not_writable)
{
	enum { LEN = 16384 };
	static char body[LEN], buf[LEN + 4];
	struct addr addr;
	struct epoll e;
	int req = sp_open(SOCK_REQ), peer, n;

	/*
	 * The only peer reads nothing. Each request replaces the one before,
	 * but what is on its way stays there, until the pipe is full.
	 */
	sol_set(req, SO_SNDBUF, 32768);
	addr = sp_bind(req, AF_INET);
	peer = raw_peer_narrow(SOCK_REP, &addr);
	await_out(req);
	n = fill_up(req, body, LEN);
	EXPECT_LT(1, n);
	expect_not_out(req);
	must_fail(EAGAIN, send(req, body, LEN, MSG_DONTWAIT));
	e = epoll_on(req, EPOLLOUT | EPOLLET);
	EXPECT_EQ(0, told(e, 0));

	/* Reading makes room, which is news. */
	for (; n > 0 && !(ready(req, POLLOUT) & POLLOUT); n--)
		raw_read_frame(peer, buf, sizeof(buf));
	await_out(req);
	EXPECT_EQ(EPOLLOUT, told(e, PATIENCE_MS));
	must_eq(LEN, send(req, body, LEN, MSG_DONTWAIT));
}

SP_TEST_MAIN
