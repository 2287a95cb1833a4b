// SPDX-License-Identifier: GPL-2.0
/*
 * What a socket holds of messages that arrive: however many peers send however
 * much in whatever order, no more than its buffer and a bound for those that
 * are large; nobody who behaves loses anything by it; and nobody who does not
 * keeps the others waiting.
 */
#include "sptest.h"

#define MIB (1 << 20)

/*
 * Where a mebibyte takes a second, messages are just so large that only half of
 * the bound is for them, and there are just so many that some have to wait.
 */
static bool is_slow(void)
{
	return many(4) != 4;
}

/* The largest message of these tests, in which the tags of a request fit. */
#define LARGE (is_slow() ? 530000 : MIB - 64)
#define MILLION (is_slow() ? 530000 : 1000000)
#define FORTY (is_slow() ? 10 : 40)

static size_t large(uint32_t who, uint32_t nth)
{
	(void)who;
	(void)nth;
	return LARGE;
}

static size_t million(uint32_t who, uint32_t nth)
{
	(void)who;
	(void)nth;
	return MILLION;
}

/* A SUB or REP with a limit of 1 MiB a message. */
static int receiver(int type, struct addr *addr)
{
	int s = sp_listener(type, addr);

	sp_set(s, SP_RCVMAXSIZE, MIB);
	if (type == SOCK_SUB)
		subscribe(s, LIT(""));
	return s;
}

/* What sp(7) says a socket holds at most, TCP's part apart. */
static int64_t bound_of(int s)
{
	int64_t cap = 2LL * sp_get(s, SP_RCVMAXSIZE);
	int rcvbuf;
	socklen_t len = sizeof(rcvbuf);

	must(getsockopt(s, SOL_SOCKET, SO_RCVBUF, &rcvbuf, &len));
	return rcvbuf + (cap < 8 * MIB ? 8 * MIB : cap) + 32 * 1024;
}

/*
 * What was held at most, by the peers' count of bytes and by the system's of
 * memory. The latter knows what a page of bytes really costs, and is blurred by
 * whatever else the system does; a kernel that checks every access keeps freed
 * memory for long, so there it tells nothing.
 */
struct most {
	struct crowd *c;
	int s;
	int64_t bound, before;
	int64_t held, queued, memory;
};

static struct most most_of(struct crowd *c, int s)
{
	return (struct most){ .c = c, .s = s, .bound = bound_of(s),
			      .before = memory_beyond_tcp() };
}

static void look(struct most *m)
{
	int64_t held = crowd_held(m->c);
	int64_t queued = (int64_t)counter(m->s, sp_rx_queued);
	int64_t memory = memory_beyond_tcp() - m->before;

	m->held = held > m->held ? held : m->held;
	m->queued = queued > m->queued ? queued : m->queued;
	m->memory = memory > m->memory ? memory : m->memory;
}

#define expect_bounded(m)                                                     \
	do {                                                                  \
		TH_LOG("held %lld kB, queued %lld kB, memory %lld kB, "       \
		       "bound %lld kB",                                       \
		       (long long)(m)->held >> 10,                            \
		       (long long)(m)->queued >> 10,                          \
		       (long long)(m)->memory >> 10,                          \
		       (long long)(m)->bound >> 10);                          \
		EXPECT_GE((m)->bound, (m)->held);                             \
		EXPECT_GE((m)->bound, (m)->queued);                           \
		if (time_is_work())                                           \
			EXPECT_GE((m)->bound + 8 * MIB, (m)->memory);         \
	} while (0)

/* The program reads all that everybody has to send, each in its order. */
static void receive_all(struct crowd *c, int s, int each)
{
	int i, left = c->n * each;

	while (left--)
		crowd_recv_sending(c, s);
	for (i = 0; i < c->n; i++)
		must_eq(each, c->of[i].received);
	sp_expect_nothing(s);
}

FIXTURE(many_large)
{
	struct addr addr;
	struct crowd c;
	int s;
};

FIXTURE_VARIANT(many_large)
{
	int type;
};

FIXTURE_VARIANT_ADD(many_large, to_a_sub) { SOCK_SUB };
FIXTURE_VARIANT_ADD(many_large, to_a_rep) { SOCK_REP };

FIXTURE_SETUP(many_large)
{
	self->s = receiver(variant->type, &self->addr);
	crowd_init(&self->c, peer_type(variant->type), large, LARGE);
}

