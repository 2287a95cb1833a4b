// SPDX-License-Identifier: GPL-2.0
/*
 * The TCP mapping: greetings, framing, and how endpoints come back.
 *
 * Conformance to the protocol as nanomsg and nng speak it, seen from a raw TCP
 * peer: one test for each case, named by its number in conformance.md.
 * Where a case says PULL, the nearest pattern here is a SUB that takes all.
 */
#include "sptest.h"

#define I "\x80\0\0\1"
/* A device's tag. */
#define CH "\0\0\0\7"
#define ZMTP "\xff\0\0\0\0\0\0\0\1\x7f"

static const int types[] = { SOCK_REQ, SOCK_REP,  SOCK_PUB,
			     SOCK_SUB, SOCK_PUSH, SOCK_PULL };

/* A listening SUB that takes every message. */
static int sub_to_all(struct addr *addr)
{
	int sub = sp_listener(SOCK_SUB, addr);

	subscribe(sub, "", 0);
	return sub;
}

TEST(case_01_greeting_comes_unprompted)
{
	struct addr addr;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(types); i++) {
		int s = sp_listener(types[i], &addr);
		int fd = raw_connect(&addr);

		raw_expect_greeting(fd, types[i]);
		close(fd);
		close(s);
	}
	for (i = 0; i < ARRAY_SIZE(types); i++) {
		int l = raw_listen(&addr);
		int s = sp_dialer(types[i], &addr);
		int fd = raw_accept(l);

		raw_expect_greeting(fd, types[i]);
		close(fd);
		close(s);
		close(l);
	}
}

struct greeting {
	const char *bytes;
	size_t len;
};

/* Each is answered with our greeting and the end; none makes a pipe. */
static void refuses(const struct greeting *bad, size_t n)
{
	struct addr addr;
	int rep = sp_listener(SOCK_REP, &addr);
	size_t i;

	for (i = 0; i < n; i++) {
		int fd = raw_connect(&addr);

		raw_write(fd, bad[i].bytes, bad[i].len);
		raw_expect_refused(fd, SOCK_REP);
		await_counter(rep, sp_bad_greetings, i + 1);
		close(fd);
	}
	must_eq(n, counter(rep, sp_bad_greetings));
	must_eq(0, counter(rep, sp_pipe_ups));
	must_eq(0, sp_get(rep, SP_PEERS));
}

TEST(case_02_rep_bad_signature)
{
	static const struct greeting bad[] = {
		{ LIT("\1SP\0\0\x30\0\0") },
		{ LIT("\0XP\0\0\x30\0\0") },
		{ LIT("\0SX\0\0\x30\0\0") },
		{ LIT("\0SP\1\0\x30\0\0") },
	};

	refuses(bad, ARRAY_SIZE(bad));
}

TEST(case_03_rep_reserved_bytes)
{
	static const struct greeting bad[] = {
		{ LIT("\0SP\0\0\x30\1\0") },
		{ LIT("\0SP\0\0\x30\0\1") },
	};

	refuses(bad, ARRAY_SIZE(bad));
}

TEST(case_04_rep_wrong_peer)
{
	static const struct greeting bad[] = {
		{ LIT("\0SP\0\0\x31\0\0") },
		{ LIT("\0SP\0\0\x20\0\0") },
		{ LIT("\0SP\0\0\x10\0\0") },
		/* The number that the draft gives REQ, with PAIR's meaning. */
		{ LIT("\0SP\0\0\x11\0\0") },
		{ LIT("\0SP\0\1\x30\0\0") },
	};

	refuses(bad, ARRAY_SIZE(bad));
}

