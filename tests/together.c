// SPDX-License-Identifier: GPL-2.0
/*
 * Short messages that arrive in one segment, which are taken in together: the
 * program sees nothing of that.
 */
#include "sptest.h"

#include <poll.h>
#include <sys/ioctl.h>

/* Frames to be written in one piece. */
struct bundle {
	unsigned char bytes[60000];
	size_t len;
};

static void bundle_add(struct bundle *b, const void *body, size_t len)
{
	uint64_t header = htobe64(len);

	must_be(b->len + sizeof(header) + len <= sizeof(b->bytes));
	memcpy(b->bytes + b->len, &header, sizeof(header));
	if (len)
		memcpy(b->bytes + b->len + sizeof(header), body, len);
	b->len += sizeof(header) + len;
}

/* The nth message: its length and its bytes follow from that. */
static size_t nth(int n, unsigned char *body)
{
	size_t len = (size_t)(n * 7 % 150);

	memset(body, n, len);
	return len;
}

static void bundle_fill(struct bundle *b, int count)
{
	unsigned char body[150];
	int i;

	b->len = 0;
	for (i = 0; i < count; i++)
		bundle_add(b, body, nth(i, body));
}

FIXTURE(bundle)
{
	int s, peer;
	struct bundle b;
};

FIXTURE_SETUP(bundle)
{
	struct addr addr;

	self->s = sp_listener(SOCK_PULL, &addr);
	self->peer = raw_peer(SOCK_PUSH, &addr);
	self->b.len = 0;
	await_peers(self->s, 1);
}

FIXTURE_TEARDOWN(bundle)
{
	close(self->peer);
	close(self->s);
}

enum { MANY = 500 };

TEST_F(bundle, comes_one_by_one)
{
	struct pollfd p = { .fd = self->s, .events = POLLIN };
	unsigned char body[150], got[150];
	uint64_t bytes = 0;
	int i, next;

	bundle_fill(&self->b, MANY);
	raw_write(self->peer, self->b.bytes, self->b.len);
	for (i = 0; i < MANY; i++)
		bytes += nth(i, body);
	for (i = 0; i < MANY; i++) {
		size_t len = nth(i, body);

		must_eq(1, poll(&p, 1, PATIENCE_MS));
		must_be(p.revents & POLLIN);
		/* A look, too short ones, and the message. */
		must(ioctl(self->s, FIONREAD, &next));
		EXPECT_EQ((int)len, next);
		must_eq(len, recv(self->s, got, sizeof(got), MSG_PEEK));
		must_be(memcmp(got, body, len) == 0);
		must_eq(len, recv(self->s, got, 1, MSG_PEEK | MSG_TRUNC));
		if (i % 5 == 4) {
			must_eq(len, recv(self->s, got, 3, MSG_TRUNC));
			continue;
		}
		must_eq(len, recv(self->s, got, sizeof(got), 0));
		must_be(memcmp(got, body, len) == 0);
	}
	sp_expect_nothing(self->s);
	EXPECT_EQ(MANY, counter(self->s, sp_rx_msgs));
	EXPECT_EQ(bytes, counter(self->s, sp_rx_bytes));
	EXPECT_EQ(0, counter(self->s, sp_rx_queued));
}

TEST_F(bundle, is_counted_as_it_waits)
{
	unsigned char body[150];
	uint64_t left = 0;
	int i;

	bundle_fill(&self->b, MANY);
	for (i = 0; i < MANY; i++)
		left += nth(i, body);
	raw_write(self->peer, self->b.bytes, self->b.len);
	await_counter(self->s, sp_rx_queued, left);
	for (i = 0; i < MANY; i++) {
		size_t len = nth(i, body);

		must_eq(len, recv(self->s, body, sizeof(body), 0));
		left -= len;
		must_eq(left, counter(self->s, sp_rx_queued));
	}
}

TEST_F(bundle, outlives_its_peer)
{
	unsigned char body[150];
	int i;

	bundle_fill(&self->b, MANY);
	raw_write(self->peer, self->b.bytes, self->b.len);
	raw_await_acked(self->peer);
	close(self->peer);
	await_peers(self->s, 0);
	for (i = 0; i < MANY; i++) {
		size_t len = nth(i, body);

		sp_expect(self->s, body, len);
	}
	self->peer = self->s;
	self->s = -1;
}

