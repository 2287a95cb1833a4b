/* SPDX-License-Identifier: GPL-2.0 */
/*
 * One socket, the hub, with a crowd of peers: three of theirs and two of ours.
 * The hub is ours or theirs.
 *
 * A program that includes this defines, before, THEIRS: the library, or, where
 * there are several, another for each use.
 */
#ifndef SP_TESTS_INTEROP_CROWD_H
#define SP_TESTS_INTEROP_CROWD_H

#include "peer.h"

#define CROWD 5
#define FIRST_OF_OURS 3

FIXTURE(crowd)
{
	struct peer hub, peer[CROWD];
};

FIXTURE_VARIANT(crowd)
{
	int type;
	bool ours;
};

/* clang-format off */
#define HUB(name, hub_type, hub_is_ours)         \
	FIXTURE_VARIANT_ADD(crowd, name) {       \
		.type = hub_type, .ours = hub_is_ours }
HUB(our_req, SOCK_REQ, true);
HUB(our_rep, SOCK_REP, true);
HUB(our_pub, SOCK_PUB, true);
HUB(our_sub, SOCK_SUB, true);
HUB(our_push, SOCK_PUSH, true);
HUB(our_pull, SOCK_PULL, true);
HUB(their_req, SOCK_REQ, false);
HUB(their_rep, SOCK_REP, false);
HUB(their_pub, SOCK_PUB, false);
HUB(their_sub, SOCK_SUB, false);
HUB(their_push, SOCK_PUSH, false);
HUB(their_pull, SOCK_PULL, false);
/* clang-format on */

/*
 * What the hub publishes, and which beginnings each subscriber wants. No empty
 * message: where topics begin differently, nanomsg looks beyond its end.
 */
static const char *const news[] = {
	"alpha", "alpine", "beta", "al", "gamma", "alp", "b", "a",
};
static const char *const topics[CROWD] = { "alp", "b", "g", "al", "alpha" };

/* And by what each knows that it is heard, or that it hears. */
static const char *const greetings[CROWD] = { "!0", "!1", "!2", "!3", "!4" };

FIXTURE_SETUP(crowd)
{
	const struct library *library;
	struct addr place;
	size_t i;

	library = &THEIRS;
	place = variant->ours ? library->our_place(AF_INET) :
				library->own_place(AF_INET);
	self->hub = peer_open(variant->ours ? &ours : library, variant->type);
	peer_listen(&self->hub, &place);
	for (i = 0; i < CROWD; i++) {
		library = i < FIRST_OF_OURS ? &THEIRS : &ours;
		self->peer[i] = peer_open(library, peer_type(variant->type));
		if (variant->type == SOCK_PUB) {
			peer_subscribe(&self->peer[i], topics[i],
				       strlen(topics[i]));
			peer_subscribe(&self->peer[i], greetings[i], 2);
		}
		peer_dial(&self->peer[i], &place);
	}
	if (variant->type == SOCK_SUB) {
		peer_subscribe(&self->hub, LIT("yes"));
		peer_subscribe(&self->hub, LIT("!"));
	}
	if (variant->ours)
		await_peers(self->hub.id, CROWD);
	for (i = FIRST_OF_OURS; i < CROWD; i++)
		await_peers(self->peer[i].id, 1);
}

FIXTURE_TEARDOWN(crowd)
{
	size_t i;

	for (i = 0; i < CROWD; i++)
		peer_close(&self->peer[i]);
	peer_close(&self->hub);
}

/* A question to any, an answer from the one that got it: which. */
static size_t ask_anyone(FIXTURE_DATA(crowd) *self, unsigned char number)
{
	unsigned char *question, answer[2] = { number };
	size_t who, len;

	peer_send(&self->hub, &number, 1);
	who = await_any(self->peer, CROWD, &question, &len);
	must_eq(1, len);
	must_eq(number, question[0]);
	free(question);
	answer[1] = (unsigned char)who;
	peer_send(&self->peer[who], answer, 2);
	peer_expect(&self->hub, answer, 2);
	return who;
}

static void hub_asks(FIXTURE_DATA(crowd) *self, bool in_turn)
{
	size_t served[CROWD] = { 0 }, order[2 * CROWD], i;

	for (i = 0; i < 2 * CROWD; i++) {
		order[i] = ask_anyone(self, (unsigned char)i);
		served[order[i]]++;
	}
	if (!in_turn)
		return;
	for (i = 0; i < CROWD; i++) {
		must_eq(2, served[i]);
		must_eq(order[i], order[i + CROWD]);
	}
}

/* Whoever has a request leaves with it; another gets it. */
static void replier_leaves(FIXTURE_DATA(crowd) *self)
{
	unsigned char *question;
	size_t who, next, len;

	peer_send(&self->hub, LIT("who?"));
	who = await_any(self->peer, CROWD, &question, &len);
	free(question);
	peer_close(&self->peer[who]);
	self->peer[who] = peer_open(&ours, SOCK_REP);
	next = await_any(self->peer, CROWD, &question, &len);
	must_be(next != who);
	must_eq(4, len);
	must_be(!memcmp(question, "who?", 4));
	free(question);
	peer_send(&self->peer[next], LIT("me"));
	peer_expect(&self->hub, LIT("me"));
}

