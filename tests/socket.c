// SPDX-License-Identifier: GPL-2.0
/*
 * Making SP sockets and giving them endpoints: socket(), bind(), connect(),
 * their names and their errors; and one exchange in every combination of
 * pattern, order, family and blocking.
 */
#include "sptest.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/un.h>

TEST(types_and_protocols)
{
	static const struct {
		int type, protocol, err;
	} row[] = {
		{ SOCK_REQ, 0, 0 },
		{ SOCK_REP, 0, 0 },
		{ SOCK_PUB, 0, 0 },
		{ SOCK_SUB, 0, 0 },
		{ SOCK_PUSH, 0, 0 },
		{ SOCK_PULL, 0, 0 },
		{ SOCK_REQ, IPPROTO_TCP, 0 },
		{ SOCK_REP, IPPROTO_TCP, 0 },
		{ SOCK_PUB, IPPROTO_TCP, 0 },
		{ SOCK_SUB, IPPROTO_TCP, 0 },
		{ SOCK_PUSH, IPPROTO_TCP, 0 },
		{ SOCK_PULL, IPPROTO_TCP, 0 },
		{ SOCK_REQ, IPPROTO_UDP, EPROTONOSUPPORT },
		{ SOCK_SUB, IPPROTO_MPTCP, EPROTONOSUPPORT },
		{ SOCK_REP, 1, EPROTONOSUPPORT },
		/* Not yet implemented, or never. */
		{ 0, 0, ESOCKTNOSUPPORT },
		{ SOCK_PAIR, 0, ESOCKTNOSUPPORT },
		{ SOCK_SURVEYOR, 0, ESOCKTNOSUPPORT },
		{ SOCK_BUS, 0, ESOCKTNOSUPPORT },
		{ SOCK_RESPONDENT, 0, ESOCKTNOSUPPORT },
		/* Refused by the socket layer, for every family. */
		{ SOCK_RESPONDENT + 1, 0, EINVAL },
		{ 15, 0, EINVAL },
		{ SOCK_REQ | 0x10, 0, EINVAL },
		{ -1, 0, EINVAL },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(row); i++) {
		int s = socket(PF_SP, row[i].type, row[i].protocol);
		int err = s < 0 ? errno : 0;

		EXPECT_EQ(row[i].err, err)
			TH_LOG("socket(PF_SP, %d, %d)", row[i].type,
			       row[i].protocol);
		if (s >= 0)
			close(s);
	}
}

TEST(flags)
{
	int plain = sp_open(SOCK_REQ);
	int both = sp_open(SOCK_REQ | SOCK_NONBLOCK | SOCK_CLOEXEC);

	EXPECT_EQ(0, fcntl(plain, F_GETFL) & O_NONBLOCK);
	EXPECT_EQ(0, fcntl(plain, F_GETFD) & FD_CLOEXEC);
	EXPECT_EQ(O_NONBLOCK, fcntl(both, F_GETFL) & O_NONBLOCK);
	EXPECT_EQ(FD_CLOEXEC, fcntl(both, F_GETFD) & FD_CLOEXEC);
}

TEST(domain_and_type_read_back)
{
	static const int types[] = { SOCK_REQ, SOCK_REP,  SOCK_PUB,
				     SOCK_SUB, SOCK_PUSH, SOCK_PULL };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(types); i++) {
		int s = sp_open(types[i]), value;
		socklen_t len = sizeof(value);

		must(getsockopt(s, SOL_SOCKET, SO_DOMAIN, &value, &len));
		EXPECT_EQ(AF_SP, value);
		must(getsockopt(s, SOL_SOCKET, SO_TYPE, &value, &len));
		EXPECT_EQ(types[i], value);
		EXPECT_EQ(types[i], counter(s, sp_type));
		close(s);
	}
}

/* What bind() and connect() refuse for its form, whoever may listen there. */
struct bad_form {
	int family;
	socklen_t len;
	int err;
};

static const struct bad_form bad_forms[] = {
	{ AF_UNIX, sizeof(struct sockaddr_un), EAFNOSUPPORT },
	{ AF_SP, sizeof(struct sockaddr_in), EAFNOSUPPORT },
	{ AF_INET, 0, EINVAL },
	{ AF_INET, 1, EINVAL },
	{ AF_INET, sizeof(struct sockaddr_in) - 1, EINVAL },
	{ AF_INET6, sizeof(struct sockaddr_in), EINVAL },
};

