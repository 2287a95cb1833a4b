// SPDX-License-Identifier: GPL-2.0
/*
 * Messages in and out of an SP socket: one call is one message, whole; the
 * flags of send() and recv(), the vectors, the names, the sizes.
 *
 * Most tests use a PUB and a SUB that takes everything: no state of a pattern
 * is then in the way.
 */
#include "sptest.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

FIXTURE(message)
{
	int pub, sub;
	struct addr addr; /* where the PUB listens */
};

FIXTURE_SETUP(message)
{
	self->pub = sp_listener(SOCK_PUB, &self->addr);
	self->sub = sp_dialer(SOCK_SUB, &self->addr);
	subscribe(self->sub, LIT(""));
	await_peers(self->pub, 1);
	await_peers(self->sub, 1);
}

FIXTURE_TEARDOWN(message)
{
	close(self->pub);
	close(self->sub);
}

TEST_F(message, boundaries_are_kept)
{
	sp_send(self->pub, LIT("one"));
	sp_send(self->pub, LIT(""));
	sp_send(self->pub, LIT("three"));
	sp_expect(self->sub, LIT("one"));
	sp_expect(self->sub, LIT(""));
	sp_expect(self->sub, LIT("three"));
	sp_expect_nothing(self->sub);
}

TEST_F(message, truncation_discards_the_rest)
{
	char buf[3];
	struct iovec iov = { buf, sizeof(buf) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	sp_send(self->pub, LIT("hello"));
	sp_send(self->pub, LIT("hi"));
	EXPECT_EQ(3, must(recvmsg(self->sub, &msg, 0)));
	EXPECT_EQ(MSG_TRUNC, msg.msg_flags & MSG_TRUNC);
	EXPECT_EQ(0, memcmp(buf, "hel", 3));
	EXPECT_EQ(2, must(recvmsg(self->sub, &msg, 0)));
	EXPECT_EQ(0, msg.msg_flags & MSG_TRUNC);
	EXPECT_EQ(0, memcmp(buf, "hi", 2));

	/* Asked for, the length is that of the message, not of the buffer. */
	sp_send(self->pub, LIT("hello"));
	EXPECT_EQ(5, must(recvmsg(self->sub, &msg, MSG_TRUNC)));
	EXPECT_EQ(MSG_TRUNC, msg.msg_flags & MSG_TRUNC);
	sp_send(self->pub, LIT("hello"));
	EXPECT_EQ(5, must(recv(self->sub, NULL, 0, MSG_TRUNC)));
	sp_send(self->pub, LIT("hello"));
	EXPECT_EQ(0, must(recv(self->sub, NULL, 0, 0)));
	sp_expect_nothing(self->sub);
}

TEST_F(message, peek_leaves_the_message_first)
{
	struct addr addr;
	int other = sp_listener(SOCK_PUB, &addr);
	char buf[8];
	int i;

	/* A second publisher: the next recv must not turn to it. */
	sp_connect(self->sub, &addr);
	await_peers(other, 1);
	sp_send(self->pub, LIT("first"));
	await_in(self->sub);
	EXPECT_EQ(5, must(recv(self->sub, buf, sizeof(buf), MSG_PEEK)));
	sp_send(other, LIT("other"));
	sp_send(self->pub, LIT("second"));
	for (i = 0; i < 3; i++) {
		memset(buf, 0, sizeof(buf));
		EXPECT_EQ(5, must(recv(self->sub, buf, sizeof(buf), MSG_PEEK)));
		EXPECT_EQ(0, memcmp(buf, "first", 5));
		expect_in(self->sub);
	}
	/* The way to learn a length: no buffer, PEEK and TRUNC. */
	EXPECT_EQ(5, must(recv(self->sub, NULL, 0, MSG_PEEK | MSG_TRUNC)));
	sp_expect(self->sub, LIT("first"));
	EXPECT_EQ(1, counter(self->sub, sp_rx_msgs));
	EXPECT_EQ(5, counter(self->sub, sp_rx_bytes));
}

TEST_F(message, peek_does_not_change_the_state)
{
	struct pair p = sp_pair(SOCK_REP, SOCK_REQ);
	char c;

	sp_send(p.connected, LIT("Q"));
	EXPECT_EQ(1, must(recv(p.bound, &c, 1, MSG_PEEK)));
	must_fail(EBADFD, send(p.bound, "R", 1, MSG_NOSIGNAL));
	sp_expect(p.bound, LIT("Q"));
	sp_send(p.bound, LIT("R"));
	EXPECT_EQ(1, must(recv(p.connected, &c, 1, MSG_PEEK)));
	sp_expect(p.connected, LIT("R"));
	must_fail(EBADFD, recv(p.connected, &c, 1, MSG_PEEK));
}

TEST_F(message, empty_is_a_message)
{
	char buf[4];

	must_eq(0, send(self->pub, NULL, 0, 0));
	await_in(self->sub);
	EXPECT_EQ(0, must(recv(self->sub, buf, sizeof(buf), MSG_PEEK)));
	expect_in(self->sub);
	EXPECT_EQ(0, must(recv(self->sub, buf, sizeof(buf), 0)));
	sp_expect_nothing(self->sub);
	EXPECT_EQ(1, counter(self->pub, sp_tx_msgs));
	EXPECT_EQ(0, counter(self->pub, sp_tx_bytes));
	EXPECT_EQ(1, counter(self->sub, sp_rx_msgs));
}

TEST_F(message, read_and_write)
{
	struct iovec out[] = { { "one ", 4 }, { NULL, 0 }, { "message", 7 } };
	char a[3], b[20];
	struct iovec in[] = { { a, 3 }, { b, sizeof(b) } };

	must_eq(5, write(self->pub, "write", 5));
	sp_expect(self->sub, LIT("write"));
	must_eq(11, writev(self->pub, out, 3));
	EXPECT_EQ(11, must(readv(self->sub, in, 2)));
	EXPECT_EQ(0, memcmp(a, "one", 3));
	EXPECT_EQ(0, memcmp(b, " message", 8));

	/* writev() of nothing and read() of 0 bytes never reach us. */
	must_eq(0, writev(self->pub, out, 0));
	must_eq(0, writev(self->pub, &out[1], 1));
	sp_send(self->pub, LIT("next"));
	await_in(self->sub);
	in[0].iov_len = 0;
	must_eq(0, read(self->sub, b, 0));
	must_eq(0, readv(self->sub, in, 1));
	EXPECT_EQ(4, must(read(self->sub, b, sizeof(b))));
	EXPECT_EQ(0, memcmp(b, "next", 4));
	sp_expect_nothing(self->sub);
	EXPECT_EQ(3, counter(self->pub, sp_tx_msgs));
}

TEST_F(message, nothing_to_send_is_a_message_where_it_is_a_call)
{
	struct msghdr none = { .msg_iov = NULL };

	must_eq(0, write(self->pub, "", 0));
	must_eq(0, sendmsg(self->pub, &none, 0));
	sp_expect(self->sub, LIT(""));
	sp_expect(self->sub, LIT(""));
	sp_expect_nothing(self->sub);
	/* And no room to receive is a call that takes the message. */
	sp_send(self->pub, LIT("gone"));
	must_eq(0, recvmsg(self->sub, &none, 0));
	EXPECT_EQ(MSG_TRUNC, none.msg_flags & MSG_TRUNC);
	sp_expect_nothing(self->sub);
}

TEST_F(message, in_many_pieces)
{
	enum { PIECES = 1024, LEN = 37 };
	static unsigned char in[PIECES * LEN];
	static struct iovec out[PIECES], back[PIECES];
	unsigned char *body = filler(PIECES * LEN, 5);
	int i;

	for (i = 0; i < PIECES; i++) {
		out[i] = (struct iovec){ body + i * LEN, LEN };
		back[i] = (struct iovec){ in + i * LEN, LEN };
	}
	must_eq(PIECES * LEN, writev(self->pub, out, PIECES));
	must_eq(PIECES * LEN, readv(self->sub, back, PIECES));
	must_be_filled(in, PIECES * LEN, 5);
	sp_expect_nothing(self->sub);
	free(body);
}

TEST_F(message, vectors_and_names)
{
	struct iovec out[] = { { "ab", 2 }, { "", 0 }, { "cde", 3 } };
	struct msghdr sent = { .msg_iov = out, .msg_iovlen = 3 };
	char a[1], b[1], c[8];
	struct iovec in[] = { { a, 1 }, { b, 1 }, { c, 8 } };
	struct addr from = { .len = sizeof(from.storage) };
	struct msghdr got = {
		.msg_iov = in,
		.msg_iovlen = 3,
		.msg_name = &from.storage,
		.msg_namelen = sizeof(from.storage),
	};

	memset(&from.storage, 0xee, sizeof(from.storage));
	must_eq(5, sendmsg(self->pub, &sent, 0));
	must_eq(5, recvmsg(self->sub, &got, 0));
	EXPECT_EQ('a', a[0]);
	EXPECT_EQ('b', b[0]);
	EXPECT_EQ(0, memcmp(c, "cde", 3));
	EXPECT_EQ(sizeof(struct sockaddr_in), got.msg_namelen);
	EXPECT_EQ(0, memcmp(&self->addr.in, &from.in, sizeof(from.in)));
	EXPECT_EQ(0, got.msg_controllen);

	/* A short name buffer is filled as far as it goes. */
	sp_send(self->pub, LIT("x"));
	memset(&from.storage, 0xee, sizeof(from.storage));
	from.len = 4;
	must_eq(1, recvfrom(self->sub, c, 8, 0, &from.sa, &from.len));
	EXPECT_EQ(sizeof(struct sockaddr_in), from.len);
	EXPECT_EQ(port_of(&self->addr), port_of(&from));
	EXPECT_EQ(0xee, ((unsigned char *)&from.storage)[4]);
}

TEST_F(message, sendmmsg_and_recvmmsg)
{
	static const char *const bodies[] = { "a", "", "ccc", "dddddd", "e" };
	enum { N = ARRAY_SIZE(bodies) };
	struct iovec iov[N];
	struct mmsghdr m[N] = { 0 };
	struct timespec limit = { PATIENCE_MS / 1000, 0 };
	char buf[N][8];
	unsigned int i;

	for (i = 0; i < N; i++) {
		iov[i].iov_base = (void *)bodies[i];
		iov[i].iov_len = strlen(bodies[i]);
		m[i].msg_hdr.msg_iov = &iov[i];
		m[i].msg_hdr.msg_iovlen = 1;
	}
	must_eq(N, sendmmsg(self->pub, m, N, 0));
	for (i = 0; i < N; i++) {
		EXPECT_EQ(strlen(bodies[i]), m[i].msg_len);
		iov[i].iov_base = buf[i];
		iov[i].iov_len = sizeof(buf[i]);
	}
	must_eq(N, recvmmsg(self->sub, m, N, 0, &limit));
	for (i = 0; i < N; i++) {
		EXPECT_EQ(strlen(bodies[i]), m[i].msg_len);
		EXPECT_EQ(0, memcmp(bodies[i], buf[i], m[i].msg_len));
	}
	/* A batch ends where the messages do. */
	sp_send(self->pub, LIT("last"));
	await_in(self->sub);
	must_eq(1, recvmmsg(self->sub, m, N, MSG_DONTWAIT, NULL));
	must_fail(EAGAIN, recvmmsg(self->sub, m, N, MSG_DONTWAIT, NULL));
}

/* Headers for so many messages of at most 8 bytes, in buffers of their own. */
enum { BATCH = 5, BATCH_LEN = 8 };

struct batch {
	struct mmsghdr m[BATCH];
	struct iovec iov[BATCH];
	char buf[BATCH][BATCH_LEN];
};

static struct batch *batch(struct batch *b)
{
	int i;

	memset(b, 0, sizeof(*b));
	for (i = 0; i < BATCH; i++) {
		b->iov[i] = (struct iovec){ b->buf[i], BATCH_LEN };
		b->m[i].msg_hdr.msg_iov = &b->iov[i];
		b->m[i].msg_hdr.msg_iovlen = 1;
	}
	return b;
}

static void batch_put(struct batch *b, int i, const char *body)
{
	b->iov[i].iov_len = strlen(body);
	memcpy(b->buf[i], body, strlen(body));
}

TEST_F(message, sendmmsg_stops_at_an_error)
{
	struct pair p = sp_pair(SOCK_REP, SOCK_REQ);
	struct batch b;
	int i;

	/* What was sent is told first; the error when it comes first. */
	batch(&b);
	for (i = 0; i < BATCH; i++)
		batch_put(&b, i, i == 2 ? "too long" : "short");
	sp_set(self->pub, SP_SNDMAXSIZE, 5);
	must_eq(2, sendmmsg(self->pub, b.m, BATCH, 0));
	must_fail(EMSGSIZE, sendmmsg(self->pub, b.m + 2, BATCH - 2, 0));
	must_eq(2, sendmmsg(self->pub, b.m + 3, BATCH - 3, 0));
	for (i = 0; i < 4; i++)
		sp_expect(self->sub, LIT("short"));
	sp_expect_nothing(self->sub);
	EXPECT_EQ(4, counter(self->pub, sp_tx_msgs));

	/* One request, one answer. */
	sp_send(p.connected, LIT("Q"));
	sp_expect(p.bound, LIT("Q"));
	must_eq(1, sendmmsg(p.bound, b.m, BATCH, 0));
	must_fail(EBADFD, sendmmsg(p.bound, b.m + 1, BATCH - 1, 0));
	sp_expect(p.connected, LIT("short"));
	/* Nobody to send to. */
	close(p.bound);
	await_peers(p.connected, 0);
	must_fail(EAGAIN, sendmmsg(p.connected, b.m, BATCH, MSG_DONTWAIT));
}

TEST_F(message, sendmmsg_until_full)
{
	enum { LEN = 16384 };
	static char body[LEN];
	struct iovec iov = { body, LEN };
	struct mmsghdr m[64] = { 0 };
	int req = sp_open(SOCK_REQ), peer, n, total = 0, i;
	struct addr addr;

	sol_set(req, SO_SNDBUF, 32768);
	addr = sp_bind(req, AF_INET);
	peer = raw_connect_narrow(&addr);
	raw_greet(peer, SOCK_REP);
	await_out(req);
	for (i = 0; i < 64; i++)
		m[i].msg_hdr = (struct msghdr){ .msg_iov = &iov,
						.msg_iovlen = 1 };
	/* It takes some and stops, with no error, where it would wait. */
	n = (int)must(sendmmsg(req, m, 64, MSG_DONTWAIT));
	must_be(n > 0 && n < 64);
	do {
		total += n;
		n = sendmmsg(req, m, 64, MSG_DONTWAIT);
	} while (n > 0);
	EXPECT_EQ(EAGAIN, errno);
	EXPECT_EQ(total, counter(req, sp_tx_msgs));
}

TEST_F(message, recvmmsg_ends)
{
	const struct timespec no_time = { 0, 0 };
	struct timespec limit = no_time;
	struct batch b;
	int64_t start;
	int i;

	for (i = 0; i < 4; i++)
		sp_send(self->pub, LIT("x"));
	await_counter(self->sub, sp_rx_queued, 4);
	/* With the time, which is looked at after each message. */
	must_eq(1, recvmmsg(self->sub, batch(&b)->m, BATCH, 0, &limit));
	/* Where it would wait for another, if told that one is enough. */
	must_eq(3, recvmmsg(self->sub, batch(&b)->m, BATCH, MSG_WAITFORONE,
			    NULL));
	/* With SO_RCVTIMEO, which is for each; nothing is an error then. */
	sp_send(self->pub, LIT("x"));
	set_timeout(self->sub, SO_RCVTIMEO, 50);
	start = now_ms();
	must_eq(1, recvmmsg(self->sub, batch(&b)->m, BATCH, 0, NULL));
	EXPECT_LE(45, now_ms() - start);
	must_fail(EAGAIN, recvmmsg(self->sub, b.m, BATCH, 0, NULL));
	must_fail(EAGAIN, recvmmsg(self->sub, b.m, BATCH, MSG_WAITFORONE,
				   NULL));
	/* That leaves no error behind. */
	sp_send(self->pub, LIT("y"));
	sp_expect(self->sub, LIT("y"));
}

TEST_F(message, recvmmsg_tells_each)
{
	struct sockaddr_in from[BATCH];
	struct batch b;
	int i;

	sp_send(self->pub, LIT("too long for it"));
	sp_send(self->pub, LIT(""));
	sp_send(self->pub, LIT("fits"));
	await_counter(self->sub, sp_rx_queued, 19);
	batch(&b);
	for (i = 0; i < BATCH; i++) {
		b.m[i].msg_hdr.msg_name = &from[i];
		b.m[i].msg_hdr.msg_namelen = sizeof(from[i]);
	}
	must_eq(3, recvmmsg(self->sub, b.m, BATCH, MSG_DONTWAIT, NULL));
	for (i = 0; i < 3; i++) {
		EXPECT_EQ(sizeof(from[i]), b.m[i].msg_hdr.msg_namelen);
		EXPECT_EQ(0, memcmp(&self->addr.in, &from[i], sizeof(from[i])));
	}
	EXPECT_EQ(8, b.m[0].msg_len);
	EXPECT_EQ(MSG_TRUNC, b.m[0].msg_hdr.msg_flags & MSG_TRUNC);
	EXPECT_EQ(0, b.m[1].msg_len);
	EXPECT_EQ(0, b.m[1].msg_hdr.msg_flags & MSG_TRUNC);
	EXPECT_EQ(4, b.m[2].msg_len);
	EXPECT_EQ(0, memcmp("fits", b.buf[2], 4));
}

/*
 * A REQ has one reply to give. recvmmsg() keeps the error of the second for its
 * next call, as recvmmsg(2) says; other calls do not see it.
 */
TEST_F(message, recvmmsg_of_a_req)
{
	struct pair p = sp_pair(SOCK_REP, SOCK_REQ);
	struct batch b;
	int i;

	for (i = 0; i < 2; i++) {
		sp_send(p.connected, LIT("Q"));
		sp_expect(p.bound, LIT("Q"));
		sp_send(p.bound, LIT("R"));
		await_in(p.connected);
		must_eq(1, recvmmsg(p.connected, batch(&b)->m, BATCH, 0,
				    NULL));
		must_fail(EBADFD, recvmmsg(p.connected, b.m, BATCH, 0, NULL));
	}
	sp_round_trip(p.connected, p.bound);
}

TEST_F(message, peek_in_batches)
{
	struct batch b;
	int i;

	sp_send(self->pub, LIT("first"));
	sp_send(self->pub, LIT("second"));
	await_counter(self->sub, sp_rx_queued, 11);
	/* A look does not move on: each is a look at the same. */
	must_eq(BATCH, recvmmsg(self->sub, batch(&b)->m, BATCH,
				MSG_PEEK | MSG_DONTWAIT, NULL));
	for (i = 0; i < BATCH; i++)
		EXPECT_EQ(0, memcmp("first", b.buf[i], b.m[i].msg_len));
	sp_expect(self->sub, LIT("first"));
	sp_expect(self->sub, LIT("second"));
}

TEST_F(message, more_is_a_hint)
{
	/* No other call follows: the message must not wait for one. */
	must_eq(1, send(self->pub, "x", 1, MSG_MORE));
	sp_expect(self->sub, LIT("x"));
	must_eq(1, send(self->pub, "y", 1, MSG_MORE));
	must_eq(1, send(self->pub, "z", 1, 0));
	sp_expect(self->sub, LIT("y"));
	sp_expect(self->sub, LIT("z"));
}

TEST_F(message, to_an_address)
{
	struct addr to = loopback(AF_INET, 5577);
	struct msghdr msg = { .msg_name = &to.sa, .msg_namelen = to.len };

	must_fail(EISCONN, sendto(self->pub, "x", 1, 0, &to.sa, to.len));
	must_fail(EISCONN, sendmsg(self->pub, &msg, 0));
	EXPECT_EQ(0, counter(self->pub, sp_tx_msgs));
}

static void must_refuse(ssize_t n)
{
	must_eq(-1, n);
	must_be(errno == EOPNOTSUPP || errno == EINVAL);
}

TEST_F(message, refused_flags)
{
	char c;

	must_refuse(send(self->pub, "x", 1, MSG_OOB));
	must_refuse(recv(self->sub, &c, 1, MSG_OOB));
	sp_send(self->pub, LIT("x"));
	await_in(self->sub);
	must_refuse(recv(self->sub, &c, 1, MSG_WAITALL));
	must_refuse(recv(self->sub, &c, 1, MSG_OOB));
	/* Refused, so not consumed. */
	sp_expect(self->sub, LIT("x"));
	sp_expect_nothing(self->sub);
}

TEST_F(message, send_limit)
{
	sp_set(self->pub, SP_SNDMAXSIZE, 100);
	must_fail(EMSGSIZE, send(self->pub, self, 101, 0));
	sp_send_filled(self->pub, 100, 1);
	sp_expect_filled(self->sub, 100, 1);
	sp_set(self->pub, SP_SNDMAXSIZE, 0);
	must_fail(EMSGSIZE, send(self->pub, self, 1, 0));
	sp_send(self->pub, LIT(""));
	sp_expect(self->sub, LIT(""));
	sp_expect_nothing(self->sub);
	EXPECT_EQ(2, counter(self->pub, sp_tx_msgs));
}

TEST_F(message, default_send_limit_is_16_mib)
{
	const size_t limit = 16 << 20;
	/* Untouched pages: the length alone must decide. */
	void *big = mmap(NULL, limit + 1, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS,
			 -1, 0);

	must_be(big != MAP_FAILED);
	must_fail(EMSGSIZE, send(self->pub, big, limit + 1, 0));
	EXPECT_EQ(limit, sp_get(self->pub, SP_SNDMAXSIZE));
}

TEST_F(message, bad_memory)
{
	char c;

	must_fail(EFAULT, send(self->pub, (void *)8, 5, 0));
	sp_send(self->pub, LIT("whole"));
	await_in(self->sub);
	must_fail(EFAULT, recv(self->sub, (void *)8, 5, 0));
	/* What a fault did to the message is not promised; the pipe lives. */
	while (recv(self->sub, &c, 1, MSG_DONTWAIT) >= 0)
		;
	sp_send(self->pub, LIT("next"));
	sp_expect(self->sub, LIT("next"));
}

static int queued(int s, unsigned long request)
{
	int value = -1;

	must(ioctl(s, request, &value));
	return value;
}

TEST_F(message, fionread_is_the_next_message)
{
	EXPECT_EQ(0, queued(self->sub, FIONREAD));
	sp_send(self->pub, LIT("hello"));
	await_in(self->sub);
	sp_send(self->pub, LIT("to you"));
	EXPECT_EQ(5, queued(self->sub, FIONREAD));
	EXPECT_EQ(5, queued(self->sub, SIOCINQ));
	sp_expect(self->sub, LIT("hello"));
	await_in(self->sub);
	EXPECT_EQ(6, queued(self->sub, FIONREAD));
	sp_expect(self->sub, LIT("to you"));
	EXPECT_EQ(0, queued(self->sub, FIONREAD));
}

TEST_F(message, siocoutq_is_what_tcp_has_not_taken)
{
	const size_t len = 100000;
	int64_t deadline;
	uint32_t seq, held;
	int slow;
	unsigned char *buf = malloc(len);

	ASSERT_NE(NULL, buf);
	close(self->sub);
	await_peers(self->pub, 0);
	EXPECT_EQ(0, queued(self->pub, SIOCOUTQ));
	slow = raw_peer_small(SOCK_SUB, &self->addr);
	await_peers(self->pub, 1);

	for (seq = 0; !queued(self->pub, SIOCOUTQ); seq++) {
		ASSERT_GT(500, seq);
		sp_send_filled(self->pub, len, seq);
	}
	EXPECT_LT(0, counter(self->pub, sp_tx_queued));
	/* A reader takes it all, in order, and the queue is empty again. */
	for (held = 0; held < seq; held++) {
		must_eq(len, raw_read_frame(slow, buf, len));
		must_be_filled(buf, len, held);
	}
	deadline = patience();
	while (queued(self->pub, SIOCOUTQ))
		tick(deadline, "the output queue to drain");
	EXPECT_EQ(0, counter(self->pub, sp_tx_queued));
	free(buf);
}

TEST_F(message, splice_moves_a_message)
{
	int fd[2];
	char buf[16];

	must(pipe(fd));
	must_eq(5, write(fd[1], "hello", 5));
	must_eq(5, splice(fd[0], NULL, self->pub, NULL, 5, 0));
	await_in(self->sub);
	must_eq(5, splice(self->sub, NULL, fd[1], NULL, sizeof(buf), 0));
	must_eq(5, read(fd[0], buf, sizeof(buf)));
	EXPECT_EQ(0, memcmp(buf, "hello", 5));
	sp_expect_nothing(self->sub);
}

TEST_F(message, sizes_around_every_boundary)
{
	/* Inline, copied and page-wise storage, a segment, a window. */
	static const size_t sizes[] = {
		0,    1,     7,	    8,	   63,	   64,	   65,	    255,
		256,  1023,  1024,  1448,  2047,   2048,   2049,    4087,
		4088, 4095,  4096,  4097,  8192,   16384,  32767,   32768,
		32769, 65535, 65536, 65537, 131072, 300000, 1048576,
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		sp_send_filled(self->pub, sizes[i], (uint32_t)i);
		sp_expect_filled(self->sub, sizes[i], (uint32_t)i);
	}
}

SP_TEST_MAIN
