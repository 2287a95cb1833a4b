// SPDX-License-Identifier: GPL-2.0
/*
 * Our sockets through devices: what forwards between two raw sockets of
 * nanomsg or nng, one or two in a row.
 *
 *	REQ, REQ, REQ ---> device [---> device] <--- REP, REP, REP
 *	PUB, PUB      ---> device [---> device] <--- SUB, SUB
 *
 * Each device is a process, killed when the test ends.
 */
#include "sptest.h"

#include "peer.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#define DEVICES 2
#define SIDE 3

FIXTURE(device)
{
	pid_t device[DEVICES];
	/* Where the clients and the servers meet the devices. */
	struct addr front, back;
	int tags;
};

FIXTURE_VARIANT(device)
{
	const struct library *chain[DEVICES];
	/* Else clients and servers bind, and the devices dial them. */
	bool binds;
};

/* clang-format off */
FIXTURE_VARIANT_ADD(device, nanomsg) { { &nanomsg }, true };
FIXTURE_VARIANT_ADD(device, nng) { { &nng }, true };
FIXTURE_VARIANT_ADD(device, nanomsg_dials) { { &nanomsg }, false };
FIXTURE_VARIANT_ADD(device, nng_dials) { { &nng }, false };
FIXTURE_VARIANT_ADD(device, nanomsg_nanomsg) { { &nanomsg, &nanomsg }, true };
FIXTURE_VARIANT_ADD(device, nng_nng) { { &nng, &nng }, true };
FIXTURE_VARIANT_ADD(device, nanomsg_nng) { { &nanomsg, &nng }, true };
FIXTURE_VARIANT_ADD(device, nng_nanomsg) { { &nng, &nanomsg }, true };
/* clang-format on */

FIXTURE_SETUP(device)
{
	self->front = nowhere(AF_INET);
	self->back = nowhere(AF_INET);
	self->tags = 1;
}

FIXTURE_TEARDOWN(device)
{
	size_t i;

	for (i = 0; i < DEVICES && self->device[i]; i++) {
		kill(self->device[i], SIGKILL);
		must(waitpid(self->device[i], NULL, 0));
	}
}

struct side {
	int type;
	struct addr place;
	bool binds;
};

static int raw_end(const struct library *library, const struct side *side)
{
	struct peer p = { library, library->open_raw(side->type) };

	if (side->binds)
		peer_listen(&p, &side->place);
	else
		peer_dial(&p, &side->place);
	return p.id;
}

/* Before this process has used a library itself: they do not survive fork(). */
static pid_t device_start(const struct library *library,
			  const struct side *front, const struct side *back)
{
	pid_t parent = getpid(), pid = (pid_t)must(fork());
	int end, other;

	if (pid)
		return pid;
	must(prctl(PR_SET_PDEATHSIG, SIGKILL));
	if (getppid() != parent)
		_exit(1);
	end = raw_end(library, front);
	other = raw_end(library, back);
	library->device(end, other);
	die("the device has ended");
}

/* Devices that take what @type sends to its peers. */
static void build(FIXTURE_DATA(device) *self,
		  const FIXTURE_VARIANT(device) *variant, int type)
{
	struct side front = { peer_type(type), self->front, variant->binds };
	struct side back = { type, self->back, variant->binds };
	struct side before, after;

	if (!variant->chain[1]) {
		self->device[0] = device_start(variant->chain[0], &front,
					       &back);
		self->tags = 2;
		return;
	}
	after = (struct side){ peer_type(type), nowhere(AF_INET), true };
	before = (struct side){ type, after.place, false };
	self->device[0] = device_start(variant->chain[0], &front, &before);
	self->device[1] = device_start(variant->chain[1], &after, &back);
	self->tags = 3;
}

/* A client or a server. */
static struct peer join(const struct library *library, int type,
			const FIXTURE_VARIANT(device) *variant,
			const struct addr *place)
{
	struct peer p = peer_open(library, type);

	if (variant->binds)
		peer_dial(&p, place);
	else
		peer_listen(&p, place);
	return p;
}

static void close_all(struct peer *peers, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		peer_close(&peers[i]);
}