TEST(case_05_rep_greeting_deadline)
{
	const int deadline_ms = 10000;
	struct addr addr;
	int rep = sp_listener(SOCK_REP, &addr);
	int64_t start = now_ms();
	int fd[2], i;

	fd[0] = raw_connect(&addr);
	fd[1] = raw_connect(&addr);
	raw_write(fd[1], LIT("\0SP\0"));

	for (i = 0; i < 2; i++) {
		raw_expect_greeting(fd[i], SOCK_REP);
		set_timeout(fd[i], SO_RCVTIMEO,
			    deadline_ms + PATIENCE_MS);
		raw_expect_closed(fd[i]);
		EXPECT_LE(deadline_ms - 50, now_ms() - start);
		EXPECT_GE(deadline_ms + AT_ONCE_MS, now_ms() - start);
	}
	EXPECT_EQ(0, counter(rep, sp_pipe_ups));
	await_counter(rep, sp_bad_greetings, 2);
}

TEST(case_06_rep_byte_by_byte)
{
	struct addr addr;
	int rep = sp_listener(SOCK_REP, &addr);
	int fd = raw_connect(&addr);
	struct bytes b = { 0 };

	bytes_greeting(&b, SOCK_REQ);
	bytes_frame(&b, LIT(I "x"));
	raw_write_bytewise(fd, b.at, b.len);
	sp_expect(rep, LIT("x"));
}

TEST(case_07_rep_pipelined_with_greeting)
{
	struct addr addr;
	int rep = sp_listener(SOCK_REP, &addr);
	int fd = raw_connect(&addr);
	struct bytes b = { 0 };

	bytes_greeting(&b, SOCK_REQ);
	bytes_frame(&b, LIT(I "x"));
	raw_write(fd, b.at, b.len);
	sp_expect(rep, LIT("x"));
	sp_send(rep, LIT("y"));
	raw_expect_greeting(fd, SOCK_REP);
	raw_expect_frame(fd, LIT(I "y"));
}

/* PUSH does not exist yet; what holds for it holds for a blocked REQ. */
TEST(case_08_req_waits_for_the_greeting)
{
	struct addr addr;
	int req = sp_listener(SOCK_REQ, &addr);
	int fd = raw_connect(&addr);

	raw_expect_greeting(fd, SOCK_REQ);
	must_fail(EAGAIN, send(req, "x", 1, MSG_DONTWAIT));
	expect_not_out(req);
	raw_greet(fd, SOCK_REP);
	sp_send(req, LIT("x"));
	raw_expect_request(fd, LIT("x"));
}

TEST(case_09_rep_silent_connections)
{
	struct addr addr;
	int rep = sp_listener(SOCK_REP, &addr);
	int silent[100], good;
	int64_t start;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(silent); i++)
		silent[i] = raw_connect(&addr);

	start = now_ms();
	good = raw_peer(SOCK_REQ, &addr);
	raw_frame(good, LIT(I "x"));
	sp_expect(rep, LIT("x"));
	/* "At once": long before the silent ones reach their deadline. */
	EXPECT_GE(AT_ONCE_MS, now_ms() - start);

	for (i = 0; i < ARRAY_SIZE(silent); i++)
		close(silent[i]);
}

TEST(case_10_rep_zmtp_off)
{
	static const struct greeting bad[] = {
		{ LIT(ZMTP) },
	};

	refuses(bad, ARRAY_SIZE(bad));
}

TEST(case_11_sub_any_split)
{
	struct addr addr;
	int sub = sub_to_all(&addr);
	int fd = raw_peer(SOCK_PUB, &addr);
	struct bytes b = { 0 }, d = { 0 };

	bytes_frame(&b, LIT("a"));
	bytes_frame(&b, LIT(""));
	bytes_frame(&b, LIT("bc"));
	bytes_frame(&d, LIT("dddd"));
	bytes_add(&b, d.at, d.len / 2);
	raw_write(fd, b.at, b.len);

	sp_expect(sub, LIT("a"));
	sp_expect(sub, LIT(""));
	sp_expect(sub, LIT("bc"));
	raw_await_acked(fd);
	sp_expect_nothing(sub);
	raw_write(fd, d.at + d.len / 2, d.len - d.len / 2);
	sp_expect(sub, LIT("dddd"));
}

