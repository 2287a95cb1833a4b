// SPDX-License-Identifier: GPL-2.0
/*
 * Many who wait for one socket, in every way there is: each message goes to
 * one of them, none is forgotten, nobody is woken for what is not his, and
 * shutdown() wakes all.
 */
#include "sptest.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>

/*
 * Messages that several threads share out.
 *
 * The publisher keeps so few on their way that none is dropped. Readers wait
 * for ever, so that a wake-up that is lost cannot be made good by a timeout;
 * an eventfd ends them.
 */
enum { READERS = 8, MOST = 100000, WINDOW = 256, END = MOST };
/* On a machine that others keep busy, fewer will have to do. */
enum { LONG_MS = 1500 };

static struct {
	int s, end;
	uint32_t messages, received;
	unsigned char got[MOST];
	/* Set while somebody has the event of a one-shot epoll. */
	bool taken;
} shared;

struct reader;

/* One way to wait: sets up, and then receives until the end. */
struct way {
	uint32_t events;
	bool one_epoll;	 /* for all, not one for each */
	bool drains;	 /* after each event: receives until there is nothing */
};

struct reader {
	struct task task;
	const struct way *way;
	int ep;
	int events, empty;
};

static bool take_one(int flags)
{
	uint32_t seq;
	ssize_t n = recv(shared.s, &seq, sizeof(seq), flags);

	if (n < 0) {
		must_be(errno == EAGAIN && flags);
		return false;
	}
	must_eq(4, n);
	if (seq == END)
		return false;
	must_be(seq < MOST);
	must_eq(0, __atomic_fetch_add(&shared.got[seq], 1, __ATOMIC_RELAXED));
	__atomic_fetch_add(&shared.received, 1, __ATOMIC_RELAXED);
	return true;
}

static uint32_t received(void)
{
	return __atomic_load_n(&shared.received, __ATOMIC_RELAXED);
}

static void read_blocking(void *arg)
{
	(void)arg;
	while (take_one(0))
		;
}

static void read_polling(void *arg)
{
	struct reader *r = arg;
	struct pollfd p[] = { { .fd = shared.s, .events = POLLIN },
			      { .fd = shared.end, .events = POLLIN } };

	while (must(poll(p, 2, -1)), !p[1].revents) {
		r->events++;
		r->empty += !take_one(MSG_DONTWAIT);
	}
}

static void read_selecting(void *arg)
{
	struct reader *r = arg;
	int most = (shared.s > shared.end ? shared.s : shared.end) + 1;
	fd_set in;

	for (;;) {
		FD_ZERO(&in);
		FD_SET(shared.s, &in);
		FD_SET(shared.end, &in);
		must(select(most, &in, NULL, NULL, NULL));
		if (FD_ISSET(shared.end, &in))
			return;
		r->events++;
		r->empty += !take_one(MSG_DONTWAIT);
	}
}

static void epoll_add(int ep, int fd, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.fd = fd };

	must(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev));
}

static void read_epoll(void *arg)
{
	struct reader *r = arg;
	const struct way *way = r->way;
	struct epoll_event ev;

	while (must_eq(1, epoll_wait(r->ep, &ev, 1, -1)),
	       ev.data.fd != shared.end) {
		bool some;

		must_eq(EPOLLIN, ev.events);
		r->events++;
		if (way->events & EPOLLONESHOT)
			must_be(!__atomic_exchange_n(&shared.taken, true,
						     __ATOMIC_ACQ_REL));
		some = take_one(MSG_DONTWAIT);
		r->empty += !some;
		while (some && way->drains)
			some = take_one(MSG_DONTWAIT);
		if (way->events & EPOLLONESHOT) {
			__atomic_store_n(&shared.taken, false,
					 __ATOMIC_RELEASE);
			ev.events = way->events;
			must(epoll_ctl(r->ep, EPOLL_CTL_MOD, shared.s, &ev));
		}
	}
}