FIXTURE_TEARDOWN(many_large)
{
	crowd_leave(&self->c);
	close(self->s);
}

/*
 * All announce a message while there is room, and then send it, one after the
 * other, while the program does not read.
 */
TEST_F_TIMEOUT(many_large, announced_at_once_sent_in_turn, 90)
{
	const int peers = many(120);
	struct crowd *c = &self->c;
	struct most most;
	int i;

	crowd_join(c, &self->addr, peers, 65536);
	await_peers(self->s, peers);
	most = most_of(c, self->s);
	for (i = 0; i < peers; i++) {
		c->of[i].messages = 1;
		c->of[i].until = HEADER_LEN;
		must_eq(HEADER_LEN, member_send(c, &c->of[i]));
	}
	for (i = 0; i < peers; i++)
		raw_await_acked(c->of[i].fd);
	for (i = 0; i < peers; i++) {
		struct member *m = &c->of[i];
		struct pollfd room = { .fd = m->fd, .events = POLLOUT };

		m->until = CROWD_ALL;
		while (member_send(c, m) && m->nth < 1)
			must(poll(&room, 1, 5));
		if (i % 16 == 15)
			look(&most);
	}
	crowd_settle(c);
	look(&most);
	expect_bounded(&most);
	receive_all(c, self->s, 1);
	EXPECT_EQ(0, crowd_gone(c));
	EXPECT_EQ(0, counter(self->s, sp_pipe_downs));
	EXPECT_EQ(0, counter(self->s, sp_rx_queued));
	EXPECT_EQ(0, crowd_held(c));
}

/* All but the last byte of a message from each; that never comes. */
TEST_F_TIMEOUT(many_large, all_but_the_last_byte, 90)
{
	const int peers = is_slow() ? 20 : 600;
	struct crowd *c = &self->c;
	struct most most;
	int64_t until;
	int i, good, turn = 0;

	good = raw_peer(peer_type(variant->type), &self->addr);
	crowd_join(c, &self->addr, peers, 65536);
	await_peers(self->s, peers + 1);
	most = most_of(c, self->s);
	until = now_ms() + slow_ms(2000);
	do {
		/* As fast as TCP takes it, from one after the other. */
		for (i = 0; i < peers; i++) {
			struct member *m = &c->of[i];

			m->until = crowd_frame(m, c, 0) - 1;
			while (member_send(c, m))
				;
			if (turn++ % 100 == 99)
				look(&most);
		}
		crowd_send(c, -1, 10);
	} while (now_ms() < until);
	look(&most);
	TH_LOG("%d of %d peers were disconnected",
	       (int)counter(self->s, sp_pipe_downs), peers);
	expect_bounded(&most);
	EXPECT_EQ(0, counter(self->s, sp_rx_queued));
	/* None of it is in the way of a small message. */
	raw_frame(good, LIT("\x80\0\0\1good"));
	raw_await_acked(good);
	if (variant->type == SOCK_REP)
		sp_expect(self->s, LIT("good"));
	else
		sp_expect(self->s, LIT("\x80\0\0\1good"));
	close(good);
}

/*
 * Peers that do nothing wrong, but all at once: none of them is disconnected,
 * whatever the limits are, and whenever the program reads.
 */
FIXTURE(forty)
{
	struct addr addr;
	struct crowd c;
	int s;
};

FIXTURE_VARIANT(forty)
{
	int type, rcvmaxsize, more;
};

FIXTURE_VARIANT_ADD(forty, to_a_sub) { SOCK_SUB, MIB, 8 * MIB };
FIXTURE_VARIANT_ADD(forty, to_a_rep) { SOCK_REP, MIB, 8 * MIB };
FIXTURE_VARIANT_ADD(forty, to_a_sub_that_takes_larger)
{
	SOCK_SUB, 16 * MIB, 18 * MIB
};

FIXTURE_SETUP(forty)
{
	self->s = receiver(variant->type, &self->addr);
	sp_set(self->s, SP_RCVMAXSIZE, variant->rcvmaxsize);
	crowd_init(&self->c, peer_type(variant->type), million, MILLION);
	crowd_join(&self->c, &self->addr, FORTY, 0);
	await_peers(self->s, FORTY);
}

