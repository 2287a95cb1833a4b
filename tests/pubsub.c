// SPDX-License-Identifier: GPL-2.0
/*
 * PUB and SUB between SP sockets: topics, many peers, slow ones, none.
 */
#include "sptest.h"

/* A PUB whose only SUB takes the given topics. */
static struct pair publish_to(const char *const *topics, size_t n)
{
	struct pair p = sp_pair(SOCK_PUB, SOCK_SUB);
	size_t i;

	for (i = 0; i < n; i++)
		subscribe(p.connected, topics[i], strlen(topics[i]));
	return p;
}

static void publish(int pub, const char *text)
{
	sp_send(pub, text, strlen(text));
}

static void expect_text(int sub, const char *text)
{
	sp_expect(sub, text, strlen(text));
}

TEST(topics_are_prefixes)
{
	static const struct {
		const char *topics[3];
		const char *message;
		bool passes;
	} row[] = {
		{ { "a" }, "a", true },
		{ { "a" }, "abc", true },
		{ { "a" }, "", false },
		{ { "a" }, "ba", false },
		{ { "a" }, "A", false },
		{ { "abc" }, "ab", false },
		{ { "abc" }, "abd", false },
		{ { "abc" }, "abc", true },
		{ { "" }, "", true },
		{ { "" }, "anything", true },
		{ { "abc", "abd" }, "abd!", true },
		{ { "abc", "abd" }, "abe", false },
		{ { "abc", "ab" }, "abz", true },
		{ { "x", "abc", "ab" }, "abc", true },
		{ { "abcdef", "abX", "Y" }, "abcdeg", false },
	};
	int pub = sp_open(SOCK_PUB);
	struct addr addr = sp_bind(pub, AF_INET);
	size_t i, j;

	for (i = 0; i < ARRAY_SIZE(row); i++) {
		int sub = sp_dialer(SOCK_SUB, &addr);

		for (j = 0; j < 3 && row[i].topics[j]; j++)
			subscribe(sub, row[i].topics[j],
				  strlen(row[i].topics[j]));
		/* Afterwards something that surely passes. */
		subscribe(sub, LIT("\xff"));
		await_peers(pub, 1);
		publish(pub, row[i].message);
		publish(pub, "\xff");
		if (row[i].passes)
			expect_text(sub, row[i].message);
		expect_text(sub, "\xff");
		EXPECT_EQ(!row[i].passes, counter(sub, sp_rx_filtered))
			TH_LOG("row %zu", i);
		close(sub);
		await_peers(pub, 0);
	}
}

TEST(topics_are_bytes)
{
	struct pair p = sp_pair(SOCK_PUB, SOCK_SUB);
	static char longest[SP_TOPIC_MAX];

	subscribe(p.connected, LIT("a\0b"));
	sp_send(p.bound, LIT("a\0c"));
	sp_send(p.bound, LIT("a\0b\0"));
	sp_expect(p.connected, LIT("a\0b\0"));

	memset(longest, 'l', sizeof(longest));
	subscribe(p.connected, longest, sizeof(longest));
	sp_send(p.bound, longest, sizeof(longest) - 1);
	sp_send(p.bound, longest, sizeof(longest));
	sp_expect(p.connected, longest, sizeof(longest));
	EXPECT_EQ(2, counter(p.connected, sp_rx_filtered));
}

TEST(many_topics)
{
	enum { TOPICS = 500 };
	struct pair p = sp_pair(SOCK_PUB, SOCK_SUB);
	char topic[16];
	int i, n;

	for (i = 0; i < TOPICS; i++) {
		n = snprintf(topic, sizeof(topic), "%x.", i * 7919 % TOPICS);
		subscribe(p.connected, topic, (size_t)n);
	}
	/* Takes away every other one, in another order. */
	for (i = 0; i < TOPICS; i += 2) {
		n = snprintf(topic, sizeof(topic), "%x.", i);
		unsubscribe(p.connected, topic, (size_t)n);
	}
	for (i = 0; i < TOPICS; i += 25) {
		n = snprintf(topic, sizeof(topic), "%x.!", i);
		sp_send(p.bound, topic, (size_t)n);
		if (i % 2)
			sp_expect(p.connected, topic, (size_t)n);
	}
	publish(p.bound, "1.");
	expect_text(p.connected, "1.");
	EXPECT_EQ(TOPICS / 25 / 2, counter(p.connected, sp_rx_filtered));
}

