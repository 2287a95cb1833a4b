// SPDX-License-Identifier: GPL-2.0
/*
 * Calls that wait, and what ends the wait: time, signals, shutdown() and
 * close() by somebody else.
 */
#include "sptest.h"

#include <fcntl.h>
#include <signal.h>

/* A thread in recv() or send(), and how that ended. */
struct call {
	struct task task;
	int s;
	bool sends;
	ssize_t result;
	int err;
	char buf[16];
};

static void call_main(void *arg)
{
	struct call *c = arg;

	c->result = c->sends ? send(c->s, "Hello", 5, MSG_NOSIGNAL) :
			       recv(c->s, c->buf, sizeof(c->buf), 0);
	c->err = c->result < 0 ? errno : 0;
}

/* Starts the call and returns when it waits. */
static void begin(struct call *c, int s, bool sends)
{
	*c = (struct call){ .s = s, .sends = sends };
	task_start(&c->task, call_main, c);
	task_await_asleep(&c->task);
}

static void end(struct call *c, ssize_t result, int err)
{
	task_join(&c->task);
	must_eq(err, c->err);
	must_eq(err ? -1 : result, c->result);
}

/* Waits for ever, unlike what sp_open() makes. */
static int patient(int s)
{
	set_timeout(s, SO_RCVTIMEO, 0);
	set_timeout(s, SO_SNDTIMEO, 0);
	return s;
}

TEST(timeouts)
{
	struct addr addr;
	int sub = sp_listener(SOCK_SUB, &addr);
	int req = sp_listener(SOCK_REQ, &addr);
	int64_t start = now_ms();
	char c;

	set_timeout(sub, SO_RCVTIMEO, 100);
	must_fail(EAGAIN, recv(sub, &c, 1, 0));
	EXPECT_LE(90, now_ms() - start);
	EXPECT_GE(100 + AT_ONCE_MS, now_ms() - start);

	start = now_ms();
	set_timeout(req, SO_SNDTIMEO, 100);
	must_fail(EAGAIN, send(req, "x", 1, 0));
	EXPECT_LE(90, now_ms() - start);
	EXPECT_GE(100 + AT_ONCE_MS, now_ms() - start);
	/* Nothing was sent, so there is nothing to wait for. */
	must_fail(EBADFD, recv(req, &c, 1, 0));
}

TEST(not_waiting)
{
	struct addr addr;
	int sub = sp_listener(SOCK_SUB, &addr);
	int req = sp_listener(SOCK_REQ, &addr);
	char c;

	must_fail(EAGAIN, recv(sub, &c, 1, MSG_DONTWAIT));
	must_fail(EAGAIN, send(req, "x", 1, MSG_DONTWAIT));
	must(fcntl(sub, F_SETFL, O_NONBLOCK));
	must(fcntl(req, F_SETFL, O_NONBLOCK));
	must_fail(EAGAIN, recv(sub, &c, 1, 0));
	must_fail(EAGAIN, read(sub, &c, 1));
	must_fail(EAGAIN, send(req, "x", 1, 0));
	must_fail(EAGAIN, write(req, "x", 1));
}

/*
 * Signals: a wait without a timeout is restarted if the handler says so, any
 * other ends with EINTR; neither loses a message.
 */
static volatile sig_atomic_t handled;

static void handler(int sig)
{
	(void)sig;
	handled++;
}

static void handle(int flags)
{
	struct sigaction sa = { .sa_handler = handler, .sa_flags = flags };

	handled = 0;
	must(sigaction(SIGUSR1, &sa, NULL));
}

static void await_handled(int n)
{
	int64_t deadline = patience();

	while (handled < n)
		tick(deadline, "a signal to be handled");
}

FIXTURE(signals)
{
	int s;
	struct addr addr;
	struct call call;
};

FIXTURE_VARIANT(signals)
{
	bool sends;
};

FIXTURE_VARIANT_ADD(signals, recv) { .sends = false };
FIXTURE_VARIANT_ADD(signals, send) { .sends = true };

