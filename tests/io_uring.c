// SPDX-License-Identifier: GPL-2.0
/*
 * SP sockets in io_uring: every operation that is for sockets, waiting or not,
 * ends with the result of its system call, once; what is cancelled or ends in
 * the middle loses no message.
 *
 * A request waits without a thread: the kernel tries it without blocking, and
 * again whenever the socket says that it is ready. So this proves readiness to
 * be exact too: an event that did not come would leave a request waiting, and
 * one that is not true would end it with EAGAIN.
 */
#include "sptest.h"

#include <fcntl.h>
#include <liburing.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/uio.h>

/* Completions are awaited by the tag of their request, in any order. */
enum { DEPTH = 64 };

struct completion {
	unsigned int tag, flags;
	int res;
};

struct ring {
	struct io_uring u;
	struct completion got[2 * DEPTH];
	int n;
};

FIXTURE(uring)
{
	struct ring ring;
	struct ring *r;
};

static void ring_init(struct ring *r)
{
	int err = -io_uring_queue_init(DEPTH, &r->u, 0);

	r->n = 0;
	if (err)
		die("io_uring_queue_init: %s", strerrorname_np(err));
}

FIXTURE_SETUP(uring)
{
	self->r = &self->ring;
	ring_init(self->r);
}

FIXTURE_TEARDOWN(uring)
{
	io_uring_queue_exit(&self->r->u);
}

/*
 * Use: io_uring_prep_recv(sqe(r), ...), then go(r, tag), or for more than one
 * at a time add(r, tag, flags) for each and submit(r).
 */
#define sqe(r) AT(sqe_((r)))
static struct io_uring_sqe *last;

static struct io_uring_sqe *sqe_(struct ring *r)
{
	last = io_uring_get_sqe(&r->u);
	if (!last)
		die("the submission queue is full");
	return last;
}

static void add(unsigned int tag, unsigned int flags)
{
	last->user_data = tag;
	last->flags |= flags;
}

#define submit(r) AT(submit_((r)))
static void submit_(struct ring *r)
{
	int n = io_uring_submit(&r->u);

	if (n <= 0)
		die("io_uring_submit: %d", n);
}

#define go(r, tag) AT(go_((r), (tag)))
static void go_(struct ring *r, unsigned int tag)
{
	add(tag, 0);
	submit_(r);
}

static void keep(struct ring *r, struct io_uring_cqe *cqe)
{
	if (r->n == ARRAY_SIZE(r->got))
		die("too many completions that nobody asks for");
	/* What zero copy adds to the completion proper is of no interest. */
	if (!(cqe->flags & IORING_CQE_F_NOTIF))
		r->got[r->n++] = (struct completion){
			(unsigned int)cqe->user_data, cqe->flags, cqe->res };
	io_uring_cqe_seen(&r->u, cqe);
}

/* Takes what has completed by now. */
static void reap(struct ring *r)
{
	struct io_uring_cqe *cqe;

	io_uring_get_events(&r->u);
	while (!io_uring_peek_cqe(&r->u, &cqe))
		keep(r, cqe);
}

static bool find(struct ring *r, unsigned int tag, struct completion *c)
{
	int i;

	for (i = 0; i < r->n; i++)
		if (r->got[i].tag == tag) {
			*c = r->got[i];
			memmove(&r->got[i], &r->got[i + 1],
				(size_t)(--r->n - i) * sizeof(*c));
			return true;
		}
	return false;
}

/* The next completion of a request. */
#define done(r, tag) AT(done_((r), (tag)))
static struct completion done_(struct ring *r, unsigned int tag)
{
	struct completion c;

	while (!find(r, tag, &c)) {
		struct __kernel_timespec limit = { PATIENCE_MS / 1000, 0 };
		struct io_uring_cqe *cqe;
		int err = -io_uring_wait_cqe_timeout(&r->u, &cqe, &limit);

		if (err)
			die("request %u does not complete: %s", tag,
			    strerrorname_np(err));
		keep(r, cqe);
	}
	return c;
}

/* The request waits: it has not completed by now. */
#define must_wait(r, tag) AT(must_wait_((r), (tag)))
static void must_wait_(struct ring *r, unsigned int tag)
{
	struct completion c;

	reap(r);
	if (find(r, tag, &c))
		die("request %u has completed with %d", tag, c.res);
}

/* Submits what was prepared and awaits its result. */
#define result(r, tag) AT(result_((r), (tag)))
static int result_(struct ring *r, unsigned int tag)
{
	go_(r, tag);
	return done_(r, tag).res;
}

/* Cancels a request that waits. */
#define cancel(r, tag) AT(cancel_((r), (tag)))
static void cancel_(struct ring *r, unsigned int tag)
{
	int res;

	io_uring_prep_cancel64(sqe_(r), tag, 0);
	res = result_(r, 1000000 + tag);
	if (res)
		die("the cancellation of %u gave %d", tag, res);
	res = done_(r, tag).res;
	if (res != -ECANCELED)
		die("request %u, cancelled, gave %d", tag, res);
}

static struct pair pub_and_sub(void)
{
	struct pair p = sp_pair(SOCK_PUB, SOCK_SUB);

