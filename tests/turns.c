// SPDX-License-Identifier: GPL-2.0
/*
 * Whose message is next. While several peers have bytes waiting, the program
 * gets one of each in turn, however fast they send, how large their messages
 * are and how much the socket may hold; a better rank goes first; and nobody
 * who had to wait is forgotten.
 */
#include "sptest.h"

#include <fcntl.h>
#include <sched.h>

#define MIB (1 << 20)
/* Where all takes long, there is less of everything. */
static int scaled(int bytes)
{
	return many(16) == 16 ? bytes : bytes / 16;
}

static int few(int n, int least)
{
	return at_speed(n) < least ? least : at_speed(n);
}

/* SO_RCVBUF of a variant; 0 is the system's default. */
static void set_buffer(int s, int rcvbuf)
{
	if (rcvbuf == 0 && scaled(16) == 16)
		return;
	if (rcvbuf == 0)
		rcvbuf = 20000;
	if (rcvbuf >= MIB)
		rcvbuf = scaled(rcvbuf);
	sol_set(s, SO_RCVBUFFORCE, rcvbuf);
}

/* What each peer's TCP holds, so that it always has something to send. */
#define BACKLOG scaled(2 * MIB)
/* The largest message. */
#define LARGE scaled(16 * MIB)

static size_t sizes[16];

static size_t size_of(uint32_t who, uint32_t nth)
{
	(void)nth;
	return sizes[who];
}

static void flood(struct crowd *c, int from)
{
	int i;

	/* One after the other, so the first finds the buffer empty. */
	for (i = from; i < c->n; i++) {
		c->of[i].until = CROWD_ALL;
		member_send(c, &c->of[i]);
	}
	crowd_settle(c);
}

/* As crowd_recv_sending(), with everybody's queue topped up now and then. */
static int next(struct crowd *c, int s)
{
	static int n;

	if (n++ % 8 == 0)
		crowd_send(c, -1, 0);
	return crowd_recv_sending(c, s);
}

/* How many messages come before the next one of this peer. */
static int ahead_of(struct crowd *c, int s, int who)
{
	int n;

	for (n = 0; next(c, s) != who; n++)
		if (n == 100000)
			die("peer %d is never heard", who);
	return n;
}

FIXTURE(turns)
{
	struct addr addr;
	struct crowd c;
	int s;
};

FIXTURE_VARIANT(turns)
{
	int type, rcvbuf;
	size_t odd, even;
};

FIXTURE_VARIANT_ADD(turns, small) { SOCK_SUB, 0, 100, 100 };
FIXTURE_VARIANT_ADD(turns, small_2_mib) { SOCK_SUB, 2 * MIB, 100, 100 };
FIXTURE_VARIANT_ADD(turns, small_16_kib) { SOCK_SUB, 16384, 100, 100 };
FIXTURE_VARIANT_ADD(turns, requests) { SOCK_REP, 0, 100, 100 };
FIXTURE_VARIANT_ADD(turns, medium) { SOCK_SUB, 0, 10000, 10000 };
FIXTURE_VARIANT_ADD(turns, medium_2_mib) { SOCK_SUB, 2 * MIB, 10000, 10000 };
FIXTURE_VARIANT_ADD(turns, mixed) { SOCK_SUB, 0, 100, 10000 };
FIXTURE_VARIANT_ADD(turns, mixed_2_mib) { SOCK_SUB, 2 * MIB, 100, 10000 };
FIXTURE_VARIANT_ADD(turns, large) { SOCK_SUB, 0, 40000, 40000 };
FIXTURE_VARIANT_ADD(turns, mixed_large) { SOCK_SUB, 0, 100, 40000 };

FIXTURE_SETUP(turns)
{
	self->s = sp_open(variant->type);
	set_buffer(self->s, variant->rcvbuf);
	if (variant->type == SOCK_SUB)
		subscribe(self->s, LIT(""));
	self->addr = sp_bind(self->s, AF_INET);
	crowd_init(&self->c, peer_type(variant->type), size_of, 40000);
}

FIXTURE_TEARDOWN(turns)
{
	crowd_leave(&self->c);
	close(self->s);
}

