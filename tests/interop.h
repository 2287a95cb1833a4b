/* SPDX-License-Identifier: GPL-2.0 */
/*
 * One plan for all foreign libraries: REQ against REP, PUB against SUB and PUSH
 * against PULL, in both directions and both orders, with bodies of every
 * interesting size, and with either side restarting.
 *
 * A program that includes this defines, before, THEIRS: the library.
 */
#ifndef SP_TESTS_INTEROP_H
#define SP_TESTS_INTEROP_H

#include "peer.h"

FIXTURE(interop)
{
	struct peer we, they;
	struct addr place;
};

FIXTURE_VARIANT(interop)
{
	int ours;
	bool we_bind;
	int family;
};

/* clang-format off */
#define VARIANT(name, type, bind, fam)             \
	FIXTURE_VARIANT_ADD(interop, name) {       \
		.ours = type, .we_bind = bind, .family = fam }
VARIANT(our_req_binds,    SOCK_REQ, true,  AF_INET);
VARIANT(our_req_connects, SOCK_REQ, false, AF_INET);
VARIANT(our_rep_binds,    SOCK_REP, true,  AF_INET);
VARIANT(our_rep_connects, SOCK_REP, false, AF_INET);
VARIANT(our_pub_binds,    SOCK_PUB, true,  AF_INET);
VARIANT(our_pub_connects, SOCK_PUB, false, AF_INET);
VARIANT(our_sub_binds,    SOCK_SUB, true,  AF_INET);
VARIANT(our_sub_connects, SOCK_SUB, false, AF_INET);
VARIANT(our_push_binds,    SOCK_PUSH, true,  AF_INET);
VARIANT(our_push_connects, SOCK_PUSH, false, AF_INET);
VARIANT(our_pull_binds,    SOCK_PULL, true,  AF_INET);
VARIANT(our_pull_connects, SOCK_PULL, false, AF_INET);
#ifndef THEIRS_ARE_FAR
VARIANT(our_req_binds_v6, SOCK_REQ, true,  AF_INET6);
VARIANT(our_sub_connects_v6, SOCK_SUB, false, AF_INET6);
#endif
/* clang-format on */

/* A side appears, for the first time or again, at the same address. */
static void enter(struct peer *p, const struct library *library, int type,
		  bool bind, const struct addr *place)
{
	*p = peer_open(library, type);
	if (type == SOCK_SUB)
		peer_subscribe(p, LIT(""));
	if (bind)
		peer_listen(p, place);
	else
		peer_dial(p, place);
}

static void we_enter(FIXTURE_DATA(interop) *self,
		     const FIXTURE_VARIANT(interop) *variant)
{
	enter(&self->we, &ours, variant->ours, variant->we_bind, &self->place);
}

static void they_enter(FIXTURE_DATA(interop) *self,
		       const FIXTURE_VARIANT(interop) *variant)
{
	enter(&self->they, &THEIRS, peer_type(variant->ours),
	      !variant->we_bind, &self->place);
}

static struct addr place_for(const FIXTURE_VARIANT(interop) *variant)
{
	return variant->we_bind ? THEIRS.our_place(variant->family) :
				  THEIRS.own_place(variant->family);
}

FIXTURE_SETUP(interop)
{
	self->place = place_for(variant);
}

FIXTURE_TEARDOWN(interop)
{
	peer_close(&self->they);
	peer_close(&self->we);
}

/* Two messages where there are two directions. */
static void exchange(FIXTURE_DATA(interop) *self, int type, size_t len,
		     uint32_t seed)
{
	bool we_begin = type == SOCK_REQ || type == SOCK_PUB || type == SOCK_PUSH;
	struct peer *first = we_begin ? &self->we : &self->they;
	struct peer *second = we_begin ? &self->they : &self->we;

	carry(first, second, len, seed);
	if (type == SOCK_REQ || type == SOCK_REP)
		carry(second, first, len, seed + 100);
}

/* Also true of pipes that a restart of the other side is about to end. */
static void await_news(FIXTURE_DATA(interop) *self, int type)
{
	if (type == SOCK_PUB)
		await_heard(&self->we, &self->they, "greeting");
	if (type == SOCK_SUB)
		await_heard(&self->they, &self->we, "greeting");
}

/*
 * The libraries' limit is 1 MiB, and counts the four bytes of the id.
 * The largest comes last: nanomsg publishes nothing while it still sends.
 */
static const size_t sizes[] = { 0, 1, 2, 100, 65536, (1 << 20) - 4 };

TEST_F(interop, bodies_of_every_size)
{
	size_t i;

	we_enter(self, variant);
	they_enter(self, variant);
	if (variant->ours == SOCK_PUB)
		await_peers(self->we.id, 1);
	else
		await_news(self, variant->ours);

	for (i = 0; i < ARRAY_SIZE(sizes); i++)
		exchange(self, variant->ours, sizes[i], (uint32_t)i);

	EXPECT_EQ(1, counter(self->we.id, sp_pipe_ups));
	EXPECT_EQ(0, counter(self->we.id, sp_bad_greetings));
	EXPECT_EQ(0, counter(self->we.id, sp_rx_malformed));
	EXPECT_EQ(0, counter(self->we.id, sp_resends));
	EXPECT_EQ(0, counter(self->we.id, sp_tx_dropped));
}