static void prepare(struct reader *reader, const struct way *way, int *pub,
		    uint32_t messages)
{
	struct pair p = sp_pair(SOCK_PUB, SOCK_SUB);
	int i, ep = -1;

	*pub = p.bound;
	subscribe(p.connected, LIT(""));
	set_timeout(p.connected, SO_RCVTIMEO, 0);
	shared.s = p.connected;
	shared.end = (int)must(eventfd(0, 0));
	shared.messages = messages;
	for (i = 0; i < READERS; i++) {
		if (way->events && (ep < 0 || !way->one_epoll)) {
			ep = (int)must(epoll_create1(0));
			epoll_add(ep, shared.end, EPOLLIN);
			epoll_add(ep, shared.s, way->events);
		}
		reader[i].way = way;
		reader[i].ep = ep;
	}
}

static void start_all(struct reader *r, void (*run)(void *arg))
{
	int i;

	for (i = 0; i < READERS; i++) {
		/* Threads that start have no place in the first wake-ups. */
		task_start(&r[i].task, run, &r[i]);
		task_await_asleep(&r[i].task);
	}
}

static void end_all(struct reader *r, int pub, bool blocked)
{
	const uint64_t one = 1;
	const uint32_t end = END;
	int i;

	if (blocked)
		for (i = 0; i < READERS; i++)
			sp_send(pub, &end, sizeof(end));
	must(write(shared.end, &one, sizeof(one)));
	for (i = 0; i < READERS; i++)
		task_join(&r[i].task);
	must_eq(shared.messages, received());
	sp_expect_nothing(shared.s);
}

FIXTURE(sharing)
{
	int pub;
	struct reader reader[READERS];
};

FIXTURE_VARIANT(sharing)
{
	void (*run)(void *arg);
	struct way way;
	int part;	/* of the messages that it gets: a herd is slow */
	int useless;	/* most wake-ups in vain per message */
};

/*
 * Of useless wake-ups there may be
 *  - for those that do not ask for exclusive ones, of every message one for
 *    each but the reader that gets it;
 *  - else one per message: it wakes one sleeper, and somebody who is awake
 *    anyway can take it before that one does (how often depends on the
 *    machine; where nobody is awake it is never: see one_wakes_one);
 *  - none where at most one reader has the event at a time.
 */
FIXTURE_VARIANT_ADD(sharing, recv) { read_blocking, {}, 2, 0 };
FIXTURE_VARIANT_ADD(sharing, poll) { read_polling, {}, 20, READERS - 1 };
FIXTURE_VARIANT_ADD(sharing, select) { read_selecting, {}, 20, READERS - 1 };
FIXTURE_VARIANT_ADD(sharing, epoll_level) {
	read_epoll, { EPOLLIN, false, false }, 20, READERS - 1 };
FIXTURE_VARIANT_ADD(sharing, epoll_level_one) {
	read_epoll, { EPOLLIN, true, false }, 10, READERS - 1 };
FIXTURE_VARIANT_ADD(sharing, epoll_edge) {
	read_epoll, { EPOLLIN | EPOLLET, false, true }, 20, READERS - 1 };
FIXTURE_VARIANT_ADD(sharing, epoll_edge_one) {
	read_epoll, { EPOLLIN | EPOLLET, true, true }, 4, 1 };
FIXTURE_VARIANT_ADD(sharing, epoll_one_shot) {
	read_epoll, { EPOLLIN | EPOLLONESHOT, true, false }, 4, 0 };
FIXTURE_VARIANT_ADD(sharing, epoll_exclusive) {
	read_epoll, { EPOLLIN | EPOLLEXCLUSIVE, false, false }, 1, 1 };
FIXTURE_VARIANT_ADD(sharing, epoll_exclusive_edge) {
	read_epoll, { EPOLLIN | EPOLLEXCLUSIVE | EPOLLET, false, true }, 4, 1 };

FIXTURE_SETUP(sharing)
{
	prepare(self->reader, &variant->way, &self->pub,
		(uint32_t)at_speed(MOST) / variant->part);
}