FIXTURE_TEARDOWN(forty)
{
	crowd_leave(&self->c);
	close(self->s);
}

#define EACH (is_slow() ? 1 : 2)

static void send_each(struct crowd *c, uint32_t n)
{
	int i;

	for (i = 0; i < c->n; i++) {
		c->of[i].messages = n;
		c->of[i].until = CROWD_ALL;
	}
}

TEST_F_TIMEOUT(forty, a_million_bytes_each_read_later, 60)
{
	struct most most = most_of(&self->c, self->s);

	send_each(&self->c, EACH);
	crowd_settle(&self->c);
	look(&most);
	/* For longer than anybody may be slow. */
	pass_ms(1000);
	look(&most);
	expect_bounded(&most);
	receive_all(&self->c, self->s, EACH);
	EXPECT_EQ(0, counter(self->s, sp_pipe_downs));
	EXPECT_EQ(0, counter(self->s, sp_rx_partial));
}

TEST_F_TIMEOUT(forty, a_million_bytes_each_read_at_once, 60)
{
	struct most most = most_of(&self->c, self->s);
	int i;

	send_each(&self->c, EACH);
	for (i = 0; i < FORTY * EACH; i++) {
		crowd_recv_sending(&self->c, self->s);
		look(&most);
	}
	sp_expect_nothing(self->s);
	expect_bounded(&most);
	EXPECT_EQ(0, counter(self->s, sp_pipe_downs));
	EXPECT_EQ(0, counter(self->s, sp_rx_partial));
}

/* Limits that change while messages wait are those that count from then on. */
TEST_F_TIMEOUT(forty, limits_change_meanwhile, 60)
{
	int64_t before;
	int downs = 0, got = 0, i;

	if (is_slow() && variant->rcvmaxsize > MIB)
		SKIP(return, "too few to fill so much");
	send_each(&self->c, 1);
	crowd_settle(&self->c);
	/* More is taken in as soon as more may be. */
	before = crowd_held(&self->c);
	sp_set(self->s, SP_RCVMAXSIZE, variant->more);
	crowd_settle(&self->c);
	EXPECT_LT(before, crowd_held(&self->c));
	EXPECT_GE(bound_of(self->s), crowd_held(&self->c));
	/* Who waits is told the limit of the moment in which it is let in. */
	sp_set(self->s, SP_RCVMAXSIZE, 500000);
	do {
		int64_t deadline = patience();

		while ((i = crowd_recv(&self->c, self->s, MSG_DONTWAIT)) < 0 &&
		       got + (downs = (int)counter(self->s, sp_pipe_downs)) <
			       FORTY) {
			crowd_send(&self->c, self->s, 10);
			must_be(now_ms() < deadline);
		}
		got += i >= 0;
	} while (i >= 0);
	EXPECT_EQ(FORTY, got + downs);
	EXPECT_EQ(downs, counter(self->s, sp_rx_oversize));
	if (!is_slow())
		EXPECT_LT(0, downs);
	EXPECT_EQ(0, counter(self->s, sp_rx_queued));
}

static size_t thousand(uint32_t who, uint32_t nth)
{
	(void)who;
	(void)nth;
	return 1000;
}

/* The buffer's size rules also those that wait already. */
TEST(a_buffer_that_grows_is_filled)
{
	static struct crowd c;
	struct addr addr;
	const uint32_t n = is_slow() ? 100 : 2000;
	int s = receiver(SOCK_SUB, &addr), i;
	uint64_t before;

	sol_set(s, SO_RCVBUF, 20000);
	crowd_init(&c, SOCK_PUB, thousand, 1000);
	crowd_join(&c, &addr, 4, MIB);
	for (i = 0; i < 4; i++) {
		c.of[i].messages = n;
		c.of[i].until = CROWD_ALL;
	}
	crowd_settle(&c);
	before = counter(s, sp_rx_queued);
	EXPECT_LT(0, before);
	EXPECT_GE(40000, before);
	sol_set(s, SO_RCVBUFFORCE, MIB);
	crowd_settle(&c);
	TH_LOG("queued %llu, then %llu bytes", (unsigned long long)before,
	       (unsigned long long)counter(s, sp_rx_queued));
	EXPECT_LT(4 * before, counter(s, sp_rx_queued));
	EXPECT_GE(2 * MIB, counter(s, sp_rx_queued));
	sol_set(s, SO_RCVBUF, 65536);
	receive_all(&c, s, (int)n);
	crowd_leave(&c);
	close(s);
}

