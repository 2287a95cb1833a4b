// SPDX-License-Identifier: GPL-2.0
/*
 * Messages above 16 KiB: their sender's pages go to TCP as they are, and what
 * has arrived stays in TCP's packets until it is received. Nobody sees that.
 */
#define _GNU_SOURCE
#include "sptest.h"

#include "cgroup.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>

/* Above 16 KiB, above a packet of the loopback device, and far above. */
static const size_t sizes[] = {
	16385, 20000, 32768, 40001, 65475, 65536, 70000, 100000, 131072, 300000,
};

struct sender {
	int s, n;
};

static void send_all(void *arg)
{
	const struct sender *sender = arg;
	int i;

	for (i = 0; i < sender->n; i++)
		sp_send_filled(sender->s, sizes[(size_t)i % ARRAY_SIZE(sizes)],
			       (uint32_t)i);
}

/* The end of one and the beginning of the next are in one packet. */
TEST(in_a_row)
{
	struct pair p = sp_pair(SOCK_PUSH, SOCK_PULL);
	struct sender sender = { p.bound, many(200) };
	struct task task;
	int i;

	task_start(&task, send_all, &sender);
	for (i = 0; i < sender.n; i++)
		sp_expect_filled(p.connected,
				 sizes[(size_t)i % ARRAY_SIZE(sizes)],
				 (uint32_t)i);
	task_join(&task);
}

/* As any peer may send it: in packets that are worth while to keep, and others. */
TEST(in_pieces)
{
	static const size_t pieces[] = { 1,    100,  1448, 4095,
					 4096, 5000, 9000, 30000 };
	enum { LEN = 150000 };
	unsigned char *body = filler(LEN, 7);
	struct addr addr;
	int pull = sp_listener(SOCK_PULL, &addr);
	int peer = raw_peer(SOCK_PUSH, &addr), one = 1;
	size_t first, k, done, n;

	must(setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)));
	for (first = 0; first < ARRAY_SIZE(pieces); first++) {
		raw_header(peer, LEN);
		/* Each after each other one, and each first once. */
		for (k = first, done = 0; done < LEN; k += 3, done += n) {
			n = pieces[k % ARRAY_SIZE(pieces)];
			n = n < LEN - done ? n : LEN - done;
			raw_write(peer, body + done, n);
			if (k % 4)
				raw_await_acked(peer);
		}
		sp_expect_filled(pull, LEN, 7);
	}
	free(body);
}

/* Into memory in pieces, into less of it, and looked at before. */
TEST(in_any_memory)
{
	enum { LEN = 123456, PIECE = 1001, PIECES = LEN / PIECE + 1 };
	static unsigned char room[PIECES * PIECE];
	struct pair p = sp_pair(SOCK_PUSH, SOCK_PULL);
	struct iovec vec[PIECES];
	size_t short_of, i;

	for (i = 0; i < PIECES; i++)
		vec[i] = (struct iovec){ room + i * PIECE, PIECE };
	sp_send_filled(p.bound, LEN, 1);
	must_eq(LEN, readv(p.connected, vec, PIECES));
	must_be_filled(room, LEN, 1);
	for (short_of = 1; short_of < LEN; short_of = short_of * 5 + 1) {
		struct msghdr msg = { .msg_iov = vec, .msg_iovlen = 1 };
		size_t len = LEN - short_of;

		sp_send_filled(p.bound, LEN, 2);
		must_eq(LEN, recv(p.connected, room, len, MSG_PEEK | MSG_TRUNC));
		must_be_filled(room, len, 2);
		memset(room, 0, sizeof(room));
		vec[0] = (struct iovec){ room, len };
		must_eq(len, recvmsg(p.connected, &msg, 0));
		EXPECT_EQ(MSG_TRUNC, msg.msg_flags & MSG_TRUNC);
		must_be_filled(room, len, 2);
		EXPECT_EQ(0, room[len]);
	}
	sp_expect_nothing(p.connected);
}

/* All of them send the same pages, some of them later, and to one that asks again. */
TEST(shared)
{
	enum { SUBS = 4, LEN = 100000, N = 10 };
	struct addr addr, requests;
	int pub = sp_listener(SOCK_PUB, &addr), sub[SUBS], late, req, lost;
	unsigned char *frame = malloc(LEN + 4);
	uint32_t i;
	int k;

	for (k = 0; k < SUBS; k++) {
		sub[k] = sp_dialer(SOCK_SUB, &addr);
		subscribe(sub[k], LIT(""));
	}
	late = raw_peer_small(SOCK_SUB, &addr);
	await_peers(pub, SUBS + 1);
	sol_set(pub, SO_SNDBUF, 2 * N * LEN);
	for (i = 0; i < N; i++)
		sp_send_filled(pub, LEN, i);
	for (k = 0; k < SUBS; k++) {
		for (i = 0; i < N; i++)
			sp_expect_filled(sub[k], LEN, i);
		close(sub[k]);
	}
	for (i = 0; i < N; i++) {
		must_eq(LEN, raw_read_frame(late, frame, LEN));
		must_be_filled(frame, LEN, i);
	}

	req = sp_listener(SOCK_REQ, &requests);
	lost = raw_peer(SOCK_REP, &requests);
	await_peers(req, 1);
	sp_send_filled(req, LEN, 77);
	must_eq(LEN + 4, raw_read_frame(lost, frame, LEN + 4));
	must_be_filled(frame + 4, LEN, 77);
	close(lost);
	lost = raw_peer(SOCK_REP, &requests);
	must_eq(LEN + 4, raw_read_frame(lost, frame, LEN + 4));
	must_be_filled(frame + 4, LEN, 77);
	free(frame);
}

