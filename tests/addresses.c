// SPDX-License-Identifier: GPL-2.0
/*
 * Which endpoint an address names: SP_REMOVE.
 */
#include "sptest.h"

#include <arpa/inet.h>

static struct addr v6(const char *text, int port, uint32_t flowinfo,
		      uint32_t scope)
{
	struct addr a = loopback(AF_INET6, port);

	must_be(inet_pton(AF_INET6, text, &a.in6.sin6_addr) == 1);
	a.in6.sin6_flowinfo = htonl(flowinfo);
	a.in6.sin6_scope_id = scope;
	return a;
}

static struct addr v4(const char *text, int port)
{
	struct addr a = loopback(AF_INET, port);

	must_be(inet_pton(AF_INET, text, &a.in.sin_addr) == 1);
	return a;
}

static int remove_endpoint(int s, const struct addr *a)
{
	return setsockopt(s, SOL_SP, SP_REMOVE, &a->sa, a->len);
}

TEST(of_two_dialers_the_last_is_removed)
{
	struct addr addr;
	int l = raw_listen(&addr), sub = sp_open(SOCK_SUB), peer[3], i;

	/* One after the other, so that it is known whose is whose. */
	for (i = 0; i < 3; i++) {
		sp_connect(sub, &addr);
		peer[i] = raw_peer_accept(SOCK_PUB, l);
		await_peers(sub, i + 1);
	}
	for (i = 2; i >= 0; i--) {
		must(remove_endpoint(sub, &addr));
		EXPECT_EQ(i, counter(sub, sp_dialers));
		raw_expect_closed(peer[i]);
		await_peers(sub, i);
	}
	must_fail(ENOENT, remove_endpoint(sub, &addr));
}

TEST(a_listener_and_a_dialer_are_two)
{
	struct addr addr;
	int s, i;

	for (i = 0; i < 2; i++) {
		s = sp_open(SOCK_SUB);
		addr = nowhere(AF_INET);
		if (i)
			sp_connect(s, &addr);
		must(bind(s, &addr.sa, addr.len));
		if (!i)
			sp_connect(s, &addr);
		/* The one that was added last, then the other one. */
		must(remove_endpoint(s, &addr));
		EXPECT_EQ(i, counter(s, sp_dialers));
		EXPECT_EQ(!i, counter(s, sp_listeners));
		must(remove_endpoint(s, &addr));
		EXPECT_EQ(0, counter(s, sp_dialers));
		EXPECT_EQ(0, counter(s, sp_listeners));
		must_fail(ENOENT, remove_endpoint(s, &addr));
		close(s);
	}
}

/*
 * What is connected to and what is removed, and whether these are the same.
 */
TEST(addresses_are_compared_as_the_kernel_uses_them)
{
	const int port = 5577;
	const struct {
		struct addr dialed, removed;
		bool same;
	} row[] = {
		{ v6("::1", port, 5, 7), v6("::1", port, 0, 0), true },
		{ v6("::1", port, 0, 0), v6("::1", port, 5, 7), true },
		{ v6("::1", port, 0, 0), v6("::1", port + 1, 0, 0), false },
		{ v6("::1", port, 0, 0), v6("::2", port, 0, 0), false },
		{ v6("::1", port, 0, 0), v4("127.0.0.1", port), false },
		{ v6("::ffff:127.0.0.1", port, 1, 2), v4("127.0.0.1", port),
		  true },
		{ v4("127.0.0.1", port), v6("::ffff:127.0.0.1", port, 0, 0),
		  true },
		{ v4("127.0.0.1", port), v6("::127.0.0.1", port, 0, 0), false },
		{ v4("127.0.0.1", port), v4("127.0.0.2", port), false },
		{ v6("fe80::1", port, 3, 1), v6("fe80::1", port, 0, 1), true },
		{ v6("fe80::1", port, 0, 1), v6("fe80::1", port, 0, 2), false },
		{ v6("fe80::1", port, 0, 1), v6("fe80::1", port, 0, 0), false },
	};
	int s = sp_open(SOCK_SUB);
	size_t i;

	for (i = 0; i < ARRAY_SIZE(row); i++) {
		int err;

		sp_connect(s, &row[i].dialed);
		err = remove_endpoint(s, &row[i].removed) ? errno : 0;
		EXPECT_EQ(row[i].same ? 0 : ENOENT, err) TH_LOG("row %zu", i);
		EXPECT_EQ(!row[i].same, counter(s, sp_dialers))
			TH_LOG("row %zu", i);
		/* What connect() was given always is the same. */
		if (!row[i].same)
			must(remove_endpoint(s, &row[i].dialed));
		must_eq(0, counter(s, sp_dialers));
	}
}

TEST(listeners_are_removed_by_what_getsockname_gives)
{
	static const char *const text[] = { "::1", "::", "::ffff:127.0.0.1" };
	struct addr a, bound, mapped;
	int s = sp_open(SOCK_REP);
	size_t i;

	for (i = 0; i < ARRAY_SIZE(text); i++) {
		a = v6(text[i], 0, 5, 7);
		must(bind(s, &a.sa, a.len));
		bound.len = sizeof(bound.storage);
		must(getsockname(s, &bound.sa, &bound.len));
		must_fail(ENOENT, remove_endpoint(s, &a));
		must(remove_endpoint(s, &bound));
		EXPECT_EQ(0, counter(s, sp_listeners));
	}
	/* And v4 by its mapped form. */
	a = sp_bind(s, AF_INET);
	mapped = v6("::ffff:127.0.0.1", port_of(&a), 0, 0);
	must(remove_endpoint(s, &mapped));
	EXPECT_EQ(0, counter(s, sp_listeners));
}

SP_TEST_MAIN