TEST_F_TIMEOUT(turns, of_eight_busy_peers, 60)
{
	enum { PEERS = 8 };
	const int n = few(variant->odd + variant->even > 1000 ? 2000 : 4000,
			  20 * PEERS);
	int i, who, last = -1, run = 0, longest = 0;
	int got[PEERS] = { 0 }, least = n, most = 0, wait;
	struct crowd *c = &self->c;

	for (i = 0; i < PEERS; i++)
		sizes[i] = i % 2 ? variant->odd : variant->even;
	sizes[PEERS] = 100;
	crowd_join(c, &self->addr, PEERS, BACKLOG);
	flood(c, 0);
	for (i = 0; i < n; i++) {
		who = next(c, self->s);
		run = who == last ? run + 1 : 1;
		last = who;
		longest = run > longest ? run : longest;
		got[who]++;
	}
	for (i = 0; i < PEERS; i++) {
		least = got[i] < least ? got[i] : least;
		most = got[i] > most ? got[i] : most;
	}
	/* A ninth, which is quiet but for one message. */
	crowd_join(c, &self->addr, 1, 0);
	c->of[PEERS].messages = 1;
	c->of[PEERS].until = CROWD_ALL;
	must_be(member_send(c, &c->of[PEERS]));
	raw_await_acked(c->of[PEERS].fd);
	wait = ahead_of(c, self->s, PEERS);
	TH_LOG("longest run %d; of %d messages, %d to %d each; "
	       "a quiet one behind %d", longest, n, least, most, wait);
	EXPECT_GE(2, longest);
	EXPECT_LE(n / PEERS * 95 / 100 - 1, least);
	EXPECT_GE(n / PEERS * 105 / 100 + 1, most);
	EXPECT_GE(2 * (PEERS + 1), wait);
	EXPECT_EQ(0, counter(self->s, sp_pipe_downs));
}

/* One that sends a message now and then, beside three that never stop. */
FIXTURE(heartbeat)
{
	struct crowd c;
	int s;
};

FIXTURE_VARIANT(heartbeat)
{
	int rcvbuf;
};

FIXTURE_VARIANT_ADD(heartbeat, default_buffer) { 0 };
FIXTURE_VARIANT_ADD(heartbeat, large_buffer) { 4 * MIB };

FIXTURE_SETUP(heartbeat)
{
	self->s = sp_open(SOCK_SUB);
	set_buffer(self->s, variant->rcvbuf);
	subscribe(self->s, LIT(""));
	crowd_init(&self->c, SOCK_PUB, size_of, 1000);
}

FIXTURE_TEARDOWN(heartbeat)
{
	crowd_leave(&self->c);
	close(self->s);
}

TEST_F(heartbeat, beside_three_busy_peers)
{
	enum { BUSY = 3 };
	const int beats = few(20, 5);
	struct crowd *c = &self->c;
	struct addr addr = sp_bind(self->s, AF_INET);
	int64_t sent, ms, latest = 0;
	int i, beat, n, most = 0;

	for (i = 0; i <= BUSY; i++)
		sizes[i] = 200;
	crowd_join(c, &addr, BUSY, BACKLOG);
	flood(c, 0);
	crowd_join(c, &addr, 1, 0);
	for (beat = 1; beat <= beats; beat++) {
		c->of[BUSY].messages = (uint32_t)beat;
		c->of[BUSY].until = CROWD_ALL;
		sent = now_ms();
		must_be(member_send(c, &c->of[BUSY]));
		raw_await_acked(c->of[BUSY].fd);
		n = ahead_of(c, self->s, BUSY);
		ms = now_ms() - sent;
		most = n > most ? n : most;
		latest = ms > latest ? ms : latest;
		for (i = few(50, 10); i; i--)
			next(c, self->s);
	}
	TH_LOG("behind %d messages, %d ms late", most, (int)latest);
	EXPECT_GE(2 * (BUSY + 1), most);
}

/*
 * Ranks are strict: a message of a better one that has arrived is next, but for
 * one.
 */
FIXTURE(ranks)
{
	struct addr worse, better;
	struct crowd c;
	int s;
};

FIXTURE_VARIANT(ranks)
{
	int type, rcvbuf;
};

FIXTURE_VARIANT_ADD(ranks, default_buffer) { SOCK_SUB, 0 };
FIXTURE_VARIANT_ADD(ranks, large_buffer) { SOCK_SUB, 4 * MIB };
FIXTURE_VARIANT_ADD(ranks, of_requests) { SOCK_REP, 0 };

FIXTURE_SETUP(ranks)
{
	self->s = sp_open(variant->type);
	sp_set(self->s, SP_RCVMAXSIZE, LARGE + 64);
	set_buffer(self->s, variant->rcvbuf);
	if (variant->type == SOCK_SUB)
		subscribe(self->s, LIT(""));
	self->worse = sp_bind(self->s, AF_INET);
	sp_set(self->s, SP_RCVPRIO, 1);
	self->better = sp_bind(self->s, AF_INET);
}

