// SPDX-License-Identifier: GPL-2.0
/*
 * PUSH and PULL between SP sockets: work shared out, collected, held back.
 */
#include "sptest.h"

/* Each worker gets its share, and the sink all results, once each. */
TEST(ventilator_workers_sink)
{
	enum { WORKERS = 3, MOST = 300 };
	const int tasks_each = many(MOST) / WORKERS, n = tasks_each * WORKERS;
	struct addr tasks, results;
	int ventilator = sp_listener(SOCK_PUSH, &tasks);
	int sink = sp_listener(SOCK_PULL, &results);
	int in[WORKERS], out[WORKERS], i, w;
	bool done[MOST] = { false };

	for (w = 0; w < WORKERS; w++) {
		in[w] = sp_dialer(SOCK_PULL, &tasks);
		out[w] = sp_dialer(SOCK_PUSH, &results);
	}
	await_peers(ventilator, WORKERS);
	await_peers(sink, WORKERS);
	for (i = 0; i < n; i++)
		sp_send(ventilator, &i, sizeof(i));
	for (i = 0; i < tasks_each; i++)
		for (w = 0; w < WORKERS; w++) {
			int task;

			must_eq(sizeof(task), recv(in[w], &task, sizeof(task), 0));
			sp_send(out[w], &task, sizeof(task));
		}
	for (i = 0; i < n; i++) {
		int task;

		must_eq(sizeof(task), recv(sink, &task, sizeof(task), 0));
		must_be(task >= 0 && task < n && !done[task]);
		done[task] = true;
	}
	for (w = 0; w < WORKERS; w++) {
		sp_expect_nothing(in[w]);
		EXPECT_EQ(tasks_each, counter(in[w], sp_rx_msgs));
	}
	sp_expect_nothing(sink);
}

/* Nobody drops: a PULL that does not read holds its PUSH back, and what that
 * had accepted arrives.
 */
TEST(reader_that_stops_holds_the_writer_back)
{
	const size_t len = 20000;
	struct pair p = sp_pair(SOCK_PUSH, SOCK_PULL);
	unsigned char *body = malloc(len);
	uint32_t sent = 0, i;

	ASSERT_NE(NULL, body);
	/* Until nothing moves any more. */
	do {
		while (fill(body, len, sent), send(p.bound, body, len, MSG_DONTWAIT) == (ssize_t)len)
			ASSERT_GT(10000, ++sent);
		ASSERT_EQ(EAGAIN, errno);
	} while (becomes_ready(p.bound, POLLOUT));
	for (i = 0; i < sent; i++)
		sp_expect_filled(p.connected, len, i);
	sp_expect_nothing(p.connected);
	await_out(p.bound);
	EXPECT_EQ(0, counter(p.bound, sp_tx_dropped));
	free(body);
}

/* What was given to a peer that leaves is lost with it, and no more than that. */
TEST(worker_leaves)
{
	struct addr addr;
	int push = sp_listener(SOCK_PUSH, &addr);
	int leaver = sp_dialer(SOCK_PULL, &addr), stayer;

	await_peers(push, 1);
	sp_send(push, LIT("lost"));
	await_in(leaver);
	close(leaver);
	await_peers(push, 0);
	expect_not_out(push);
	must_fail(EAGAIN, send(push, "x", 1, MSG_DONTWAIT));
	stayer = sp_dialer(SOCK_PULL, &addr);
	sp_send(push, LIT("kept"));
	sp_expect(stayer, LIT("kept"));
	sp_expect_nothing(stayer);
	EXPECT_EQ(0, counter(push, sp_resends));
}

/* What send() accepted is delivered though the program goes at once. */
TEST(close_delivers)
{
	struct pair p = sp_pair(SOCK_PUSH, SOCK_PULL);
	uint32_t i;

	for (i = 0; i < 50; i++)
		sp_send_filled(p.bound, 1000, i);
	close(p.bound);
	for (i = 0; i < 50; i++)
		sp_expect_filled(p.connected, 1000, i);
	await_peers(p.connected, 0);
	sp_expect_nothing(p.connected);
}

SP_TEST_MAIN