TEST(delivered_once_however_many_match)
{
	static const char *const topics[] = { "", "a", "ab", "ab", "abc" };
	struct pair p = publish_to(topics, ARRAY_SIZE(topics));

	publish(p.bound, "abcd");
	publish(p.bound, "end");
	expect_text(p.connected, "abcd");
	expect_text(p.connected, "end");
	sp_expect_nothing(p.connected);
}

TEST(unsubscribing_purges_what_is_queued)
{
	static const char *const topics[] = { "a", "b", "bb" };
	struct pair p = publish_to(topics, ARRAY_SIZE(topics));

	publish(p.bound, "a1");
	publish(p.bound, "b1");
	publish(p.bound, "bb");
	publish(p.bound, "a2");
	await_counter(p.connected, sp_rx_queued, 8);
	unsubscribe(p.connected, LIT("b"));
	expect_text(p.connected, "a1");
	expect_text(p.connected, "bb");
	unsubscribe(p.connected, LIT("a"));
	sp_expect_nothing(p.connected);
	EXPECT_EQ(0, counter(p.connected, sp_rx_queued));
}

TEST(filtered_with_the_topics_of_the_moment)
{
	static const char *const topics[] = { "a" };
	struct pair p = publish_to(topics, ARRAY_SIZE(topics));

	publish(p.bound, "b: too early");
	await_counter(p.connected, sp_rx_filtered, 1);
	subscribe(p.connected, LIT("b"));
	publish(p.bound, "b: in time");
	expect_text(p.connected, "b: in time");
}

TEST(every_subscriber_gets_everything)
{
	enum { SUBS = 6, MESSAGES = 15 };
	struct addr addr;
	int pub = sp_listener(SOCK_PUB, &addr), sub[SUBS], i;
	uint32_t m;

	for (i = 0; i < SUBS; i++) {
		sub[i] = sp_dialer(SOCK_SUB, &addr);
		subscribe(sub[i], LIT(""));
	}
	await_peers(pub, SUBS);
	for (m = 0; m < MESSAGES; m++)
		sp_send_filled(pub, 100 * m, m);
	for (i = 0; i < SUBS; i++) {
		for (m = 0; m < MESSAGES; m++)
			sp_expect_filled(sub[i], 100 * m, m);
		sp_expect_nothing(sub[i]);
	}
	/* Counted once, however many they went to. */
	EXPECT_EQ(MESSAGES, counter(pub, sp_tx_msgs));
	EXPECT_EQ(0, counter(pub, sp_tx_dropped));
}

TEST(large_messages_to_several)
{
	static const size_t sizes[] = { 65536, 1 << 20 };
	struct addr addr;
	int pub = sp_listener(SOCK_PUB, &addr), sub[3];
	size_t i, j;

	for (i = 0; i < 3; i++) {
		sub[i] = sp_dialer(SOCK_SUB, &addr);
		subscribe(sub[i], LIT(""));
	}
	await_peers(pub, 3);
	for (j = 0; j < ARRAY_SIZE(sizes); j++) {
		sp_send_filled(pub, sizes[j], (uint32_t)j);
		for (i = 0; i < 3; i++)
			sp_expect_filled(sub[i], sizes[j], (uint32_t)j);
	}
}