FIXTURE_TEARDOWN(ranks)
{
	crowd_leave(&self->c);
	close(self->s);
}

/* One more message of this peer arrives; how many come before it? */
static int one_more(struct crowd *c, int s, int who)
{
	struct member *m = &c->of[who];

	m->until = m->sent + crowd_frame(m, c, m->nth);
	must_be(member_send(c, m));
	must_eq(m->until, m->sent);
	raw_await_acked(m->fd);
	return ahead_of(c, s, who);
}

TEST_F(ranks, before_floods)
{
	enum { BUSY = 4, TIMES = 20 };
	static const size_t better[] = { 10, 100, 8000, 15000 };
	struct crowd *c = &self->c;
	int i, n, most = 0;

	crowd_init(c, peer_type(variant->type), size_of, 16000);
	for (i = 0; i < BUSY; i++)
		sizes[i] = i ? 100 : 1000;
	crowd_join(c, &self->worse, BUSY, BACKLOG);
	flood(c, 0);
	for (i = 0; i < (int)ARRAY_SIZE(better); i++)
		sizes[BUSY + i] = better[i];
	crowd_join(c, &self->better, (int)ARRAY_SIZE(better), BACKLOG);
	for (i = 0; i < TIMES; i++) {
		n = one_more(c, self->s,
			     BUSY + i % (int)ARRAY_SIZE(better));
		most = n > most ? n : most;
	}
	TH_LOG("behind %d messages", most);
	EXPECT_GE(1, most);
}

static size_t last_is_large(uint32_t who, uint32_t nth)
{
	return who == 0 && nth == 200 ? LARGE : 100;
}

static size_t first_is_large(uint32_t who, uint32_t nth)
{
	return who == 0 && nth == 0 ? LARGE : 100;
}

/* And before what is queued already: 200 small messages and one of 16 MiB. */
TEST_F_TIMEOUT(ranks, before_small_and_large, 60)
{
	struct crowd *c = &self->c;
	int before, meanwhile, after, i;

	crowd_init(c, peer_type(variant->type), last_is_large, LARGE);
	crowd_join(c, &self->worse, 1, BACKLOG);
	crowd_join(c, &self->better, 1, 0);
	c->of[0].messages = 201;
	c->of[0].until = crowd_frames(&c->of[0], c, 200);
	crowd_settle(c);
	before = one_more(c, self->s, 1);
	c->of[0].until += LARGE / 3;
	crowd_settle(c);
	meanwhile = one_more(c, self->s, 1);
	c->of[0].until = CROWD_ALL;
	crowd_settle(c);
	after = one_more(c, self->s, 1);
	TH_LOG("behind %d small ones; with half a large one %d, with all %d",
	       before, meanwhile, after);
	EXPECT_GE(1, before);
	EXPECT_GE(1, meanwhile);
	EXPECT_GE(1, after);
	for (i = before + meanwhile + after; i < 201; i++)
		must_eq(0, crowd_recv_sending(c, self->s));
	sp_expect_nothing(self->s);
}

/* The large one comes first, and the small ones of somebody else. */
TEST_F_TIMEOUT(ranks, before_large_and_small, 60)
{
	struct crowd *c = &self->c;
	int first, n, i;

	crowd_init(c, peer_type(variant->type), first_is_large, LARGE);
	crowd_join(c, &self->worse, 2, BACKLOG);
	crowd_join(c, &self->better, 1, 0);
	c->of[0].messages = 1;
	c->of[0].until = CROWD_ALL;
	crowd_settle(c);
	first = one_more(c, self->s, 2);
	c->of[1].messages = 200;
	c->of[1].until = CROWD_ALL;
	crowd_settle(c);
	n = one_more(c, self->s, 2);
	TH_LOG("behind %d, with small ones behind %d", first, n);
	EXPECT_GE(1, first);
	EXPECT_GE(1, n);
	for (i = first + n; i < 201; i++)
		must_be(crowd_recv_sending(c, self->s) < 2);
	sp_expect_nothing(self->s);
}

/*
 * All messages of all peers arrive, in order and once, whatever their lengths,
 * wherever a segment ends, and whenever the program reads.
 */
static const size_t lengths[] = {
	0,     1,     4,     7,	    8,	   9,	  100,	 1000,	1400,
	4000,  4096,  8192,  16000, 16367, 16368, 16372, 16375, 16376,
	16377, 16380, 16383, 16384, 16385, 16388, 16392, 16400, 20000,
	24000, 32760, 32768, 32776, 40000,
};

