// SPDX-License-Identifier: GPL-2.0
/*
 * Messages that follow each other closely are sent in one piece: none is held
 * back for that, none overtakes another, none is lost, and buffers keep their
 * bounds.
 */
#include "sptest.h"

#include <linux/sockios.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>

static const int types[] = { SOCK_PUSH, SOCK_PUB };

/*
 * It goes out in the call that sends it: nothing is waited for. Where time is
 * work there is nobody else who could have brought it.
 */
TEST(lone_message_is_there_when_send_returns)
{
	size_t t;
	int i;

	for (t = 0; t < ARRAY_SIZE(types); t++) {
		struct addr addr;
		int s = sp_listener(types[t], &addr);
		int peer = raw_peer(peer_type(types[t]), &addr);

		await_peers(s, 1);
		for (i = 0; i < 20; i++) {
			pass_ms(2);
			sp_send(s, LIT("alone"));
			if (time_is_work())
				expect_in(peer);
			raw_expect_frame(peer, LIT("alone"));
		}
	}
}

/* The last one leaves although nothing follows it, and its sender sleeps. */
TEST(burst_of_any_length_arrives)
{
	const int lengths[] = { 1, 2, 3, 5, 17, 100, at_speed(1000) };
	size_t t, k;
	uint32_t i;

	for (t = 0; t < ARRAY_SIZE(types); t++) {
		struct pair p = sp_pair(types[t], peer_type(types[t]));

		if (types[t] == SOCK_PUB)
			subscribe(p.connected, LIT(""));
		for (k = 0; k < ARRAY_SIZE(lengths); k++) {
			for (i = 0; i < (uint32_t)lengths[k]; i++)
				sp_send_filled(p.bound, 20, i);
			for (i = 0; i < (uint32_t)lengths[k]; i++)
				sp_expect_filled(p.connected, 20, i);
			sp_expect_nothing(p.connected);
		}
	}
}

/* In how many segments it has got @messages, and the greeting. */
static uint32_t segments_of(int peer, int messages)
{
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(info);

	must(getsockopt(peer, IPPROTO_TCP, TCP_INFO, &info, &len));
	printf("# %d messages in %u segments\n", messages,
	       info.tcpi_data_segs_in);
	fflush(stdout);
	return info.tcpi_data_segs_in;
}

struct frames {
	int fd, n;
};

static void read_frames(void *arg)
{
	const struct frames *frames = arg;
	int i;

	for (i = 0; i < frames->n; i++)
		raw_expect_frame(frames->fd, LIT("many"));
}

/* In how many segments a flood is sent to who reads it then, or waits for it. */
static uint32_t segments_of_flood(int type, int n, bool awaited)
{
	struct addr addr;
	int s = sp_listener(type, &addr), i;
	struct frames frames = { raw_peer(peer_type(type), &addr), n };
	struct task reader;
	uint32_t segments;

	await_peers(s, 1);
	if (awaited) {
		task_start(&reader, read_frames, &frames);
		task_await_asleep(&reader);
	}
	for (i = 0; i < n; i++)
		sp_send(s, LIT("many"));
	if (awaited)
		task_join(&reader);
	else
		read_frames(&frames);
	must_eq(0, counter(s, sp_tx_dropped));
	segments = segments_of(frames.fd, n);
	close(frames.fd);
	close(s);
	return segments;
}

/*
 * There would be as many as messages. What follows closely is a matter of time,
 * and a guest that a busy machine leaves standing between two messages has sent
 * the first alone: where time is not work, one flood of several tells.
 */
static bool is_sent_in_few(int type, int n, bool awaited)
{
	const uint32_t few = (uint32_t)n / (time_is_work() ? 10 : 2);
	int tries = time_is_work() ? 1 : 20;

	while (segments_of_flood(type, n, awaited) >= few)
		if (!--tries)
			return false;
	return true;
}

TEST(flood_is_sent_in_few_pieces)
{
	size_t t;

	for (t = 0; t < ARRAY_SIZE(types); t++)
		EXPECT_TRUE(is_sent_in_few(types[t], at_speed(2000), false));
}

/* To wake up the one who reads takes long: nor is that followed by a message
 * that goes alone, however slow the machine.
 */