TEST(case_12_sub_limit_counts_before_the_body)
{
	struct addr addr;
	int sub = sub_to_all(&addr);
	int fd;

	sp_set(sub, SP_RCVMAXSIZE, 8);
	fd = raw_peer(SOCK_PUB, &addr);
	raw_frame(fd, LIT("12345678"));
	sp_expect(sub, LIT("12345678"));
	raw_header(fd, 9);
	raw_expect_closed(fd);
	await_counter(sub, sp_rx_oversize, 1);
	sp_expect_nothing(sub);
}

TEST(case_13_rep_limit_is_that_of_the_body)
{
	struct addr addr;
	int rep = sp_listener(SOCK_REP, &addr);
	int fd;

	sp_set(rep, SP_RCVMAXSIZE, 8);
	sp_set(rep, SP_MAXTTL, 3);
	fd = raw_peer(SOCK_REQ, &addr);
	raw_frame(fd, LIT(I "12345678"));
	sp_expect(rep, LIT("12345678"));
	raw_frame(fd, LIT(CH CH I "12345678"));
	sp_expect(rep, LIT("12345678"));
	/* Not with any tags: refused by its length. */
	raw_header(fd, 8 + 3 * 4 + 1);
	raw_expect_closed(fd);
	await_counter(rep, sp_rx_oversize, 1);
	/* With three it would do. */
	fd = raw_peer(SOCK_REQ, &addr);
	raw_frame(fd, LIT(CH I "123456789"));
	raw_expect_closed(fd);
	await_counter(rep, sp_rx_oversize, 2);
	/* Who came through too many devices is not too long. */
	fd = raw_peer(SOCK_REQ, &addr);
	raw_frame(fd, LIT(CH CH CH I "1234"));
	await_counter(rep, sp_rx_ttl, 1);
	raw_frame(fd, LIT(I "last"));
	sp_expect(rep, LIT("last"));
	EXPECT_EQ(2, counter(rep, sp_rx_oversize));
}

TEST(case_13_limit_changes_with_the_ttl)
{
	struct addr addr;
	int rep = sp_listener(SOCK_REP, &addr);
	int fd = raw_peer(SOCK_REQ, &addr);

	sp_set(rep, SP_RCVMAXSIZE, 8);
	sp_set(rep, SP_MAXTTL, 1);
	sp_set(rep, SP_MAXTTL, 255);
	raw_header(fd, 8 + 255 * 4);
	raw_await_acked(fd);
	await_peers(rep, 1);
	sp_set(rep, SP_MAXTTL, 254);
	/* The rest does not matter any more. */
	raw_write(fd, LIT(CH));
	raw_expect_closed(fd);
	await_counter(rep, sp_rx_oversize, 1);
}

TEST(case_14_sub_huge_lengths)
{
	static const uint64_t lengths[] = {
		1ULL << 63,	    UINT64_MAX,	      UINT64_MAX - 7,
		(1ULL << 63) - 1,   1ULL << 32,	      1ULL << 31,
		(1ULL << 31) - 1,   (16ULL << 20) + 1,
	};
	struct addr addr;
	int sub = sub_to_all(&addr);
	int good = raw_peer(SOCK_PUB, &addr);
	size_t i;

	for (i = 0; i < ARRAY_SIZE(lengths); i++) {
		int fd = raw_peer(SOCK_PUB, &addr);

		raw_header(fd, lengths[i]);
		raw_expect_closed(fd);
		await_counter(sub, sp_rx_oversize, i + 1);
		close(fd);
		raw_frame(good, LIT("live"));
		sp_expect(sub, LIT("live"));
	}
	await_peers(sub, 1);
}

TEST(case_15_sub_partial_then_fin)
{
	struct addr addr;
	int sub = sub_to_all(&addr);
	int fd = raw_peer(SOCK_PUB, &addr);

	await_peers(sub, 1);
	raw_header(fd, 10);
	raw_write(fd, LIT("abc"));
	close(fd);
	await_peers(sub, 0);
	EXPECT_EQ(1, counter(sub, sp_rx_partial));
	sp_expect_nothing(sub);
}