TEST(addresses_refused_for_their_form)
{
	int s = sp_open(SOCK_SUB);
	struct addr zero;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bad_forms); i++) {
		const struct bad_form *bad = &bad_forms[i];
		struct addr a = loopback(bad->family == AF_INET6 ? AF_INET6 :
								   AF_INET,
					 5577);

		a.sa.sa_family = (sa_family_t)bad->family;
		EXPECT_EQ(-1, bind(s, &a.sa, bad->len));
		EXPECT_EQ(bad->err, errno) TH_LOG("bind, row %zu", i);
		EXPECT_EQ(-1, connect(s, &a.sa, bad->len));
		EXPECT_EQ(bad->err, errno) TH_LOG("connect, row %zu", i);
	}
	zero = loopback(AF_INET, 0);
	must_fail(EINVAL, connect(s, &zero.sa, zero.len));
	zero = loopback(AF_INET6, 0);
	must_fail(EINVAL, connect(s, &zero.sa, zero.len));
	must_fail(EFAULT, bind(s, (void *)8, zero.len));

	EXPECT_EQ(0, counter(s, sp_listeners));
	EXPECT_EQ(0, counter(s, sp_dialers));
}

TEST(bind_errors)
{
	int s = sp_open(SOCK_REP), other = sp_open(SOCK_PUB), tcp;
	struct addr taken = sp_bind(s, AF_INET), foreign, by_tcp;

	must_fail(EADDRINUSE, bind(other, &taken.sa, taken.len));
	must_fail(EADDRINUSE, bind(s, &taken.sa, taken.len));
	tcp = raw_listen(&by_tcp);
	must_fail(EADDRINUSE, bind(other, &by_tcp.sa, by_tcp.len));
	close(tcp);

	foreign = loopback(AF_INET, 5577);
	foreign.in.sin_addr.s_addr = htonl(0xc0000201); /* 192.0.2.1 */
	must_fail(EADDRNOTAVAIL, bind(other, &foreign.sa, foreign.len));
	foreign = loopback(AF_INET6, 5577);
	foreign.in6.sin6_addr.s6_addr[15] = 2; /* ::2 */
	must_fail(EADDRNOTAVAIL, bind(other, &foreign.sa, foreign.len));
	EXPECT_EQ(0, counter(other, sp_listeners));
	/* A refused bind() leaves the socket as it was. */
	sp_bind(other, AF_INET);
}

TEST(bind_low_port)
{
	struct addr low = loopback(AF_INET, 80);
	int s = sp_open(SOCK_REP);
	pid_t pid;

	must(bind(s, &low.sa, low.len));
	close(s);

	pid = (pid_t)must(fork());
	if (pid == 0) {
		must(setresgid(65534, 65534, 65534));
		must(setresuid(65534, 65534, 65534));
		s = sp_open(SOCK_REP);
		must_fail(EACCES, bind(s, &low.sa, low.len));
		sp_bind(s, AF_INET);
		_exit(0);
	}
	child_join(pid);
}

TEST(connect_never_reports_routes_or_peers)
{
	int s = sp_open(SOCK_SUB);
	struct addr a = nowhere(AF_INET);

	sp_set(s, SP_RECONNECT_IVL, 10);
	sp_connect(s, &a);
	a = nowhere(AF_INET6);
	sp_connect(s, &a);
	/* No route, in a namespace that has only loopback. */
	a.in6.sin6_addr.s6_addr[0] = 0x20;
	sp_connect(s, &a);
	a = loopback(AF_INET, 5577);
	a.in.sin_addr.s_addr = htonl(0xc0000201);
	sp_connect(s, &a);
	EXPECT_EQ(4, counter(s, sp_dialers));
	EXPECT_EQ(0, sp_get(s, SP_PEERS));
	await_counter(s, sp_reconnects, 8);
}

TEST(connect_unspec_removes_dialers)
{
	struct sockaddr unspec = { .sa_family = AF_UNSPEC };
	struct addr addr, own;
	int pub = sp_listener(SOCK_PUB, &addr);
	int sub = sp_open(SOCK_SUB), other;

	own = sp_bind(sub, AF_INET);
	sp_connect(sub, &addr);
	sp_connect(sub, &addr);
	await_peers(pub, 2);
	await_peers(sub, 2);
	must(connect(sub, &unspec, sizeof(unspec)));
	await_peers(sub, 0);
	await_peers(pub, 0);
	EXPECT_EQ(0, counter(sub, sp_dialers));
	/* Listeners stay, and new dialers may come. */
	EXPECT_EQ(1, counter(sub, sp_listeners));
	other = sp_dialer(SOCK_PUB, &own);
	await_peers(other, 1);
	sp_connect(sub, &addr);
	await_peers(pub, 1);
}