/*
 * What may be held beyond SO_RCVBUF is for everybody to be heard. One peer's
 * messages, large ones too, fill the buffer and are one more at most.
 */
static const size_t lengths[] = { 9000, 16384, 16385, 60000, 1000000 };

TEST(one_peer_fills_the_buffer_and_no_more)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(lengths); i++) {
		struct raw_flood flood = { .type = SOCK_PUB, .len = lengths[i] };
		struct addr addr;
		int s = sp_open(SOCK_SUB);
		uint64_t most = 0, queued;

		sol_set(s, SO_RCVBUF, 32768);
		subscribe(s, LIT(""));
		addr = sp_bind(s, AF_INET);
		flood.fd = raw_peer(SOCK_PUB, &addr);
		sol_set(flood.fd, SO_SNDBUF, 32768);
		await_peers(s, 1);
		raw_flood_until_stuck(&flood, 400);
		queued = counter(s, sp_rx_queued);
		while (recv(s, NULL, 0, MSG_DONTWAIT) == 0) {
			most = queued > most ? queued : most;
			queued = counter(s, sp_rx_queued);
		}
		TH_LOG("messages of %zu: %llu bytes queued", lengths[i],
		       (unsigned long long)most);
		EXPECT_LT(0, most);
		EXPECT_GE(65536 + lengths[i], most);
		free(flood.frame);
		close(flood.fd);
		close(s);
	}
}

/* A better rank goes before those of a worse one that have waited longer. */
TEST(large_messages_wait_by_rank)
{
	const int peers = is_slow() ? 10 : 24;
	static struct crowd c;
	struct addr worse, better;
	int s = receiver(SOCK_SUB, &worse), i, who = -1;

	sp_set(s, SP_RCVPRIO, 1);
	better = sp_bind(s, AF_INET);
	crowd_init(&c, SOCK_PUB, million, MILLION);
	crowd_join(&c, &worse, peers, 0);
	send_each(&c, 1);
	crowd_settle(&c);
	crowd_join(&c, &better, 1, 0);
	c.of[peers].messages = 1;
	c.of[peers].until = CROWD_ALL;
	crowd_settle(&c);
	/* It may have to wait until there is room for it; no longer. */
	for (i = 0; i < peers && who != peers; i++) {
		who = crowd_recv_sending(&c, s);
		crowd_settle(&c);
	}
	TH_LOG("came as number %d", i);
	EXPECT_GE(2, i);
	EXPECT_EQ(0, counter(s, sp_pipe_downs));
	crowd_leave(&c);
	close(s);
}

/*
 * Peers that go while they hold room, or wait for it, leave nothing behind.
 */
FIXTURE(waiting)
{
	struct addr addr;
	struct crowd c;
	int s, half, all;
};

FIXTURE_SETUP(waiting)
{
	int i;

	self->half = is_slow() ? 9 : 20;
	self->all = self->half + 6;

	self->s = receiver(SOCK_SUB, &self->addr);
	crowd_init(&self->c, SOCK_PUB, million, MILLION);
	crowd_join(&self->c, &self->addr, self->half, 0);
	for (i = 0; i < self->half; i++) {
		self->c.of[i].until = MILLION / 2;
		member_send(&self->c, &self->c.of[i]);
	}
	crowd_join(&self->c, &self->addr, self->all - self->half, 0);
	for (i = self->half; i < self->all; i++) {
		self->c.of[i].messages = 1;
		self->c.of[i].until = CROWD_ALL;
		member_send(&self->c, &self->c.of[i]);
	}
}

FIXTURE_TEARDOWN(waiting)
{
	crowd_leave(&self->c);
	close(self->s);
}

TEST_F(waiting, for_those_who_are_reset)
{
	int i;

	for (i = 0; i < self->half; i++) {
		raw_reset(self->c.of[i].fd);
		self->c.of[i].fd = -1;
		self->c.of[i].gone = true;
	}
	for (i = self->half; i < self->all; i++)
		must_be(crowd_recv_sending(&self->c, self->s) >= self->half);
	await_counter(self->s, sp_pipe_downs, (uint64_t)self->half);
	EXPECT_EQ(self->half, counter(self->s, sp_pipe_downs));
	EXPECT_EQ(0, counter(self->s, sp_rx_queued));
	sp_expect_nothing(self->s);
}

