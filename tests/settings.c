// SPDX-License-Identifier: GPL-2.0
/*
 * Settings that act at once, on what is under way: the resend interval, the
 * reconnect intervals, and what closed sockets may take.
 */
#include "sptest.h"

#include <fcntl.h>
#include <poll.h>

/* An hour: not while the test runs. */
#define NEVER_MS 3600000

/*
 * SP_REQ_RESEND_IVL.
 */
FIXTURE(request)
{
	int req, peer;
	uint32_t id;
	int64_t sent;
};

FIXTURE_VARIANT(request)
{
	int interval;
};

FIXTURE_VARIANT_ADD(request, resent_late) { .interval = NEVER_MS };
FIXTURE_VARIANT_ADD(request, resent_never) { .interval = 0 };

/* A request on its way, which nobody resends. */
FIXTURE_SETUP(request)
{
	struct addr addr;

	self->req = sp_listener(SOCK_REQ, &addr);
	self->peer = raw_peer(SOCK_REP, &addr);
	await_peers(self->req, 1);
	sp_set(self->req, SP_REQ_RESEND_IVL, variant->interval);
	/* Not later than that, as the resends are not to be earlier. */
	self->sent = now_ms();
	sp_send(self->req, LIT("Q"));
	self->id = raw_expect_request(self->peer, LIT("Q"));
	raw_expect_quiet(self->peer);
}

FIXTURE_TEARDOWN(request)
{
	close(self->req);
	close(self->peer);
}

static uint32_t again(int peer)
{
	return raw_expect_request(peer, LIT("Q"));
}

TEST_F(request, resent_at_once_where_the_new_interval_has_passed)
{
	sp_set(self->req, SP_REQ_RESEND_IVL, 1);
	EXPECT_EQ(self->id, again(self->peer));
	EXPECT_EQ(self->id, again(self->peer));
	raw_reply(self->peer, self->id, LIT("R"));
	sp_expect(self->req, LIT("R"));
}

TEST_F(request, resent_counted_from_the_last_sending)
{
	const int interval = 1000;

	sp_set(self->req, SP_REQ_RESEND_IVL, interval);
	/* Also where it is set again meanwhile. */
	pass_ms(500);
	sp_set(self->req, SP_REQ_RESEND_IVL, interval);
	sp_set(self->req, SP_SNDPRIO, 3);
	EXPECT_EQ(self->id, again(self->peer));
	EXPECT_LE(interval - 20, now_ms() - self->sent);
	EXPECT_GE(interval + AT_ONCE_MS, now_ms() - self->sent);
}

TEST_F(request, not_resent_any_more)
{
	uint64_t resends;
	char c;

	sp_set(self->req, SP_REQ_RESEND_IVL, 50);
	again(self->peer);
	sp_set(self->req, SP_REQ_RESEND_IVL, 0);
	resends = counter(self->req, sp_resends);
	pass_ms(200);
	EXPECT_EQ(resends, counter(self->req, sp_resends));
	/* And then resent again, for long enough has passed. */
	sp_set(self->req, SP_REQ_RESEND_IVL, 100);
	await_counter(self->req, sp_resends, resends + 1);

	sp_set(self->req, SP_REQ_RESEND_IVL, 0);
	close(self->peer);
	must_fail(ECONNRESET, recv(self->req, &c, 1, 0));
	must_fail(EBADFD, recv(self->req, &c, 1, 0));
}

struct receiver {
	int s, err;
};

static void receive(void *arg)
{
	struct receiver *r = arg;
	char c;

	r->err = recv(r->s, &c, 1, 0) < 0 ? errno : 0;
}

TEST_F(request, lost_where_it_waits_for_another_peer)
{
	struct receiver r = { .s = self->req };
	struct task task;

	sp_set(self->req, SP_REQ_RESEND_IVL, NEVER_MS);
	close(self->peer);
	await_peers(self->req, 0);
	task_start(&task, receive, &r);
	task_await_asleep(&task);
	sp_set(self->req, SP_REQ_RESEND_IVL, 0);
	task_join(&task);
	EXPECT_EQ(ECONNRESET, r.err);
}

/*
 * SP_RECONNECT_IVL and SP_RECONNECT_IVL_MAX.
 */
TEST(a_shorter_interval_wakes_dialers)
{
	const int dialers = 8;
	int s = sp_open(SOCK_SUB), i;
	struct addr a = nowhere(AF_INET);

	sp_set(s, SP_RECONNECT_IVL, NEVER_MS);
	for (i = 0; i < dialers; i++)
		sp_connect(s, &a);
	pass_ms(quiet_ms());
	EXPECT_EQ(0, counter(s, sp_reconnects));
	sp_set(s, SP_RECONNECT_IVL, 50);
	await_counter(s, sp_reconnects, 3 * dialers);
	/* And once more. Waits that have begun are not lengthened. */
	sp_set(s, SP_RECONNECT_IVL, NEVER_MS);
	i = (int)counter(s, sp_reconnects);
	pass_ms(50 + 2 * quiet_ms());
	EXPECT_GE(i + dialers, counter(s, sp_reconnects));
	sp_set(s, SP_RECONNECT_IVL, 1);
	await_counter(s, sp_reconnects, i + 4 * dialers);
}

