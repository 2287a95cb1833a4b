// SPDX-License-Identifier: GPL-2.0
/*
 * Much at once, for a few seconds: what only goes wrong under load or in a
 * race. Amounts suit the emulated debug kernel.
 */
#include "sptest.h"

#include <signal.h>
#include <sys/time.h>

#define I "\x80\0\0\1"

/* The same sequence in each run. */
static uint32_t next_random(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

static bool is_set(const bool *flag)
{
	return __atomic_load_n(flag, __ATOMIC_ACQUIRE);
}

static void set(bool *flag)
{
	__atomic_store_n(flag, true, __ATOMIC_RELEASE);
}

struct flooder {
	struct task task;
	struct addr addr;
	bool stop;
};

/* Publishes as fast as it can to whoever listens there. */
static void flood(void *arg)
{
	struct flooder *f = arg;
	int pub = sp_open(SOCK_PUB);

	sp_set(pub, SP_RECONNECT_IVL, 1);
	sp_connect(pub, &f->addr);
	while (!is_set(&f->stop))
		sp_send_filled(pub, 3000, 1);
	close(pub);
}

TEST(close_while_peers_flood)
{
	enum { FLOODERS = 3 };
	static struct flooder f[FLOODERS];
	const int rounds = many(20);
	struct addr addr = nowhere(AF_INET);
	int i, round, got, sub;

	for (i = 0; i < FLOODERS; i++) {
		f[i].addr = addr;
		task_start(&f[i].task, flood, &f[i]);
	}
	for (round = 0; round < rounds; round++) {
		sub = sp_open(SOCK_SUB);
		subscribe(sub, LIT(""));
		must(bind(sub, &addr.sa, addr.len));
		for (got = 0; got < round; got++)
			sp_expect_filled(sub, 3000, 1);
		/* In the middle of it, on some rounds with nothing read. */
		if (round % 3 == 0)
			await_in(sub);
		close(sub);
	}
	for (i = 0; i < FLOODERS; i++)
		set(&f[i].stop);
	for (i = 0; i < FLOODERS; i++)
		task_join(&f[i].task);
}

TEST(resets_at_random_offsets)
{
	static const char frame[] = "\0\0\0\0\0\0\0\x14" I "sixteen bytes ok";
	struct addr addr;
	int rep = sp_listener(SOCK_REP, &addr), good, i, whole = 0;
	struct bytes b = { 0 };
	uint32_t random = 12345;
	char buf[32];

	bytes_greeting(&b, SOCK_REQ);
	for (i = 0; i < 4; i++)
		bytes_add(&b, frame, sizeof(frame) - 1);
	good = raw_peer(SOCK_REQ, &addr);
	for (i = 0; i < many(80); i++) {
		int fd = raw_connect(&addr);

		raw_write(fd, b.at, next_random(&random) % (b.len + 1));
		if (i % 3 == 0)
			raw_await_acked(fd);
		raw_reset(fd);
		if (i % 10 == 9) {
			raw_frame(good, LIT(I "good"));
			/* Whatever comes first is one of the two, and whole. */
			do {
				ssize_t n = must(recv(rep, buf, 32, 0));

				if (n == 4)
					break;
				must_eq(16, n);
				must_be(!memcmp(buf, "sixteen bytes ok", 16));
				whole++;
			} while (1);
			sp_send(rep, LIT("fine"));
			raw_expect_frame(good, LIT(I "fine"));
		}
	}
	EXPECT_LE(0, whole);
	await_peers(rep, 1);
}

TEST(connect_and_close_in_a_loop)
{
	struct addr addr;
	int rep = sp_listener(SOCK_REP, &addr), last, i;
	char buf[32];

	for (i = 0; i < many(80); i++) {
		int req = sp_dialer(SOCK_REQ, &addr);

		/* Closed at every stage of coming up. */
		if (i % 4 == 1)
			await_peers(req, 1);
		if (i % 4 == 2)
			sp_send(req, LIT("gone before the reply"));
		if (i % 4 == 3)
			must_be(send(req, "x", 1, MSG_DONTWAIT) == 1 ||
				errno == EAGAIN);
		close(req);
	}
	/* What those sent may still arrive; this one comes through. */
	last = sp_dialer(SOCK_REQ, &addr);
	sp_send(last, LIT("last"));
	while (must(recv(rep, buf, sizeof(buf), 0)) != 4 ||
	       memcmp(buf, "last", 4))
		;
	sp_send(rep, LIT("first"));
	sp_expect(last, LIT("first"));
}

TEST(bind_and_close_in_a_loop)
{
	struct addr addr = nowhere(AF_INET);
	int req = sp_open(SOCK_REQ), rep, i;

	sp_set(req, SP_RECONNECT_IVL, 1);
	sp_connect(req, &addr);
	for (i = 0; i < 20; i++) {
		rep = sp_open(SOCK_REP);
		must(bind(rep, &addr.sa, addr.len));
		if (i % 2)
			sp_round_trip(req, rep);
		close(rep);
	}
}

/* Of a PUSH whose endpoints come and go. */
struct giver {
	struct task task;
	int push;
	bool stop;
	long sent;
};

static void give(void *arg)
{
	struct giver *g = arg;
	unsigned char body[3000] = { 0 };

	while (!is_set(&g->stop)) {
		size_t len = 8 + (g->sent % 7 ? 0 : 600) +
			     (g->sent % 29 ? 0 : 2000);

		sp_send(g->push, body, len);
		if (++g->sent % 1000 == 0)
			pass_ms(1);
	}
}

struct changer {
	struct task task;
	int push;
	struct addr addr;
	bool stop;
};

static void change_endpoints(void *arg)
{
	static const int sizes[] = { 2304, 100000, 5000, 1 << 19 };
	const struct sockaddr none = { .sa_family = AF_UNSPEC };
	struct changer *c = arg;
	int k;

	for (k = 1; !is_set(&c->stop); k++) {
		sol_set(c->push, SO_SNDBUF, sizes[k % 4]);
		if (k % 2)
			sp_connect(c->push, &c->addr);
		pass_ms(2);
		if (k % 7 == 0)
			must(connect(c->push, &none, sizeof(none)));
		else if (k % 5 == 0 &&
			 setsockopt(c->push, SOL_SP, SP_REMOVE, &c->addr.sa,
				    c->addr.len) != 0)
			must_eq(ENOENT, errno);
	}
}

static int receive_what_there_is(int s)
{
	unsigned char body[3000];
	int n = 0;

	while (n < 200 && recv(s, body, sizeof(body), MSG_DONTWAIT) >= 0)
		n++;
	return n;
}

/* A pipe that is removed delivers what it has, and is given nothing more. */
TEST(nothing_is_lost_while_endpoints_come_and_go)
{
	enum { GIVERS = 2 };
	struct giver g[GIVERS] = { 0 };
	struct changer c = { 0 };
	struct pollfd in[2] = { { .events = POLLIN }, { .events = POLLIN } };
	long sent = 0, got = 0;
	struct addr own;
	int64_t end;
	int i, push;

	in[0].fd = sp_listener(SOCK_PULL, &c.addr);
	push = sp_open(SOCK_PUSH);
	own = sp_bind(push, AF_INET);
	in[1].fd = sp_dialer(SOCK_PULL, &own);
	await_peers(push, 1);
	for (i = 0; i < GIVERS; i++) {
		g[i].push = push;
		task_start(&g[i].task, give, &g[i]);
	}
	c.push = push;
	task_start(&c.task, change_endpoints, &c);
	for (end = now_ms() + many(4000); now_ms() < end;) {
		poll(in, 2, 100);
		got += receive_what_there_is(in[0].fd);
		got += receive_what_there_is(in[1].fd);
	}
	set(&c.stop);
	for (i = 0; i < GIVERS; i++)
		set(&g[i].stop);
	while (poll(in, 2, 5 * quiet_ms())) {
		got += receive_what_there_is(in[0].fd);
		got += receive_what_there_is(in[1].fd);
	}
	task_join(&c.task);
	for (i = 0; i < GIVERS; i++) {
		task_join(&g[i].task);
		sent += g[i].sent;
	}
	while (poll(in, 2, 5 * quiet_ms())) {
		got += receive_what_there_is(in[0].fd);
		got += receive_what_there_is(in[1].fd);
	}
	printf("# %ld messages\n", sent);
	fflush(stdout);
	EXPECT_EQ(sent, got);
}

TEST(many_pipes)
{
	enum { MOST = 200 };
	const int pipes = many(MOST);
	static int fd[MOST];
	static bool served[MOST];
	struct addr addr;
	int rep = sp_listener(SOCK_REP, &addr), i;
	uint32_t who;

	for (i = 0; i < pipes; i++) {
		fd[i] = raw_connect(&addr);
		raw_greet(fd[i], SOCK_REQ);
	}
	await_peers(rep, pipes);
	for (i = 0; i < pipes; i++)
		raw_reply(fd[i], 0x80000000u | (uint32_t)i, &i, 4);
	for (i = 0; i < pipes; i++) {
		must_eq(4, recv(rep, &who, 4, 0));
		must_be(who < (uint32_t)pipes && !served[who]);
		served[who] = true;
		sp_send(rep, &who, 4);
	}
	for (i = 0; i < pipes; i++) {
		raw_expect_greeting(fd[i], SOCK_REP);
		must_eq(0x80000000u | (uint32_t)i,
			raw_expect_request(fd[i], &i, 4));
		close(fd[i]);
	}
	await_peers(rep, 0);
	EXPECT_EQ(pipes, counter(rep, sp_pipe_downs));
}

/*
 * A signal every other millisecond, restarted or not: no request is lost or
 * doubled, no reply is another request's.
 */
struct server {
	struct task task;
	int s;
	bool stop;
};

static void serve(void *arg)
{
	struct server *w = arg;
	sigset_t all;
	char buf[64];

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	while (!is_set(&w->stop)) {
		ssize_t n = recv(w->s, buf, sizeof(buf), 0);

		if (n < 0 && errno == EAGAIN)
			continue;
		must_be(n >= 0);
		sp_send(w->s, buf, (size_t)n);
	}
}

static void on_alarm(int sig)
{
	(void)sig;
}

FIXTURE(storm)
{
	char unused;
};

FIXTURE_VARIANT(storm)
{
	int flags;
	int timeout_ms;
};

FIXTURE_VARIANT_ADD(storm, interrupting) { 0, 0 };
FIXTURE_VARIANT_ADD(storm, restarting) { SA_RESTART, 0 };
FIXTURE_VARIANT_ADD(storm, with_a_timeout) { SA_RESTART, PATIENCE_MS };

FIXTURE_SETUP(storm)
{
}

FIXTURE_TEARDOWN(storm)
{
}

TEST_F(storm, of_signals)
{
	const struct itimerval blow = { { 0, 2000 }, { 0, 2000 } };
	const struct itimerval calm = { 0 };
	struct sigaction sa = { .sa_handler = on_alarm,
				.sa_flags = variant->flags };
	static struct server w;
	struct addr addr;
	const uint32_t requests = (uint32_t)many(100);
	uint32_t i, reply;
	int req;
	ssize_t n;

	w.s = sp_listener(SOCK_REP, &addr);
	set_timeout(w.s, SO_RCVTIMEO, 100);
	task_start(&w.task, serve, &w);
	req = sp_dialer(SOCK_REQ, &addr);
	set_timeout(req, SO_RCVTIMEO, variant->timeout_ms);
	set_timeout(req, SO_SNDTIMEO, variant->timeout_ms);
	await_peers(req, 1);

	must(sigaction(SIGALRM, &sa, NULL));
	must(setitimer(ITIMER_REAL, &blow, NULL));
	for (i = 0; i < requests; i++) {
		do
			n = send(req, &i, sizeof(i), 0);
		while (n < 0 && errno == EINTR);
		must_eq(4, n);
		do
			n = recv(req, &reply, sizeof(reply), 0);
		while (n < 0 && errno == EINTR);
		must_eq(4, n);
		must_eq(i, reply);
	}
	must(setitimer(ITIMER_REAL, &calm, NULL));
	set(&w.stop);
	task_join(&w.task);
	EXPECT_EQ(requests, counter(w.s, sp_rx_msgs));
	EXPECT_EQ(requests, counter(req, sp_tx_msgs));
}

SP_TEST_MAIN