TEST(flood_of_who_is_awaited_is_sent_in_few_pieces)
{
	size_t t;

	for (t = 0; t < ARRAY_SIZE(types); t++)
		EXPECT_TRUE(is_sent_in_few(types[t], at_speed(5000), true));
}

/* The first of those that the sender says are more is not sent alone, though it
 * follows nothing.
 */
TEST(more_that_follow_are_sent_in_few_pieces)
{
	enum { CALLS = 20, EACH_CALL = 32 };
	struct iovec body = { "many", 4 };
	struct mmsghdr msgs[EACH_CALL] = { 0 };
	uint32_t segments;
	size_t t;
	int i, k, by_one_call;

	for (k = 0; k < EACH_CALL; k++)
		msgs[k].msg_hdr = (struct msghdr){ .msg_iov = &body,
						   .msg_iovlen = 1 };
	for (t = 0; t < 2 * ARRAY_SIZE(types); t++) {
		int type = types[t / 2];
		struct addr addr;
		int s = sp_listener(type, &addr);
		int peer = raw_peer(peer_type(type), &addr);

		by_one_call = t % 2;
		await_peers(s, 1);
		for (i = 0; i < CALLS; i++) {
			pass_ms(2);
			if (by_one_call)
				must_eq(EACH_CALL,
					sendmmsg(s, msgs, EACH_CALL, 0));
			for (k = 1; k <= EACH_CALL && !by_one_call; k++)
				must_eq(4, send(s, "many", 4,
						k < EACH_CALL ? MSG_MORE : 0));
			for (k = 0; k < EACH_CALL; k++)
				raw_expect_frame(peer, LIT("many"));
		}
		segments = segments_of(peer, CALLS * EACH_CALL);
		if (time_is_work())
			EXPECT_GE(3 * CALLS / 2, segments);
	}
}

/* No pipe is full for what TCP would take, and so a PUB drops nothing. */
TEST(gathering_fills_no_pipe)
{
	const struct {
		int sndbuf, messages;
		size_t len;
	} rows[] = {
		{ 4608, 5, 1000 },   { 4608, 20, 20 },	 { 4608, 20, 0 },
		{ 212992, at_speed(3000), 0 },
		{ 212992, at_speed(3000), 20 },
		{ 212992, at_speed(300), 1000 },
	};
	unsigned char body[1000] = { 0 };
	size_t r;
	int i;

	for (r = 0; r < ARRAY_SIZE(rows); r++) {
		struct addr addr;
		int pub = sp_open(SOCK_PUB), peer;

		sol_set(pub, SO_SNDBUF, rows[r].sndbuf / 2);
		addr = sp_bind(pub, AF_INET);
		peer = raw_peer(SOCK_SUB, &addr);
		await_peers(pub, 1);
		for (i = 0; i < rows[r].messages; i++)
			sp_send(pub, body, rows[r].len);
		EXPECT_EQ(0, counter(pub, sp_tx_dropped))
			TH_LOG("row %zu", r);
		for (i = 0; i < rows[r].messages; i++)
			raw_expect_frame(peer, body, rows[r].len);
		close(peer);
		close(pub);
	}
}

enum { SENDERS = 4, EACH = 1000 };

struct numbered {
	int fd;
	uint32_t who;
};

static void send_numbered(void *arg)
{
	const struct numbered *n = arg;
	uint32_t i;

	for (i = 0; i < (uint32_t)at_speed(EACH); i++) {
		uint32_t body[150] = { n->who, i };

		sp_send(n->fd, body, i % 3 ? 8 : sizeof(body));
	}
}