TEST(a_longer_interval_is_for_the_waits_to_come)
{
	int s = sp_open(SOCK_SUB);
	struct addr a = nowhere(AF_INET);

	sp_set(s, SP_RECONNECT_IVL, 2000);
	sp_connect(s, &a);
	/* It has been refused by then, and waits. */
	pass_ms(400);
	sp_set(s, SP_RECONNECT_IVL, NEVER_MS);
	await_counter(s, sp_reconnects, 1);
}

TEST(a_smaller_maximum_wakes_dialers)
{
	int s = sp_open(SOCK_SUB);
	struct addr a = nowhere(AF_INET);
	int64_t start;

	sp_set(s, SP_RECONNECT_IVL, 1000);
	sp_set(s, SP_RECONNECT_IVL_MAX, NEVER_MS);
	sp_connect(s, &a);
	/* Three waits, so the next one is four seconds and more, not one. */
	await_counter(s, sp_reconnects, 3);
	pass_ms(300);
	start = now_ms();
	sp_set(s, SP_RECONNECT_IVL_MAX, 0);
	await_counter(s, sp_reconnects, 4);
	EXPECT_GE(3000, now_ms() - start);
}

/*
 * net.sp.close_timeout_ms and net.sp.close_mem.
 */
FIXTURE(knobs)
{
};

FIXTURE_SETUP(knobs)
{
	netns_enter_new();
}

FIXTURE_TEARDOWN(knobs)
{
}

static void knob_write(const char *name, const char *value)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/sys/net/sp/%s", name);
	fd = (int)must(open(path, O_WRONLY));
	must_eq(strlen(value), write(fd, value, strlen(value)));
	close(fd);
}

#define REST_LEN (5 << 20)

/* A socket that has more to deliver than its peer takes. */
static int pub_with_a_rest(struct addr *addr, int *peer)
{
	int pub = sp_listener(SOCK_PUB, addr);

	*peer = raw_peer_narrow(SOCK_SUB, addr);
	await_peers(pub, 1);
	sol_set(pub, SO_SNDBUF, 1 << 20);
	sp_send_filled(pub, REST_LEN, 1);
	must_be(counter(pub, sp_tx_queued) > 0);
	return pub;
}

/* What there is of it, and then the reset: it does not look complete. */
static void expect_reset(int peer)
{
	static char buf[1 << 16];
	ssize_t n;

	raw_widen(peer);
	do
		n = recv(peer, buf, sizeof(buf), 0);
	while (n > 0);
	must_fail(ECONNRESET, n);
}

static void expect_rest(int peer)
{
	unsigned char *body = malloc(REST_LEN);

	must_be(body);
	raw_widen(peer);
	must_eq(REST_LEN, raw_read_frame(peer, body, REST_LEN));
	must_be_filled(body, REST_LEN, 1);
	raw_expect_closed(peer);
	free(body);
}

/* Without reading, which would let it end by itself. */
static void await_reset(int peer)
{
	struct pollfd p = { .fd = peer };

	must_eq(1, poll(&p, 1, PATIENCE_MS));
}

TEST_F(knobs, a_shorter_close_timeout_ends_what_is_closing)
{
	struct addr addr;
	int peer[3], s, i;

	/* Two that are closed. */
	for (i = 0; i < 2; i++)
		close(pub_with_a_rest(&addr, &peer[i]));
	/* And one that goes on, whose endpoint is removed. */
	s = pub_with_a_rest(&addr, &peer[2]);
	must(setsockopt(s, SOL_SP, SP_REMOVE, &addr.sa, addr.len));
	EXPECT_EQ(1, counter(s, sp_handshaking));

	/* Not yet over. */
	knob_write("close_timeout_ms", "20000");
	pass_ms(quiet_ms());
	EXPECT_EQ(1, counter(s, sp_handshaking));
	knob_write("close_timeout_ms", "0");
	for (i = 0; i < 3; i++)
		await_reset(peer[i]);
	for (i = 0; i < 3; i++)
		expect_reset(peer[i]);
	while (counter(s, sp_handshaking))
		pass_ms(1);
}

TEST_F(knobs, a_longer_close_timeout_lets_what_is_closing_go_on)
{
	struct addr addr;
	int peer;

	knob_write("close_timeout_ms", "1500");
	close(pub_with_a_rest(&addr, &peer));
	knob_write("close_timeout_ms", "600000");
	pass_ms(2000);
	expect_rest(peer);
}

TEST_F(knobs, less_close_mem_gives_up_what_is_closing)
{
	struct addr addr;
	int peer;

	close(pub_with_a_rest(&addr, &peer));
	knob_write("close_mem", "8000000");
	pass_ms(quiet_ms());
	knob_write("close_mem", "1000000");
	await_reset(peer);
	expect_reset(peer);
}

SP_TEST_MAIN
