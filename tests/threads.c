// SPDX-License-Identifier: GPL-2.0
/*
 * Several threads that use one socket. What they send goes out whole and once,
 * in some order; the state of an exchange is not the thread's.
 */
#include "sptest.h"

/*
 * Senders: each message tells its sender and its number there, and is filled
 * so that a piece of another's would show. Some fit a segment, some do not.
 */
enum { SENDERS = 6, MOST = 2000, WINDOW = 8, LONGEST = 20000 };

static struct {
	int s;
	uint32_t each, received;
} sending;

struct sender {
	struct task task;
	uint32_t who;
};

static size_t length(uint32_t who, uint32_t nth)
{
	return 8 + (nth * 7919 + who * 104729) % (nth % 10 ? 100 : LONGEST);
}

static void send_all(void *arg)
{
	struct sender *t = arg;
	static __thread unsigned char body[8 + LONGEST];
	uint32_t nth;

	for (nth = 0; nth < sending.each; nth++) {
		int64_t deadline = patience();
		size_t len = length(t->who, nth);

		fill(body + 8, len - 8, t->who << 16 | nth);
		memcpy(body, &t->who, 4);
		memcpy(body + 4, &nth, 4);
		/* A PUB drops what is too much: all keep in step. */
		while (nth * SENDERS >
		       __atomic_load_n(&sending.received, __ATOMIC_RELAXED) +
			       WINDOW * SENDERS)
			tick(deadline, "the receiver");
		sp_send(sending.s, body, len);
	}
}

FIXTURE(senders)
{
	struct sender sender[SENDERS];
};

FIXTURE_VARIANT(senders)
{
	int from, to;
};

FIXTURE_VARIANT_ADD(senders, on_a_pub) { SOCK_PUB, SOCK_SUB };
FIXTURE_VARIANT_ADD(senders, on_a_req) { SOCK_REQ, SOCK_REP };

FIXTURE_SETUP(senders)
{
}

FIXTURE_TEARDOWN(senders)
{
}

TEST_F_TIMEOUT(senders, each_message_is_whole, 60)
{
	struct pair p = sp_pair(variant->from, variant->to);
	static unsigned char buf[8 + LONGEST + 1];
	uint32_t next[SENDERS] = { 0 }, i;

	/* Each request replaces the last; all of them arrive. */
	if (variant->from == SOCK_REQ)
		sp_set(p.bound, SP_REQ_RESEND_IVL, 0);
	else
		subscribe(p.connected, LIT(""));
	sending.s = p.bound;
	sending.each = (uint32_t)at_speed(MOST);
	for (i = 0; i < SENDERS; i++) {
		self->sender[i].who = i;
		task_start(&self->sender[i].task, send_all, &self->sender[i]);
	}
	for (i = 0; i < sending.each * SENDERS; i++) {
		ssize_t n = must(recv(p.connected, buf, sizeof(buf), 0));
		uint32_t who, nth;

		must_be(n >= 8);
		memcpy(&who, buf, 4);
		memcpy(&nth, buf + 4, 4);
		must_be(who < SENDERS);
		/* In order as each thread sent them: so once, and all. */
		must_eq(next[who], nth);
		next[who]++;
		must_eq(length(who, nth), n);
		must_be_filled(buf + 8, n - 8, who << 16 | nth);
		__atomic_fetch_add(&sending.received, 1, __ATOMIC_RELAXED);
	}
	for (i = 0; i < SENDERS; i++)
		task_join(&self->sender[i].task);
	sp_expect_nothing(p.connected);
	EXPECT_EQ(sending.each * SENDERS, counter(p.bound, sp_tx_msgs));
	EXPECT_EQ(0, counter(p.bound, sp_tx_dropped));
}

/*
 * The threads of a process have one request in hand on a REP, and whichever
 * thread may answer it, until one of them replaces a request: then it is the
 * one that received the last one who may. So threads that share a REP keep
 * others out between recv() and send().
 */
struct step {
	struct task task;
	int s;
	const char *body;
	bool sends;
	int err;
};