TEST_F(waiting, when_some_of_them_go_first)
{
	int64_t deadline = patience();
	int i;

	for (i = self->half; i < self->all - 2; i++) {
		raw_reset(self->c.of[i].fd);
		self->c.of[i].fd = -1;
		self->c.of[i].gone = true;
	}
	/*
	 * The rest goes on: those with half a message, but for any that has
	 * been too slow meanwhile, and two more. Of those who have gone some
	 * had sent all they had.
	 */
	for (i = 0; i < self->half; i++) {
		self->c.of[i].messages = 1;
		self->c.of[i].until = CROWD_ALL;
	}
	for (i = 0; i < self->all - crowd_gone(&self->c);) {
		int who = crowd_recv(&self->c, self->s, MSG_DONTWAIT);

		i += who >= 0 && (who < self->half || who >= self->all - 2);
		if (who < 0)
			crowd_send(&self->c, self->s, 10);
		must_be(now_ms() < deadline);
	}
	EXPECT_EQ(1, self->c.of[self->all - 2].received);
	EXPECT_EQ(1, self->c.of[self->all - 1].received);
	EXPECT_EQ(0, counter(self->s, sp_rx_queued));
}

TEST_F(waiting, for_a_socket_that_is_closed)
{
	int i;

	close(self->s);
	for (i = 0; i < self->c.n; i++)
		raw_expect_closed(self->c.of[i].fd);
	self->s = sp_open(SOCK_SUB);
}

/*
 * Requests of a million bytes from forty clients at once, who do not resend.
 */
TEST(forty_requests_without_resending)
{
	const int clients = FORTY, len = MILLION;
	struct addr addr;
	int rep = receiver(SOCK_REP, &addr), req[40], i, lost = 0;
	unsigned char *body = filler((size_t)len, 3), *seen = malloc((size_t)len + 1);

	ASSERT_NE(NULL, seen);
	for (i = 0; i < clients; i++) {
		req[i] = sp_dialer(SOCK_REQ, &addr);
		sp_set(req[i], SP_REQ_RESEND_IVL, 0);
	}
	await_peers(rep, clients);
	for (i = 0; i < clients; i++)
		sp_send(req[i], body, (size_t)len);
	pass_ms(500);
	for (i = 0; i < clients; i++) {
		ssize_t n = recv(rep, seen, (size_t)len + 1, 0);

		if (n < 0) {
			TH_LOG("request %d: %s", i, strerrorname_np(errno));
			break;
		}
		must_eq(len, n);
		must_be(!memcmp(seen, body, (size_t)len));
		sp_send(rep, LIT("done"));
	}
	EXPECT_EQ(clients, i);
	for (i = 0; i < clients; i++) {
		char text[8];

		if (recv(req[i], text, sizeof(text),
			 lost ? MSG_DONTWAIT : 0) != 4)
			lost++;
		close(req[i]);
	}
	EXPECT_EQ(0, lost);
	EXPECT_EQ(0, counter(rep, sp_rx_partial));
	close(rep);
	free(body);
	free(seen);
}

/*
 * A thousand connections that begin messages and do not go on: a third sends a
 * byte now and then, a third falls silent, a third stops with bytes that TCP
 * holds. Who is disconnected comes back.
 */
enum { LIARS = 1000, PENDING = 100000 };

static struct {
	struct addr to;
	int type, n, fd[LIARS];
	bool over;
	int again;
} liars;

static bool is_gone(int fd)
{
	char c;
	ssize_t n = recv(fd, &c, 1, MSG_DONTWAIT | MSG_PEEK);

	return n == 0 || (n < 0 && errno != EAGAIN);
}

static void lie(int i)
{
	static unsigned char bytes[PENDING];
	int fd = raw_connect(&liars.to);

	liars.fd[i] = fd;
	raw_greet(fd, liars.type);
	raw_expect_greeting(fd, peer_type(liars.type));
	raw_header(fd, LARGE);
	if (i % 3 == 2)
		must(send(fd, bytes, PENDING, MSG_DONTWAIT | MSG_NOSIGNAL));
	else if (i % 2)
		must(send(fd, bytes, 1, MSG_NOSIGNAL));
}