/* Several threads on one socket: each one's messages stay in order. */
TEST(senders_keep_their_order)
{
	size_t t;
	uint32_t w, i;

	for (t = 0; t < ARRAY_SIZE(types); t++) {
		struct pair p = sp_pair(types[t], peer_type(types[t]));
		struct numbered args[SENDERS];
		struct task senders[SENDERS];
		uint32_t next[SENDERS] = { 0 };

		/* A PUB must not drop. */
		sol_set(p.bound, SO_SNDBUF, 1 << 20);
		sol_set(p.connected, SO_RCVBUF, 1 << 20);
		if (types[t] == SOCK_PUB)
			subscribe(p.connected, LIT(""));
		for (w = 0; w < SENDERS; w++) {
			args[w] = (struct numbered){ p.bound, w };
			task_start(&senders[w], send_numbered, &args[w]);
		}
		for (i = 0; i < SENDERS * (uint32_t)at_speed(EACH); i++) {
			uint32_t body[150];
			ssize_t n = must(recv(p.connected, body, sizeof(body), 0));

			must_be(n >= 8 && body[0] < SENDERS);
			must_eq(next[body[0]], body[1]);
			must_eq(body[1] % 3 ? 8 : sizeof(body), n);
			next[body[0]]++;
		}
		for (w = 0; w < SENDERS; w++)
			task_join(&senders[w]);
	}
}

struct receiver {
	int fd;
	/* When the frame that says "last" was there. */
	int64_t at;
};

static void await_last(void *arg)
{
	static unsigned char body[65536];
	struct receiver *r = arg;

	while (raw_read_frame(r->fd, body, sizeof(body)) != 4)
		;
	must_be(!memcmp(body, "last", 4));
	__atomic_store_n(&r->at, now_us(), __ATOMIC_RELEASE);
}

/* How long it takes, in microseconds, until the last of so many is there, while
 * its sender computes.
 */
static int64_t last_of(size_t len, int n)
{
	static const char body[40000];
	struct addr addr;
	int push = sp_listener(SOCK_PUSH, &addr), i;
	struct receiver r = { .fd = raw_peer(SOCK_PULL, &addr) };
	struct task reader;
	int64_t begin, limit;

	await_peers(push, 1);
	task_start(&reader, await_last, &r);
	task_await_asleep(&reader);
	for (i = 0; i < n; i++)
		sp_send(push, body, len);
	begin = now_us();
	sp_send(push, LIT("last"));
	limit = begin + 1000 * PATIENCE_MS;
	while (!__atomic_load_n(&r.at, __ATOMIC_ACQUIRE))
		must_be(now_us() < limit);
	task_join(&reader);
	close(push);
	close(r.fd);
	return r.at - begin;
}

/* Nor must its sender stop for that. On one CPU it leaves as its time slice
 * ends; with another one, at once: the soonest of some is there not much later
 * than a message that goes alone, which the emulated machine takes long for.
 */
TEST(last_of_a_burst_leaves_though_its_sender_computes)
{
	/* So many are less than what is sent without waiting for more. */
	static const struct {
		size_t len;
		int n;
	} bursts[] = { { 0, 0 }, { 7, 30 }, { 3000, 10 }, { 40000, 2 } };
	const int rounds = time_is_work() ? 1 : 10;
	const bool alone = sysconf(_SC_NPROCESSORS_ONLN) < 2;
	int64_t best[ARRAY_SIZE(bursts)], took;
	size_t b;
	int i;

	for (b = 0; b < ARRAY_SIZE(bursts); b++) {
		best[b] = 1000 * PATIENCE_MS;
		for (i = 0; i < rounds; i++) {
			took = last_of(bursts[b].len, bursts[b].n);
			best[b] = took < best[b] ? took : best[b];
		}
		printf("# behind %d of %zu bytes the last one took %lld us\n",
		       bursts[b].n, bursts[b].len, (long long)best[b]);
		fflush(stdout);
		if (time_is_work())
			EXPECT_GT(20000, best[b]);
		if (!alone)
			EXPECT_GT(100 + 5 * best[0], best[b]);
	}
}

/* A real-time task keeps the CPU from whoever else would send it. */
TEST(burst_of_a_real_time_task_leaves_at_once)
{
	enum { N = 10 };
	const struct sched_param some = { .sched_priority = 10 }, none = { 0 };
	struct pair p = sp_pair(SOCK_PUSH, SOCK_PULL);
	int64_t sent;
	char body[4];
	int i, got = 0;

	await_peers(p.connected, 1);
	must(sched_setscheduler(0, SCHED_FIFO, &some));
	for (i = 0; i < N; i++)
		sp_send(p.bound, LIT("next"));
	sent = now_us();
	while (got < N && now_us() < sent + 1000 * PATIENCE_MS)
		got += recv(p.connected, body, sizeof(body), MSG_DONTWAIT) == 4;
	sent = now_us() - sent;
	must(sched_setscheduler(0, SCHED_OTHER, &none));
	EXPECT_EQ(N, got);
	if (time_is_work())
		EXPECT_GT(2000, sent);
}