	subscribe(p.connected, LIT(""));
	return p;
}

TEST_F(uring, recv)
{
	struct pair p = pub_and_sub();
	struct ring *r = self->r;
	char buf[16];

	/* At once. */
	sp_send(p.bound, LIT("first"));
	await_in(p.connected);
	io_uring_prep_recv(sqe(r), p.connected, buf, sizeof(buf), 0);
	must_eq(5, result(r, 1));
	EXPECT_EQ(0, memcmp(buf, "first", 5));
	/* Later. */
	io_uring_prep_recv(sqe(r), p.connected, buf, sizeof(buf), 0);
	go(r, 2);
	must_wait(r, 2);
	sp_send(p.bound, LIT("second"));
	must_eq(6, done(r, 2).res);
	EXPECT_EQ(0, memcmp(buf, "second", 6));
	/* What is too long is cut, and the rest gone. */
	sp_send(p.bound, LIT("a longer one"));
	io_uring_prep_recv(sqe(r), p.connected, buf, 8, 0);
	must_eq(8, result(r, 3));
	sp_send(p.bound, LIT("a longer one"));
	io_uring_prep_recv(sqe(r), p.connected, buf, 8, MSG_TRUNC);
	must_eq(12, result(r, 4));
	/* A look changes nothing. */
	sp_send(p.bound, LIT("looked at"));
	io_uring_prep_recv(sqe(r), p.connected, buf, sizeof(buf), MSG_PEEK);
	must_eq(9, result(r, 5));
	sp_expect(p.connected, LIT("looked at"));
	sp_expect_nothing(p.connected);
}

TEST_F(uring, recv_that_polls_first)
{
	struct pair p = pub_and_sub();
	struct ring *r = self->r;
	char buf[16];
	int i;

	for (i = 0; i < 2; i++) {
		if (i == 0)
			sp_send(p.bound, LIT("x"));
		io_uring_prep_recv(sqe(r), p.connected, buf, sizeof(buf), 0);
		last->ioprio |= IORING_RECVSEND_POLL_FIRST;
		go(r, 1);
		if (i == 1) {
			must_wait(r, 1);
			sp_send(p.bound, LIT("x"));
		}
		must_eq(1, done(r, 1).res);
	}
	/* By a worker of the kernel's, which must not block for ever. */
	io_uring_prep_recv(sqe(r), p.connected, buf, sizeof(buf), 0);
	add(2, IOSQE_ASYNC);
	submit(r);
	sp_send(p.bound, LIT("x"));
	must_eq(1, done(r, 2).res);
}

TEST_F(uring, send)
{
	struct pair p = sp_pair(SOCK_REP, SOCK_REQ);
	struct ring *r = self->r;

	io_uring_prep_send(sqe(r), p.connected, "question", 8, 0);
	must_eq(8, result(r, 1));
	sp_expect(p.bound, LIT("question"));
	io_uring_prep_send(sqe(r), p.bound, "answer", 6, 0);
	must_eq(6, result(r, 2));
	sp_expect(p.connected, LIT("answer"));
}

/* What waits for somebody to send to is still whole when it is tried again. */
TEST_F(uring, send_that_waits)
{
	struct iovec iov[] = { { "in ", 3 }, { "pieces", 6 } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };
	struct ring *r = self->r;
	int way;

	for (way = 0; way < 5; way++) {
		struct addr addr;
		int req = sp_listener(SOCK_REQ, &addr), peer;

		switch (way) {
		case 0:
			io_uring_prep_send(sqe(r), req, "in pieces", 9, 0);
			break;
		case 1:
			io_uring_prep_sendmsg(sqe(r), req, &msg, 0);
			break;
		case 2:
			io_uring_prep_write(sqe(r), req, "in pieces", 9, 0);
			break;
		case 3:
			io_uring_prep_writev(sqe(r), req, iov, 2, 0);
			break;
		case 4:
			io_uring_prep_send(sqe(r), req, "in pieces", 9, 0);
			last->flags |= IOSQE_ASYNC;
			break;
		}
		go(r, 1);
		must_wait(r, 1);
		peer = raw_peer(SOCK_REP, &addr);
		must_eq(9, done(r, 1).res);
		raw_expect_request(peer, LIT("in pieces"));
		close(peer);
		close(req);
	}
}

TEST_F(uring, not_waiting)
{
	struct ring *r = self->r;
	struct addr addr;
	int sub = sp_listener(SOCK_SUB, &addr);
	int req = sp_listener(SOCK_REQ, &addr);
	char c;
	struct iovec iov = { &c, 1 };

	io_uring_prep_recv(sqe(r), sub, &c, 1, MSG_DONTWAIT);
	must_eq(-EAGAIN, result(r, 1));
	io_uring_prep_send(sqe(r), req, "x", 1, MSG_DONTWAIT);
	must_eq(-EAGAIN, result(r, 2));
	io_uring_prep_readv2(sqe(r), sub, &iov, 1, 0, RWF_NOWAIT);
	must_eq(-EAGAIN, result(r, 3));
	io_uring_prep_writev2(sqe(r), req, &iov, 1, 0, RWF_NOWAIT);
	must_eq(-EAGAIN, result(r, 4));
}