/* Sends these pages themselves, not a copy of them. */
static void splice_out(int fd, void *pages, size_t len)
{
	int ends[2];

	must(pipe(ends));
	while (len) {
		struct iovec vec = { pages, len < 32768 ? len : 32768 };
		ssize_t n = must(vmsplice(ends[1], &vec, 1, 0));

		pages = (char *)pages + n;
		len -= (size_t)n;
		while (n)
			n -= must(splice(ends[0], NULL, fd, NULL, (size_t)n,
					 len ? SPLICE_F_MORE : 0));
	}
	close(ends[0]);
	close(ends[1]);
}

/* A peer that writes to what it has sent changes nothing of it. */
TEST(from_pages_of_the_peers)
{
	static const int into[] = { SOCK_PULL, SOCK_SUB };
	enum { LEN = 40960 };
	static unsigned char got[LEN];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(into); i++) {
		struct addr addr;
		int s = sp_listener(into[i], &addr), one = 1;
		int peer = raw_peer(peer_type(into[i]), &addr);
		unsigned char *body = mmap(NULL, LEN, PROT_READ | PROT_WRITE,
					   MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE,
					   -1, 0);

		must_be(body != MAP_FAILED);
		must(setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)));
		if (into[i] == SOCK_SUB)
			subscribe(s, LIT(""));
		fill(body, LEN, 5);
		raw_header(peer, LEN);
		splice_out(peer, body, LEN);
		must_eq(LEN, recv(s, got, LEN, MSG_PEEK));
		must_be_filled(got, LEN, 5);
		memset(body, 0, LEN);
		must_eq(LEN, recv(s, got, LEN, 0));
		must_be_filled(got, LEN, 5);
		munmap(body, LEN);
	}
}

static int unacknowledged(int fd)
{
	int n;

	must(ioctl(fd, SIOCOUTQ, &n));
	return n;
}

/*
 * A sender's task has one piece of memory for what it sends on all connections:
 * where little of that is for us, none is kept.
 */
TEST(little_of_much_memory_is_copied)
{
	enum { LEN = 4 << 20, OURS = 4096, MOST = 3 << 20 };
	static unsigned char piece[OURS], rest[(32 << 10) - OURS];
	struct addr addr, sink;
	int pull = sp_listener(SOCK_PULL, &addr), one = 1;
	int peer = raw_peer(SOCK_PUSH, &addr), listener, in, out;
	long before;
	int i;

	listener = raw_listen(&sink);
	out = raw_connect(&sink);
	in = raw_accept(listener);
	must(setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)));
	before = sp_in_pages();
	raw_header(peer, LEN);
	for (i = 0; i < many(LEN / OURS) - 1; i++) {
		int64_t deadline = patience();

		raw_write(peer, piece, sizeof(piece));
		raw_write(out, rest, sizeof(rest));
		raw_read(in, rest, sizeof(rest));
		while (unacknowledged(peer))
			tick(deadline, "the SP socket to read");
	}
	EXPECT_GT(before + MOST, sp_in_pages());
	close(pull);
}

/* The pages of a message are used for the next ones: once nobody has them any more. */
TEST(pages_that_somebody_has_are_not_used_again)
{
	enum { LEN = 32768, MORE = 100 };
	static unsigned char body[LEN];
	struct addr addr;
	int push = sp_listener(SOCK_PUSH, &addr);
	int peer = raw_peer(SOCK_PULL, &addr), ends[2], i;
	size_t n;

	must(pipe(ends));
	must(fcntl(ends[1], F_SETPIPE_SZ, 1 << 20));
	await_peers(push, 1);
	sp_send_filled(push, LEN, 1);
	raw_read(peer, body, 8);
	for (n = 0; n < LEN;)
		n += (size_t)must(splice(peer, NULL, ends[1], NULL, LEN - n, 0));
	for (i = 0; i < MORE; i++) {
		sp_send_filled(push, LEN, 2 + (uint32_t)i);
		raw_read(peer, body, 8);
		raw_read(peer, body, LEN);
		must_be_filled(body, LEN, 2 + (uint32_t)i);
	}
	for (n = 0; n < LEN;)
		n += (size_t)must(read(ends[0], body + n, LEN - n));
	must_be_filled(body, LEN, 1);
	close(ends[0]);
	close(ends[1]);
}

/*
 * What is held back for more, or for a window that opens and is not told of, waits
 * for a timer of TCP's, 40 ms at the least. Where time is work, nothing else takes
 * so long.
 */
TEST(no_timer_is_waited_for)
{
	static const size_t some[] = {
		50000,  65536,	 100000,  131000,  200000,  262144,
		500000, 900000, 1048000, 1500000, 2500000, 4000000,
	};
	struct pair p = sp_pair(SOCK_REQ, SOCK_REP);
	int64_t begun, took;
	size_t k;
	int i;

	for (k = 0; k < ARRAY_SIZE(some); k++) {
		for (i = 0; i < many(20); i++) {
			begun = now_ms();
			sp_send_filled(p.bound, some[k], 1);
			sp_expect_filled(p.connected, some[k], 1);
			sp_send_filled(p.connected, some[k], 2);
			sp_expect_filled(p.bound, some[k], 2);
			took = now_ms() - begun;
			if (time_is_work() && took > 40 + (int64_t)some[k] / 20000)
				die("%zu bytes and back took %d ms", some[k],
				    (int)took);
		}
	}
}

SP_TEST_MAIN