TEST(remove_one_endpoint)
{
	struct addr addr[2], own;
	int pub[2], sub = sp_open(SOCK_SUB), again, i;

	own = sp_bind(sub, AF_INET);
	for (i = 0; i < 2; i++) {
		pub[i] = sp_listener(SOCK_PUB, &addr[i]);
		sp_connect(sub, &addr[i]);
		await_peers(pub[i], 1);
	}
	if (setsockopt(sub, SOL_SP, SP_REMOVE, &addr[0].sa, addr[0].len) < 0 &&
	    errno == ENOPROTOOPT)
		SKIP(return, "SP_REMOVE is not implemented yet");
	await_peers(pub[0], 0);
	EXPECT_EQ(1, sp_get(pub[1], SP_PEERS));
	EXPECT_EQ(1, counter(sub, sp_dialers));

	must(setsockopt(sub, SOL_SP, SP_REMOVE, &own.sa, own.len));
	EXPECT_EQ(0, counter(sub, sp_listeners));
	again = sp_open(SOCK_PUB);
	must(bind(again, &own.sa, own.len));
	EXPECT_EQ(1, sp_get(pub[1], SP_PEERS));
}

TEST(getsockname_gives_the_last_bound)
{
	static const int families[] = { AF_INET, AF_INET6, AF_INET };
	int s = sp_open(SOCK_REP);
	struct addr a = { .len = sizeof(a.storage) }, zero = { .len = 0 };
	size_t i;

	memset(&a.storage, 0xee, sizeof(a.storage));
	must(getsockname(s, &a.sa, &a.len));
	EXPECT_EQ(sizeof(struct sockaddr_in), a.len);
	zero.in.sin_family = AF_INET;
	EXPECT_EQ(0, memcmp(&zero.in, &a.in, sizeof(a.in)));

	for (i = 0; i < ARRAY_SIZE(families); i++) {
		struct addr bound = sp_bind(s, families[i]);
		struct addr any = loopback(families[i], 0);

		EXPECT_EQ(any.len, bound.len);
		EXPECT_EQ(families[i], bound.sa.sa_family);
		EXPECT_LT(0, port_of(&bound));
		/* But for the port, it is the address that bind() was given. */
		any = loopback(families[i], port_of(&bound));
		EXPECT_EQ(0, memcmp(&any.storage, &bound.storage, any.len));
	}
	EXPECT_EQ(3, counter(s, sp_listeners));
}

TEST(getpeername_with_exactly_one_peer)
{
	struct addr addr, own = { .len = sizeof(own.storage) };
	struct addr peer = { .len = sizeof(peer.storage) };
	int pub = sp_listener(SOCK_PUB, &addr), one, two;

	must_fail(ENOTCONN, getpeername(pub, &peer.sa, &peer.len));
	one = raw_peer(SOCK_SUB, &addr);
	await_peers(pub, 1);
	must(getpeername(pub, &peer.sa, &peer.len));
	must(getsockname(one, &own.sa, &own.len));
	EXPECT_EQ(own.len, peer.len);
	EXPECT_EQ(0, memcmp(&own.in, &peer.in, sizeof(own.in)));

	two = raw_peer(SOCK_SUB, &addr);
	await_peers(pub, 2);
	must_fail(ENOTCONN, getpeername(pub, &peer.sa, &peer.len));
	close(two);
	await_peers(pub, 1);
	must(getpeername(pub, &peer.sa, &peer.len));
}

TEST(many_endpoints_in_any_mix)
{
	static const int families[] = { AF_INET, AF_INET6 };
	int sub = sp_open(SOCK_SUB), pub[4];
	struct addr addr;
	char body[] = "0";
	int i;

	subscribe(sub, "", 0);
	for (i = 0; i < 4; i++) {
		pub[i] = sp_open(SOCK_PUB);
		if (i < 2) {
			addr = sp_bind(sub, families[i & 1]);
			sp_connect(pub[i], &addr);
		} else {
			addr = sp_bind(pub[i], families[i & 1]);
			sp_connect(sub, &addr);
		}
		await_peers(pub[i], 1);
	}
	await_peers(sub, 4);
	EXPECT_EQ(2, counter(sub, sp_listeners));
	EXPECT_EQ(2, counter(sub, sp_dialers));
	for (i = 0; i < 4; i++) {
		body[0] = (char)('0' + i);
		sp_send(pub[i], body, 1);
		sp_expect(sub, body, 1);
	}
}