/* Errors of state and direction come at once: there is nothing to wait for. */
TEST_F(uring, refused)
{
	struct pair p = pub_and_sub();
	struct ring *r = self->r;
	struct addr addr;
	int req = sp_listener(SOCK_REQ, &addr);
	int rep = sp_listener(SOCK_REP, &addr);
	char c;

	io_uring_prep_recv(sqe(r), p.bound, &c, 1, 0);
	must_eq(-EOPNOTSUPP, result(r, 1));
	io_uring_prep_send(sqe(r), p.connected, "x", 1, 0);
	must_eq(-EOPNOTSUPP, result(r, 2));
	io_uring_prep_recv(sqe(r), req, &c, 1, 0);
	must_eq(-EBADFD, result(r, 3));
	io_uring_prep_send(sqe(r), rep, "x", 1, 0);
	must_eq(-EBADFD, result(r, 4));

	sp_send(p.bound, LIT("kept"));
	await_in(p.connected);
	io_uring_prep_recv(sqe(r), p.connected, &c, 1, MSG_WAITALL);
	must_eq(-EINVAL, result(r, 5));
	io_uring_prep_recv(sqe(r), p.connected, &c, 1, MSG_OOB);
	must_eq(-EOPNOTSUPP, result(r, 6));
	io_uring_prep_recv(sqe(r), p.connected, (void *)8, 4, 0);
	must_eq(-EFAULT, result(r, 7));
	/* Zero copy is not offered, rather than pretended. */
	io_uring_prep_send_zc(sqe(r), p.bound, "x", 1, 0, 0);
	must_eq(-EOPNOTSUPP, result(r, 8));
	sp_set(p.bound, SP_SNDMAXSIZE, 1);
	io_uring_prep_send(sqe(r), p.bound, "xy", 2, 0);
	must_eq(-EMSGSIZE, result(r, 9));
}

TEST_F(uring, refused_keeps_the_message)
{
	struct pair p = pub_and_sub();
	struct ring *r = self->r;
	char c;

	sp_send(p.bound, LIT("kept"));
	await_in(p.connected);
	io_uring_prep_recv(sqe(r), p.connected, &c, 1, MSG_WAITALL);
	must_eq(-EINVAL, result(r, 1));
	sp_expect(p.connected, LIT("kept"));
	/* For send() it says what is so anyway. */
	io_uring_prep_send(sqe(r), p.bound, "whole", 5, MSG_WAITALL);
	must_eq(5, result(r, 2));
	sp_expect(p.connected, LIT("whole"));
}

TEST_F(uring, sendmsg_and_recvmsg)
{
	struct ring *r = self->r;
	struct addr addr, from = { .len = 0 };
	int pub = sp_listener(SOCK_PUB, &addr);
	int sub = sp_dialer(SOCK_SUB, &addr);
	struct iovec out[] = { { "ab", 2 }, { "", 0 }, { "cde", 3 } };
	struct msghdr sent = { .msg_iov = out, .msg_iovlen = 3 };
	char a[1], b[8];
	struct iovec in[] = { { a, 1 }, { b, 8 } };
	struct msghdr got = {
		.msg_iov = in,
		.msg_iovlen = 2,
		.msg_name = &from.storage,
		.msg_namelen = sizeof(from.storage),
	};
	int i;

	subscribe(sub, LIT(""));
	await_peers(pub, 1);
	/* Second, the receiver is there before the message. */
	for (i = 0; i < 2; i++) {
		memset(&from.storage, 0xee, sizeof(from.storage));
		got.msg_namelen = sizeof(from.storage);
		got.msg_flags = 0;
		if (i) {
			io_uring_prep_recvmsg(sqe(r), sub, &got, 0);
			go(r, 2);
			must_wait(r, 2);
		}
		io_uring_prep_sendmsg(sqe(r), pub, &sent, 0);
		must_eq(5, result(r, 1));
		if (!i) {
			io_uring_prep_recvmsg(sqe(r), sub, &got, 0);
			go(r, 2);
		}
		must_eq(5, done(r, 2).res);
		EXPECT_EQ('a', a[0]);
		EXPECT_EQ(0, memcmp(b, "bcde", 4));
		EXPECT_EQ(MSG_EOR, got.msg_flags);
		EXPECT_EQ(sizeof(struct sockaddr_in), got.msg_namelen);
		EXPECT_EQ(0, memcmp(&addr.in, &from.in, sizeof(from.in)));
	}
	/* Truncated, and told so. */
	in[1].iov_len = 2;
	io_uring_prep_sendmsg(sqe(r), pub, &sent, 0);
	must_eq(5, result(r, 3));
	io_uring_prep_recvmsg(sqe(r), sub, &got, 0);
	must_eq(3, result(r, 4));
	EXPECT_EQ(MSG_EOR | MSG_TRUNC, got.msg_flags);
	io_uring_prep_sendmsg(sqe(r), pub, &sent, 0);
	must_eq(5, result(r, 5));
	io_uring_prep_recvmsg(sqe(r), sub, &got, MSG_TRUNC);
	must_eq(5, result(r, 6));
	/* To nobody in particular. */
	sent.msg_name = &addr.sa;
	sent.msg_namelen = addr.len;
	io_uring_prep_sendmsg(sqe(r), pub, &sent, 0);
	must_eq(-EISCONN, result(r, 7));
	sp_expect_nothing(sub);
}