static size_t any_length(uint32_t who, uint32_t nth)
{
	uint32_t x = (who + 1) * 2654435761u ^ nth * 40503u;

	x ^= x >> 15;
	/* The small ones come in crowds, as they do. */
	if (nth / 8 % 2)
		return lengths[x % 8];
	return lengths[x % ARRAY_SIZE(lengths)];
}

static const int steps[] = { 1, 7, 8, 9, 3, 12, 100, 5, 16384, 8, 1000, 16383,
			     2, 65536, 16376, 24, 30000, 1, 8, 4096 };

FIXTURE(mixture)
{
	struct addr addr;
	struct crowd c;
	int s;
};

FIXTURE_VARIANT(mixture)
{
	int type, rcvbuf, sndbuf, each;
};

FIXTURE_VARIANT_ADD(mixture, default_buffer) { SOCK_SUB, 0, 0, 400 };
FIXTURE_VARIANT_ADD(mixture, requests) { SOCK_REP, 0, 0, 400 };
FIXTURE_VARIANT_ADD(mixture, small_buffer) { SOCK_SUB, 20000, 0, 400 };
FIXTURE_VARIANT_ADD(mixture, smallest_buffer) { SOCK_SUB, 1, 0, 40 };
FIXTURE_VARIANT_ADD(mixture, small_senders) { SOCK_SUB, 30000, 5000, 200 };
FIXTURE_VARIANT_ADD(mixture, large_buffer) { SOCK_SUB, 4 * MIB, 0, 400 };

FIXTURE_SETUP(mixture)
{
	self->s = sp_open(variant->type);
	set_buffer(self->s, variant->rcvbuf);
	if (variant->type == SOCK_SUB)
		subscribe(self->s, LIT(""));
	self->addr = sp_bind(self->s, AF_INET);
	crowd_init(&self->c, peer_type(variant->type), any_length, 40000);
}

FIXTURE_TEARDOWN(mixture)
{
	crowd_leave(&self->c);
	close(self->s);
}

TEST_F_TIMEOUT(mixture, arrives_whole_once_and_in_order, 60)
{
	enum { PEERS = 6 };
	struct crowd *c = &self->c;
	const int each = few(variant->each, 12);
	int left = PEERS * each, i, burst, turn;
	int64_t deadline = now_ms() + 50000;

	crowd_join(c, &self->addr, PEERS, variant->sndbuf);
	for (i = 0; i < PEERS; i++)
		c->of[i].messages = (uint32_t)each;
	for (turn = 0; left; turn++) {
		for (i = 0; i < PEERS; i++) {
			/* A byte at a time, or many: each at its own pace. */
			c->of[i].until = c->of[i].sent +
				(uint64_t)steps[(turn * (i + 1) + i) %
						(int)ARRAY_SIZE(steps)];
			member_send(c, &c->of[i]);
		}
		/* For a while nothing is read, then more than there is. */
		burst = turn % 64 < 40 ? 0 : turn % 64;
		while (burst-- && left && crowd_recv(c, self->s, MSG_DONTWAIT)
		       >= 0)
			left--;
		if (now_ms() > deadline)
			die("%d messages are still missing", left);
	}
	for (i = 0; i < PEERS; i++)
		must_eq(each, c->of[i].received);
	sp_expect_nothing(self->s);
	EXPECT_EQ(0, counter(self->s, sp_rx_queued));
	EXPECT_EQ(0, counter(self->s, sp_pipe_downs));
}

/* Everything at once; the program reads when nothing more goes in. */
TEST_F_TIMEOUT(mixture, resumes_after_each_pause, 60)
{
	enum { PEERS = 6 };
	struct crowd *c = &self->c;
	const int each = few(variant->each, 12);
	int left = PEERS * each, i, n;

	crowd_join(c, &self->addr, PEERS, variant->sndbuf);
	for (i = 0; i < PEERS; i++) {
		c->of[i].messages = (uint32_t)each;
		c->of[i].until = CROWD_ALL;
	}
	crowd_settle(c);
	/* Down to nothing, a few, and one at a time. */
	for (n = 1; left; n = n % 7 + 1) {
		for (i = 0; i < n && left; i++) {
			crowd_recv_sending(c, self->s);
			left--;
		}
		if (left % 50 == 0)
			crowd_settle(c);
	}
	for (i = 0; i < PEERS; i++)
		must_eq(each, c->of[i].received);
	sp_expect_nothing(self->s);
	EXPECT_EQ(0, counter(self->s, sp_pipe_downs));
}