TEST_F(bundle, is_closed_half_way)
{
	unsigned char body[150];

	bundle_fill(&self->b, MANY);
	raw_write(self->peer, self->b.bytes, self->b.len);
	must_eq(nth(0, body), recv(self->s, body, sizeof(body), 0));
	must_eq(nth(1, body), recv(self->s, body, sizeof(body), 0));
}

/* What came before one that is too long is good. */
TEST_F(bundle, ends_with_one_too_long)
{
	static const char body[12];
	int i;

	sp_set(self->s, SP_RCVMAXSIZE, sizeof(body) - 1);
	for (i = 0; i < 30; i++)
		bundle_add(&self->b, body, sizeof(body) - 1);
	bundle_add(&self->b, body, sizeof(body));
	for (i = 0; i < 30; i++)
		bundle_add(&self->b, body, 1);
	raw_write(self->peer, self->b.bytes, self->b.len);
	raw_expect_closed(self->peer);
	for (i = 0; i < 30; i++)
		sp_expect(self->s, body, sizeof(body) - 1);
	sp_expect_nothing(self->s);
	EXPECT_EQ(1, counter(self->s, sp_rx_oversize));
}

/* Any cut: frames that are not whole wait for the rest. */
TEST_F(bundle, is_cut_anywhere)
{
	enum { FEW = 12 };
	unsigned char body[150];
	size_t cut, step;
	int i;

	bundle_fill(&self->b, FEW);
	step = self->b.len / (size_t)many(100);
	for (cut = 1; cut < self->b.len; cut += step) {
		raw_write(self->peer, self->b.bytes, cut);
		raw_await_acked(self->peer);
		raw_write(self->peer, self->b.bytes + cut, self->b.len - cut);
		for (i = 0; i < FEW; i++) {
			size_t len = nth(i, body);

			sp_expect(self->s, body, len);
		}
	}
}

/* Each of those that sleep is woken for one of them. */
enum { READERS = 8 };

struct sleeper {
	struct task task;
	int s;
	unsigned char got;
	bool over;
};

static void take_one(void *arg)
{
	struct sleeper *sleeper = arg;

	must_be(recv(sleeper->s, &sleeper->got, 1, MSG_TRUNC) > 0);
	__atomic_store_n(&sleeper->over, true, __ATOMIC_RELEASE);
}

TEST_F(bundle, wakes_a_reader_for_each)
{
	struct sleeper sleeper[READERS];
	unsigned int seen = 0;
	unsigned char i;
	int round;

	set_timeout(self->s, SO_RCVTIMEO, 0);
	for (i = 0; i < READERS; i++)
		bundle_add(&self->b, &i, 1);
	for (round = 0; round < 20; round++) {
		for (i = 0; i < READERS; i++) {
			sleeper[i] = (struct sleeper){ .s = self->s };
			task_start(&sleeper[i].task, take_one, &sleeper[i]);
		}
		for (i = 0; i < READERS; i++)
			task_await_asleep(&sleeper[i].task);
		raw_write(self->peer, self->b.bytes, self->b.len);
		for (i = 0; i < READERS; i++) {
			task_join(&sleeper[i].task);
			seen |= 1U << sleeper[i].got;
		}
		must_eq((1U << READERS) - 1, seen);
	}
}

/* The buffer is as large for them as for others. */
static uint64_t held_by(bool together)
{
	static unsigned char body[100];
	struct addr addr;
	int s = sp_open(SOCK_PULL), peer;
	struct bundle b = { .len = 0 };
	uint64_t held, before;
	int64_t since;

	sol_set(s, SO_RCVBUF, 10000);
	addr = sp_bind(s, AF_INET);
	peer = raw_peer(SOCK_PUSH, &addr);
	await_peers(s, 1);
	while (b.len + 108 <= sizeof(b.bytes) / 2)
		bundle_add(&b, body, sizeof(body));
	if (together)
		raw_write(peer, b.bytes, b.len);
	else
		for (size_t from = 0; from < b.len; from += 108) {
			raw_write(peer, b.bytes + from, 108);
			/* Until it is full one at a time is taken in. */
			if (from < 50 * 108)
				raw_await_acked(peer);
		}
	held = counter(s, sp_rx_queued);
	for (since = now_ms(); now_ms() - since < quiet_ms();) {
		before = held;
		held = counter(s, sp_rx_queued);
		if (held != before)
			since = now_ms();
		pass_ms(1);
	}
	close(peer);
	close(s);
	return held;
}