TEST_F(uring, empty_message)
{
	struct pair p = pub_and_sub();
	struct ring *r = self->r;
	char c = 'c';
	struct iovec iov = { &c, 1 };
	struct msghdr got = { .msg_iov = &iov, .msg_iovlen = 1 };

	io_uring_prep_recv(sqe(r), p.connected, &c, 1, 0);
	go(r, 1);
	must_wait(r, 1);
	io_uring_prep_send(sqe(r), p.bound, NULL, 0, 0);
	must_eq(0, result(r, 2));
	must_eq(0, done(r, 1).res);
	/* MSG_EOR tells it from the end of receiving. */
	io_uring_prep_send(sqe(r), p.bound, NULL, 0, 0);
	must_eq(0, result(r, 3));
	io_uring_prep_recvmsg(sqe(r), p.connected, &got, 0);
	must_eq(0, result(r, 4));
	EXPECT_EQ(MSG_EOR, got.msg_flags);
	EXPECT_EQ(2, counter(p.connected, sp_rx_msgs));
	EXPECT_EQ('c', c);

	must(shutdown(p.connected, SHUT_RD));
	io_uring_prep_recvmsg(sqe(r), p.connected, &got, 0);
	must_eq(0, result(r, 5));
	EXPECT_EQ(0, got.msg_flags);
}

TEST_F(uring, read_and_write)
{
	struct pair p = pub_and_sub();
	struct ring *r = self->r;
	struct iovec out[] = { { "one ", 4 }, { NULL, 0 }, { "message", 7 } };
	char a[4], b[16];
	struct iovec in[] = { { a, 4 }, { b, sizeof(b) } };

	io_uring_prep_read(sqe(r), p.connected, b, sizeof(b), 0);
	go(r, 1);
	must_wait(r, 1);
	io_uring_prep_write(sqe(r), p.bound, "written", 7, 0);
	must_eq(7, result(r, 2));
	must_eq(7, done(r, 1).res);
	EXPECT_EQ(0, memcmp(b, "written", 7));

	io_uring_prep_readv(sqe(r), p.connected, in, 2, 0);
	go(r, 3);
	must_wait(r, 3);
	io_uring_prep_writev(sqe(r), p.bound, out, 3, 0);
	must_eq(11, result(r, 4));
	must_eq(11, done(r, 3).res);
	EXPECT_EQ(0, memcmp(a, "one ", 4));
	EXPECT_EQ(0, memcmp(b, "message", 7));

	/* Cut short, and not tried again for the rest. */
	io_uring_prep_write(sqe(r), p.bound, "too long", 8, 0);
	must_eq(8, result(r, 5));
	io_uring_prep_read(sqe(r), p.connected, a, 4, 0);
	must_eq(4, result(r, 6));
	sp_expect_nothing(p.connected);
}

TEST_F(uring, poll)
{
	struct pair p = sp_pair(SOCK_REP, SOCK_REQ);
	struct ring *r = self->r;

	io_uring_prep_poll_add(sqe(r), p.bound, POLLIN);
	go(r, 1);
	io_uring_prep_poll_add(sqe(r), p.bound, POLLOUT);
	go(r, 2);
	must_wait(r, 1);
	sp_send(p.connected, LIT("Q"));
	must_eq(POLLIN, done(r, 1).res);
	must_wait(r, 2);
	sp_expect(p.bound, LIT("Q"));
	must_eq(POLLOUT, done(r, 2).res);
	/* What is so already. */
	io_uring_prep_poll_add(sqe(r), p.bound, POLLIN | POLLOUT);
	must_eq(POLLOUT, result(r, 3));
	/* Taken back. */
	io_uring_prep_poll_add(sqe(r), p.bound, POLLIN);
	go(r, 4);
	io_uring_prep_poll_remove(sqe(r), 4);
	must_eq(0, result(r, 5));
	must_eq(-ECANCELED, done(r, 4).res);
}

TEST_F(uring, poll_multishot)
{
	struct pair p = sp_pair(SOCK_PUB, SOCK_SUB);
	struct ring *r = self->r;
	struct completion c;
	int i;

	subscribe(p.connected, LIT("t"));
	io_uring_prep_poll_multishot(sqe(r), p.connected, POLLIN);
	go(r, 1);
	for (i = 0; i < 20; i++) {
		must_wait(r, 1);
		/* What is filtered is no news. */
		sp_send(p.bound, LIT("x"));
		await_counter(p.connected, sp_rx_filtered, i + 1);
		must_wait(r, 1);
		sp_send(p.bound, LIT("t"));
		c = done(r, 1);
		must_eq(POLLIN, c.res);
		must_be(c.flags & IORING_CQE_F_MORE);
		/* Every arrival is told, also of a second one. */
		if (i % 2) {
			sp_send(p.bound, LIT("t"));
			must_eq(POLLIN, done(r, 1).res);
			sp_expect(p.connected, LIT("t"));
		}
		sp_expect(p.connected, LIT("t"));
	}
	must(shutdown(p.connected, SHUT_RD));
	c = done(r, 1);
	must_be(c.res & POLLIN);
}