static void step_main(void *arg)
{
	struct step *t = arg;

	t->err = 0;
	if (!t->sends)
		sp_expect(t->s, t->body, strlen(t->body));
	else if (send(t->s, t->body, strlen(t->body), MSG_NOSIGNAL) < 0)
		t->err = errno;
}

/* In a thread of its own, from start to end. */
static int elsewhere(int s, bool sends, const char *body)
{
	struct step t = { .s = s, .sends = sends, .body = body };

	task_start(&t.task, step_main, &t);
	task_join(&t.task);
	return t.err;
}

TEST(a_request_in_hand_is_the_processs)
{
	struct addr addr;
	int rep = sp_listener(SOCK_REP, &addr);
	int one = sp_dialer(SOCK_REQ, &addr), two = sp_dialer(SOCK_REQ, &addr);

	sp_set(one, SP_REQ_RESEND_IVL, 0);
	sp_set(two, SP_REQ_RESEND_IVL, 0);
	/* One receives and another answers. */
	sp_send(one, LIT("1"));
	sp_expect(rep, LIT("1"));
	EXPECT_EQ(0, elsewhere(rep, true, "to 1"));
	sp_expect(one, LIT("to 1"));
	must_fail(EBADFD, send(rep, "to nobody", 9, MSG_NOSIGNAL));

	sp_send(one, LIT("2"));
	EXPECT_EQ(0, elsewhere(rep, false, "2"));
	sp_send(two, LIT("3"));
	/* This replaces it, so who works for it cannot answer now. */
	sp_expect(rep, LIT("3"));
	EXPECT_EQ(EBADFD, elsewhere(rep, true, "to 2"));
	sp_send(rep, LIT("to 3"));
	sp_expect(two, LIT("to 3"));
	EXPECT_EQ(EBADFD, elsewhere(rep, true, "to 2"));

	/* And it may be anybody's turn who still works for that. */
	sp_send(two, LIT("4"));
	sp_expect(rep, LIT("4"));
	EXPECT_EQ(EBADFD, elsewhere(rep, true, "to 2"));
	sp_send(rep, LIT("to 4"));
	sp_expect(two, LIT("to 4"));
	expect_stays_not_in(one);
}

/* Workers that do so: each requester gets its own reply. */
enum { WORKERS = 4, CLIENTS = 4 };

static struct {
	int rep;
	pthread_mutex_t turn;
	uint32_t left;
	struct addr addr;
} service = { .turn = PTHREAD_MUTEX_INITIALIZER };

static void work(void *arg)
{
	char buf[16];

	(void)arg;
	for (;;) {
		ssize_t n;

		pthread_mutex_lock(&service.turn);
		if (!service.left) {
			pthread_mutex_unlock(&service.turn);
			return;
		}
		n = must(recv(service.rep, buf, sizeof(buf), 0));
		sp_send(service.rep, buf, (size_t)n);
		service.left--;
		pthread_mutex_unlock(&service.turn);
	}
}

static void ask(void *arg)
{
	uint32_t rounds = *(uint32_t *)arg, i;
	int req = sp_dialer(SOCK_REQ, &service.addr);
	uint64_t body;

	for (i = 0; i < rounds; i++) {
		body = (uint64_t)req << 32 | i;
		sp_send(req, &body, sizeof(body));
		sp_expect(req, &body, sizeof(body));
	}
	close(req);
}

TEST(workers_take_turns)
{
	struct task worker[WORKERS], client[CLIENTS];
	uint32_t rounds = (uint32_t)at_speed(1000);
	int i;

	service.rep = sp_listener(SOCK_REP, &service.addr);
	service.left = rounds * CLIENTS;
	for (i = 0; i < WORKERS; i++)
		task_start(&worker[i], work, NULL);
	for (i = 0; i < CLIENTS; i++)
		task_start(&client[i], ask, &rounds);
	for (i = 0; i < CLIENTS; i++)
		task_join(&client[i]);
	for (i = 0; i < WORKERS; i++)
		task_join(&worker[i]);
	EXPECT_EQ(rounds * CLIENTS, counter(service.rep, sp_tx_msgs));
}