FIXTURE_SETUP(signals)
{
	self->s = patient(sp_listener(variant->sends ? SOCK_REQ : SOCK_SUB,
				      &self->addr));
	if (!variant->sends)
		subscribe(self->s, LIT(""));
}

FIXTURE_TEARDOWN(signals)
{
	close(self->s);
}

/* Lets the call succeed: something to receive, or somebody to send to. */
static void fulfil(struct call *c, const struct addr *addr)
{
	int peer = raw_peer(c->sends ? SOCK_REP : SOCK_PUB, addr);

	if (!c->sends)
		raw_frame(peer, LIT("Hello"));
	end(c, 5, 0);
	if (c->sends)
		raw_expect_request(peer, LIT("Hello"));
	close(peer);
}

TEST_F(signals, interrupt)
{
	handle(0);
	begin(&self->call, self->s, variant->sends);
	task_signal(&self->call.task, SIGUSR1);
	end(&self->call, -1, EINTR);
	/* Nothing came of it; the next call works. */
	begin(&self->call, self->s, variant->sends);
	fulfil(&self->call, &self->addr);
}

TEST_F(signals, restart)
{
	int i;

	handle(SA_RESTART);
	begin(&self->call, self->s, variant->sends);
	for (i = 1; i <= 3; i++) {
		task_signal(&self->call.task, SIGUSR1);
		await_handled(i);
		task_await_asleep(&self->call.task);
	}
	fulfil(&self->call, &self->addr);
}

TEST_F(signals, never_restart_a_timeout)
{
	set_timeout(self->s, SO_RCVTIMEO, PATIENCE_MS);
	set_timeout(self->s, SO_SNDTIMEO, PATIENCE_MS);
	handle(SA_RESTART);
	begin(&self->call, self->s, variant->sends);
	task_signal(&self->call.task, SIGUSR1);
	end(&self->call, -1, EINTR);
}

/*
 * shutdown(): wakes everybody.
 */
TEST(shutdown_errors)
{
	int s = sp_open(SOCK_SUB);

	must_fail(EINVAL, shutdown(s, 3));
	must_fail(EINVAL, shutdown(s, -1));
}

TEST(shutdown_read_drains)
{
	struct pair p = sp_pair(SOCK_PUB, SOCK_SUB);
	char c;

	subscribe(p.connected, LIT(""));
	sp_send(p.bound, LIT("one"));
	sp_send(p.bound, LIT("two"));
	await_counter(p.connected, sp_rx_queued, 6);
	must(shutdown(p.connected, SHUT_RD));
	expect_events(POLLIN | POLLRDHUP, p.connected);
	sp_expect(p.connected, LIT("one"));
	sp_expect(p.connected, LIT("two"));
	EXPECT_EQ(0, must(recv(p.connected, &c, 1, 0)));
	EXPECT_EQ(0, must(recv(p.connected, &c, 1, MSG_DONTWAIT)));
	expect_events(POLLIN | POLLRDHUP, p.connected);
}

TEST(shutdown_read_wakes_recv)
{
	struct addr addr;
	int s = patient(sp_listener(SOCK_SUB, &addr));
	struct call call[3];
	int i;

	for (i = 0; i < 3; i++)
		begin(&call[i], s, false);
	must(shutdown(s, SHUT_RD));
	for (i = 0; i < 3; i++)
		end(&call[i], 0, 0);
}

TEST(shutdown_write_wakes_send)
{
	struct addr addr;
	int s = patient(sp_listener(SOCK_REQ, &addr));
	struct call call[2];
	int i;

	for (i = 0; i < 2; i++)
		begin(&call[i], s, true);
	must(shutdown(s, SHUT_WR));
	for (i = 0; i < 2; i++)
		end(&call[i], -1, EPIPE);
}

static void poll_main(void *arg)
{
	await_in(*(int *)arg);
}

TEST(shutdown_wakes_poll)
{
	struct addr addr;
	int s = sp_listener(SOCK_SUB, &addr);
	struct task poller;

	task_start(&poller, poll_main, &s);
	task_await_asleep(&poller);
	must(shutdown(s, SHUT_RDWR));
	task_join(&poller);
	must_be(ready(s, 0) & POLLHUP);
}

