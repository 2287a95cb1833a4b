// SPDX-License-Identifier: GPL-2.0
/*
 * An SP listener among ordinary ones (SO_REUSEPORT): connections that nobody has
 * accepted yet go to the others when it stops, and come from them, with what
 * their listener had set. And an SP listener that is stopped from outside.
 *
 * How it unloads after that is in module.c.
 */
#include "sptest.h"

#include <fcntl.h>
#include <linux/errqueue.h>
#include <linux/net_tstamp.h>
#include <sys/stat.h>

/* The state of the first listener that /proc/net/sp has for this socket. */
#define expect_listener(s, state) AT(expect_listener_((s), (state)))
static void expect_listener_(int s, const char *state)
{
	char *line = NULL, key[32], seen[64] = "";
	bool ours = false;
	size_t cap = 0;
	struct stat st;
	FILE *f;

	must_(fstat(s, &st), "fstat");
	snprintf(key, sizeof(key), "%lu ", (unsigned long)st.st_ino);
	f = fopen("/proc/self/net/sp", "r");
	must_be(f);
	while (getline(&line, &cap, f) > 0) {
		if (line[0] != ' ')
			ours = !strncmp(line, key, strlen(key));
		else if (ours &&
			 sscanf(line, "  listener %*s - %63s", seen) == 1)
			break;
	}
	free(line);
	fclose(f);
	if (strcmp(seen, state))
		die("the listener is %s, not %s", seen, state);
}

TEST(what_moves_away_is_heard_there)
{
	struct moved m;

	group_move(&m, NULL);
	group_expect_heard(&m);
}

TEST(what_moves_away_from_a_destroyed_listener)
{
	struct moved m;
	int s;

	group_move(&m, &s);
	group_expect_heard(&m);
	close(s);
}

/*
 * Connections of an ordinary listener that come to an SP one.
 */
FIXTURE(stranger)
{
	int rep, peer;
};

FIXTURE_VARIANT(stranger)
{
	void (*set)(int l);
};

static void set_int(int s, int level, int name, int value)
{
	must(setsockopt(s, level, name, &value, sizeof(value)));
}

static void set_rcvlowat(int l)
{
	sol_set(l, SO_RCVLOWAT, 4096);
}

static void set_cork(int l)
{
	set_int(l, IPPROTO_TCP, TCP_CORK, 1);
}

static void set_linger(int l)
{
	const struct linger linger = { 1, 60 };

	must(setsockopt(l, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)));
}

/* All that would queue errors, which nobody takes. */
static void set_errors(int l)
{
	sol_set(l, SO_TIMESTAMPING,
		SOF_TIMESTAMPING_TX_SCHED | SOF_TIMESTAMPING_TX_SOFTWARE |
		SOF_TIMESTAMPING_TX_ACK | SOF_TIMESTAMPING_SOFTWARE);
	sol_set(l, SO_WIFI_STATUS, 1);
	set_int(l, IPPROTO_IP, IP_RECVERR, 1);
}

static void set_everything(int l)
{
	set_errors(l);
	set_linger(l);
	set_cork(l);
	set_rcvlowat(l);
	sol_set(l, SO_ZEROCOPY, 1);
	sol_set(l, SO_OOBINLINE, 1);
	sol_set(l, SO_PEEK_OFF, 3);
}

/* clang-format off */
FIXTURE_VARIANT_ADD(stranger, rcvlowat) { .set = set_rcvlowat };
FIXTURE_VARIANT_ADD(stranger, cork) { .set = set_cork };
FIXTURE_VARIANT_ADD(stranger, linger) { .set = set_linger };
FIXTURE_VARIANT_ADD(stranger, errors) { .set = set_errors };
FIXTURE_VARIANT_ADD(stranger, everything) { .set = set_everything };
/* clang-format on */

FIXTURE_SETUP(stranger)
{
	struct addr addr = nowhere(AF_INET);
	int l;

	group_may_migrate();
	l = group_listen(&addr);
	variant->set(l);
	self->peer = raw_connect(&addr);
	self->rep = group_sp_bind(SOCK_REP, &addr);
	close(l);
	raw_greet(self->peer, SOCK_REQ);
	raw_expect_greeting(self->peer, SOCK_REP);
	await_peers(self->rep, 1);
}