/* Those that are not peers yet are not walked over. */
TEST(half_greeted_cost_a_lone_message_nothing)
{
	enum { MOST = 500, N = 30 };
	/* Elsewhere they would be given up before all are there. */
	const int some = time_is_work() ? MOST : 20;
	static int crowd[MOST];
	struct addr addr;
	int pub = sp_listener(SOCK_PUB, &addr);
	int peer = raw_peer(SOCK_SUB, &addr);
	int64_t took[2] = { 0 }, begin;
	int i, round;

	await_peers(pub, 1);
	for (round = 0; round < 2; round++) {
		for (i = 0; i < N; i++) {
			pass_ms(2);
			begin = now_us();
			sp_send(pub, LIT("alone"));
			took[round] += now_us() - begin;
		}
		for (i = 0; i < N; i++)
			raw_expect_frame(peer, LIT("alone"));
		for (i = 0; i < some && !round; i++)
			crowd[i] = raw_connect(&addr);
		if (!round)
			await_counter(pub, sp_handshaking, some);
	}
	printf("# %lld us, and %lld with a crowd\n", (long long)took[0],
	       (long long)took[1]);
	fflush(stdout);
	if (time_is_work())
		EXPECT_GT(2 * took[0], took[1]);
	for (i = 0; i < some; i++)
		close(crowd[i]);
}

