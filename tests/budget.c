// SPDX-License-Identifier: GPL-2.0
/*
 * What peers send that is never delivered costs nobody else: no call and no
 * interrupt works through it for long. The rest is done by and by, and counted.
 */
#include "sptest.h"

#define MIB (1 << 20)

/* A peer that sends one frame over and over. */
struct spout {
	int fd;
	size_t frame;
	uint64_t sent;
	unsigned char bytes[65536];
};

static void spout_open(struct spout *p, int type, const struct addr *to,
		       const void *body, size_t len, int sndbuf)
{
	struct bytes frame = { 0 };
	size_t n;

	bytes_frame(&frame, body, len);
	p->frame = frame.len;
	p->sent = 0;
	for (n = 0; n < sizeof(p->bytes); n += frame.len)
		memcpy(p->bytes + n, frame.at,
		       n + frame.len <= sizeof(p->bytes) ?
			       frame.len : sizeof(p->bytes) - n);
	p->fd = raw_peer(type, to);
	sol_set(p->fd, SO_SNDBUF, sndbuf / 2);
}

/* Until TCP takes no more, but no more than @most bytes. */
static uint64_t spout_fill(struct spout *p, uint64_t most)
{
	uint64_t sum = 0;

	while (sum < most) {
		size_t off = p->sent % p->frame, len = sizeof(p->bytes) - off;
		ssize_t n = send(p->fd, p->bytes + off,
				 len < most - sum ? len : most - sum,
				 MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN)
			break;
		must(n);
		p->sent += (uint64_t)n;
		sum += (uint64_t)n;
	}
	return sum;
}

static uint64_t refused(int s)
{
	struct sp_info i = sp_info(s);

	return i.sp_rx_filtered + i.sp_rx_malformed;
}

/* How many peers send junk, how much each at a time; and what a message is. */
#define SPOUTS 60
#define JUNK ((uint64_t)at_speed(65536))
#define LINE 100

FIXTURE(junk)
{
	struct addr addr;
	int s, spouts, rcvbuf;
	struct spout *good, *bad;
	int64_t work_us, longest_us, late_us;
};

FIXTURE_VARIANT(junk)
{
	int type;
	const char *body;
	size_t len;
};

FIXTURE_VARIANT_ADD(junk, empty_messages) { SOCK_SUB, LIT("") };
FIXTURE_VARIANT_ADD(junk, topics_nobody_wants) { SOCK_SUB, LIT("unwanted") };
FIXTURE_VARIANT_ADD(junk, malformed_requests) { SOCK_REP, LIT("\0\0\0\1") };

FIXTURE_SETUP(junk)
{
	static const char wanted[LINE] = "\x80\0\0\1wanted";
	int i;

	self->s = sp_open(variant->type);
	self->rcvbuf = many(4) == 4 ? 200000 : 20000;
	sol_set(self->s, SO_RCVBUF, self->rcvbuf / 2);
	self->addr = sp_bind(self->s, AF_INET);
	if (variant->type == SOCK_SUB) {
		subscribe(self->s, LIT("\x80"));
		subscribe(self->s, LIT("after"));
	}
	self->spouts = many(SPOUTS);
	self->bad = calloc((size_t)self->spouts, sizeof(*self->bad));
	self->good = calloc(1, sizeof(*self->good));
	must_be(self->bad && self->good);
	spout_open(self->good, peer_type(variant->type), &self->addr, wanted,
		   LINE, 65536);
	for (i = 0; i < self->spouts; i++)
		spout_open(&self->bad[i], peer_type(variant->type),
			   &self->addr, variant->body, variant->len, 131072);
	await_peers(self->s, self->spouts + 1);
}

FIXTURE_TEARDOWN(junk)
{
	int i;

	for (i = 0; i < self->spouts; i++)
		close(self->bad[i].fd);
	close(self->good->fd);
	close(self->s);
	free(self->bad);
	free(self->good);
}

/*
 * The buffer is full of what the program wants, and TCP has a lot of what nobody
 * does; unless the socket goes on discarding that, in its own time.
 */
static void fill_up(FIXTURE_DATA(junk) *j)
{
	int64_t moved = now_ms(), until = moved + slow_ms(2000);
	int i;

	while (now_ms() - moved < quiet_ms() && now_ms() < until) {
		if (spout_fill(j->good, MIB))
			moved = now_ms();
		else
			pass_ms(1);
	}
	/* Only then, so that they find no room. */
	for (i = 0; i < j->spouts; i++)
		spout_fill(&j->bad[i], JUNK);
	expect_in(j->s);
}

static int64_t worked_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

/*
 * One call, timed: what it worked, which is what it is judged by, and how long
 * it took, when others had work to do on the same CPU.
 */
#define timed(j, call)                                                        \
	({                                                                    \
		int64_t begun_ = now_us(), worked_ = worked_us();             \
		long result_ = (call);                                        \
									      \
		worked_ = worked_us() - worked_;                              \
		begun_ = now_us() - begun_;                                   \
		(j)->work_us = worked_ > (j)->work_us ? worked_ :             \
							(j)->work_us;         \
		(j)->longest_us = begun_ > (j)->longest_us ? begun_ :         \
							     (j)->longest_us; \
		result_;                                                      \
	})