static void go_on_lying(void *arg)
{
	int i = 0, n;

	(void)arg;
	while (!__atomic_load_n(&liars.over, __ATOMIC_RELAXED)) {
		int again = 0;

		for (n = 0; n < liars.n / 16; n++, i = (i + 1) % liars.n) {
			if (is_gone(liars.fd[i])) {
				if (++again > 4)
					continue;
				close(liars.fd[i]);
				lie(i);
				liars.again++;
			} else if (i % 3 == 0) {
				(void)!send(liars.fd[i], "x", 1,
					    MSG_DONTWAIT | MSG_NOSIGNAL);
			}
		}
		pass_ms(20);
	}
}

enum { SMALL = 8, HONEST = SMALL + 2 };

static size_t small_or_million(uint32_t who, uint32_t nth)
{
	(void)nth;
	return who < SMALL ? 100 : MILLION;
}

static int by_size(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

struct delays {
	int n, ms[4096];
};

static int delay(struct delays *d, int percent)
{
	if (!d->n)
		return -1;
	qsort(d->ms, (size_t)d->n, sizeof(*d->ms), by_size);
	return d->ms[(d->n - 1) * percent / 100];
}

static void delayed(struct delays *d, int64_t since)
{
	if (d->n < (int)ARRAY_SIZE(d->ms))
		d->ms[d->n++] = (int)(now_ms() - since);
}

/* One more message, from the byte on that was sent last. */
static void begin(struct crowd *c, int who, int64_t *since)
{
	struct member *m = &c->of[who];

	m->until = m->sent + crowd_frame(m, c, m->nth);
	*since = now_ms();
}

FIXTURE(liars)
{
	struct addr addr;
	struct crowd c;
	struct delays small, large;
	int s;
};

FIXTURE_VARIANT(liars)
{
	int type;
};

FIXTURE_VARIANT_ADD(liars, to_a_sub) { SOCK_SUB };
FIXTURE_VARIANT_ADD(liars, to_a_rep) { SOCK_REP };

FIXTURE_SETUP(liars)
{
	self->s = receiver(variant->type, &self->addr);
	crowd_init(&self->c, peer_type(variant->type), small_or_million,
		   MILLION);
	liars.to = self->addr;
	liars.type = peer_type(variant->type);
	liars.n = at_speed(LIARS);
	if (liars.n < 50)
		liars.n = 50;
}

FIXTURE_TEARDOWN(liars)
{
	crowd_leave(&self->c);
	close(self->s);
}

TEST_F_TIMEOUT(liars, keep_nobody_waiting, 90)
{
	int64_t since[HONEST] = { 0 }, next[HONEST] = { 0 }, end;
	struct crowd *c = &self->c;
	struct task task;
	int i, who, out = 0;

	crowd_join(c, &self->addr, HONEST, 0);
	for (i = 0; i < HONEST; i++) {
		begin(c, i, &since[i]);
		crowd_recv_sending(c, self->s);
		since[i] = 0;
	}
	for (i = 0; i < liars.n; i++)
		lie(i);
	task_start(&task, go_on_lying, NULL);

	end = now_ms() + 8000;
	while (now_ms() < end || out) {
		for (i = 0; i < HONEST && now_ms() < end; i++)
			if (!since[i] && now_ms() >= next[i]) {
				begin(c, i, &since[i]);
				member_send(c, &c->of[i]);
				out++;
			}
		while ((who = crowd_recv(c, self->s, MSG_DONTWAIT)) >= 0) {
			delayed(who < SMALL ? &self->small : &self->large,
				since[who]);
			since[who] = 0;
			next[who] = now_ms() + (who < SMALL ? 50 : 100);
			out--;
		}
		if (now_ms() > end + PATIENCE_MS)
			break;
		crowd_send(c, self->s, 5);
	}
	/* Those that never came have waited until now. */
	for (i = 0; i < HONEST; i++)
		if (since[i])
			delayed(i < SMALL ? &self->small : &self->large,
				since[i]);
	__atomic_store_n(&liars.over, true, __ATOMIC_RELAXED);
	task_join(&task);

	TH_LOG("%d small: median %d ms, 95 %% %d ms, all %d ms", self->small.n,
	       delay(&self->small, 50), delay(&self->small, 95),
	       delay(&self->small, 100));
	TH_LOG("%d large: median %d ms, all %d ms", self->large.n,
	       delay(&self->large, 50), delay(&self->large, 100));
	TH_LOG("%d never came, %d of the honest were disconnected, "
	       "%d liars came back", out, crowd_gone(c), liars.again);
	EXPECT_EQ(0, out);
	EXPECT_EQ(0, crowd_gone(c));
	/* A machine that is busy elsewhere may stand still for a moment. */
	EXPECT_GE(slow_ms(100), delay(&self->small, 95));
	EXPECT_GE(slow_ms(1000), delay(&self->small, 100));
	EXPECT_GE(slow_ms(2000), delay(&self->large, 100));
	for (i = 0; i < liars.n; i++)
		close(liars.fd[i]);
	await_peers(self->s, HONEST);
	EXPECT_EQ(0, counter(self->s, sp_rx_queued));
}

/* As much as is taken; returns how much of it is left. */
static size_t push(int fd, const unsigned char *at, size_t len)
{
	int64_t moved = now_ms();

	while (len && now_ms() - moved < 2 * quiet_ms()) {
		ssize_t n = send(fd, at, len, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n > 0) {
			at += n;
			len -= (size_t)n;
			moved = now_ms();
		} else {
			pass_ms(5);
		}
	}
	return len;
}

/*
 * A reply that nobody has taken keeps its room until the next request replaces
 * it; who waits for that room goes on then.
 */
TEST(a_new_request_makes_room_for_those_who_wait)
{
	enum { LEN = 3 << 20, SERVERS = 2 };
	struct addr addr[SERVERS];
	int req = sp_open(SOCK_REQ), l[SERVERS], s[SERVERS], i;
	unsigned char *body = filler(LEN, 1);
	size_t left;
	uint32_t id;

	sp_set(req, SP_RCVMAXSIZE, 4 << 20);
	sp_set(req, SP_REQ_RESEND_IVL, 300);
	for (i = 0; i < SERVERS; i++) {
		l[i] = raw_listen(&addr[i]);
		sp_connect(req, &addr[i]);
		s[i] = raw_peer_accept(SOCK_REP, l[i]);
		await_peers(req, i + 1);
	}
	sp_send(req, LIT("Q"));
	/* One has it, and the other when it is sent again. */
	id = raw_expect_request(s[0], LIT("Q"));
	ASSERT_EQ(id, raw_expect_request(s[1], LIT("Q")));
	sp_set(req, SP_REQ_RESEND_IVL, 0);
	for (i = 0; i < SERVERS; i++) {
		uint32_t tag = htonl(id);

		raw_header(s[i], LEN + sizeof(tag));
		raw_write(s[i], &tag, sizeof(tag));
		left = push(s[i], body, LEN);
		EXPECT_EQ(i > 0, left > 0);
	}
	sp_send(req, LIT("R"));
	EXPECT_EQ(0, push(s[1], body + LEN - left, left));
	await_counter(req, sp_rx_stale, 1);
	for (i = 0; i < SERVERS; i++) {
		close(s[i]);
		close(l[i]);
	}
	close(req);
	free(body);
}

/*
 * Where TCP has no room for more than a few bytes, frames of two are taken in
 * byte by byte: each counts for what belongs to a message.
 */
TEST(tiny_frames_in_a_tiny_buffer_are_bounded)
{
	const int one = 1, narrow = 4608;
	struct addr addr;
	int s = sp_open(SOCK_SUB), fd, i;
	unsigned char rest[] = { 'y', 0, 0, 0, 0, 0, 0, 0, 2, 'x' };

	sol_set(s, SO_RCVBUF, 1);
	subscribe(s, LIT(""));
	addr = sp_bind(s, AF_INET);
	fd = raw_peer(SOCK_PUB, &addr);
	must(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)));
	must(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &narrow, sizeof(narrow)));
	await_peers(s, 1);
	raw_write(fd, rest + 1, sizeof(rest) - 1);
	for (i = 0; i < 20000; i++)
		if (push(fd, rest, sizeof(rest)))
			break;
	TH_LOG("%d sent, %d taken in", i,
	       (int)(counter(s, sp_rx_queued) / 2));
	/* The buffer, and what may be beyond it. */
	EXPECT_GT(400, counter(s, sp_rx_queued) / 2);
	close(fd);
	close(s);
}

SP_TEST_MAIN
