// SPDX-License-Identifier: GPL-2.0
/*
 * What happens after half a minute or more: the deadlines of messages under
 * way, and who has none. Only where time passes at no cost, as on a machine
 * whose clock counts instructions and jumps ahead when there is nothing to do.
 */
#include "sptest.h"

#define MIB (1 << 20)

FIXTURE(lapse)
{
	struct addr addr;
	struct crowd c;
};

FIXTURE_SETUP(lapse)
{
	if (!time_is_work())
		SKIP(return, "minutes pass only where they cost nothing");
}

FIXTURE_TEARDOWN(lapse)
{
}

static void sleep_until(int64_t ms)
{
	int64_t left = ms - now_ms();

	if (left > 0)
		pass_ms((int)left);
}

static bool is_closed(int fd)
{
	char c;
	ssize_t n = recv(fd, &c, 1, MSG_DONTWAIT);

	return n == 0 || (n < 0 && errno != EAGAIN);
}

/*
 * A closing pipe delivers for 30 s after close(), whatever its peer had begun
 * to send before.
 */
TEST_F_TIMEOUT(lapse, closing_abandons_what_is_being_received, 120)
{
	enum { LEN = 8 * MIB };
	const char *const whose[] = { "plain", "with half a request" };
	unsigned char *reply = filler(LEN, 1), *seen = malloc(LEN + 4);
	int rep = sp_listener(SOCK_REP, &self->addr), peer[2], i;
	int64_t start = now_ms();

	ASSERT_NE(NULL, seen);
	for (i = 0; i < 2; i++) {
		peer[i] = raw_peer_small(SOCK_REQ, &self->addr);
		raw_frame(peer[i], LIT("\x80\0\0\1" "Q"));
	}
	raw_header(peer[1], 100);
	raw_write(peer[1], LIT("\x80\0\0\2 the beginning"));
	raw_await_acked(peer[1]);
	sleep_until(start + 24000);
	for (i = 0; i < 2; i++) {
		sp_expect(rep, LIT("Q"));
		sp_send(rep, reply, LEN);
	}
	close(rep);
	sleep_until(start + 36000);
	for (i = 0; i < 2; i++) {
		size_t got = 0;
		ssize_t n;

		while (got < LEN + 12 &&
		       (n = recv(peer[i], seen, LEN + 4, 0)) > 0)
			got += (size_t)n;
		TH_LOG("%s: %zu of %d bytes", whose[i], got, LEN + 12);
		EXPECT_EQ(LEN + 12, got);
		raw_expect_closed(peer[i]);
		close(peer[i]);
	}
	free(reply);
	free(seen);
}

/*
 * A message under way has 30 s, and one more for each 16 KiB, from its first
 * byte on: that is the first of its length.
 */
TEST_F_TIMEOUT(lapse, a_message_has_a_deadline, 150)
{
	static const struct {
		const char *what;
		uint64_t len;
		size_t sent;
	} row[] = {
		{ "1000 bytes announced", 1000, 0 },
		{ "half of 1000 bytes", 1000, 500 },
		{ "16,000 bytes but one", 16000, 15999 },
		{ "100,000 bytes announced", 100000, 0 },
		{ "one of 100,000 bytes", 100000, 1 },
		{ "half of 100,000 bytes", 100000, 50000 },
		{ "a mebibyte announced", MIB, 0 },
		{ "a mebibyte but one", MIB, MIB - 1 },
	};
	enum { ROWS = ARRAY_SIZE(row) };
	int sub = sp_listener(SOCK_SUB, &self->addr), fd[ROWS], left = ROWS;
	unsigned char *body = filler(MIB, 1);
	int64_t start, ended[ROWS] = { 0 };
	int i;

	sp_set(sub, SP_RCVMAXSIZE, MIB);
	subscribe(sub, LIT(""));
	for (i = 0; i < ROWS; i++)
		fd[i] = raw_peer(SOCK_PUB, &self->addr);
	start = now_ms();
	for (i = 0; i < ROWS; i++) {
		raw_header(fd[i], row[i].len);
		raw_write(fd[i], body, row[i].sent);
		raw_await_acked(fd[i]);
	}
	while (left && now_ms() < start + 120000) {
		for (i = 0; i < ROWS; i++)
			if (!ended[i] && is_closed(fd[i])) {
				ended[i] = now_ms() - start;
				left--;
			}
		pass_ms(50);
	}
	for (i = 0; i < ROWS; i++) {
		int64_t due = 30000 + (int64_t)row[i].len / 16;

		TH_LOG("%s: ended after %lld ms, due after %lld ms",
		       row[i].what, (long long)ended[i], (long long)due);
		EXPECT_LE(due - 100, ended[i]);
		/* The timers of works are coarse. */
		EXPECT_GE(due + due / 8 + 200, ended[i]);
		close(fd[i]);
	}
	EXPECT_EQ(ROWS, counter(sub, sp_rx_partial));
	sp_expect_nothing(sub);
	free(body);
	close(sub);
}