FIXTURE_TEARDOWN(sharing)
{
}

TEST_F_TIMEOUT(sharing, exactly_once, 60)
{
	int64_t deadline, start;
	long empty = 0;
	uint32_t i;

	start_all(self->reader, variant->run);
	start = now_ms();
	for (i = 0; i < shared.messages; i++) {
		if (now_ms() - start > LONG_MS)
			break;
		/* Who waits for a message must get it without another. */
		deadline = patience();
		while (i - received() >= WINDOW)
			tick(deadline, "messages to be received");
		sp_send(self->pub, &i, sizeof(i));
	}
	shared.messages = i;
	deadline = patience();
	while (received() < shared.messages)
		tick(deadline, "the last messages to be received");
	end_all(self->reader, self->pub, variant->run == read_blocking);
	EXPECT_EQ(0, counter(self->pub, sp_tx_dropped));
	for (i = 0; i < READERS; i++)
		empty += self->reader[i].empty;
	TH_LOG("%u messages in %d ms, %ld wake-ups in vain", shared.messages,
	       (int)(now_ms() - start), empty);
	EXPECT_GE((long)variant->useless * shared.messages, empty);
}

/*
 * One message at a time, when all wait: it wakes one of those that asked for
 * exclusive wake-ups, or that share one epoll, and nobody else. (Not so one
 * level-triggered epoll: that wakes the next as long as nothing is read.)
 */
FIXTURE(sleeping)
{
	int pub;
	struct reader reader[READERS];
};

FIXTURE_VARIANT(sleeping)
{
	void (*run)(void *arg);
	struct way way;
};

enum { ROUNDS = 8 };

FIXTURE_VARIANT_ADD(sleeping, recv) { read_blocking, {} };
FIXTURE_VARIANT_ADD(sleeping, epoll_edge_one) {
	read_epoll, { EPOLLIN | EPOLLET, true, true } };
FIXTURE_VARIANT_ADD(sleeping, epoll_one_shot) {
	read_epoll, { EPOLLIN | EPOLLONESHOT, true, false } };
FIXTURE_VARIANT_ADD(sleeping, epoll_exclusive) {
	read_epoll, { EPOLLIN | EPOLLEXCLUSIVE, false, false } };
FIXTURE_VARIANT_ADD(sleeping, epoll_exclusive_edge) {
	read_epoll, { EPOLLIN | EPOLLEXCLUSIVE | EPOLLET, false, true } };

FIXTURE_SETUP(sleeping)
{
	prepare(self->reader, &variant->way, &self->pub, ROUNDS);
}

FIXTURE_TEARDOWN(sleeping)
{
}

TEST_F(sleeping, one_wakes_one)
{
	bool blocked = variant->run == read_blocking;
	int i, events = 0, empty = 0;
	uint32_t round;
	long before = 0, after = 0;

	start_all(self->reader, variant->run);
	for (i = 0; i < READERS; i++)
		before += task_sleeps(&self->reader[i].task);
	for (round = 0; round < ROUNDS; round++) {
		int64_t deadline = patience();

		sp_send(self->pub, &round, sizeof(round));
		while (received() <= round)
			tick(deadline, "the message to be received");
		for (i = 0; i < READERS; i++)
			task_await_asleep(&self->reader[i].task);
	}
	for (i = 0; i < READERS; i++)
		after += task_sleeps(&self->reader[i].task);
	end_all(self->reader, self->pub, blocked);
	for (i = 0; i < READERS; i++) {
		events += self->reader[i].events;
		empty += self->reader[i].empty;
	}
	if (!blocked)
		EXPECT_EQ(ROUNDS, events);
	EXPECT_EQ(0, empty);
	/* One epoll has all the sleepers to itself: whom it wakes it decides. */
	if (!variant->way.one_epoll)
		EXPECT_EQ(ROUNDS, after - before);
}

/*
 * Wake-ups are keyed: what makes a socket readable is of no interest to those
 * who want to write, and the reverse.
 */