TEST(buffer_holds_as_many)
{
	EXPECT_EQ(held_by(false), held_by(true));
}

/* A subscriber's topics, then and later. */
TEST(topics_choose_among_them)
{
	enum { EACH = 100 };
	int sub = sp_open(SOCK_SUB), peer, i;
	struct bundle b = { .len = 0 };
	struct addr addr;

	subscribe(sub, LIT("a"));
	subscribe(sub, LIT("b"));
	addr = sp_bind(sub, AF_INET);
	peer = raw_peer(SOCK_PUB, &addr);
	await_peers(sub, 1);
	for (i = 0; i < EACH; i++) {
		char text[3][8];
		int n;

		for (n = 0; n < 3; n++) {
			snprintf(text[n], sizeof(text[n]), "%c%d", "abc"[n], i);
			bundle_add(&b, text[n], strlen(text[n]));
		}
	}
	raw_write(peer, b.bytes, b.len);
	await_counter(sub, sp_rx_filtered, EACH);
	sp_expect(sub, LIT("a0"));
	sp_expect(sub, LIT("b0"));
	sp_expect(sub, LIT("a1"));
	unsubscribe(sub, LIT("b"));
	for (i = 2; i < EACH; i++) {
		char text[8];

		snprintf(text, sizeof(text), "a%d", i);
		sp_expect(sub, text, strlen(text));
	}
	sp_expect_nothing(sub);
	EXPECT_EQ(EACH, counter(sub, sp_rx_filtered));
	EXPECT_EQ(0, counter(sub, sp_rx_queued));

	/* Nothing else is there. */
	b.len = 0;
	for (i = 0; i < 20; i++)
		bundle_add(&b, "a", 1);
	raw_write(peer, b.bytes, b.len);
	await_counter(sub, sp_rx_queued, 20);
	unsubscribe(sub, LIT("a"));
	sp_expect_nothing(sub);

	/* All of it at once. */
	subscribe(sub, LIT("a"));
	b.len = 0;
	for (i = 0; i < EACH; i++) {
		bundle_add(&b, "a0", 2);
		bundle_add(&b, "c", 1);
		bundle_add(&b, "d", 1);
	}
	raw_write(peer, b.bytes, b.len);
	await_counter(sub, sp_rx_filtered, 3 * EACH);
	sp_expect(sub, LIT("a0"));
	unsubscribe(sub, LIT("a"));
	sp_expect_nothing(sub);
	EXPECT_EQ(0, counter(sub, sp_rx_queued));
	close(peer);
	close(sub);
}

/* A subscriber to "a" and "b", and what its peers send it at a time. */
FIXTURE(topics)
{
	struct addr addr;
	int sub;
};

FIXTURE_SETUP(topics)
{
	self->sub = sp_listener(SOCK_SUB, &self->addr);
	subscribe(self->sub, LIT("a"));
	subscribe(self->sub, LIT("b"));
}

FIXTURE_TEARDOWN(topics)
{
	close(self->sub);
}

static void send_together(int peer, char first, int count)
{
	struct bundle b = { .len = 0 };
	char body[8];

	memset(body, first, sizeof(body));
	while (count--)
		bundle_add(&b, body, sizeof(body));
	raw_write(peer, b.bytes, b.len);
	raw_await_acked(peer);
}

/* Of many peers nothing is left but what one has sent: that is what comes. */
TEST_F(topics, purged_hide_nothing)
{
	enum { PEERS = 12 };
	int peer[PEERS], last, i;
	char got[8];

	for (i = 0; i < PEERS; i++) {
		peer[i] = raw_peer(SOCK_PUB, &self->addr);
		send_together(peer[i], 'a', 20);
	}
	await_counter(self->sub, sp_rx_queued, 20 * 8 * PEERS);
	unsubscribe(self->sub, LIT("a"));
	sp_expect_nothing(self->sub);
	last = raw_peer(SOCK_PUB, &self->addr);
	send_together(last, 'b', 1);
	await_counter(self->sub, sp_rx_queued, 8);
	for (i = 0; i < 2; i++)
		EXPECT_EQ(8, recv(self->sub, got, sizeof(got), MSG_DONTWAIT | MSG_PEEK));
	EXPECT_EQ(8, recv(self->sub, got, sizeof(got), MSG_DONTWAIT));
	sp_expect_nothing(self->sub);
	for (i = 0; i < PEERS; i++)
		close(peer[i]);
	close(last);
}