static size_t by_peer(uint32_t who, uint32_t nth)
{
	(void)nth;
	return who % 4 == 0 ? 1000 : who % 4 == 1 ? 20000 : 1000000;
}

/* Unless it is the program that does not read. */
TEST_F_TIMEOUT(lapse, who_waits_for_the_program_has_none, 400)
{
	enum { PEERS = 40, EACH = 300 };
	struct crowd *c = &self->c;
	int sub = sp_listener(SOCK_SUB, &self->addr), i, left = 0;

	sp_set(sub, SP_RCVMAXSIZE, MIB);
	subscribe(sub, LIT(""));
	crowd_init(c, SOCK_PUB, by_peer, 1000000);
	crowd_join(c, &self->addr, PEERS, 0);
	for (i = 0; i < PEERS; i++) {
		c->of[i].messages = i % 4 == 0 ? EACH : i % 4 == 1 ? 15 : 2;
		c->of[i].until = CROWD_ALL;
		left += (int)c->of[i].messages;
	}
	crowd_settle(c);
	pass_ms(200000);
	EXPECT_EQ(0, counter(sub, sp_pipe_downs));
	/* It looks now and then. */
	for (i = 0; i < 3; i++) {
		crowd_recv(c, sub, 0);
		pass_ms(60000);
	}
	EXPECT_EQ(0, counter(sub, sp_pipe_downs));
	for (left -= 3; left; left--)
		crowd_recv_sending(c, sub);
	sp_expect_nothing(sub);
	EXPECT_EQ(0, counter(sub, sp_pipe_downs));
	crowd_leave(c);
	close(sub);
}

/* A thin link is none that harms anybody while nobody waits for it. */
TEST_F_TIMEOUT(lapse, slowly_but_in_time, 120)
{
	struct crowd *c = &self->c;
	int sub = sp_listener(SOCK_SUB, &self->addr);

	subscribe(sub, LIT(""));
	crowd_init(c, SOCK_PUB, by_peer, 1000000);
	crowd_join(c, &self->addr, 3, 0);
	c->of[2].messages = 1;
	while (c->of[2].nth < 1) {
		c->of[2].until += 2000;
		must_be(member_send(c, &c->of[2]));
		pass_ms(150);
		/* Others go on meanwhile. */
		if (c->of[2].until % 100000 == 0) {
			c->of[0].until = c->of[0].sent + 1008;
			must_be(member_send(c, &c->of[0]));
			must_eq(0, crowd_recv(c, sub, 0));
		}
	}
	must_eq(2, crowd_recv(c, sub, 0));
	EXPECT_EQ(0, counter(sub, sp_pipe_downs));
	crowd_leave(c);
	close(sub);
}

/*
 * Who holds room and does not fill it loses it to somebody who waits for it,
 * soon: also to one who has never sent anything before.
 */
TEST_F_TIMEOUT(lapse, silent_ones_make_room, 120)
{
	enum { SILENT = 40 };
	struct crowd *c = &self->c;
	int sub = sp_listener(SOCK_SUB, &self->addr), i;
	int64_t start, took;

	sp_set(sub, SP_RCVMAXSIZE, MIB);
	subscribe(sub, LIT(""));
	crowd_init(c, SOCK_PUB, by_peer, 1000000);
	crowd_join(c, &self->addr, 2, 0);
	crowd_join(c, &self->addr, SILENT, 0);
	for (i = 2; i < 2 + SILENT; i++) {
		struct member *m = &c->of[i];

		m->who = 2;
		m->until = i % 2 ? HEADER_LEN + 1 : 500000;
	}
	crowd_settle(c);
	crowd_join(c, &self->addr, 1, 0);
	c->of[2 + SILENT].who = 2;
	c->of[2 + SILENT].until = crowd_frame(&c->of[2], c, 0);
	start = now_ms();
	must_eq(2 + SILENT, crowd_recv_sending(c, sub));
	took = now_ms() - start;
	TH_LOG("behind %d silent ones after %lld ms, %llu ended", SILENT,
	       (long long)took,
	       (unsigned long long)counter(sub, sp_pipe_downs));
	EXPECT_GE(10000, took);
	crowd_leave(c);
	close(sub);
}

SP_TEST_MAIN