TEST(same_address_twice_is_two_dialers)
{
	struct addr addr;
	int pub = sp_listener(SOCK_PUB, &addr);
	int sub = sp_dialer(SOCK_SUB, &addr);

	subscribe(sub, "", 0);
	sp_connect(sub, &addr);
	await_peers(pub, 2);
	await_peers(sub, 2);
	sp_send(pub, LIT("x"));
	sp_expect(sub, LIT("x"));
	sp_expect(sub, LIT("x"));
}

TEST(connect_before_the_listener_exists)
{
	struct addr addr = nowhere(AF_INET);
	int req = sp_open(SOCK_REQ), rep;

	sp_set(req, SP_RECONNECT_IVL, 20);
	sp_connect(req, &addr);
	await_counter(req, sp_reconnects, 1);
	rep = sp_open(SOCK_REP);
	must(bind(rep, &addr.sa, addr.len));
	sp_round_trip(req, rep);
}

TEST(listener_restarts)
{
	struct addr addr;
	int rep = sp_listener(SOCK_REP, &addr);
	int req = sp_dialer(SOCK_REQ, &addr);
	int i;

	for (i = 0; i < 3; i++) {
		sp_round_trip(req, rep);
		/* The port is free as soon as close() returns. */
		close(rep);
		rep = sp_open(SOCK_REP);
		must(bind(rep, &addr.sa, addr.len));
	}
	sp_round_trip(req, rep);
	EXPECT_LE(3, counter(req, sp_reconnects));
}

TEST(ipv6_wildcard_serves_both_families)
{
	struct addr addr = wildcard(AF_INET6, 0), peer;
	int rep = sp_open(SOCK_REP), v4, v6;

	must(bind(rep, &addr.sa, addr.len));
	must(getsockname(rep, &addr.sa, &addr.len));
	peer = loopback(AF_INET, port_of(&addr));
	v4 = sp_dialer(SOCK_REQ, &peer);
	peer = loopback(AF_INET6, port_of(&addr));
	v6 = sp_dialer(SOCK_REQ, &peer);
	sp_round_trip(v4, rep);
	sp_round_trip(v6, rep);
}

/* Who comes over IPv4 to such a listener has an IPv6 address all the same. */
TEST(ipv4_peers_of_an_ipv6_wildcard_are_mapped)
{
	struct addr addr = wildcard(AF_INET6, 0), peer;
	struct addr from = { .len = sizeof(from.storage) };
	int rep = sp_open(SOCK_REP), req;
	char c;

	must(bind(rep, &addr.sa, addr.len));
	must(getsockname(rep, &addr.sa, &addr.len));
	peer = loopback(AF_INET, port_of(&addr));
	req = sp_dialer(SOCK_REQ, &peer);
	sp_send(req, LIT("?"));
	must_eq(1, recvfrom(rep, &c, 1, 0, &from.sa, &from.len));
	EXPECT_EQ(sizeof(from.in6), from.len);
	EXPECT_EQ(AF_INET6, from.sa.sa_family);
	EXPECT_TRUE(IN6_IS_ADDR_V4MAPPED(&from.in6.sin6_addr));
	from.len = sizeof(from.storage);
	must(getpeername(rep, &from.sa, &from.len));
	EXPECT_EQ(AF_INET6, from.sa.sa_family);
	EXPECT_TRUE(IN6_IS_ADDR_V4MAPPED(&from.in6.sin6_addr));
}

TEST(listen_is_optional)
{
	struct addr addr;
	int rep = sp_open(SOCK_REP), req;

	must(listen(rep, 5));
	addr = sp_bind(rep, AF_INET);
	must(listen(rep, 200));
	req = sp_dialer(SOCK_REQ, &addr);
	sp_round_trip(req, rep);
}

TEST(not_of_this_family)
{
	struct addr addr;
	int rep = sp_listener(SOCK_REP, &addr), fd[2], value;

	must_fail(EOPNOTSUPP, accept(rep, NULL, NULL));
	must_fail(EOPNOTSUPP, accept4(rep, NULL, NULL, SOCK_NONBLOCK));
	must_fail(EOPNOTSUPP, socketpair(PF_SP, SOCK_REQ, 0, fd));
	must_fail(ENOTTY, ioctl(rep, 0x5401 /* TCGETS */, &value));
	must_be(mmap(NULL, 4096, PROT_READ, MAP_SHARED, rep, 0) == MAP_FAILED);
	must_fail(ESPIPE, lseek(rep, 0, SEEK_SET));
}

/*
 * One exchange, in every combination.
 */
