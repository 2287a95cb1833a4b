// SPDX-License-Identifier: GPL-2.0
/*
 * Which endpoint an address names: SP_REMOVE, and link-local addresses.
 */
#include "sptest.h"

#include <arpa/inet.h>
#include <linux/ipv6.h>
#include <net/if.h>
#include <sys/ioctl.h>

#define LO "lo"

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

static void bind_to_device(int fd, const char *name)
{
	must(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name,
			(socklen_t)strlen(name)));
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

/* What a TCP socket bound to @device says to this address. */
static int tcp_connect_errno(const char *device, const struct addr *a)
{
	int fd = (int)must(socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0));
	int err;

	bind_to_device(fd, device);
	err = connect(fd, &a->sa, a->len) ? errno : 0;
	close(fd);
	return err;
}

static int tcp_bind_errno(const char *device, const struct addr *a)
{
	int fd = (int)must(socket(AF_INET6, SOCK_STREAM, 0)), err;

	bind_to_device(fd, device);
	err = bind(fd, &a->sa, a->len) ? errno : 0;
	close(fd);
	return err;
}

/* Moves to a namespace in which the loopback interface has fe80::1. */
static void enter_link_local(void)
{
	struct in6_ifreq request = {
		.ifr6_ifindex = (int)if_nametoindex(LO),
		.ifr6_prefixlen = 64,
	};
	int64_t deadline = patience();
	struct addr a;
	int fd;

	netns_enter_new();
	fd = (int)must(socket(AF_INET6, SOCK_DGRAM, 0));
	must_be(inet_pton(AF_INET6, "fe80::1", &request.ifr6_addr) == 1);
	must(ioctl(fd, SIOCSIFADDR, &request));
	close(fd);
	a = v6("fe80::1", 0, 0, if_nametoindex(LO));
	/* It cannot be used at once. */
	while (tcp_bind_errno("", &a) == EADDRNOTAVAIL)
		tick(deadline, "fe80::1");
}

TEST(link_local_without_a_scope_is_refused_as_by_tcp)
{
	const uint32_t lo = if_nametoindex(LO);
	const struct {
		const char *device, *text;
		uint32_t scope;
		bool refused;
	} row[] = {
		{ "", "fe80::1", 0, true },
		{ "", "febf::1", 0, true },
		{ "", "fe80::1", lo, false },
		/* An interface that may come. */
		{ "", "fe80::1", lo + 1000, false },
		{ "", "fec0::1", 0, false },
		{ "", "fd00::1", 0, false },
		{ LO, "fe80::1", 0, false },
		{ LO, "fe80::1", lo, false },
		{ LO, "fe80::1", lo + 1000, true },
	};
	size_t i;

	enter_link_local();
	for (i = 0; i < ARRAY_SIZE(row); i++) {
		struct addr a = v6(row[i].text, 5577, 0, row[i].scope);
		int s = sp_open(SOCK_SUB), err;

		/* The rows are right about TCP. */
		err = tcp_connect_errno(row[i].device, &a);
		EXPECT_EQ(row[i].refused, err == EINVAL)
			TH_LOG("TCP, row %zu: %d", i, err);

		bind_to_device(s, row[i].device);
		err = connect(s, &a.sa, a.len) ? errno : 0;
		EXPECT_EQ(row[i].refused ? EINVAL : 0, err)
			TH_LOG("connect, row %zu", i);
		EXPECT_EQ(!row[i].refused, counter(s, sp_dialers));
		err = remove_endpoint(s, &a) ? errno : 0;
		EXPECT_EQ(row[i].refused ? ENOENT : 0, err)
			TH_LOG("remove, row %zu", i);
		EXPECT_EQ(0, counter(s, sp_dialers));

		err = tcp_bind_errno(row[i].device, &a);
		EXPECT_EQ(err, bind(s, &a.sa, a.len) ? errno : 0)
			TH_LOG("bind, row %zu", i);
		/* Nothing is left of what was refused. */
		EXPECT_EQ(!err, counter(s, sp_listeners));
		while (counter(s, sp_handshaking))
			pass_ms(1);
		close(s);
	}
}

TEST(link_local_without_a_scope_means_the_device)
{
	const uint32_t lo = if_nametoindex(LO);
	struct addr a = v6("fe80::1", 0, 0, 0), bound;
	int rep, req;

	enter_link_local();
	rep = sp_open(SOCK_REP);
	req = sp_open(SOCK_REQ);
	must_fail(EINVAL, bind(rep, &a.sa, a.len));
	bind_to_device(rep, LO);
	must(bind(rep, &a.sa, a.len));
	bound.len = sizeof(bound.storage);
	must(getsockname(rep, &bound.sa, &bound.len));
	EXPECT_EQ(lo, bound.in6.sin6_scope_id);

	a.in6.sin6_port = bound.in6.sin6_port;
	must_fail(EINVAL, connect(req, &a.sa, a.len));
	bind_to_device(req, LO);
	sp_connect(req, &a);
	sp_round_trip(req, rep);

	/* With or without it: the same endpoint. */
	must(remove_endpoint(req, &bound));
	must(remove_endpoint(rep, &a));
	EXPECT_EQ(0, counter(req, sp_dialers));
	EXPECT_EQ(0, counter(rep, sp_listeners));
	await_peers(rep, 0);

	/* What was connected to is not another address when the device is. */
	sp_connect(req, &a);
	bind_to_device(req, "");
	must(remove_endpoint(req, &a));
	must_fail(EINVAL, connect(req, &a.sa, a.len));
}

SP_TEST_MAIN