TEST_F(interop, they_come_first)
{
	they_enter(self, variant);
	we_enter(self, variant);
	await_news(self, variant->ours);
	exchange(self, variant->ours, 10, 1);
	EXPECT_EQ(1, counter(self->we.id, sp_pipe_ups));
	EXPECT_EQ(0, counter(self->we.id, sp_bad_greetings));
}

/*
 * Their PUSH gives what it has to the one of us that has left, too, until it
 * notices, and that is lost. They send until something arrives; not before a
 * connection is there again, because a send while one breaks may crash nng.
 */
static void await_work(FIXTURE_DATA(interop) *self, uint32_t seed)
{
	int64_t deadline = patience(), next = 0;
	unsigned char *body, *got;
	size_t len;

	await_peers(self->we.id, 1);
	body = filler(10, seed);
	while (!(got = peer_try_recv(&self->we, &len))) {
		if (now_ms() >= next) {
			peer_send(&self->they, body, 10);
			next = now_ms() + 500;
		}
		tick(deadline, "work");
	}
	must_eq(10, len);
	must_be_filled(got, len, seed);
	free(got);
	free(body);
}

/* One of the two goes away and comes back at the same address, twice. */
static void restart(FIXTURE_DATA(interop) *self,
		    const FIXTURE_VARIANT(interop) *variant, bool ours)
{
	int i;

	we_enter(self, variant);
	they_enter(self, variant);
	for (i = 0;; i++) {
		if (ours && variant->ours == SOCK_PULL) {
			await_work(self, (uint32_t)i);
		} else {
			await_news(self, variant->ours);
			exchange(self, variant->ours, 10, (uint32_t)i);
		}
		if (i == 2)
			break;
		peer_close(ours ? &self->we : &self->they);
		if (ours) {
			we_enter(self, variant);
		} else {
			await_peers(self->we.id, 0);
			they_enter(self, variant);
		}
	}
	must_eq(0, counter(self->we.id, sp_bad_greetings));
	must_eq(0, counter(self->we.id, sp_rx_malformed));
}

TEST_F(interop, they_restart)
{
	restart(self, variant, false);
}

TEST_F(interop, we_restart)
{
	restart(self, variant, true);
}

/*
 * A request in the hands of a replier that restarts, or of a requester that
 * does.
 */
FIXTURE(outstanding)
{
	FIXTURE_DATA(interop) both;
	struct peer *req, *rep;
	bool we_ask;
};

FIXTURE_VARIANT(outstanding)
{
	FIXTURE_VARIANT(interop) both;
};

/* clang-format off */
#define OUTSTANDING(name, type, bind)                             \
	FIXTURE_VARIANT_ADD(outstanding, name) { .both = {        \
		.ours = type, .we_bind = bind,                    \
		.family = AF_INET } }
OUTSTANDING(our_req_binds,    SOCK_REQ, true);
OUTSTANDING(our_req_connects, SOCK_REQ, false);
OUTSTANDING(our_rep_binds,    SOCK_REP, true);
OUTSTANDING(our_rep_connects, SOCK_REP, false);
/* clang-format on */

FIXTURE_SETUP(outstanding)
{
	self->both.place = place_for(&variant->both);
	we_enter(&self->both, &variant->both);
	they_enter(&self->both, &variant->both);
	self->we_ask = variant->both.ours == SOCK_REQ;
	self->req = self->we_ask ? &self->both.we : &self->both.they;
	self->rep = self->we_ask ? &self->both.they : &self->both.we;
	peer_send(self->req, LIT("question"));
	peer_expect(self->rep, LIT("question"));
}

FIXTURE_TEARDOWN(outstanding)
{
	peer_close(&self->both.they);
	peer_close(&self->both.we);
}

/*
 * The same request comes again, long before any resend interval (a minute) is
 * over.
 */
TEST_F(outstanding, request_survives_a_restart_of_its_replier)
{
	FIXTURE_DATA(interop) *both = &self->both;

	peer_close(self->rep);
	if (self->we_ask)
		they_enter(both, &variant->both);
	else
		we_enter(both, &variant->both);
	peer_expect(self->rep, LIT("question"));
	peer_send(self->rep, LIT("answer"));
	peer_expect(self->req, LIT("answer"));
	if (self->we_ask)
		EXPECT_LE(1, counter(self->req->id, sp_resends));
	/* Nothing of it is left. */
	exchange(both, variant->both.ours, 10, 1);
}

TEST_F(outstanding, reply_to_a_requester_that_left_goes_nowhere)
{
	FIXTURE_DATA(interop) *both = &self->both;

	peer_close(self->req);
	if (!self->we_ask)
		await_peers(self->rep->id, 0);
	peer_send(self->rep, LIT("answer"));
	if (self->we_ask)
		we_enter(both, &variant->both);
	else
		they_enter(both, &variant->both);
	exchange(both, variant->both.ours, 10, 1);
}

#endif