FIXTURE(exchange)
{
	int bound, connected;
};

FIXTURE_VARIANT(exchange)
{
	int binds, connects, family, flags;
};

#define VARIANT(name, a, b, fam, fl)                       \
	FIXTURE_VARIANT_ADD(exchange, name) {              \
		.binds = a, .connects = b, .family = fam, .flags = fl }

/* clang-format off */
VARIANT(rep_binds_v4_blocking,    SOCK_REP, SOCK_REQ, AF_INET,  0);
VARIANT(rep_binds_v4_nonblocking, SOCK_REP, SOCK_REQ, AF_INET,  SOCK_NONBLOCK);
VARIANT(rep_binds_v6_blocking,    SOCK_REP, SOCK_REQ, AF_INET6, 0);
VARIANT(rep_binds_v6_nonblocking, SOCK_REP, SOCK_REQ, AF_INET6, SOCK_NONBLOCK);
VARIANT(req_binds_v4_blocking,    SOCK_REQ, SOCK_REP, AF_INET,  0);
VARIANT(req_binds_v4_nonblocking, SOCK_REQ, SOCK_REP, AF_INET,  SOCK_NONBLOCK);
VARIANT(req_binds_v6_blocking,    SOCK_REQ, SOCK_REP, AF_INET6, 0);
VARIANT(req_binds_v6_nonblocking, SOCK_REQ, SOCK_REP, AF_INET6, SOCK_NONBLOCK);
VARIANT(pub_binds_v4_blocking,    SOCK_PUB, SOCK_SUB, AF_INET,  0);
VARIANT(pub_binds_v4_nonblocking, SOCK_PUB, SOCK_SUB, AF_INET,  SOCK_NONBLOCK);
VARIANT(pub_binds_v6_blocking,    SOCK_PUB, SOCK_SUB, AF_INET6, 0);
VARIANT(pub_binds_v6_nonblocking, SOCK_PUB, SOCK_SUB, AF_INET6, SOCK_NONBLOCK);
VARIANT(sub_binds_v4_blocking,    SOCK_SUB, SOCK_PUB, AF_INET,  0);
VARIANT(sub_binds_v4_nonblocking, SOCK_SUB, SOCK_PUB, AF_INET,  SOCK_NONBLOCK);
VARIANT(sub_binds_v6_blocking,    SOCK_SUB, SOCK_PUB, AF_INET6, 0);
VARIANT(sub_binds_v6_nonblocking, SOCK_SUB, SOCK_PUB, AF_INET6, SOCK_NONBLOCK);
/* clang-format on */

FIXTURE_SETUP(exchange)
{
	struct addr addr;

	self->bound = sp_open(variant->binds | variant->flags);
	self->connected = sp_open(variant->connects | variant->flags);
	addr = sp_bind(self->bound, variant->family);
	sp_connect(self->connected, &addr);
}

FIXTURE_TEARDOWN(exchange)
{
	close(self->bound);
	close(self->connected);
}

/* From one to the other; a non-blocking socket is polled first. */
static void pass(int from, int to, bool poll_first, const char *body)
{
	if (poll_first)
		await_out(from);
	sp_send(from, body, strlen(body));
	if (poll_first)
		await_in(to);
	sp_expect(to, body, strlen(body));
}

TEST_F(exchange, several)
{
	bool poll_first = variant->flags & SOCK_NONBLOCK;
	bool reqrep = variant->binds == SOCK_REQ ||
		      variant->connects == SOCK_REQ;
	bool asks = variant->binds == SOCK_REQ || variant->binds == SOCK_PUB;
	int from = asks ? self->bound : self->connected;
	int to = asks ? self->connected : self->bound;
	int i;

	if (reqrep && poll_first) {
		/* Nothing has happened yet, and nothing waits for it to. */
		must_fail(EBADFD, recv(from, NULL, 0, 0));
		must_fail(EAGAIN, recv(to, NULL, 0, 0));
	}
	if (!reqrep) {
		subscribe(to, LIT(""));
		await_peers(from, 1);
	}
	for (i = 0; i < 3; i++) {
		pass(from, to, poll_first, "question");
		if (reqrep)
			pass(to, from, poll_first, "answer");
	}
	EXPECT_EQ(3, counter(from, sp_tx_msgs));
	EXPECT_EQ(3 * strlen("question"), counter(to, sp_rx_bytes));
	EXPECT_EQ(1, sp_get(from, SP_PEERS));
	EXPECT_EQ(1, sp_get(to, SP_PEERS));
}

SP_TEST_MAIN