struct waiter {
	struct task task;
	int s;
	short events;	/* for poll(), or 0 for a call: */
	bool sends;
	ssize_t result;
	int err;
	short seen;
};

static void wait_main(void *arg)
{
	struct waiter *w = arg;
	struct pollfd p = { .fd = w->s, .events = w->events };
	char buf[16];

	if (w->events) {
		w->result = poll(&p, 1, -1);
		w->seen = p.revents;
	} else if (w->sends) {
		w->result = send(w->s, "Hello", 5, MSG_NOSIGNAL);
	} else {
		w->result = recv(w->s, buf, sizeof(buf), 0);
	}
	w->err = w->result < 0 ? errno : 0;
}

static void wait_in(struct waiter *w, int s, short events, bool sends)
{
	*w = (struct waiter){ .s = s, .events = events, .sends = sends };
	task_start(&w->task, wait_main, w);
	task_await_asleep(&w->task);
}

/* Waits for ever, unlike what sp_open() makes. */
static int patient(int s)
{
	set_timeout(s, SO_RCVTIMEO, 0);
	set_timeout(s, SO_SNDTIMEO, 0);
	return s;
}

TEST(messages_do_not_wake_writers)
{
	struct pair p = sp_pair(SOCK_REP, SOCK_REQ);
	struct waiter w;
	long before;
	int i;

	wait_in(&w, p.bound, POLLOUT, false);
	before = task_sleeps(&w.task);
	for (i = 0; i < 5; i++)
		sp_send(p.connected, &i, sizeof(i));
	await_counter(p.bound, sp_rx_queued, 5 * sizeof(i));
	task_await_asleep(&w.task);
	EXPECT_EQ(before, task_sleeps(&w.task));
	/* Taking one is what gives something to answer. */
	must_eq(sizeof(i), recv(p.bound, &i, sizeof(i), 0));
	task_join(&w.task);
	EXPECT_EQ(POLLOUT, w.seen);
}

TEST(peers_do_not_wake_readers)
{
	struct addr addr;
	int req = patient(sp_listener(SOCK_REQ, &addr)), peer, i;
	struct waiter poller, reader;
	long before[2];
	uint32_t id;

	peer = raw_peer(SOCK_REP, &addr);
	sp_send(req, LIT("Q"));
	id = raw_expect_request(peer, LIT("Q"));
	wait_in(&poller, req, POLLIN, false);
	wait_in(&reader, req, 0, false);
	before[0] = task_sleeps(&poller.task);
	before[1] = task_sleeps(&reader.task);
	/* Each is news for who wants to send. */
	for (i = 0; i < 3; i++)
		raw_peer(SOCK_REP, &addr);
	await_peers(req, 4);
	task_await_asleep(&poller.task);
	task_await_asleep(&reader.task);
	EXPECT_EQ(before[0], task_sleeps(&poller.task));
	EXPECT_EQ(before[1], task_sleeps(&reader.task));

	raw_reply(peer, id, LIT("R"));
	task_join(&reader.task);
	EXPECT_EQ(1, reader.result);
	/* It may have seen the reply, or come too late for that. */
	must(shutdown(req, SHUT_RD));
	task_join(&poller.task);
	EXPECT_EQ(POLLIN, poller.seen);
}