/*
 * A REQ has one request. Who waits in recv() when another thread sends the
 * next one learns that: its own is cancelled.
 */
struct receiver {
	struct task task;
	int s;
	ssize_t result;
	int err;
	uint32_t body;
};

static void receive(void *arg)
{
	struct receiver *r = arg;

	r->result = recv(r->s, &r->body, sizeof(r->body), 0);
	r->err = r->result < 0 ? errno : 0;
}

static void start_receiving(struct receiver *r, int s)
{
	*r = (struct receiver){ .s = s };
	task_start(&r->task, receive, r);
	task_await_asleep(&r->task);
}

TEST(all_receivers_of_a_replaced_request_are_cancelled)
{
	struct pair p = sp_pair(SOCK_REP, SOCK_REQ);
	struct receiver old[3], new;
	uint32_t body = 7;
	int i;

	sp_send(p.connected, LIT("old"));
	for (i = 0; i < 3; i++)
		start_receiving(&old[i], p.connected);
	sp_send(p.connected, LIT("new"));
	for (i = 0; i < 3; i++) {
		task_join(&old[i].task);
		EXPECT_EQ(ECANCELED, old[i].err);
	}
	start_receiving(&new, p.connected);
	sp_expect(p.bound, LIT("old"));
	sp_send(p.bound, LIT("late"));
	sp_expect(p.bound, LIT("new"));
	sp_send(p.bound, &body, sizeof(body));
	task_join(&new.task);
	EXPECT_EQ(4, new.result);
	EXPECT_EQ(body, new.body);
}

/* Of several who wait for one reply, one gets it and nobody waits on. */
TEST(one_receiver_gets_the_reply)
{
	struct pair p = sp_pair(SOCK_REP, SOCK_REQ);
	struct receiver r[4];
	int i, got = 0;

	sp_send(p.connected, LIT("Q"));
	sp_expect(p.bound, LIT("Q"));
	for (i = 0; i < 4; i++)
		start_receiving(&r[i], p.connected);
	sp_send(p.bound, LIT("R"));
	for (i = 0; i < 4; i++) {
		task_join(&r[i].task);
		if (r[i].result >= 0)
			got++;
		else
			EXPECT_EQ(EBADFD, r[i].err);
	}
	EXPECT_EQ(1, got);
}

/*
 * Threads that ask and receive as they like: what they get is a reply, once,
 * or the news that their request was replaced or its reply taken.
 */
enum { ASKERS = 4, MOST_ASKED = 2000 };

static struct {
	int req;
	uint32_t each;
	unsigned char got[ASKERS * MOST_ASKED];
	uint32_t replies, cancelled, taken;
} asking;

static void ask_and_receive(void *arg)
{
	const uint32_t who = (uint32_t)(uintptr_t)arg;
	uint32_t nth, body;

	for (nth = 0; nth < asking.each; nth++) {
		body = who * asking.each + nth;
		sp_send(asking.req, &body, sizeof(body));
		if (recv(asking.req, &body, sizeof(body), 0) < 0) {
			must_be(errno == ECANCELED || errno == EBADFD);
			__atomic_fetch_add(errno == EBADFD ? &asking.taken :
							     &asking.cancelled,
					   1, __ATOMIC_RELAXED);
			continue;
		}
		must_be(body < ASKERS * asking.each);
		must_eq(0, __atomic_fetch_add(&asking.got[body], 1,
					      __ATOMIC_RELAXED));
		__atomic_fetch_add(&asking.replies, 1, __ATOMIC_RELAXED);
	}
}

static void echo(void *arg)
{
	int rep = *(int *)arg;
	uint32_t body;
	ssize_t n;

	while ((n = must(recv(rep, &body, sizeof(body), 0))) > 0)
		sp_send(rep, &body, (size_t)n);
}