TEST_F(uring, cancelled_recv_loses_nothing)
{
	struct pair p = pub_and_sub();
	struct ring *r = self->r;
	char buf[16];

	io_uring_prep_recv(sqe(r), p.connected, buf, sizeof(buf), 0);
	go(r, 1);
	io_uring_prep_recv(sqe(r), p.connected, buf, sizeof(buf), 0);
	add(2, IOSQE_ASYNC);
	submit(r);
	cancel(r, 1);
	/* Its worker may be anywhere on its way to waiting. */
	io_uring_prep_cancel64(sqe(r), 2, 0);
	must_be(result(r, 3) != -ENOENT);
	must_be(done(r, 2).res < 0);
	sp_send(p.bound, LIT("for the next"));
	sp_expect(p.connected, LIT("for the next"));
	sp_expect_nothing(p.connected);
}

TEST_F(uring, cancelled_send_sends_nothing)
{
	struct ring *r = self->r;
	struct addr addr;
	int req = sp_listener(SOCK_REQ, &addr), peer;
	char c;

	io_uring_prep_send(sqe(r), req, "cancelled", 9, 0);
	go(r, 1);
	cancel(r, 1);
	peer = raw_peer(SOCK_REP, &addr);
	await_out(req);
	must_fail(EBADFD, recv(req, &c, 1, 0));
	sp_send(req, LIT("sent"));
	raw_expect_request(peer, LIT("sent"));
}

/* Message and cancellation race: whoever loses, the message is read once. */
struct racer {
	struct task task;
	int pub, rounds, round;
};

static int round_of(const struct racer *racer)
{
	return __atomic_load_n(&racer->round, __ATOMIC_ACQUIRE);
}

static void send_each_round(void *arg)
{
	struct racer *racer = arg;
	int i;

	for (i = 1; i <= racer->rounds; i++) {
		int64_t deadline = patience();

		while (round_of(racer) < i)
			if (now_ms() > deadline)
				die("round %d does not begin", i);
		sp_send(racer->pub, &i, sizeof(i));
	}
}

TEST_F(uring, cancel_while_a_message_arrives)
{
	struct pair p = pub_and_sub();
	struct ring *r = self->r;
	struct racer racer = { .pub = p.bound, .rounds = at_speed(2000) };
	int i, seq, received = 0;

	task_start(&racer.task, send_each_round, &racer);
	for (i = 1; i <= racer.rounds; i++) {
		int res, turns;

		io_uring_prep_recv(sqe(r), p.connected, &seq, sizeof(seq), 0);
		go(r, 1);
		__atomic_store_n(&racer.round, i, __ATOMIC_RELEASE);
		/* A little later from round to round. */
		for (turns = i % 64 * 4; turns > 0; turns--)
			now_us();
		io_uring_prep_cancel64(sqe(r), 1, 0);
		go(r, 2);
		res = done(r, 1).res;
		done(r, 2);
		if (res == sizeof(seq)) {
			must_eq(i, seq);
			received++;
		} else {
			must_eq(-ECANCELED, res);
			sp_expect(p.connected, &i, sizeof(i));
		}
		sp_expect_nothing(p.connected);
	}
	task_join(&racer.task);
	TH_LOG("%d of %d came before the cancellation", received,
	       racer.rounds);
}

TEST_F(uring, recv_with_a_timeout)
{
	struct pair p = pub_and_sub();
	struct ring *r = self->r;
	struct __kernel_timespec limit = { 0, 20 * 1000000 };
	char buf[8];

	io_uring_prep_recv(sqe(r), p.connected, buf, sizeof(buf), 0);
	add(1, IOSQE_IO_LINK);
	io_uring_prep_link_timeout(sqe(r), &limit, 0);
	go(r, 2);
	must_eq(-ECANCELED, done(r, 1).res);
	must_eq(-ETIME, done(r, 2).res);
	sp_send(p.bound, LIT("later"));
	sp_expect(p.connected, LIT("later"));

	limit.tv_sec = PATIENCE_MS / 1000;
	io_uring_prep_recv(sqe(r), p.connected, buf, sizeof(buf), 0);
	add(3, IOSQE_IO_LINK);
	io_uring_prep_link_timeout(sqe(r), &limit, 0);
	go(r, 4);
	sp_send(p.bound, LIT("in time"));
	must_eq(7, done(r, 3).res);
	must_eq(-ECANCELED, done(r, 4).res);
}

TEST_F(uring, ring_that_goes_loses_nothing)
{
	struct pair p = pub_and_sub();
	struct ring other;
	char buf[8];

	ring_init(&other);
	io_uring_prep_recv(sqe(&other), p.connected, buf, sizeof(buf), 0);
	go(&other, 1);
	io_uring_queue_exit(&other.u);
	/*
	 * The kernel cancels what is left by a worker. Until then a message
	 * may go to the request, so only what follows is certain.
	 */
	close(p.bound);
	await_peers(p.connected, 0);
	p = pub_and_sub();
	sp_send(p.bound, LIT("x"));
	sp_expect(p.connected, LIT("x"));
}