TEST(shutdown_write_lets_replies_in)
{
	struct pair p = sp_pair(SOCK_REP, SOCK_REQ);

	sp_send(p.connected, LIT("Q"));
	must(shutdown(p.connected, SHUT_WR));
	must_fail(EPIPE, send(p.connected, "x", 1, MSG_NOSIGNAL));
	/* For poll() an error is readiness too. */
	expect_out(p.connected);
	sp_expect(p.bound, LIT("Q"));
	EXPECT_EQ(1, sp_get(p.bound, SP_PEERS));
	sp_send(p.bound, LIT("R"));
	sp_expect(p.connected, LIT("R"));
}

TEST(shutdown_write_raises_sigpipe)
{
	struct sigaction sa = { .sa_handler = handler };
	int s = sp_open(SOCK_PUB);

	must(sigaction(SIGPIPE, &sa, NULL));
	must(shutdown(s, SHUT_WR));
	must_fail(EPIPE, send(s, "x", 1, MSG_NOSIGNAL));
	EXPECT_EQ(0, handled);
	must_fail(EPIPE, send(s, "x", 1, 0));
	EXPECT_EQ(1, handled);
	must_fail(EPIPE, write(s, "x", 1));
	EXPECT_EQ(2, handled);
}

TEST(peers_going_away_raise_no_sigpipe)
{
	struct addr addr;
	int rep = sp_listener(SOCK_REP, &addr), peer;

	/* Default action: to die of it would be the failure. */
	signal(SIGPIPE, SIG_DFL);
	peer = raw_peer(SOCK_REQ, &addr);
	raw_frame(peer, LIT("\x80\0\0\1Q"));
	sp_expect(rep, LIT("Q"));
	raw_reset(peer);
	must_eq(1, send(rep, "R", 1, 0));
	await_peers(rep, 0);
}

/*
 * close() by another thread neither waits for nor wakes those who use the
 * socket: the last of them takes it away, as on every Linux socket.
 */
TEST(close_while_another_thread_waits)
{
	struct addr addr;
	int s = patient(sp_listener(SOCK_SUB, &addr));
	struct call call;
	int64_t start;
	int peer;

	subscribe(s, LIT(""));
	peer = raw_peer(SOCK_PUB, &addr);
	begin(&call, s, false);
	start = now_ms();
	must(close(s));
	EXPECT_GE(AT_ONCE_MS, now_ms() - start);
	raw_frame(peer, LIT("Hello"));
	end(&call, 5, 0);
	raw_expect_closed(peer);
}

TEST(close_returns_at_once)
{
	struct addr addr;
	int pub = sp_listener(SOCK_PUB, &addr);
	int peer = raw_connect_small(&addr);
	static char buf[900000];
	int64_t start;

	raw_greet(peer, SOCK_SUB);
	raw_expect_greeting(peer, SOCK_PUB);
	await_peers(pub, 1);
	sp_send_filled(pub, sizeof(buf), 7);
	start = now_ms();
	close(pub);
	EXPECT_GE(AT_ONCE_MS, now_ms() - start);
	/* And yet nothing is lost. */
	must_eq(sizeof(buf), raw_read_frame(peer, buf, sizeof(buf)));
	must_be_filled(buf, sizeof(buf), 7);
	raw_expect_closed(peer);
}

TEST(linger_zero_aborts)
{
	struct linger abort_now = { .l_onoff = 1, .l_linger = 0 };
	struct addr addr;
	int pub = sp_listener(SOCK_PUB, &addr);
	int peer = raw_connect_narrow(&addr);
	static char buf[65536];
	ssize_t n;

	raw_greet(peer, SOCK_SUB);
	raw_expect_greeting(peer, SOCK_PUB);
	await_peers(pub, 1);
	sp_send_filled(pub, 900000, 7);
	must(setsockopt(pub, SOL_SOCKET, SO_LINGER, &abort_now,
			sizeof(abort_now)));
	close(pub);
	while ((n = recv(peer, buf, sizeof(buf), 0)) > 0)
		;
	EXPECT_EQ(-1, n);
	EXPECT_EQ(ECONNRESET, errno);
}

SP_TEST_MAIN