/* Peers that went before it leave no place behind. */
TEST_F(topics, purged_of_the_gone_give_their_places_back)
{
	int peer, i;
	char got[8];

	for (i = 0; i < many(200); i++) {
		peer = raw_peer(SOCK_PUB, &self->addr);
		send_together(peer, 'a', 20);
		close(peer);
		await_peers(self->sub, 0);
		await_counter(self->sub, sp_rx_queued, 160);
		unsubscribe(self->sub, LIT("a"));
		subscribe(self->sub, LIT("a"));
	}
	peer = raw_peer(SOCK_PUB, &self->addr);
	send_together(peer, 'b', 1);
	await_counter(self->sub, sp_rx_queued, 8);
	EXPECT_EQ(8, recv(self->sub, got, sizeof(got), MSG_DONTWAIT));
	close(peer);
}

/* Who sleeps is woken for what is wanted. */
TEST_F(topics, filtered_wake_nobody)
{
	struct sleeper sleeper[READERS];
	struct bundle b = { .len = 0 };
	long before = 0, after = 0;
	int64_t deadline = patience();
	int peer, i, over = 0;

	unsubscribe(self->sub, LIT("a"));
	set_timeout(self->sub, SO_RCVTIMEO, 0);
	peer = raw_peer(SOCK_PUB, &self->addr);
	await_peers(self->sub, 1);
	for (i = 0; i < READERS; i++) {
		sleeper[i] = (struct sleeper){ .s = self->sub };
		task_start(&sleeper[i].task, take_one, &sleeper[i]);
		task_await_asleep(&sleeper[i].task);
		before += task_sleeps(&sleeper[i].task);
	}
	for (i = 0; i < 32; i++)
		bundle_add(&b, "a", 1);
	raw_write(peer, b.bytes, b.len);
	await_counter(self->sub, sp_rx_filtered, 32);
	b.len = 0;
	for (i = 0; i < 32; i++)
		bundle_add(&b, i == 7 ? "b" : "a", 1);
	raw_write(peer, b.bytes, b.len);
	while (!over) {
		for (i = 0; i < READERS; i++)
			over += __atomic_load_n(&sleeper[i].over, __ATOMIC_ACQUIRE);
		tick(deadline, "somebody to get it");
	}
	must_eq(1, over);
	for (i = 0; i < READERS; i++) {
		if (__atomic_load_n(&sleeper[i].over, __ATOMIC_ACQUIRE)) {
			/* It slept once. */
			after++;
			continue;
		}
		task_await_asleep(&sleeper[i].task);
		after += task_sleeps(&sleeper[i].task);
	}
	EXPECT_EQ(before, after);
	send_together(peer, 'b', READERS);
	for (i = 0; i < READERS; i++)
		task_join(&sleeper[i].task);
	close(peer);
}

/* What is filtered takes nothing of the buffer for long. */
TEST_F(topics, few_of_many_fill_the_buffer_as_alone)
{
	enum { BURSTS = 100, LEN = 248 };
	static char body[LEN];
	int peer, i, burst;

	unsubscribe(self->sub, LIT("a"));
	peer = raw_peer(SOCK_PUB, &self->addr);
	await_peers(self->sub, 1);
	for (burst = 0; burst < BURSTS; burst++) {
		struct bundle b = { .len = 0 };

		for (i = 0; i < 60; i++) {
			memset(body, i == 7 ? 'b' : 'a', sizeof(body));
			bundle_add(&b, body, sizeof(body));
		}
		raw_write(peer, b.bytes, b.len);
		raw_await_acked(peer);
	}
	/* 100 messages, of 440 bytes each with what belongs to them. */
	await_counter(self->sub, sp_rx_queued, BURSTS * LEN);
	close(peer);
}

SP_TEST_MAIN