TEST(messages_do_not_wake_send)
{
	enum { LEN = 16384 };
	static char body[LEN], buf[LEN + 4];
	struct pollfd p = { .events = POLLOUT };
	int req = patient(sp_open(SOCK_REQ)), peer;
	uint32_t id = 0;
	struct addr addr;
	struct waiter w;
	int64_t deadline;
	long before;

	sol_set(req, SO_SNDBUF, 32768);
	addr = sp_bind(req, AF_INET);
	peer = raw_peer_narrow(SOCK_REP, &addr);
	await_out(req);
	/* Until no more is taken: neither by the pipe nor by TCP. */
	p.fd = req;
	do
		while (send(req, body, LEN, MSG_DONTWAIT) == LEN)
			;
	while (poll(&p, 1, quiet_ms()) == 1);

	wait_in(&w, req, 0, true);
	before = task_sleeps(&w.task);
	/* Any id will do: it is news for nobody but the statistics. */
	raw_reply(peer, 0x80000000u | id, LIT("R"));
	await_counter(req, sp_rx_stale, 1);
	/* A shutdown would wake it, a peer's message does not. */
	task_await_asleep(&w.task);
	EXPECT_EQ(before, task_sleeps(&w.task));
	/* It may still be on its way out when there is nothing more to read. */
	deadline = patience();
	while (pthread_tryjoin_np(w.task.thread, NULL) == EBUSY) {
		if (ready(peer, POLLIN) & POLLIN)
			raw_read_frame(peer, buf, sizeof(buf));
		else
			tick(deadline, "send() to return");
	}
	EXPECT_EQ(5, w.result);
}

/*
 * shutdown() by another thread wakes all, in whatever they wait.
 */
static void epoll_main(void *arg)
{
	struct waiter *w = arg;
	int ep = (int)must(epoll_create1(0));
	struct epoll_event ev;

	epoll_add(ep, w->s, (uint32_t)(uint16_t)w->events);
	w->result = epoll_wait(ep, &ev, 1, -1);
	w->seen = (short)ev.events;
	close(ep);
}

static void select_main(void *arg)
{
	struct waiter *w = arg;
	fd_set in;

	FD_ZERO(&in);
	FD_SET(w->s, &in);
	w->result = select(w->s + 1, &in, NULL, NULL, NULL);
	w->seen = FD_ISSET(w->s, &in) ? POLLIN : 0;
}

FIXTURE(shut)
{
	int s;
};

FIXTURE_VARIANT(shut)
{
	int type, how;
	short seen;
	int sends;	/* the errno of send(), or -1 if it does not wait */
	int recvs;	/* the same of recv() */
};

/* clang-format off */
FIXTURE_VARIANT_ADD(shut, rep_read) {
	SOCK_REP, SHUT_RD, POLLIN | POLLRDHUP, -1, 0 };
FIXTURE_VARIANT_ADD(shut, rep_both) {
	SOCK_REP, SHUT_RDWR, POLLIN | POLLRDHUP | POLLOUT | POLLHUP, -1, 0 };
FIXTURE_VARIANT_ADD(shut, sub_read) {
	SOCK_SUB, SHUT_RD, POLLIN | POLLRDHUP, -1, 0 };
FIXTURE_VARIANT_ADD(shut, sub_both) {
	SOCK_SUB, SHUT_RDWR, POLLIN | POLLRDHUP | POLLHUP, -1, 0 };
FIXTURE_VARIANT_ADD(shut, req_write) {
	SOCK_REQ, SHUT_WR, POLLOUT, EPIPE, -1 };
FIXTURE_VARIANT_ADD(shut, req_both) {
	SOCK_REQ, SHUT_RDWR, POLLIN | POLLRDHUP | POLLOUT | POLLHUP, EPIPE, -1 };
/* clang-format on */

FIXTURE_SETUP(shut)
{
	struct addr addr;

	self->s = patient(sp_listener(variant->type, &addr));
}

FIXTURE_TEARDOWN(shut)
{
	close(self->s);
}