/* Several of ours, and the last of the device's library. */
static size_t side_join(struct peer *peers, int type,
			const FIXTURE_VARIANT(device) *variant,
			const struct addr *place)
{
	size_t n = variant->binds ? SIDE : 1, i;

	for (i = 0; i < n; i++)
		peers[i] = join(i == SIDE - 1 ? variant->chain[0] : &ours, type,
				variant, place);
	for (i = 0; i < n && peers[i].library == &ours; i++)
		await_peers(peers[i].id, 1);
	return n;
}

TEST_F(device, replies_find_their_way_back)
{
	static const size_t sizes[] = { 0, 1, 100, 65536 };
	struct peer req[SIDE], rep[SIDE];
	size_t n, i, k, round, who, len;
	unsigned char *body;

	build(self, variant, SOCK_REQ);
	n = side_join(rep, SOCK_REP, variant, &self->back);
	side_join(req, SOCK_REQ, variant, &self->front);

	for (round = 0; round < ARRAY_SIZE(sizes); round++) {
		len = sizes[round];
		/* All are on their way at once. */
		for (i = 0; i < n; i++) {
			body = filler(len + i, (uint32_t)i);
			peer_send(&req[i], body, len + i);
			free(body);
		}
		for (k = 0; k < n; k++) {
			who = await_any(rep, n, &body, &len);
			peer_send(&rep[who], body, len);
			free(body);
		}
		for (i = 0; i < n; i++) {
			body = peer_recv(&req[i], &len);
			must_eq(sizes[round] + i, len);
			must_be_filled(body, len, (uint32_t)i);
			free(body);
		}
	}
	for (i = 0; i < n && rep[i].library == &ours; i++) {
		EXPECT_EQ(0, counter(rep[i].id, sp_rx_malformed));
		EXPECT_EQ(0, counter(rep[i].id, sp_rx_ttl));
		EXPECT_EQ(0, counter(rep[i].id, sp_tx_dropped));
		EXPECT_EQ(0, counter(req[i].id, sp_rx_stale));
		EXPECT_EQ(0, counter(req[i].id, sp_rx_malformed));
	}
	close_all(req, n);
	close_all(rep, n);
}

/* Each device adds a tag, and SP_MAXTTL counts them. */
TEST_F(device, tags_beyond_the_limit_are_refused)
{
	struct peer req, rep;

	build(self, variant, SOCK_REQ);
	rep = join(&ours, SOCK_REP, variant, &self->back);
	req = join(&ours, SOCK_REQ, variant, &self->front);
	sp_set(rep.id, SP_MAXTTL, self->tags - 1);
	peer_send(&req, LIT("too far"));
	await_counter(rep.id, sp_rx_ttl, 1);
	sp_expect_nothing(rep.id);

	sp_set(rep.id, SP_MAXTTL, self->tags);
	peer_send(&req, LIT("just so"));
	peer_expect(&rep, LIT("just so"));
	peer_send(&rep, LIT("and back"));
	peer_expect(&req, LIT("and back"));
	EXPECT_EQ(1, counter(rep.id, sp_rx_ttl));
	EXPECT_EQ(0, counter(rep.id, sp_rx_malformed));
	peer_close(&req);
	peer_close(&rep);
}

static const char *const greetings[SIDE] = { "!0", "!1", "!2" };

TEST_F(device, news_reach_whom_they_interest)
{
	struct peer pub[SIDE], sub[SIDE];
	size_t n, i, k;

	build(self, variant, SOCK_PUB);
	n = side_join(pub, SOCK_PUB, variant, &self->front);
	n = side_join(sub, SOCK_SUB, variant, &self->back);
	for (i = 0; i < n; i++) {
		peer_subscribe(&sub[i], i == 0 ? "al" : "be", 2);
		peer_subscribe(&sub[i], greetings[i], 2);
		for (k = 0; k < n; k++)
			await_heard(&pub[k], &sub[i], greetings[i]);
	}
	for (k = 0; k < n; k++) {
		peer_send(&pub[k], LIT("gamma"));
		peer_send(&pub[k], LIT("beta"));
		peer_send(&pub[k], LIT("alpha"));
		for (i = 0; i < n; i++)
			if (i == 0)
				peer_expect(&sub[i], LIT("alpha"));
			else
				peer_expect(&sub[i], LIT("beta"));
	}
	close_all(pub, n);
	close_all(sub, n);
}

SP_TEST_MAIN