TEST(publishers_share_fairly)
{
	enum { PUBS = 3, EACH = 8 };
	struct addr addr;
	int sub = sp_listener(SOCK_SUB, &addr), pub[PUBS], i, j;
	int next[PUBS] = { 0 };
	char body[2];

	subscribe(sub, LIT(""));
	for (i = 0; i < PUBS; i++) {
		pub[i] = sp_dialer(SOCK_PUB, &addr);
		await_peers(pub[i], 1);
	}
	for (i = 0; i < PUBS; i++)
		for (j = 0; j < EACH; j++) {
			body[0] = (char)i;
			body[1] = (char)j;
			sp_send(pub[i], body, 2);
		}
	await_counter(sub, sp_rx_queued, PUBS * EACH * 2);
	for (i = 0; i < PUBS * EACH; i++) {
		must_eq(2, recv(sub, body, 2, 0));
		/* In the order of its publisher, and no publisher ahead. */
		must_eq(next[(int)body[0]]++, body[1]);
		must_eq(i / PUBS, body[1]);
	}
	sp_expect_nothing(sub);
}

TEST(nobody_there)
{
	struct addr addr;
	int pub = sp_listener(SOCK_PUB, &addr), sub, i;

	for (i = 0; i < 5; i++)
		sp_send(pub, LIT("into the void"));
	expect_out(pub);
	EXPECT_EQ(5, counter(pub, sp_tx_no_peer));
	EXPECT_EQ(5, counter(pub, sp_tx_msgs));
	EXPECT_EQ(0, counter(pub, sp_tx_queued));
	/* Who comes later gets nothing of it. */
	sub = sp_dialer(SOCK_SUB, &addr);
	subscribe(sub, LIT(""));
	await_peers(pub, 1);
	sp_send(pub, LIT("first"));
	sp_expect(sub, LIT("first"));
}

TEST(slow_subscriber_is_skipped)
{
	const size_t len = 16384;
	struct addr addr;
	int pub = sp_open(SOCK_PUB), slow = sp_open(SOCK_SUB), fast;
	uint32_t m, got = 0, seen = 0;
	unsigned char *buf = malloc(len);
	int64_t deadline;

	ASSERT_NE(NULL, buf);
	sol_set(pub, SO_SNDBUF, 32768);
	sol_set(slow, SO_RCVBUF, 32768);
	addr = sp_bind(pub, AF_INET);
	sp_connect(slow, &addr);
	subscribe(slow, LIT(""));
	fast = sp_dialer(SOCK_SUB, &addr);
	subscribe(fast, LIT(""));
	await_peers(pub, 2);

	for (m = 0; counter(pub, sp_tx_dropped) < 5; m++) {
		unsigned char *body = filler(len, m);

		ASSERT_GT(2000, m);
		memcpy(body, &m, sizeof(m));
		expect_out(pub);
		must_eq(len, send(pub, body, len, MSG_DONTWAIT));
		sp_expect(fast, body, len);
		free(body);
	}
	/* The slow one has the beginning, and no torn message. */
	EXPECT_LT(0, counter(slow, sp_rx_queued));
	close(pub);
	deadline = patience();
	for (;;) {
		bool gone = sp_get(slow, SP_PEERS) == 0;
		ssize_t n = recv(slow, buf, len, MSG_DONTWAIT);

		if (n < 0 && gone)
			break;
		if (n < 0) {
			tick(deadline, "the slow subscriber to drain");
			continue;
		}
		must_eq(len, n);
		memcpy(&got, buf, sizeof(got));
		must_be(got >= seen && got < m);
		fill(buf, sizeof(got), got);
		must_be_filled(buf, len, got);
		seen = got + 1;
	}
	EXPECT_LT(0, seen);
	free(buf);
}

TEST(backpressure_of_a_subscriber_loses_nothing)
{
	int sub = sp_open(SOCK_SUB);
	struct addr addr;

	sol_set(sub, SO_RCVBUF, 32768);
	addr = sp_bind(sub, AF_INET);
	subscribe(sub, LIT(""));
	raw_flood_held_back(SOCK_PUB, 8000, 2000, sub, &addr);
}

SP_TEST_MAIN