TEST(race_for_replies)
{
	struct task asker[ASKERS], server;
	struct pair p = sp_pair(SOCK_REP, SOCK_REQ);
	uintptr_t i;

	asking.req = p.connected;
	asking.each = (uint32_t)at_speed(MOST_ASKED);
	task_start(&server, echo, &p.bound);
	for (i = 0; i < ASKERS; i++)
		task_start(&asker[i], ask_and_receive, (void *)i);
	for (i = 0; i < ASKERS; i++)
		task_join(&asker[i]);
	TH_LOG("%u replies, %u cancelled, %u taken by others", asking.replies,
	       asking.cancelled, asking.taken);
	/* Whoever sends last waits for a reply that nobody replaces. */
	EXPECT_LT(0, asking.replies);
	must(shutdown(p.bound, SHUT_RD));
	task_join(&server);
}

/*
 * MSG_PEEK in one thread and recv() in another: what was looked at is what is
 * received next, by whomever, and from whichever peer more has come meanwhile.
 */
TEST(peeked_by_one_received_by_another)
{
	struct addr addr[2];
	int pub[2], sub = sp_open(SOCK_SUB), i;
	struct receiver r = { .s = sub };
	char c;

	subscribe(sub, LIT(""));
	for (i = 0; i < 2; i++) {
		pub[i] = sp_listener(SOCK_PUB, &addr[i]);
		sp_connect(sub, &addr[i]);
		await_peers(pub[i], 1);
	}
	for (i = 0; i < 6; i++) {
		/* The turn passes from pipe to pipe; the look is binding. */
		sp_send(pub[i % 2], LIT("1st"));
		await_in(sub);
		must_eq(1, recv(sub, &c, 1, MSG_PEEK));
		sp_send(pub[!(i % 2)], LIT("second"));
		await_counter(sub, sp_rx_queued, 9);
		task_start(&r.task, receive, &r);
		task_join(&r.task);
		EXPECT_EQ(3, r.result);
		sp_expect(sub, LIT("second"));
	}
}

/* Looks that wait are all woken, and leave the message to who receives. */
static void look(void *arg)
{
	struct receiver *r = arg;

	r->result = recv(r->s, &r->body, sizeof(r->body), MSG_PEEK);
	r->err = r->result < 0 ? errno : 0;
}

TEST(looks_that_wait)
{
	enum { LOOKERS = 4 };
	struct pair p = sp_pair(SOCK_PUB, SOCK_SUB);
	struct receiver r[LOOKERS];
	int i;

	subscribe(p.connected, LIT(""));
	for (i = 0; i < LOOKERS; i++) {
		r[i] = (struct receiver){ .s = p.connected };
		task_start(&r[i].task, look, &r[i]);
		task_await_asleep(&r[i].task);
	}
	sp_send(p.bound, LIT("x"));
	for (i = 0; i < LOOKERS; i++) {
		task_join(&r[i].task);
		EXPECT_EQ(1, r[i].result);
	}
	sp_expect(p.connected, LIT("x"));
	sp_expect_nothing(p.connected);
}

/*
 * A look takes no wake-up from who receives: with both asleep, one message
 * makes both return.
 */
TEST(a_look_and_a_receiver_wait)
{
	struct pair p = sp_pair(SOCK_PUB, SOCK_SUB);
	struct receiver looker, taker;
	int i;

	subscribe(p.connected, LIT(""));
	for (i = 0; i < 4; i++) {
		looker = (struct receiver){ .s = p.connected };
		if (i % 2)
			start_receiving(&taker, p.connected);
		task_start(&looker.task, look, &looker);
		task_await_asleep(&looker.task);
		if (!(i % 2))
			start_receiving(&taker, p.connected);
		sp_send(p.bound, LIT("x"));
		task_join(&taker.task);
		EXPECT_EQ(1, taker.result);
		/* It may have come too late for this one. */
		sp_send(p.bound, LIT("yy"));
		task_join(&looker.task);
		EXPECT_LE(1, looker.result);
		sp_expect(p.connected, LIT("yy"));
	}
}

SP_TEST_MAIN