TEST(case_16_sub_frames_then_fin)
{
	struct addr addr;
	int sub = sub_to_all(&addr);
	int fd = raw_peer(SOCK_PUB, &addr);
	char body[] = "0";

	for (; body[0] < '5'; body[0]++)
		raw_frame(fd, body, 1);
	close(fd);
	await_counter(sub, sp_pipe_downs, 1);
	for (body[0] = '0'; body[0] < '5'; body[0]++)
		sp_expect(sub, body, 1);
	sp_expect_nothing(sub);
}

TEST(case_17_sub_small_buffer)
{
	struct addr addr;
	int sub = sub_to_all(&addr);
	int fd = raw_peer(SOCK_PUB, &addr);
	char buf[2];
	struct iovec iov = { buf, sizeof(buf) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	raw_frame(fd, LIT("hello"));
	ASSERT_EQ(2, must(recvmsg(sub, &msg, 0)));
	EXPECT_EQ(MSG_TRUNC, msg.msg_flags & MSG_TRUNC);
	EXPECT_EQ(0, memcmp(buf, "he", 2));
	sp_expect_nothing(sub);

	raw_frame(fd, LIT("hello"));
	ASSERT_EQ(5, must(recvmsg(sub, &msg, MSG_TRUNC)));
	EXPECT_EQ(MSG_TRUNC, msg.msg_flags & MSG_TRUNC);
	sp_expect_nothing(sub);
}

/*
 * How long until the dialer is back, from when its connection closed. A busy
 * machine makes some of these longer, but not most of them.
 */
static int redial_ms(int l, int *fd)
{
	int64_t start = now_ms();

	*fd = raw_accept(l);
	return (int)(now_ms() - start);
}

TEST(case_59_dialer_comes_back)
{
	const int interval = 50;
	struct addr addr;
	int l = raw_listen(&addr);
	int req = sp_open(SOCK_REQ);
	int fd, i, took, total = 0, in_time = 0;

	sp_set(req, SP_RECONNECT_IVL, interval);
	sp_connect(req, &addr);
	fd = raw_peer_accept(SOCK_REP, l);
	for (i = 0; i < 8; i++) {
		close(fd);
		took = redial_ms(l, &fd);
		in_time += took <= interval + 50 + slow_ms(20);
		total += took;
		raw_greet(fd, SOCK_REP);
		raw_expect_greeting(fd, SOCK_REQ);
	}
	EXPECT_LE(4, in_time);
	/* Random delays may be short, but not all of them: no spinning. */
	EXPECT_LE(interval / 2, total);
	EXPECT_LE(8, counter(req, sp_reconnects));
}

TEST(case_60_dialer_backs_off_and_recovers)
{
	const int first = 50, most = 500;
	struct addr addr;
	int l = raw_listen(&addr);
	int req = sp_open(SOCK_REQ);
	int fd, i, took, longest = 0, in_time = 0;

	sp_set(req, SP_RECONNECT_IVL, first);
	sp_set(req, SP_RECONNECT_IVL_MAX, most);
	sp_connect(req, &addr);
	fd = raw_accept(l);
	for (i = 0; i < 8; i++) {
		raw_expect_greeting(fd, SOCK_REQ);
		raw_write(fd, LIT("garbage!"));
		raw_expect_closed(fd);
		close(fd);
		took = redial_ms(l, &fd);
		in_time += took <= most + 50 + slow_ms(20);
		longest = took > longest ? took : longest;
	}
	EXPECT_LE(4, in_time);
	EXPECT_EQ(8, counter(req, sp_bad_greetings));
	/* It grew: with jitter, one of the delays shows it. */
	EXPECT_LT(first + slow_ms(1), longest);

	/* Alive for longer than any interval: back to the shortest one. */
	for (i = 0; i < 5; i++) {
		raw_greet(fd, SOCK_REP);
		raw_expect_greeting(fd, SOCK_REQ);
		await_peers(req, 1);
		pass_ms(most + 100);
		close(fd);
		took = redial_ms(l, &fd);
		if (took <= first + 50 + slow_ms(5))
			break;
	}
	EXPECT_GT(5, i);
}

SP_TEST_MAIN
