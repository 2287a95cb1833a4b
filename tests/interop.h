/* SPDX-License-Identifier: GPL-2.0 */
/*
 * One plan for all foreign libraries: REQ against REP and PUB against SUB, in
 * both directions and both orders, with bodies of every interesting size.
 *
 * A program that includes this defines, before, `struct foreign` (a socket of
 * the library) and these functions, which fail loudly and never block for ever:
 */
#ifndef SP_TESTS_INTEROP_H
#define SP_TESTS_INTEROP_H

static void foreign_open(struct foreign *f, int type);
static void foreign_listen(struct foreign *f, const char *url);
static void foreign_dial(struct foreign *f, const char *url);
static void foreign_subscribe(struct foreign *f, const char *topic);
static void foreign_send(struct foreign *f, const void *body, size_t len);
/* Receives a message of exactly this length; the caller frees it. */
static unsigned char *foreign_recv(struct foreign *f, size_t len);
static void foreign_close(struct foreign *f);

FIXTURE(interop)
{
	int s;
	struct foreign f;
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
VARIANT(our_req_binds_v6, SOCK_REQ, true,  AF_INET6);
VARIANT(our_sub_connects_v6, SOCK_SUB, false, AF_INET6);
/* clang-format on */

static void url_of(char *url, size_t cap, const struct addr *a)
{
	snprintf(url, cap,
		 a->sa.sa_family == AF_INET6 ? "tcp://[::1]:%d" :
					       "tcp://127.0.0.1:%d",
		 port_of(a));
}

FIXTURE_SETUP(interop)
{
	struct addr addr;
	char url[64];

	self->s = sp_open(variant->ours);
	foreign_open(&self->f, peer_type(variant->ours));
	if (variant->we_bind) {
		addr = sp_bind(self->s, variant->family);
		url_of(url, sizeof(url), &addr);
		foreign_dial(&self->f, url);
	} else {
		addr = nowhere(variant->family);
		url_of(url, sizeof(url), &addr);
		foreign_listen(&self->f, url);
		sp_connect(self->s, &addr);
	}
}

FIXTURE_TEARDOWN(interop)
{
	foreign_close(&self->f);
	close(self->s);
}

/*
 * The libraries' limit is 1 MiB, as ours, and counts the four bytes of the id.
 * The last byte of a topic and the message before it make no difference.
 */
static const size_t sizes[] = { 0, 1, 2, 100, 65536, (1 << 20) - 4 };

static void ours_to_theirs(int s, struct foreign *f, size_t len, uint32_t seed)
{
	unsigned char *body;

	sp_send_filled(s, len, seed);
	body = foreign_recv(f, len);
	must_be_filled(body, len, seed);
	free(body);
}

static void theirs_to_ours(struct foreign *f, int s, size_t len, uint32_t seed)
{
	unsigned char *body = filler(len, seed);

	foreign_send(f, body, len);
	free(body);
	sp_expect_filled(s, len, seed);
}

/*
 * A publisher drops what it publishes before the pipe is up. Ours tells; of
 * theirs we know it when the first greeting gets through. Later ones must not
 * be mistaken for what is tested, so their topic is then given up.
 */
static void await_their_publisher(struct foreign *f, int s)
{
	int64_t deadline = patience();
	char c;

	subscribe(s, LIT("greeting"));
	do {
		foreign_send(f, "greeting", 8);
		tick(deadline, "the foreign publisher to be heard");
	} while (recv(s, &c, 1, MSG_DONTWAIT) < 0);
	unsubscribe(s, LIT("greeting"));
	subscribe(s, LIT(""));
	foreign_send(f, "end", 3);
	while (must(recv(s, &c, 1, MSG_TRUNC)) != 3)
		;
}

TEST_F(interop, bodies_of_every_size)
{
	size_t i, len;
	uint32_t seed;

	if (variant->ours == SOCK_PUB) {
		foreign_subscribe(&self->f, "");
		await_peers(self->s, 1);
	}
	if (variant->ours == SOCK_SUB)
		await_their_publisher(&self->f, self->s);

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		len = sizes[i];
		seed = (uint32_t)i;
		switch (variant->ours) {
		case SOCK_REQ:
			ours_to_theirs(self->s, &self->f, len, seed);
			theirs_to_ours(&self->f, self->s, len, seed + 100);
			break;
		case SOCK_REP:
			theirs_to_ours(&self->f, self->s, len, seed);
			ours_to_theirs(self->s, &self->f, len, seed + 100);
			break;
		case SOCK_PUB:
			ours_to_theirs(self->s, &self->f, len, seed);
			break;
		case SOCK_SUB:
			theirs_to_ours(&self->f, self->s, len, seed);
			break;
		}
	}
	EXPECT_EQ(1, counter(self->s, sp_pipe_ups));
	EXPECT_EQ(0, counter(self->s, sp_bad_greetings));
	EXPECT_EQ(0, counter(self->s, sp_rx_malformed));
	EXPECT_EQ(0, counter(self->s, sp_resends));
}

/* Either side goes away and comes back at the same address. */
TEST(restart)
{
	struct addr addr;
	int req = sp_listener(SOCK_REQ, &addr), i;
	struct foreign f;
	char url[64];

	url_of(url, sizeof(url), &addr);
	foreign_open(&f, SOCK_REP);
	foreign_dial(&f, url);
	for (i = 0; i < 2; i++) {
		ours_to_theirs(req, &f, 10, 1);
		theirs_to_ours(&f, req, 20, 2);
		foreign_close(&f);
		await_peers(req, 0);
		foreign_open(&f, SOCK_REP);
		foreign_dial(&f, url);
	}
	for (i = 0; i < 2; i++) {
		ours_to_theirs(req, &f, 10, 1);
		theirs_to_ours(&f, req, 20, 2);
		close(req);
		req = sp_open(SOCK_REQ);
		must(bind(req, &addr.sa, addr.len));
	}
	ours_to_theirs(req, &f, 10, 1);
	foreign_close(&f);
}

#endif