TEST_F(shut, wakes_all)
{
	enum { EACH = 3 };
	const short all = POLLIN | POLLOUT | POLLRDHUP;
	static struct waiter caller[EACH], poller[EACH], epoller[EACH];
	struct waiter selector = { .s = self->s };
	bool reads = variant->seen & POLLIN;
	int i;

	for (i = 0; i < EACH; i++) {
		wait_in(&caller[i], self->s, 0, variant->sends >= 0);
		wait_in(&poller[i], self->s, all, false);
		epoller[i] = (struct waiter){ .s = self->s, .events = all };
		task_start(&epoller[i].task, epoll_main, &epoller[i]);
		task_await_asleep(&epoller[i].task);
	}
	if (reads) {
		task_start(&selector.task, select_main, &selector);
		task_await_asleep(&selector.task);
	}
	must(shutdown(self->s, variant->how));
	for (i = 0; i < EACH; i++) {
		int err = variant->sends >= 0 ? variant->sends : variant->recvs;

		task_join(&caller[i].task);
		EXPECT_EQ(err, caller[i].err);
		EXPECT_EQ(err ? -1 : 0, caller[i].result);
		task_join(&poller[i].task);
		EXPECT_EQ(variant->seen, poller[i].seen);
		task_join(&epoller[i].task);
		EXPECT_EQ(variant->seen, epoller[i].seen);
	}
	if (reads) {
		task_join(&selector.task);
		EXPECT_EQ(POLLIN, selector.seen);
	}
}

/* In send() nobody is woken by the end of reading, and the reverse. */
TEST(shutdown_of_the_other_direction)
{
	static unsigned char body[50004];
	struct addr addr;
	int req = patient(sp_listener(SOCK_REQ, &addr)), peer;
	struct waiter sender, receiver;

	sol_set(req, SO_SNDBUF, 4096);
	peer = raw_peer(SOCK_REP, &addr);
	await_out(req);
	/* Until TCP takes no more, also after a while. */
	do {
		while (send(req, body, 50000, MSG_DONTWAIT) > 0)
			;
		must_eq(EAGAIN, errno);
		pass_ms(quiet_ms());
	} while (ready(req, POLLOUT));
	wait_in(&sender, req, 0, true);
	must(shutdown(req, SHUT_RD));
	task_await_asleep(&sender.task);
	while (raw_read_frame(peer, body, sizeof(body)) != 4 + 5)
		;
	task_join(&sender.task);
	EXPECT_EQ(5, sender.result);
	close(peer);
	close(req);

	req = patient(sp_listener(SOCK_REQ, &addr));
	peer = raw_peer(SOCK_REP, &addr);
	await_out(req);
	sp_send(req, LIT("Q"));
	wait_in(&receiver, req, 0, false);
	must(shutdown(req, SHUT_WR));
	task_await_asleep(&receiver.task);
	raw_reply(peer, raw_expect_request(peer, LIT("Q")), LIT("reply"));
	task_join(&receiver.task);
	EXPECT_EQ(5, receiver.result);
}

/*
 * close() by another thread: who is in a call holds the file, so the socket
 * goes when the last call returns; see also blocking.c.
 */
TEST(close_while_others_wait)
{
	struct addr addr;
	int req = patient(sp_listener(SOCK_REQ, &addr)), peer;
	struct waiter sender[2], poller;
	char buf[16];
	int i;

	for (i = 0; i < 2; i++)
		wait_in(&sender[i], req, 0, true);
	wait_in(&poller, req, POLLOUT, false);
	must(close(req));
	task_await_asleep(&sender[0].task);
	task_await_asleep(&poller.task);
	peer = raw_peer(SOCK_REP, &addr);
	for (i = 0; i < 2; i++) {
		task_join(&sender[i].task);
		EXPECT_EQ(5, sender[i].result);
		EXPECT_EQ(9, raw_read_frame(peer, buf, sizeof(buf)));
	}
	task_join(&poller.task);
	EXPECT_EQ(POLLOUT, poller.seen);
	/* Nobody is left. */
	raw_expect_closed(peer);
}

/* An epoll keeps no file: what is closed it forgets, without an event. */
TEST(close_while_in_epoll)
{
	struct pair p = sp_pair(SOCK_PUB, SOCK_SUB);
	int ep = (int)must(epoll_create1(0));
	struct epoll_event ev;

	epoll_add(ep, p.connected, EPOLLIN);
	must(close(p.connected));
	must_eq(0, epoll_wait(ep, &ev, 1, quiet_ms()));
	await_peers(p.bound, 0);
}

SP_TEST_MAIN