FIXTURE_TEARDOWN(stranger)
{
	close(self->peer);
	close(self->rep);
}

/* A request and its reply, each smaller than what was to be waited for. */
TEST_F(stranger, becomes_a_peer_like_others)
{
	int i;

	for (i = 0; i < many(200); i++) {
		raw_frame(self->peer, LIT("\x80\0\0\1Q"));
		sp_expect(self->rep, LIT("Q"));
		sp_send(self->rep, LIT("R"));
		raw_expect_frame(self->peer, LIT("\x80\0\0\1R"));
	}
	/* Nothing of ours is queued up for nobody. */
	EXPECT_EQ(0, diag_other_end(self->peer).rmem);
	/* On by default, though its listener had it off. */
	EXPECT_LE(0, diag_other_end(self->peer).keepalive_ms);
}

/*
 * The peer breaks the protocol while a reply to it is stuck: the connection is
 * closed with bytes unsent, and nobody waits for it.
 */
TEST_F(stranger, is_closed_at_once)
{
	static const struct linger reset = { 1, 0 };
	static char buf[1 << 20];
	int64_t start;

	raw_frame(self->peer, LIT("\x80\0\0\1Q"));
	sp_expect(self->rep, LIT("Q"));
	sp_send(self->rep, buf, sizeof(buf));
	start = now_ms();
	/* Above SP_RCVMAXSIZE. */
	raw_header(self->peer, 1ULL << 40);
	await_counter(self->rep, sp_rx_oversize, 1);
	while (counter(self->rep, sp_handshaking))
		pass_ms(1);
	/* Asks for what closing would hold. */
	EXPECT_EQ(1, counter(self->rep, sp_listeners));
	EXPECT_GE(AT_ONCE_MS, now_ms() - start);
	must(setsockopt(self->peer, SOL_SOCKET, SO_LINGER, &reset,
			sizeof(reset)));
}

/*
 * SOCK_DESTROY of a listener.
 */
TEST(destroyed_listener_is_said_to_be_closed)
{
	struct addr addr;
	int rep = sp_listener(SOCK_REP, &addr), req, fd;

	expect_listener(rep, "listening");
	diag_destroy(port_of(&addr), 0);
	expect_listener(rep, "closed");
	fd = (int)must(socket(AF_INET, SOCK_STREAM, 0));
	must_fail(ECONNREFUSED, connect(fd, &addr.sa, addr.len));
	must_fail(EINVAL, listen(rep, 5));
	expect_listener(rep, "closed");

	must(setsockopt(rep, SOL_SP, SP_REMOVE, &addr.sa, addr.len));
	must_eq(0, counter(rep, sp_listeners));
	must(bind(rep, &addr.sa, addr.len));
	expect_listener(rep, "listening");
	req = sp_dialer(SOCK_REQ, &addr);
	sp_round_trip(req, rep);

	/* And it closes. */
	diag_destroy(port_of(&addr), 0);
	close(rep);
	sol_set(fd, SO_REUSEADDR, 1);
	must(bind(fd, &addr.sa, addr.len));
}

/* Also where it was to accept just then: no work goes on trying. */
TEST(destroyed_listener_costs_nothing)
{
	struct addr addr;
	int rep = sp_listener(SOCK_REP, &addr), fd;
	struct works works;
	long before;

	works_hold(&works);
	fd = raw_connect(&addr);
	diag_destroy(port_of(&addr), 0);
	works_release(&works);
	raw_expect_closed(fd);
	pass_ms(2 * quiet_ms());
	before = works_switches();
	pass_ms(1000);
	EXPECT_GT(20, works_switches() - before);
	expect_listener(rep, "closed");
}

/* It counts as one that there is, and its peers stay. */
TEST(peers_of_a_destroyed_listener_stay)
{
	struct addr addr;
	int rep = sp_listener(SOCK_REP, &addr);
	int req = sp_dialer(SOCK_REQ, &addr);

	sp_round_trip(req, rep);
	diag_destroy(port_of(&addr), 0);
	sp_round_trip(req, rep);
	expect_listener(rep, "closed");
}

SP_TEST_MAIN