/* What send() took is delivered, whatever becomes of the sender. */
TEST(burst_of_a_killed_process_arrives)
{
	enum { N = 500 };
	size_t t;
	uint32_t i;

	for (t = 0; t < ARRAY_SIZE(types); t++) {
		struct addr addr;
		int s = sp_listener(peer_type(types[t]), &addr), status;
		pid_t pid;

		if (types[t] == SOCK_PUB)
			subscribe(s, LIT(""));
		pid = (pid_t)must(fork());
		if (pid == 0) {
			int sender = sp_dialer(types[t], &addr);

			await_peers(sender, 1);
			for (i = 0; i < N; i++)
				sp_send_filled(sender, 100, i);
			kill(getpid(), SIGKILL);
		}
		for (i = 0; i < N; i++)
			sp_expect_filled(s, 100, i);
		must_eq(pid, waitpid(pid, &status, 0));
		must_be(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	}
}

/* Lengths on both sides of every limit, in any order. */
static size_t length_of(uint32_t i)
{
	static const size_t lengths[] = { 0,    1,    511,   512,   513,  64,
					  1024, 1025, 16384, 16385, 7,    40000,
					  512,  3,    8192,  100,   0,    20000 };

	return lengths[i * 2654435761u / 7 % ARRAY_SIZE(lengths)];
}

enum { MIXED = 3000 };

static void send_mixed(void *arg)
{
	uint32_t i;

	for (i = 0; i < (uint32_t)at_speed(MIXED); i++)
		sp_send_filled(*(int *)arg, length_of(i), i);
}

TEST(lengths_of_all_kinds_keep_their_order)
{
	static const int buffers[] = { 4608, 65536, 1 << 20 };
	size_t b;
	uint32_t i;

	for (b = 0; b < ARRAY_SIZE(buffers); b++) {
		struct pair p = sp_pair(SOCK_PUSH, SOCK_PULL);
		struct task sender;
		int64_t deadline;

		sol_set(p.bound, SO_SNDBUF, buffers[b] / 2);
		task_start(&sender, send_mixed, &p.bound);
		for (i = 0; i < (uint32_t)at_speed(MIXED); i++)
			sp_expect_filled(p.connected, length_of(i), i);
		task_join(&sender);
		sp_expect_nothing(p.connected);
		/* Who sends it is perhaps not told yet that TCP has it. */
		deadline = patience();
		while (counter(p.bound, sp_tx_queued))
			tick(deadline, "the output queue to drain");
		close(p.bound);
		close(p.connected);
	}
}

/* SO_SNDBUF bounds what is held unsent, gathered or not, and poll() agrees. */
TEST(gathered_messages_count_for_the_buffer)
{
	const int sndbuf = 65536;
	struct addr addr;
	int push = sp_open(SOCK_PUSH), peer, sent = 0, held, i;

	sol_set(push, SO_SNDBUF, sndbuf / 2);
	addr = sp_bind(push, AF_INET);
	peer = raw_peer_narrow(SOCK_PULL, &addr);
	await_peers(push, 1);
	/* Until TCP takes no more, and neither does the pipe. */
	do {
		while (send(push, "0123456789", 10, MSG_DONTWAIT) == 10)
			ASSERT_GT(1000000, ++sent);
		ASSERT_EQ(EAGAIN, errno);
		pass_ms(quiet_ms());
	} while (ready(push, POLLOUT) & POLLOUT);
	must(ioctl(push, SIOCOUTQ, &held));
	printf("# %d sent, %d bytes held\n", sent, held);
	fflush(stdout);
	/* Each counts for 202: ten bytes, and what any message does. */
	EXPECT_GE(sndbuf / 202 * 10 + 10, held);
	EXPECT_EQ(held, counter(push, sp_tx_queued));
	for (i = 0; i < sent; i++)
		raw_expect_frame(peer, LIT("0123456789"));
	await_out(push);
	must(ioctl(push, SIOCOUTQ, &held));
	EXPECT_EQ(0, held);
	EXPECT_EQ(sent, counter(push, sp_tx_msgs));
}

/* How long a long one takes says nothing about those that follow it. */
TEST(behind_a_long_one_lone_messages_do_not_wait)
{
	enum { LEN = 40000, TIMES = 8, FEW = 8, GAP_US = 4 };
	static const char body[LEN];
	struct addr addr;
	int push = sp_listener(SOCK_PUSH, &addr);
	int peer = raw_peer(SOCK_PULL, &addr), i, k;
	uint32_t segments;
	int64_t next;

	await_peers(push, 1);
	for (i = 0; i < TIMES; i++) {
		pass_ms(2);
		segments = segments_of(peer, i);
		sp_send(push, body, LEN);
		for (k = 0; k < FEW && i == TIMES - 1; k++) {
			next = now_us() + GAP_US;
			while (now_us() < next)
				;
			sp_send(push, LIT("alone"));
		}
		raw_expect_frame(peer, body, LEN);
	}
	for (k = 0; k < FEW; k++)
		raw_expect_frame(peer, LIT("alone"));
	segments = segments_of(peer, FEW) - segments;
	if (time_is_work())
		EXPECT_LE(FEW, segments);
}

enum { BURST = 20 };

static void send_burst(int s)
{
	int i;

	for (i = 0; i < BURST; i++)
		sp_send(s, LIT("burst"));
}

static void expect_burst(int s)
{
	int i;

	for (i = 0; i < BURST; i++)
		sp_expect(s, LIT("burst"));
}

static void raw_expect_burst(int peer)
{
	int i;

	for (i = 0; i < BURST; i++)
		raw_expect_frame(peer, LIT("burst"));
}

/* Who asks is told of those, too. */
TEST(burst_that_waits_is_queued)
{
	struct addr addr;
	int push = sp_listener(SOCK_PUSH, &addr), held;
	int peer = raw_peer(SOCK_PULL, &addr);

	await_peers(push, 1);
	send_burst(push);
	must(ioctl(push, SIOCOUTQ, &held));
	/* The first one has gone alone. */
	if (time_is_work())
		EXPECT_EQ((BURST - 1) * 5, held);
	send_burst(push);
	held = (int)counter(push, sp_tx_queued);
	if (time_is_work())
		EXPECT_LE((BURST - 1) * 5, held);
	raw_expect_burst(peer);
	raw_expect_burst(peer);
	EXPECT_EQ(2 * BURST, counter(push, sp_tx_msgs));
	EXPECT_EQ(2 * BURST * 5, counter(push, sp_tx_bytes));
}

/* What follows closely is nevertheless looked at. */
TEST(refused_in_a_burst)
{
	struct pair p = sp_pair(SOCK_PUSH, SOCK_PULL);
	const struct sockaddr_in to = { .sin_family = AF_INET };

	await_peers(p.bound, 1);
	send_burst(p.bound);
	must_fail(EOPNOTSUPP, send(p.bound, "x", 1, MSG_OOB));
	send_burst(p.bound);
	must_fail(EISCONN,
		  sendto(p.bound, "x", 1, 0, (const void *)&to, sizeof(to)));
	send_burst(p.bound);
	must_fail(EFAULT, send(p.bound, (void *)1, 1, 0));
	send_burst(p.bound);
	sp_set(p.bound, SP_SNDMAXSIZE, 4);
	must_fail(EMSGSIZE, send(p.bound, "burst", 5, 0));
	sp_send(p.bound, LIT("last"));
	must(shutdown(p.bound, SHUT_WR));
	must_fail(EPIPE, send(p.bound, "x", 1, MSG_NOSIGNAL));
	expect_burst(p.connected);
	expect_burst(p.connected);
	expect_burst(p.connected);
	expect_burst(p.connected);
	sp_expect(p.connected, LIT("last"));
	sp_expect_nothing(p.connected);
}

/* Each has its turn as soon as it is there. */
TEST(newcomer_has_its_turn_in_a_burst)
{
	struct addr addr;
	int push = sp_listener(SOCK_PUSH, &addr), i;
	int old = raw_peer(SOCK_PULL, &addr), new;

	await_peers(push, 1);
	send_burst(push);
	new = raw_peer(SOCK_PULL, &addr);
	await_peers(push, 2);
	send_burst(push);
	raw_expect_burst(old);
	for (i = 0; i < BURST / 2; i++) {
		raw_expect_frame(old, LIT("burst"));
		raw_expect_frame(new, LIT("burst"));
	}
	/* And the one that stays has all of them again. */
	close(old);
	await_counter(push, sp_pipe_downs, 1);
	send_burst(push);
	raw_expect_burst(new);
}

/* A peer that is parted with gets all that was sent before, and no more. */
TEST(parted_with_in_a_burst)
{
	const struct sockaddr none = { .sa_family = AF_UNSPEC };
	int round;

	for (round = 0; round < 10; round++) {
		struct addr addr;
		int pull = sp_listener(SOCK_PULL, &addr);
		int push = sp_dialer(SOCK_PUSH, &addr);

		await_peers(push, 1);
		send_burst(push);
		must(connect(push, &none, sizeof(none)));
		must_fail(EAGAIN, send(push, "x", 1, MSG_DONTWAIT));
		expect_burst(pull);
		sp_expect_nothing(pull);
		close(push);
		close(pull);
	}
}

struct flood {
	int fd;
	int64_t sent;
	bool over;
};

/* In bursts, with pauses in which it computes. */
static void flood_in_bursts(void *arg)
{
	struct flood *f = arg;
	unsigned int n = 0;
	int64_t next;
	int i;

	while (!__atomic_load_n(&f->over, __ATOMIC_ACQUIRE)) {
		n = n * 75 + 74;
		for (i = 0; i < (int)(n % 400); i++)
			send(f->fd, "burst", 5, MSG_DONTWAIT);
		next = now_us() + n % 3000;
		while (now_us() < next)
			;
	}
}

/* Reads what is there, and tells whether @number is. */
static bool has_come(int peer, uint64_t number)
{
	static unsigned char got[1 << 16];
	static size_t have;
	bool come = false;
	size_t at, len;
	ssize_t n;

	do {
		n = recv(peer, got + have, sizeof(got) - have, MSG_DONTWAIT);
		have += n > 0 ? (size_t)n : 0;
		for (at = 0; have - at >= 8; at += 8 + len) {
			/* None is as long as 256 bytes. */
			len = got[at + 7];
			if (have - at - 8 < len)
				break;
			come |= len == sizeof(number) &&
				!memcmp(got + at + 8, &number, len);
		}
		have -= at;
		memmove(got, got + at, have);
	} while (n > 0);
	return come;
}

/* Nor is that of a real-time task held back by those of others. */
TEST(real_time_message_leaves_at_once_whoever_sends)
{
	const struct sched_param some = { .sched_priority = 10 }, none = { 0 };
	struct addr addr;
	struct flood flood = { .fd = sp_listener(SOCK_PUSH, &addr) };
	int peer = raw_peer(SOCK_PULL, &addr), late = 0;
	const uint64_t n = (uint64_t)at_speed(1000);
	struct task sender;
	int64_t next, limit = now_us() + 1000 * PATIENCE_MS;
	uint64_t i;

	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		SKIP(return, "needs a second CPU");
	await_peers(flood.fd, 1);
	task_start(&sender, flood_in_bursts, &flood);
	must(sched_setscheduler(0, SCHED_FIFO, &some));
	for (i = 1; i <= n && now_us() < limit; i++) {
		next = now_us() + (int64_t)(i * 7919 % 500);
		while (now_us() < next)
			has_come(peer, 0);
		while (send(flood.fd, &i, sizeof(i), MSG_DONTWAIT) < 0 &&
		       now_us() < limit)
			has_come(peer, 0);
		if (has_come(peer, i))
			continue;
		late++;
		while (!has_come(peer, i) && now_us() < limit)
			;
	}
	must(sched_setscheduler(0, SCHED_OTHER, &none));
	__atomic_store_n(&flood.over, true, __ATOMIC_RELEASE);
	task_join(&sender);
	EXPECT_EQ(n + 1, i);
	EXPECT_EQ(0, late);
}

static void flood_until_full(void *arg)
{
	struct flood *f = arg;

	while (!__atomic_load_n(&f->over, __ATOMIC_ACQUIRE) &&
	       send(f->fd, "burst", 5, MSG_DONTWAIT) == 5)
		__atomic_add_fetch(&f->sent, 5, __ATOMIC_RELEASE);
}

/* Where TCP takes no more, what is queued is what was sent, whoever sends
 * meanwhile.
 */
TEST(what_is_queued_is_told_while_others_send)
{
	enum { LONG = 3500000 };
	static const char body[LONG];
	int push = sp_open(SOCK_PUSH), held, base, round, less = 0;
	struct addr addr;

	sol_set(push, SO_SNDBUFFORCE, 4 << 20);
	addr = sp_bind(push, AF_INET);
	raw_peer_narrow(SOCK_PULL, &addr);
	await_peers(push, 1);
	sp_send(push, body, LONG);
	for (round = 0; round < at_speed(20); round++) {
		struct flood flood = { .fd = push };
		int64_t before, end = now_us() + 20000;
		struct task sender;

		/* The long one counts until TCP has all of it. */
		must(ioctl(push, SIOCOUTQ, &base));
		task_start(&sender, flood_until_full, &flood);
		while (now_us() < end) {
			before = __atomic_load_n(&flood.sent, __ATOMIC_ACQUIRE);
			must(ioctl(push, SIOCOUTQ, &held));
			less += held < base + before;
		}
		__atomic_store_n(&flood.over, true, __ATOMIC_RELEASE);
		task_join(&sender);
	}
	EXPECT_EQ(0, less);
}

/* What is sent to a peer that is gone is refused, not lost. */
TEST(flood_does_not_outlive_its_peer)
{
	enum { ROUNDS = 100 };
	int round, lost = 0;

	for (round = 0; round < ROUNDS; round++) {
		struct addr addr;
		struct flood flood = { .fd = sp_listener(SOCK_PUSH, &addr) };
		int peer = raw_peer(SOCK_PULL, &addr);
		int64_t deadline = now_us() + 1000 * PATIENCE_MS;
		struct task sender;

		await_peers(flood.fd, 1);
		task_start(&sender, flood_until_full, &flood);
		while (__atomic_load_n(&flood.sent, __ATOMIC_ACQUIRE) < 500)
			must_be(now_us() < deadline);
		/* What it has not read makes that a reset. */
		close(peer);
		lost -= (int)__atomic_load_n(&flood.sent, __ATOMIC_ACQUIRE) / 5;
		task_join(&sender);
		lost += (int)flood.sent / 5;
		close(flood.fd);
	}
	/* One may be under way. */
	printf("# %d were sent behind\n", lost);
	fflush(stdout);
	EXPECT_GE(3 * ROUNDS, lost);
}

SP_TEST_MAIN