/* A REQ: ask, and then wait for the answer; each step starts the next. */
TEST_F(uring, linked_request)
{
	struct pair p = sp_pair(SOCK_REP, SOCK_REQ);
	struct ring *r = self->r;
	char answer[8], question[8];
	int i;

	for (i = 0; i < 10; i++) {
		memset(answer, 0, sizeof(answer));
		/* The server: a chain of its own, that waits first. */
		io_uring_prep_recv(sqe(r), p.bound, question, 4, 0);
		add(1, IOSQE_IO_LINK);
		io_uring_prep_send(sqe(r), p.bound, question, 4, 0);
		add(2, 0);
		submit(r);
		/* Before there is a request, recv() would be refused. */
		io_uring_prep_send(sqe(r), p.connected, "ping", 4, 0);
		add(3, IOSQE_IO_LINK);
		io_uring_prep_recv(sqe(r), p.connected, answer, 8, 0);
		add(4, 0);
		submit(r);
		must_eq(4, done(r, 3).res);
		must_eq(4, done(r, 1).res);
		must_eq(4, done(r, 2).res);
		must_eq(4, done(r, 4).res);
		EXPECT_EQ(0, memcmp(answer, "ping", 4));
	}
	/* What fails takes along what hangs on it. */
	io_uring_prep_send(sqe(r), p.bound, "x", 1, 0);
	add(5, IOSQE_IO_LINK);
	io_uring_prep_recv(sqe(r), p.bound, question, 4, 0);
	go(r, 6);
	must_eq(-EBADFD, done(r, 5).res);
	must_eq(-ECANCELED, done(r, 6).res);
}

TEST_F(uring, recv_while_a_request_is_replaced)
{
	struct pair p = sp_pair(SOCK_REP, SOCK_REQ);
	struct ring *r = self->r;
	char c;

	sp_send(p.connected, LIT("old"));
	io_uring_prep_recv(sqe(r), p.connected, &c, 1, 0);
	go(r, 1);
	must_wait(r, 1);
	sp_send(p.connected, LIT("new"));
	sp_expect(p.bound, LIT("old"));
	sp_expect(p.bound, LIT("new"));
	sp_send(p.bound, LIT("R"));
	/*
	 * Unlike a thread in recv(), a request that waits remembers nothing of
	 * its first try: it is given the reply to the request that there is.
	 */
	must_eq(1, done(r, 1).res);
	EXPECT_EQ('R', c);
}

TEST_F(uring, many_recvs_share_exactly)
{
	enum { MOST = 20000, AT_ONCE = 8 };
	struct pair p = pub_and_sub();
	struct ring *r = self->r;
	static unsigned char got[MOST];
	static uint32_t buf[AT_ONCE];
	const uint32_t messages = (uint32_t)at_speed(MOST);
	uint32_t sent = 0, received = 0;
	int i;

	for (i = 0; i < AT_ONCE; i++) {
		io_uring_prep_recv(sqe(r), p.connected, &buf[i], 4, 0);
		add((unsigned int)i, 0);
	}
	submit(r);
	while (received < messages) {
		struct __kernel_timespec limit = { PATIENCE_MS / 1000, 0 };
		struct io_uring_cqe *cqe;

		while (sent < messages && sent - received < 2 * AT_ONCE) {
			sp_send(p.bound, &sent, 4);
			sent++;
		}
		must_eq(0, io_uring_wait_cqe_timeout(&r->u, &cqe, &limit));
		do {
			i = (int)cqe->user_data;
			must_eq(4, cqe->res);
			must_be(buf[i] < sent);
			must_eq(0, got[buf[i]]++);
			received++;
			io_uring_cqe_seen(&r->u, cqe);
			io_uring_prep_recv(sqe(r), p.connected, &buf[i], 4, 0);
			add((unsigned int)i, 0);
		} while (!io_uring_peek_cqe(&r->u, &cqe));
		submit(r);
	}
	EXPECT_EQ(messages, counter(p.connected, sp_rx_msgs));
	EXPECT_EQ(0, counter(p.bound, sp_tx_dropped));
	must(shutdown(p.connected, SHUT_RD));
	for (i = 0; i < AT_ONCE; i++)
		must_eq(0, done(r, (unsigned int)i).res);
}