/* All ask at once and each gets the answer to its own question. */
static void crowd_asks(FIXTURE_DATA(crowd) *self)
{
	unsigned char *body;
	size_t round, i, len;

	for (round = 0; round < 3; round++) {
		for (i = 0; i < CROWD; i++) {
			body = filler(10 + i, (uint32_t)(round * CROWD + i));
			peer_send(&self->peer[i], body, 10 + i);
			free(body);
		}
		for (i = 0; i < CROWD; i++) {
			body = peer_recv(&self->hub, &len);
			peer_send(&self->hub, body, len);
			free(body);
		}
		for (i = 0; i < CROWD; i++) {
			body = peer_recv(&self->peer[i], &len);
			must_eq(10 + i, len);
			must_be_filled(body, len,
				       (uint32_t)(round * CROWD + i));
			free(body);
		}
	}
}

/* Each subscriber gets what it wants, all of it, in order. */
static void hub_publishes(FIXTURE_DATA(crowd) *self, bool hub_is_ours)
{
	size_t i, k;

	for (i = 0; i < CROWD && !hub_is_ours; i++)
		await_heard(&self->hub, &self->peer[i], greetings[i]);
	for (k = 0; k < ARRAY_SIZE(news); k++)
		peer_send(&self->hub, news[k], strlen(news[k]));
	for (i = 0; i < CROWD; i++) {
		peer_send(&self->hub, greetings[i], 2);
		for (k = 0; k < ARRAY_SIZE(news); k++)
			if (!strncmp(news[k], topics[i], strlen(topics[i])))
				peer_expect(&self->peer[i], news[k],
					    strlen(news[k]));
		/* And nothing else. */
		peer_expect(&self->peer[i], greetings[i], 2);
	}
}

/* All publish; the hub gets what it wants of each, in the order of each. */
static void crowd_publishes(FIXTURE_DATA(crowd) *self)
{
	unsigned char next[CROWD] = { 0 };
	unsigned char *body;
	size_t i, k, len;

	for (i = 0; i < CROWD; i++)
		await_heard(&self->peer[i], &self->hub, greetings[i]);
	for (k = 0; k < 3; k++)
		for (i = 0; i < CROWD; i++) {
			char yes[] = { 'y', 'e', 's', (char)i, (char)k };

			peer_send(&self->peer[i], LIT("no"));
			peer_send(&self->peer[i], yes, sizeof(yes));
		}
	for (k = 0; k < 3 * CROWD; k++) {
		body = peer_recv(&self->hub, &len);
		must_eq(5, len);
		must_be(!memcmp(body, "yes", 3) && body[3] < CROWD);
		must_eq(next[body[3]], body[4]);
		next[body[3]]++;
		free(body);
	}
}

/* Each message gets to somebody, in turn if all were there from the first. */
static void hub_pushes(FIXTURE_DATA(crowd) *self, bool in_turn)
{
	size_t served[CROWD] = { 0 }, i, who, len;
	unsigned char *body, number;

	for (i = 0; i < 2 * CROWD; i++) {
		number = (unsigned char)i;
		peer_send(&self->hub, &number, 1);
		who = await_any(self->peer, CROWD, &body, &len);
		must_eq(1, len);
		must_eq(number, body[0]);
		free(body);
		served[who]++;
	}
	for (i = 0; i < CROWD && in_turn; i++)
		must_eq(2, served[i]);
}

/* All push; the hub gets all of it, in the order of each. */
static void crowd_pushes(FIXTURE_DATA(crowd) *self)
{
	unsigned char next[CROWD] = { 0 };
	unsigned char *body;
	size_t i, k, len;

	for (k = 0; k < 3; k++)
		for (i = 0; i < CROWD; i++) {
			char work[] = { (char)i, (char)k };

			peer_send(&self->peer[i], work, sizeof(work));
		}
	for (k = 0; k < 3 * CROWD; k++) {
		body = peer_recv(&self->hub, &len);
		must_eq(2, len);
		must_be(body[0] < CROWD);
		must_eq(next[body[0]], body[1]);
		next[body[0]]++;
		free(body);
	}
}

TEST_F(crowd, everyone_is_served)
{
	struct sp_info info;

	switch (variant->type) {
	case SOCK_REQ:
		hub_asks(self, variant->ours);
		replier_leaves(self);
		break;
	case SOCK_REP:
		crowd_asks(self);
		break;
	case SOCK_PUB:
		hub_publishes(self, variant->ours);
		break;
	case SOCK_SUB:
		crowd_publishes(self);
		break;
	case SOCK_PUSH:
		hub_pushes(self, variant->ours);
		break;
	case SOCK_PULL:
		crowd_pushes(self);
		break;
	}
	if (!variant->ours)
		return;
	info = sp_info(self->hub.id);
	EXPECT_EQ(CROWD, info.sp_pipe_ups);
	EXPECT_EQ(variant->type == SOCK_REQ ? 1 : 0, info.sp_resends);
	EXPECT_EQ(variant->type == SOCK_SUB ? 3 * CROWD : 0,
		  info.sp_rx_filtered);
	EXPECT_EQ(0, info.sp_rx_stale);
	EXPECT_EQ(0, info.sp_tx_dropped);
}

#endif