/* Who has sent everything and gone is heard all the same. */
TEST_F_TIMEOUT(mixture, outlives_its_senders, 60)
{
	enum { PEERS = 6 };
	struct crowd *c = &self->c;
	const int each = few(variant->each / 8, 8);
	int left = PEERS * each, i, n;

	crowd_join(c, &self->addr, PEERS, 0);
	for (i = 0; i < PEERS; i++) {
		c->of[i].messages = (uint32_t)each;
		c->of[i].until = CROWD_ALL;
	}
	for (i = 0; i < PEERS; i++) {
		struct member *m = &c->of[i];

		/* As long as somebody reads; then TCP has the rest. */
		while (member_send(c, m), m->nth < m->messages) {
			crowd_recv_sending(c, self->s);
			left--;
		}
		if (i % 2) {
			must(shutdown(m->fd, SHUT_WR));
		} else {
			close(m->fd);
			m->fd = -1;
		}
	}
	for (n = 0; left; left--) {
		crowd_recv(c, self->s, 0);
		if (n++ % 16 == 0)
			pass_ms(5);
	}
	await_peers(self->s, 0);
	EXPECT_EQ(0, counter(self->s, sp_rx_queued));
	EXPECT_EQ(0, counter(self->s, sp_rx_partial));
	sp_expect_nothing(self->s);
}

/* All that TCP may have of memory, in pages: low, pressure, high. */
static void tcp_mem(const char *text, char *before, size_t cap)
{
	static const char path[] = "/proc/sys/net/ipv4/tcp_mem";
	int fd = (int)must(open("/proc/1/ns/net", O_RDONLY)), n;

	/* It is the first namespace's. */
	must(setns(fd, CLONE_NEWNET));
	close(fd);
	fd = (int)must(open(path, O_RDWR));
	if (before) {
		n = (int)must(pread(fd, before, cap - 1, 0));
		before[n] = 0;
	}
	must(pwrite(fd, text, strlen(text), 0));
	close(fd);
}

/*
 * TCP is told that memory is short, from the beginning of a test to its end,
 * however that comes.
 */
static void squeeze_tcp(void)
{
	struct meet done;
	int alive[2];
	pid_t pid;

	meet_init(&done);
	must(pipe(alive));
	pid = (pid_t)must(fork());
	if (pid == 0) {
		char before[128], c;

		close(alive[1]);
		tcp_mem("1 1 100000", before, sizeof(before));
		meet_tell(&done);
		(void)!read(alive[0], &c, 1);
		tcp_mem(before, NULL, 0);
		_exit(0);
	}
	close(alive[0]);
	meet_await(&done);
}

TEST_F_TIMEOUT(mixture, arrives_while_tcp_is_short_of_memory, 60)
{
	enum { PEERS = 6 };
	struct crowd *c = &self->c;
	const int each = few(variant->each / 8, 8);
	int left = PEERS * each, i;

	crowd_join(c, &self->addr, PEERS, 0);
	squeeze_tcp();
	for (i = 0; i < PEERS; i++) {
		c->of[i].messages = (uint32_t)each;
		c->of[i].until = CROWD_ALL;
	}
	crowd_settle(c);
	while (left--)
		crowd_recv_sending(c, self->s);
	sp_expect_nothing(self->s);
	EXPECT_EQ(0, counter(self->s, sp_pipe_downs));
}

static size_t split_length;

static size_t length_to_split(uint32_t who, uint32_t nth)
{
	(void)who;
	(void)nth;
	return split_length;
}

/* Every length around the line, in two segments, cut at every awkward place. */
TEST(every_split_around_16_kib)
{
	static const int cuts[] = { 1, 7, 8, 9, 12, 100, 8192, -9, -8, -1 };
	static struct crowd c;
	const size_t step = slow_ms(1) > 3 ? 4 : 1;
	struct addr addr;
	int s = sp_listener(SOCK_SUB, &addr), i;
	size_t len;

	subscribe(s, LIT(""));
	crowd_init(&c, SOCK_PUB, length_to_split, 20000);
	crowd_join(&c, &addr, 1, 0);
	for (len = 16364; len <= 16396; len += step) {
		split_length = len;
		for (i = 0; i < (int)ARRAY_SIZE(cuts); i++) {
			struct member *m = &c.of[0];
			uint64_t end = m->sent + HEADER_LEN + len;

			m->until = cuts[i] > 0 ? m->sent + (uint64_t)cuts[i] :
						 end + (uint64_t)cuts[i];
			must_be(member_send(&c, m));
			raw_await_acked(m->fd);
			sp_expect_nothing(s);
			m->until = end;
			must_be(member_send(&c, m));
			must_eq(0, crowd_recv(&c, s, 0));
		}
	}
	sp_expect_nothing(s);
	crowd_leave(&c);
	close(s);
}

SP_TEST_MAIN