/*
 * Makes room in the way of a test, with a timer beside it on the same CPU. A
 * machine that is busy elsewhere may stand still for a while, so the best of a
 * few rounds counts; where time is work, the first does.
 */
#define ROUNDS (time_is_work() ? 1 : 3)
#define WORK_US (slow_ms(time_is_work() ? 2 : 100) * 1000LL)
#define LATE_US (slow_ms(time_is_work() ? 2 : 200) * 1000LL)

static bool round_of(FIXTURE_DATA(junk) *j, int round,
		     void (*make_room)(FIXTURE_DATA(junk) *j, int round))
{
	struct late late;
	uint64_t before;

	fill_up(j);
	before = refused(j->s);
	j->work_us = j->longest_us = 0;
	late_start(&late, 0);
	make_room(j, round);
	/* What is left to be done is done now. */
	pass_ms(100);
	j->late_us = late_stop_us(&late);
	printf("# a call worked up to %lld us and took up to %lld us, "
	       "timer late by %lld us, %llu frames discarded\n",
	       (long long)j->work_us, (long long)j->longest_us,
	       (long long)j->late_us,
	       (unsigned long long)(refused(j->s) - before));
	return j->work_us <= WORK_US && j->late_us <= LATE_US;
}

static void still_works(FIXTURE_DATA(junk) *j, int type)
{
	int64_t deadline = now_ms() + 40000;
	uint64_t frames = 0, seen;
	char body[LINE + 8];
	ssize_t n;
	int fd, i;

	for (i = 0; i < j->spouts; i++)
		frames += j->bad[i].sent / j->bad[i].frame;
	/* All of it is counted in the end, and nothing in the way. */
	do {
		n = recv(j->s, body, sizeof(body), MSG_DONTWAIT);
		must_be(n == LINE || n == LINE - 4 || n < 0);
		if (n < 0)
			pass_ms(1);
		if (now_ms() > deadline)
			die("%llu of %llu frames are discarded",
			    (unsigned long long)refused(j->s),
			    (unsigned long long)frames);
		seen = n < 0 ? refused(j->s) : 0;
	} while (seen < frames);
	fd = raw_peer(peer_type(type), &j->addr);
	if (type == SOCK_REP)
		raw_frame(fd, LIT("\x80\0\0\1" "after"));
	else
		raw_frame(fd, LIT("after"));
	do {
		n = must(recv(j->s, body, sizeof(body), 0));
	} while (n != 5);
	must_be(!memcmp(body, "after", 5));
	close(fd);
}

#define expect_quick(j, make_room)                                            \
	do {                                                                  \
		int round_ = 0;                                               \
									      \
		while (!round_of((j), round_, (make_room)) &&                 \
		       ++round_ < ROUNDS && (j)->work_us < 1000000)           \
			;                                                     \
		EXPECT_GE(WORK_US, (j)->work_us);                             \
		EXPECT_GE(LATE_US, (j)->late_us);                             \
	} while (0)

static void by_receiving(FIXTURE_DATA(junk) *j, int round)
{
	char body[LINE];
	int i;

	(void)round;
	/* Until nothing is left of what there was, and a bit more. */
	for (i = 0; i < 4000; i++)
		if (timed(j, recv(j->s, body, LINE, MSG_DONTWAIT)) < 0)
			break;
	must_be(i > 0);
}

TEST_F_TIMEOUT(junk, does_not_delay_receiving, 90)
{
	expect_quick(self, by_receiving);
	still_works(self, variant->type);
}

static void by_a_larger_buffer(FIXTURE_DATA(junk) *j, int round)
{
	int size = 2 * j->rcvbuf << round;

	must(timed(j, setsockopt(j->s, SOL_SOCKET, SO_RCVBUFFORCE, &size,
				 sizeof(size))));
}

TEST_F_TIMEOUT(junk, does_not_delay_setting_the_buffer, 90)
{
	expect_quick(self, by_a_larger_buffer);
	still_works(self, variant->type);
}

static void by_unsubscribing(FIXTURE_DATA(junk) *j, int round)
{
	(void)round;
	must(timed(j, setsockopt(j->s, SOL_SP, SP_UNSUBSCRIBE, "\x80", 1)));
	subscribe(j->s, LIT("\x80"));
}

TEST_F_TIMEOUT(junk, does_not_delay_unsubscribing, 90)
{
	if (variant->type != SOCK_SUB)
		SKIP(return, "a SUB's option");
	expect_quick(self, by_unsubscribing);
	still_works(self, variant->type);
}

/* Nothing is paused: it all happens as it arrives, in the sender's softirq. */
TEST_F_TIMEOUT(junk, does_not_delay_timers_as_it_arrives, 90)
{
	int64_t least = INT64_MAX, us, end;
	struct late late;
	int round, i;

	for (round = 0; round < ROUNDS && least > LATE_US; round++) {
		uint64_t before = refused(self->s);

		late_start(&late, 0);
		end = now_ms() + 500;
		while (now_ms() < end)
			for (i = 0; i < 8; i++)
				spout_fill(&self->bad[i], JUNK);
		us = late_stop_us(&late);
		least = us < least ? us : least;
		TH_LOG("timer late by %lld us, %llu frames discarded",
		       (long long)us,
		       (unsigned long long)(refused(self->s) - before));
	}
	EXPECT_GE(LATE_US, least);
	still_works(self, variant->type);
}

SP_TEST_MAIN