TEST_F(uring, shutdown_completes_all)
{
	struct ring *r = self->r;
	struct addr addr;
	int rep = sp_listener(SOCK_REP, &addr);
	int req = sp_listener(SOCK_REQ, &addr);
	char buf[2];

	io_uring_prep_recv(sqe(r), rep, buf, 2, 0);
	go(r, 1);
	io_uring_prep_read(sqe(r), rep, buf, 2, 0);
	go(r, 2);
	io_uring_prep_recv(sqe(r), rep, buf, 2, 0);
	add(3, IOSQE_ASYNC);
	submit(r);
	io_uring_prep_poll_add(sqe(r), rep, POLLIN | POLLRDHUP);
	go(r, 4);
	io_uring_prep_send(sqe(r), req, "x", 1, MSG_NOSIGNAL);
	go(r, 5);
	io_uring_prep_poll_add(sqe(r), req, 0);
	go(r, 6);
	must_wait(r, 1);
	must_wait(r, 5);
	/* By io_uring as well. */
	io_uring_prep_shutdown(sqe(r), rep, SHUT_RD);
	must_eq(0, result(r, 7));
	must_eq(0, done(r, 1).res);
	must_eq(0, done(r, 2).res);
	must_eq(0, done(r, 3).res);
	must_eq(POLLIN | POLLRDHUP, done(r, 4).res);
	io_uring_prep_shutdown(sqe(r), req, SHUT_RDWR);
	must_eq(0, result(r, 8));
	must_eq(-EPIPE, done(r, 5).res);
	must_eq(POLLHUP | POLLRDHUP, done(r, 6).res);
	io_uring_prep_shutdown(sqe(r), req, 3);
	must_eq(-EINVAL, result(r, 9));
}

/* close(): the descriptor is gone, and the request keeps the socket. */
TEST_F(uring, close_while_a_request_waits)
{
	struct ring *r = self->r;
	struct addr addr;
	int sub = sp_listener(SOCK_SUB, &addr), peer;
	char buf[8];

	subscribe(sub, LIT(""));
	io_uring_prep_recv(sqe(r), sub, buf, sizeof(buf), 0);
	go(r, 1);
	must_wait(r, 1);
	io_uring_prep_close(sqe(r), sub);
	must_eq(0, result(r, 2));
	must_fail(EBADF, fcntl(sub, F_GETFD));
	peer = raw_peer(SOCK_PUB, &addr);
	raw_frame(peer, LIT("Hello"));
	must_eq(5, done(r, 1).res);
	raw_expect_closed(peer);
}

/*
 * A multishot recv makes one completion of each message, in a buffer of its
 * own. A message of no bytes ends it as the end of receiving does: that is how
 * io_uring understands 0. Nothing is lost by that.
 */
enum { GROUP = 7, BUFS = 4, BUF_LEN = 8 };

static char bufs[BUFS][BUF_LEN];

static void give_buffers(struct ring *r)
{
	io_uring_prep_provide_buffers(sqe(r), bufs, BUF_LEN, BUFS, GROUP, 0);
	must_be(result(r, 999) >= 0);
}

static void recv_multishot(struct ring *r, int s, unsigned int tag)
{
	io_uring_prep_recv_multishot(sqe(r), s, NULL, 0, 0);
	last->buf_group = GROUP;
	add(tag, IOSQE_BUFFER_SELECT);
	submit(r);
}

static void expect_shot(struct ring *r, unsigned int tag, const char *body)
{
	struct completion c = done_(r, tag);

	must_eq((long long)strlen(body), c.res);
	must_be(c.flags & IORING_CQE_F_MORE);
	must_be(c.flags & IORING_CQE_F_BUFFER);
	must_be(!memcmp(body, bufs[c.flags >> IORING_CQE_BUFFER_SHIFT],
			strlen(body)));
}

TEST_F(uring, recv_multishot)
{
	struct pair p = pub_and_sub();
	struct ring *r = self->r;
	struct completion c;

	give_buffers(r);
	recv_multishot(r, p.connected, 1);
	sp_send(p.bound, LIT("one"));
	expect_shot(r, 1, "one");
	sp_send(p.bound, LIT("two"));
	expect_shot(r, 1, "two");
	sp_send(p.bound, LIT(""));
	c = done(r, 1);
	must_eq(0, c.res);
	EXPECT_EQ(0, c.flags & IORING_CQE_F_MORE);

	/* Another one goes on, and out of buffers. */
	sp_send(p.bound, LIT("cut off at eight"));
	sp_send(p.bound, LIT("four"));
	await_counter(p.connected, sp_rx_queued, 20);
	recv_multishot(r, p.connected, 2);
	expect_shot(r, 2, "cut off ");
	expect_shot(r, 2, "four");
	sp_send(p.bound, LIT("five"));
	c = done(r, 2);
	must_eq(-ENOBUFS, c.res);
	EXPECT_EQ(0, c.flags & IORING_CQE_F_MORE);
	sp_expect(p.connected, LIT("five"));
	sp_expect_nothing(p.connected);

	give_buffers(r);
	recv_multishot(r, p.connected, 3);
	must_wait(r, 3);
	must(shutdown(p.connected, SHUT_RD));
	must_eq(0, done(r, 3).res);
}

/* A REQ has one reply a request: the second shot is out of turn. */
TEST_F(uring, recv_multishot_of_a_req)
{
	struct pair p = sp_pair(SOCK_REP, SOCK_REQ);
	struct ring *r = self->r;

	give_buffers(r);
	sp_send(p.connected, LIT("Q"));
	recv_multishot(r, p.connected, 1);
	sp_expect(p.bound, LIT("Q"));
	sp_send(p.bound, LIT("R"));
	expect_shot(r, 1, "R");
	must_eq(-EBADFD, done(r, 1).res);
	sp_round_trip(p.connected, p.bound);
}

/* A REP takes requests as they come; only the last can be answered. */
TEST_F(uring, recv_multishot_of_a_rep)
{
	struct pair p = sp_pair(SOCK_REP, SOCK_REQ);
	struct ring *r = self->r;
	int i;

	give_buffers(r);
	recv_multishot(r, p.bound, 1);
	for (i = 0; i < 3; i++) {
		sp_send(p.connected, LIT("Q"));
		expect_shot(r, 1, "Q");
		sp_send(p.bound, LIT("R"));
		sp_expect(p.connected, LIT("R"));
	}
}

TEST_F(uring, registered_file)
{
	struct pair p = pub_and_sub();
	struct ring *r = self->r;
	char buf[8];

	must_eq(0, io_uring_register_files(&r->u, &p.connected, 1));
	close(p.connected);
	io_uring_prep_recv(sqe(r), 0, buf, sizeof(buf), 0);
	add(1, IOSQE_FIXED_FILE);
	submit(r);
	must_wait(r, 1);
	sp_send(p.bound, LIT("x"));
	must_eq(1, done(r, 1).res);
	must_eq(0, io_uring_unregister_files(&r->u));
	await_peers(p.bound, 0);
}

TEST_F(uring, making_and_connecting)
{
	struct ring *r = self->r;
	struct addr addr, zero = loopback(AF_INET, 0);
	int rep = sp_listener(SOCK_REP, &addr), req, ep;
	struct epoll_event ev = { .events = EPOLLIN };

	io_uring_prep_socket(sqe(r), PF_SP, SOCK_REQ | SOCK_CLOEXEC, 0, 0);
	req = result(r, 1);
	must_be(req >= 0);
	must_eq(FD_CLOEXEC, fcntl(req, F_GETFD));
	io_uring_prep_socket(sqe(r), PF_SP, SOCK_STREAM, IPPROTO_UDP, 0);
	must_be(result(r, 2) < 0);
	io_uring_prep_connect(sqe(r), req, &addr.sa, addr.len);
	must_eq(0, result(r, 3));
	io_uring_prep_connect(sqe(r), req, &zero.sa, zero.len);
	must_eq(-EINVAL, result(r, 4));
	ep = (int)must(epoll_create1(0));
	io_uring_prep_epoll_ctl(sqe(r), ep, rep, EPOLL_CTL_ADD, &ev);
	must_eq(0, result(r, 5));
	await_out(req);
	io_uring_prep_send(sqe(r), req, "Q", 1, 0);
	must_eq(1, result(r, 6));
	must_eq(1, epoll_wait(ep, &ev, 1, PATIENCE_MS));
	sp_expect(rep, LIT("Q"));
}

/* Everything else that liburing can do to a descriptor. */
TEST_F(uring, not_for_these_sockets)
{
	struct pair p = sp_pair(SOCK_REP, SOCK_REQ);
	struct ring *r = self->r;
	struct statx stx;
	char buf[8];
	int i;

	for (i = 0; i < 2; i++) {
		const int s = i ? p.connected : p.bound;

		io_uring_prep_accept(sqe(r), s, NULL, NULL, 0);
		must_eq(-EOPNOTSUPP, result(r, 1));
		io_uring_prep_multishot_accept(sqe(r), s, NULL, NULL, 0);
		must_eq(-EOPNOTSUPP, result(r, 2));
		io_uring_prep_send_zc(sqe(r), s, "x", 1, 0, 0);
		must_eq(-EOPNOTSUPP, result(r, 3));
		io_uring_prep_fsync(sqe(r), s, 0);
		must_eq(-EINVAL, result(r, 4));
		io_uring_prep_sync_file_range(sqe(r), s, 1, 0, 0);
		must_be(result(r, 5) < 0);
		io_uring_prep_fallocate(sqe(r), s, 0, 0, 1);
		must_be(result(r, 6) < 0);
		io_uring_prep_fadvise(sqe(r), s, 0, 1, 0);
		must_be(result(r, 7) <= 0);
		io_uring_prep_tee(sqe(r), s, s, 1, 0);
		must_eq(-EINVAL, result(r, 8));
		io_uring_prep_recv(sqe(r), s, buf, 8, MSG_ERRQUEUE);
		must_eq(-EOPNOTSUPP, result(r, 9));
		io_uring_prep_statx(sqe(r), s, "", AT_EMPTY_PATH, STATX_TYPE,
				    &stx);
		must_eq(0, result(r, 10));
		must_be(S_ISSOCK(stx.stx_mode));
	}
	sp_round_trip(p.connected, p.bound);
}

TEST_F(uring, splice)
{
	struct pair p = pub_and_sub();
	struct ring *r = self->r;
	char buf[8];
	int fd[2];

	must(pipe(fd));
	must_eq(5, write(fd[1], "hello", 5));
	io_uring_prep_splice(sqe(r), fd[0], -1, p.bound, -1, 5, 0);
	must_eq(5, result(r, 1));
	await_in(p.connected);
	io_uring_prep_splice(sqe(r), p.connected, -1, fd[1], -1, 8, 0);
	must_eq(5, result(r, 2));
	must_eq(5, read(fd[0], buf, 8));
	EXPECT_EQ(0, memcmp(buf, "hello", 5));
}

SP_TEST_MAIN
