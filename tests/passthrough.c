// SPDX-License-Identifier: GPL-2.0
/*
 * Options of SOL_SOCKET, IPPROTO_TCP, IPPROTO_IP and IPPROTO_IPV6: they read
 * back, and the TCP sockets follow: those that are there and those to come.
 */
#include "sptest.h"

#include <limits.h>
#include <linux/filter.h>
#include <net/if.h>

/* <linux/in.h> and <linux/tcp.h> have more than the C library. */
#ifndef IP_LOCAL_PORT_RANGE
#define IP_LOCAL_PORT_RANGE 51
#endif
#ifndef SO_BINDTOIFINDEX
#define SO_BINDTOIFINDEX 62
#endif
#ifndef TCP_NOTSENT_LOWAT
#define TCP_NOTSENT_LOWAT 25
#endif

static int get_int(int s, int level, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);

	must(getsockopt(s, level, name, &value, &len));
	must_eq(sizeof(value), len);
	return value;
}

static void set_int(int s, int level, int name, int value)
{
	must(setsockopt(s, level, name, &value, sizeof(value)));
}

/*
 * What can be seen of an option from outside, on connections and listeners.
 */
FIXTURE(follow)
{
	int family;
};

FIXTURE_VARIANT(follow)
{
	int level, name;
	const char *text; /* the value, or else */
	int number;
	int family;
	bool (*seen)(const struct diag *d);
	bool on_listeners;
};

static bool tos_is_set(const struct diag *d)
{
	return d->tos == 0x48;
}

static bool tclass_is_set(const struct diag *d)
{
	return d->tclass == 0x48;
}

static bool mark_is_set(const struct diag *d)
{
	return d->mark == 0x1234;
}

static bool device_is_loopback(const struct diag *d)
{
	return d->ifindex == (int)if_nametoindex("lo");
}

static bool congestion_is_reno(const struct diag *d)
{
	return strcmp(d->congestion, "reno") == 0;
}

static bool keepalive_is_soon(const struct diag *d)
{
	return d->keepalive_ms > 0 && d->keepalive_ms <= 100000;
}

static bool keepalive_is_off(const struct diag *d)
{
	return d->keepalive_ms == -1;
}

/* clang-format off */
FIXTURE_VARIANT_ADD(follow, tos) {
	.level = IPPROTO_IP, .name = IP_TOS, .number = 0x48,
	.family = AF_INET, .seen = tos_is_set, .on_listeners = true,
};
FIXTURE_VARIANT_ADD(follow, tclass) {
	.level = IPPROTO_IPV6, .name = IPV6_TCLASS, .number = 0x48,
	.family = AF_INET6, .seen = tclass_is_set, .on_listeners = true,
};
FIXTURE_VARIANT_ADD(follow, mark) {
	.level = SOL_SOCKET, .name = SO_MARK, .number = 0x1234,
	.family = AF_INET, .seen = mark_is_set, .on_listeners = true,
};
FIXTURE_VARIANT_ADD(follow, device) {
	.level = SOL_SOCKET, .name = SO_BINDTODEVICE, .text = "lo",
	.family = AF_INET, .seen = device_is_loopback, .on_listeners = true,
};
FIXTURE_VARIANT_ADD(follow, device_v6) {
	.level = SOL_SOCKET, .name = SO_BINDTODEVICE, .text = "lo",
	.family = AF_INET6, .seen = device_is_loopback, .on_listeners = true,
};
FIXTURE_VARIANT_ADD(follow, congestion) {
	.level = IPPROTO_TCP, .name = TCP_CONGESTION, .text = "reno",
	.family = AF_INET, .seen = congestion_is_reno, .on_listeners = true,
};
FIXTURE_VARIANT_ADD(follow, keepidle) {
	.level = IPPROTO_TCP, .name = TCP_KEEPIDLE, .number = 100,
	.family = AF_INET, .seen = keepalive_is_soon,
};
FIXTURE_VARIANT_ADD(follow, keepalive_off) {
	.level = SOL_SOCKET, .name = SO_KEEPALIVE, .number = 0,
	.family = AF_INET, .seen = keepalive_is_off,
};
/* clang-format on */

FIXTURE_SETUP(follow)
{
	self->family = variant->family;
}

FIXTURE_TEARDOWN(follow)
{
}

static void follow_set(const FIXTURE_VARIANT(follow) *v, int s)
{
	if (v->text)
		must(setsockopt(s, v->level, v->name, v->text,
				(socklen_t)strlen(v->text)));
	else
		set_int(s, v->level, v->name, v->number);
}

static void follow_reads_back(const FIXTURE_VARIANT(follow) *v, int s)
{
	char text[16] = "";
	socklen_t len = sizeof(text);

	if (!v->text) {
		must_eq(v->number, get_int(s, v->level, v->name));
		return;
	}
	must(getsockopt(s, v->level, v->name, text, &len));
	must_be(strcmp(text, v->text) == 0);
}

/* Everything that a socket has: a listener and a connection of each kind. */
struct ends {
	struct addr bound, remote;
	int l, accepted, dialed;
};

static void ends_add(int s, int family, struct ends *e)
{
	int peers = sp_get(s, SP_PEERS);

	e->bound = sp_bind(s, family);
	e->accepted = raw_peer(SOCK_PUB, &e->bound);
	e->l = raw_listen_on(family, &e->remote);
	sp_connect(s, &e->remote);
	e->dialed = raw_peer_accept(SOCK_PUB, e->l);
	await_peers(s, peers + 2);
}

static void ends_show(const FIXTURE_VARIANT(follow) *v, struct ends *e,
		      bool expected)
{
	struct diag d;

	d = diag_other_end(e->accepted);
	must_eq(expected, v->seen(&d));
	d = diag_other_end(e->dialed);
	must_eq(expected, v->seen(&d));
	must_be(diag_find(&d, port_of(&e->bound), 0));
	if (v->on_listeners)
		must_eq(expected, v->seen(&d));
}

TEST_F(follow, present_and_future)
{
	int s = sp_open(SOCK_SUB);
	struct ends before, after;
	struct diag d;

	sp_set(s, SP_RECONNECT_IVL, 1);
	ends_add(s, self->family, &before);
	ends_show(variant, &before, false);

	follow_set(variant, s);
	follow_reads_back(variant, s);
	ends_show(variant, &before, true);

	ends_add(s, self->family, &after);
	ends_show(variant, &after, true);
	follow_reads_back(variant, s);

	/* The same dialer, again; and one more at the same listener. */
	close(before.dialed);
	before.dialed = raw_peer_accept(SOCK_PUB, before.l);
	close(before.accepted);
	before.accepted = raw_peer(SOCK_PUB, &before.bound);
	ends_show(variant, &before, true);

	/* Another socket has nothing to do with it. */
	close(s);
	s = sp_open(SOCK_SUB);
	ends_add(s, self->family, &after);
	d = diag_other_end(after.dialed);
	EXPECT_FALSE(variant->seen(&d));
}

/* A peer's view of how long our segments may be. */
static unsigned int mss_of(int fd)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);

	must(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len));
	return info.tcpi_snd_mss;
}

/* TCP itself forgets this one when it disconnects. */
TEST(maxseg_outlives_a_redial)
{
	int s = sp_open(SOCK_SUB), l, peer, i;
	struct addr addr;

	set_int(s, IPPROTO_TCP, TCP_MAXSEG, 700);
	EXPECT_EQ(700, get_int(s, IPPROTO_TCP, TCP_MAXSEG));
	sp_set(s, SP_RECONNECT_IVL, 1);
	l = raw_listen(&addr);
	sp_connect(s, &addr);
	for (i = 0; i < 3; i++) {
		peer = raw_peer_accept(SOCK_PUB, l);
		EXPECT_GE(700, mss_of(peer));
		close(peer);
	}
	addr = sp_bind(s, AF_INET);
	EXPECT_GE(700, mss_of(raw_peer(SOCK_PUB, &addr)));
}

/* Packets that a peer does not want: they begin with IP_TTL of 64. */
TEST(ttl_decides_who_is_reached)
{
	int s = sp_open(SOCK_SUB), l;
	struct addr addr;

	l = raw_listen(&addr);
	set_int(l, IPPROTO_IP, IP_MINTTL, 100);
	sp_set(s, SP_RECONNECT_IVL, 1);
	sp_connect(s, &addr);
	EXPECT_EQ(1, counter(s, sp_handshaking));
	expect_stays_not_in(l);
	EXPECT_EQ(64, get_int(s, IPPROTO_IP, IP_TTL));
	/* Present: the next SYN of the same attempt gets through. */
	set_int(s, IPPROTO_IP, IP_TTL, 200);
	raw_peer_accept(SOCK_PUB, l);
	await_peers(s, 1);
}

TEST(defaults)
{
	int s = sp_open(SOCK_REQ), tcp = (int)must(socket(AF_INET6,
							   SOCK_STREAM, 0));
	static const struct {
		int level, name;
	} as_tcp[] = {
		{ IPPROTO_TCP, TCP_KEEPIDLE },
		{ IPPROTO_TCP, TCP_KEEPINTVL },
		{ IPPROTO_TCP, TCP_KEEPCNT },
		{ IPPROTO_TCP, TCP_USER_TIMEOUT },
		{ IPPROTO_TCP, TCP_SYNCNT },
		{ IPPROTO_TCP, TCP_WINDOW_CLAMP },
		{ IPPROTO_IP, IP_TOS },
		{ IPPROTO_IP, IP_TTL },
		{ IPPROTO_IP, IP_MTU_DISCOVER },
		{ IPPROTO_IP, IP_MINTTL },
		{ IPPROTO_IP, IP_FREEBIND },
		{ IPPROTO_IP, IP_TRANSPARENT },
		{ IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT },
		{ IPPROTO_IPV6, IPV6_TCLASS },
		{ IPPROTO_IPV6, IPV6_UNICAST_HOPS },
		{ IPPROTO_IPV6, IPV6_MTU_DISCOVER },
		{ IPPROTO_IPV6, IPV6_MINHOPCOUNT },
		{ SOL_SOCKET, SO_PRIORITY },
		{ SOL_SOCKET, SO_MARK },
		{ SOL_SOCKET, SO_REUSEPORT },
		{ SOL_SOCKET, SO_DONTROUTE },
		{ SOL_SOCKET, SO_BINDTOIFINDEX },
	};
	size_t i;

	/* Ours. */
	EXPECT_EQ(1, get_int(s, IPPROTO_TCP, TCP_NODELAY));
	EXPECT_EQ(512 << 10, get_int(s, IPPROTO_TCP, TCP_NOTSENT_LOWAT));
	EXPECT_EQ(1, get_int(s, SOL_SOCKET, SO_KEEPALIVE));
	EXPECT_EQ(1, get_int(s, SOL_SOCKET, SO_REUSEADDR));
	EXPECT_EQ(0, get_int(s, IPPROTO_IPV6, IPV6_V6ONLY));
	/* TCP's. */
	for (i = 0; i < ARRAY_SIZE(as_tcp); i++)
		EXPECT_EQ(get_int(tcp, as_tcp[i].level, as_tcp[i].name),
			  get_int(s, as_tcp[i].level, as_tcp[i].name))
			TH_LOG("level %d, option %d", as_tcp[i].level,
			       as_tcp[i].name);
}

TEST(integers_read_back)
{
	static const struct {
		int level, name, value;
	} options[] = {
		{ SOL_SOCKET, SO_KEEPALIVE, 0 },
		{ SOL_SOCKET, SO_KEEPALIVE, 1 },
		{ SOL_SOCKET, SO_REUSEADDR, 0 },
		{ SOL_SOCKET, SO_REUSEPORT, 1 },
		{ SOL_SOCKET, SO_DONTROUTE, 1 },
		{ SOL_SOCKET, SO_PRIORITY, 5 },
		{ SOL_SOCKET, SO_MARK, INT_MAX },
		{ SOL_SOCKET, SO_INCOMING_CPU, 1 },
		{ SOL_SOCKET, SO_BINDTOIFINDEX, 1 },
		{ SOL_SOCKET, SO_MAX_PACING_RATE, 1 << 20 },
		{ IPPROTO_TCP, TCP_NODELAY, 0 },
		{ IPPROTO_TCP, TCP_NODELAY, 1 },
		{ IPPROTO_TCP, TCP_MAXSEG, 1000 },
		{ IPPROTO_TCP, TCP_KEEPIDLE, 11 },
		{ IPPROTO_TCP, TCP_KEEPINTVL, 12 },
		{ IPPROTO_TCP, TCP_KEEPCNT, 13 },
		{ IPPROTO_TCP, TCP_SYNCNT, 3 },
		{ IPPROTO_TCP, TCP_USER_TIMEOUT, 54321 },
		{ IPPROTO_TCP, TCP_WINDOW_CLAMP, 100000 },
		{ IPPROTO_TCP, TCP_NOTSENT_LOWAT, 4096 },
		{ IPPROTO_IP, IP_TOS, 0x10 },
		{ IPPROTO_IP, IP_TTL, 33 },
		{ IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO },
		{ IPPROTO_IP, IP_MINTTL, 2 },
		{ IPPROTO_IP, IP_FREEBIND, 1 },
		{ IPPROTO_IP, IP_TRANSPARENT, 1 },
		{ IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1 },
		{ IPPROTO_IP, IP_LOCAL_PORT_RANGE, (int)(40100U << 16) | 40000 },
		{ IPPROTO_IPV6, IPV6_V6ONLY, 1 },
		{ IPPROTO_IPV6, IPV6_TCLASS, 0x20 },
		{ IPPROTO_IPV6, IPV6_UNICAST_HOPS, 44 },
		{ IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DO },
		{ IPPROTO_IPV6, IPV6_MINHOPCOUNT, 2 },
		{ IPPROTO_IPV6, IPV6_FREEBIND, 1 },
		{ IPPROTO_IPV6, IPV6_TRANSPARENT, 1 },
		{ IPPROTO_IPV6, IPV6_AUTOFLOWLABEL, 1 },
	};
	struct pair p = sp_pair(SOCK_REP, SOCK_REQ);
	size_t i, n;

	for (i = 0; i < ARRAY_SIZE(options); i++) {
		const int level = options[i].level, name = options[i].name,
			  value = options[i].value, one[] = { value, 0 };

		for (n = 0; n < 2; n++) {
			int s = n ? p.connected : p.bound;

			/*
			 * Longer than an int is as good, as it is for TCP but
			 * with this one option.
			 */
			bool longer = n && name != IP_LOCAL_PORT_RANGE;

			EXPECT_EQ(0, setsockopt(s, level, name, one,
						longer ? sizeof(one) :
							 sizeof(int)))
				TH_LOG("level %d, option %d", level, name);
			EXPECT_EQ(value, get_int(s, level, name))
				TH_LOG("level %d, option %d", level, name);
		}
		set_int(p.connected, SOL_SOCKET, SO_BINDTOIFINDEX, 0);
	}
	/* Nothing of it hurts. */
	sp_round_trip(p.connected, p.bound);
}

/* What TCP refuses, it refuses in the same words, and nothing changes. */
TEST(refused_as_by_tcp)
{
	static const struct {
		int level, name, value;
		socklen_t len;
	} bad[] = {
		{ IPPROTO_TCP, TCP_NODELAY, 1, 0 },
		{ IPPROTO_TCP, TCP_NODELAY, 1, 3 },
		{ IPPROTO_TCP, TCP_MAXSEG, 1, 4 },
		{ IPPROTO_TCP, TCP_MAXSEG, 70000, 4 },
		{ IPPROTO_TCP, TCP_KEEPIDLE, 0, 4 },
		{ IPPROTO_TCP, TCP_KEEPIDLE, 32768, 4 },
		{ IPPROTO_TCP, TCP_KEEPINTVL, -1, 4 },
		{ IPPROTO_TCP, TCP_KEEPCNT, 128, 4 },
		{ IPPROTO_TCP, TCP_SYNCNT, 0, 4 },
		{ IPPROTO_TCP, TCP_USER_TIMEOUT, -1, 4 },
		{ IPPROTO_TCP, TCP_CONGESTION, 0x41414141, 4 },
		{ IPPROTO_TCP, TCP_CONGESTION, 0, 0 },
		{ IPPROTO_IP, IP_TTL, 0, 4 },
		{ IPPROTO_IP, IP_TTL, 256, 4 },
		{ IPPROTO_IP, IP_MTU_DISCOVER, 99, 4 },
		{ IPPROTO_IP, IP_MINTTL, 256, 4 },
		{ IPPROTO_IPV6, IPV6_TCLASS, 256, 4 },
		{ IPPROTO_IPV6, IPV6_TCLASS, 1, 2 },
		{ IPPROTO_IPV6, IPV6_UNICAST_HOPS, 256, 4 },
		{ IPPROTO_IPV6, IPV6_V6ONLY, 1, 1 },
		{ SOL_SOCKET, SO_PRIORITY, 1, 3 },
		{ SOL_SOCKET, SO_MARK, 1, 0 },
		{ SOL_SOCKET, SO_BINDTODEVICE, 0x58585858, 4 },
		{ SOL_SOCKET, SO_BINDTOIFINDEX, -1, 4 },
		{ SOL_SOCKET, SO_REUSEPORT, 1, 1 },
	};
	int s = sp_open(SOCK_REQ), tcp = (int)must(socket(AF_INET6,
							   SOCK_STREAM, 0));
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		char before[16] = "", after[16] = "";
		socklen_t len = sizeof(before);

		must(getsockopt(s, bad[i].level, bad[i].name, before, &len));
		ASSERT_EQ(-1, setsockopt(tcp, bad[i].level, bad[i].name,
					 &bad[i].value, bad[i].len))
			TH_LOG("%zu", i);
		must_fail(errno, setsockopt(s, bad[i].level, bad[i].name,
					    &bad[i].value, bad[i].len));
		len = sizeof(after);
		must(getsockopt(s, bad[i].level, bad[i].name, after, &len));
		EXPECT_EQ(0, memcmp(before, after, sizeof(before)));
	}
	must_fail(EFAULT, setsockopt(s, IPPROTO_TCP, TCP_NODELAY, (void *)8, 4));
}

TEST(text_reads_back_as_from_tcp)
{
	int s = sp_open(SOCK_REQ);
	char text[32];
	socklen_t len = sizeof(text);

	must(getsockopt(s, IPPROTO_TCP, TCP_CONGESTION, text, &len));
	EXPECT_EQ(16, len);
	len = 2;
	memset(text, '#', sizeof(text));
	must(getsockopt(s, IPPROTO_TCP, TCP_CONGESTION, text, &len));
	EXPECT_EQ('#', text[2]);
	len = sizeof(int);
	must_fail(EFAULT, getsockopt(s, IPPROTO_TCP, TCP_NODELAY, (void *)8,
				     &len));
	must_fail(EFAULT, getsockopt(s, IPPROTO_TCP, TCP_NODELAY, text,
				     (void *)8));
	len = (socklen_t)-1;
	must_fail(EINVAL, getsockopt(s, IPPROTO_TCP, TCP_NODELAY, text, &len));
}

/* Of no effect here, about a single connection, or the end of all framing. */
TEST(what_is_not_there)
{
	static const struct {
		int level, name;
	} absent[] = {
		{ SOL_SOCKET, SO_RCVLOWAT },
		{ SOL_SOCKET, SO_TIMESTAMP },
		{ SOL_SOCKET, SO_TIMESTAMPING },
		{ SOL_SOCKET, SO_ZEROCOPY },
		{ SOL_SOCKET, SO_PEEK_OFF },
		{ SOL_SOCKET, SO_PASSCRED },
		{ SOL_SOCKET, SO_BROADCAST },
		{ SOL_SOCKET, SO_OOBINLINE },
		{ SOL_SOCKET, SO_BUSY_POLL },
		{ SOL_SOCKET, SO_ATTACH_BPF },
		{ SOL_SOCKET, SO_LOCK_FILTER },
		{ SOL_SOCKET, SO_TYPE },
		{ SOL_SOCKET, 9999 },
		{ IPPROTO_TCP, TCP_CORK },
		{ IPPROTO_TCP, TCP_QUICKACK },
		{ IPPROTO_TCP, TCP_DEFER_ACCEPT },
		{ IPPROTO_TCP, TCP_INFO },
		{ IPPROTO_TCP, TCP_REPAIR },
		{ IPPROTO_TCP, TCP_ULP },
		{ IPPROTO_TCP, TCP_FASTOPEN },
		{ IPPROTO_TCP, 9999 },
		{ IPPROTO_IP, IP_OPTIONS },
		{ IPPROTO_IP, IP_RECVERR },
		{ IPPROTO_IP, IP_ADD_MEMBERSHIP },
		{ IPPROTO_IPV6, IPV6_ADDRFORM },
		{ IPPROTO_IPV6, IPV6_JOIN_GROUP },
		{ IPPROTO_UDP, 1 },
	};
	struct sock_filter pass = BPF_STMT(BPF_RET | BPF_K, 0xffffffff);
	struct sock_fprog program = { .len = 1, .filter = &pass };
	int s = sp_open(SOCK_REQ), value[64] = { 1 };
	socklen_t len;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(absent); i++) {
		must_fail(ENOPROTOOPT, setsockopt(s, absent[i].level,
						  absent[i].name, value,
						  sizeof(value)));
		if (absent[i].level == SOL_SOCKET)
			continue;
		len = sizeof(value);
		must_fail(ENOPROTOOPT, getsockopt(s, absent[i].level,
						  absent[i].name, value, &len));
	}
	must_fail(ENOPROTOOPT, setsockopt(s, SOL_SOCKET, SO_ATTACH_FILTER,
					  &program, sizeof(program)));
}

/* Which options of the socket layer can be set is in sp(7), to the last one. */
TEST(set_is_what_the_manual_lists)
{
	static const int listed[] = {
		SO_BINDTODEVICE, SO_BINDTOIFINDEX, SO_DONTROUTE, SO_INCOMING_CPU,
		SO_KEEPALIVE, SO_MARK, SO_MAX_PACING_RATE, SO_PRIORITY,
		SO_REUSEADDR, SO_REUSEPORT, SO_SNDBUF, SO_RCVBUF,
		SO_SNDBUFFORCE, SO_RCVBUFFORCE, SO_SNDTIMEO, SO_RCVTIMEO,
		SO_SNDTIMEO_NEW, SO_RCVTIMEO_NEW, SO_LINGER,
	};
	/* Told of every socket, by the socket layer. */
	static const int told[] = { SO_TYPE, SO_DOMAIN, SO_PROTOCOL, SO_ERROR,
				    SO_ACCEPTCONN, SO_COOKIE, SO_RCVLOWAT,
				    SO_BUSY_POLL, SO_TIMESTAMP };
	int s = sp_open(SOCK_REQ), name;
	char value[64];
	socklen_t len;
	size_t i;

	for (name = 0; name < 200; name++) {
		bool known;

		memset(value, 0, sizeof(value));
		known = setsockopt(s, SOL_SOCKET, name, value, sizeof(value)) == 0 ||
			errno != ENOPROTOOPT;
		for (i = 0; i < ARRAY_SIZE(listed); i++)
			if (listed[i] == name)
				break;
		EXPECT_EQ(i < ARRAY_SIZE(listed), known)
			TH_LOG("option %d", name);
	}
	for (i = 0; i < ARRAY_SIZE(told); i++) {
		len = sizeof(value);
		must(getsockopt(s, SOL_SOCKET, told[i], value, &len));
		must_fail(ENOPROTOOPT, setsockopt(s, SOL_SOCKET, told[i],
						  value, len));
	}
}

/* Not a packet more comes or goes here: the host at this end is dead. */
static void die_silently(int fd)
{
	struct sock_filter nothing = BPF_STMT(BPF_RET | BPF_K, 0);
	struct sock_fprog program = { .len = 1, .filter = &nothing };

	must(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program,
			sizeof(program)));
}

/* The settings that sp(7) gives for a host that dies. */
static void notice_soon(int s)
{
	set_int(s, IPPROTO_TCP, TCP_KEEPIDLE, 2);
	set_int(s, IPPROTO_TCP, TCP_KEEPINTVL, 1);
	set_int(s, IPPROTO_TCP, TCP_USER_TIMEOUT, 5000);
}

/* A client whose server dies, before or after it has taken the request. */
struct bereaved {
	int req, rep;
};

static struct bereaved lose_the_server(bool taken)
{
	struct bereaved b = { .req = sp_open(SOCK_REQ) };
	struct addr dead, other;
	int ears = raw_listen(&dead), peer;

	notice_soon(b.req);
	sp_connect(b.req, &dead);
	peer = raw_peer_accept(SOCK_REP, ears);
	await_peers(b.req, 1);
	if (!taken)
		die_silently(peer);
	sp_send(b.req, LIT("?"));
	if (taken) {
		raw_expect_request(peer, LIT("?"));
		die_silently(peer);
	}
	ears = raw_listen(&other);
	sp_connect(b.req, &other);
	b.rep = raw_peer_accept(SOCK_REP, ears);
	await_peers(b.req, 2);
	return b;
}

/*
 * Who has nothing under way is asked by keepalive whether it is still there;
 * who has, by what TCP sends again.
 */
TEST(dead_hosts_are_noticed_in_seconds)
{
	int64_t start = now_ms(), after[3] = { 0 };
	struct bereaved before, holding;
	int sub, peer, i, left = 3;
	struct addr addr;

	sub = sp_listener(SOCK_SUB, &addr);
	notice_soon(sub);
	peer = raw_peer(SOCK_PUB, &addr);
	await_peers(sub, 1);
	die_silently(peer);
	before = lose_the_server(false);
	holding = lose_the_server(true);
	while (left) {
		int s[] = { sub, before.req, holding.req };

		if (now_ms() - start > 6 * PATIENCE_MS)
			die("not noticed in %d s", 6 * PATIENCE_MS / 1000);
		pass_ms(10);
		for (i = 0; i < 3; i++)
			if (!after[i] && counter(s[i], sp_pipe_downs)) {
				after[i] = now_ms() - start;
				left--;
			}
	}
	TH_LOG("after %d, %d and %d ms", (int)after[0], (int)after[1],
	       (int)after[2]);
	/* Not because of anything else. */
	for (i = 0; i < 3; i++)
		EXPECT_LE(2000, after[i]);
	/* And the requests go to whom there is. */
	raw_expect_request(before.rep, LIT("?"));
	raw_expect_request(holding.rep, LIT("?"));
}

/* Shared out are the connections: a client stays with the server it has. */
TEST(reuseport_shares_connections_and_not_requests)
{
	int one = sp_open(SOCK_REP), two = sp_open(SOCK_REP), req, i;
	struct pollfd both[] = { { .fd = one, .events = POLLIN },
				 { .fd = two, .events = POLLIN } };
	struct sp_info a, b;
	struct addr addr;

	set_int(one, SOL_SOCKET, SO_REUSEPORT, 1);
	set_int(two, SOL_SOCKET, SO_REUSEPORT, 1);
	addr = sp_bind(one, AF_INET);
	must(bind(two, &addr.sa, addr.len));
	req = sp_dialer(SOCK_REQ, &addr);
	await_peers(req, 1);
	for (i = 0; i < 10; i++) {
		int server;

		sp_send(req, LIT("?"));
		must(poll(both, 2, PATIENCE_MS));
		server = sp_info(one).sp_rx_queued ? one : two;
		sp_expect(server, LIT("?"));
		sp_send(server, LIT("!"));
		sp_expect(req, LIT("!"));
	}
	a = sp_info(one);
	b = sp_info(two);
	EXPECT_TRUE((a.sp_rx_msgs == 10 && b.sp_rx_msgs == 0) ||
		    (a.sp_rx_msgs == 0 && b.sp_rx_msgs == 10));
}

TEST(reuseport_shares_an_address)
{
	int one = sp_open(SOCK_REP), two = sp_open(SOCK_REP), req;
	struct addr addr;
	int64_t deadline;
	int i;

	set_int(one, SOL_SOCKET, SO_REUSEPORT, 1);
	addr = sp_bind(one, AF_INET);
	must_fail(EADDRINUSE, bind(two, &addr.sa, addr.len));
	set_int(two, SOL_SOCKET, SO_REUSEPORT, 1);
	must(bind(two, &addr.sa, addr.len));
	for (i = 0; i < 20; i++) {
		req = sp_dialer(SOCK_REQ, &addr);
		await_peers(req, 1);
	}
	deadline = patience();
	while (sp_get(one, SP_PEERS) + sp_get(two, SP_PEERS) != 20)
		tick(deadline, "both to have 20 peers together");
}

/* As on TCP sockets, of which a port in TIME_WAIT is the best known case. */
TEST(reuseaddr_can_be_turned_off)
{
	struct addr addr;
	int s = sp_listener(SOCK_PUB, &addr), peer, again;

	peer = raw_peer(SOCK_SUB, &addr);
	await_peers(s, 1);
	/* Ours closes first, so the port is in TIME_WAIT here. */
	close(s);
	raw_expect_closed(peer);
	close(peer);
	again = sp_open(SOCK_PUB);
	set_int(again, SOL_SOCKET, SO_REUSEADDR, 0);
	must_fail(EADDRINUSE, bind(again, &addr.sa, addr.len));
	set_int(again, SOL_SOCKET, SO_REUSEADDR, 1);
	must(bind(again, &addr.sa, addr.len));
}

TEST(device_decides_who_is_reached)
{
	struct addr addr;
	int rep = sp_listener(SOCK_REP, &addr), req = sp_open(SOCK_REQ);

	must_fail(ENODEV, setsockopt(req, SOL_SOCKET, SO_BINDTODEVICE,
				     LIT("nodev")));
	must(setsockopt(req, SOL_SOCKET, SO_BINDTODEVICE, LIT("lo")));
	sp_connect(req, &addr);
	sp_round_trip(req, rep);
	must(setsockopt(req, SOL_SOCKET, SO_BINDTODEVICE, "", 0));
	EXPECT_EQ(0, get_int(req, SOL_SOCKET, SO_BINDTOIFINDEX));
}

static void nothing(void)
{
}

/* The device is gone, and its name is nobody's: not another way out. */
TEST(device_that_went_reaches_nobody)
{
	static const char name[] = "spwent";
	struct addr addr;
	int l = raw_listen(&addr), s = sp_open(SOCK_SUB), index;
	struct neighbour n;

	if (!neighbour_start(&n, name, nothing))
		SKIP(return, "no veth in this kernel");
	index = (int)if_nametoindex(name);
	must(setsockopt(s, SOL_SOCKET, SO_BINDTODEVICE, name, sizeof(name)));
	neighbour_end(&n);
	sp_set(s, SP_RECONNECT_IVL, 1);
	sp_connect(s, &addr);
	expect_stays_not_in(l);
	EXPECT_EQ(index, get_int(s, SOL_SOCKET, SO_BINDTOIFINDEX));
}

/* TCP derives the one from the other; who comes last is right. */
TEST(priority_and_type_of_service)
{
	int tcp = (int)must(socket(AF_INET6, SOCK_STREAM, 0));
	int s = sp_open(SOCK_REQ), fd[] = { tcp, s }, i;

	for (i = 0; i < 2; i++) {
		set_int(fd[i], SOL_SOCKET, SO_PRIORITY, 5);
		set_int(fd[i], IPPROTO_IP, IP_TOS, 0x08);
	}
	EXPECT_EQ(get_int(tcp, SOL_SOCKET, SO_PRIORITY),
		  get_int(s, SOL_SOCKET, SO_PRIORITY));
	for (i = 0; i < 2; i++)
		set_int(fd[i], SOL_SOCKET, SO_PRIORITY, 4);
	EXPECT_EQ(4, get_int(s, SOL_SOCKET, SO_PRIORITY));
	EXPECT_EQ(0x08, get_int(s, IPPROTO_IP, IP_TOS));
}

static bool stop;

static void set_options(void *arg)
{
	static const char *const congestion[] = { "reno", "cubic" };
	int s = *(int *)arg, i;

	for (i = 0; !__atomic_load_n(&stop, __ATOMIC_ACQUIRE); i++) {
		must(setsockopt(s, IPPROTO_TCP, TCP_CONGESTION,
				congestion[i % 2], 5));
		set_int(s, SOL_SOCKET, SO_KEEPALIVE, i % 2);
		set_int(s, IPPROTO_IP, IP_TOS, i % 2 ? 0x10 : 0x08);
	}
}

TEST(set_while_peers_come_and_go)
{
	struct addr addr;
	int s = sp_listener(SOCK_SUB, &addr), i;
	struct task setter;

	stop = false;
	task_start(&setter, set_options, &s);
	for (i = 0; i < many(200); i++) {
		int peer = raw_peer(SOCK_PUB, &addr);

		if (i % 2)
			raw_reset(peer);
		else
			close(peer);
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELEASE);
	task_join(&setter);
	await_peers(s, 0);
}

static void become_nobody(void)
{
	must(setresgid(65534, 65534, 65534));
	must(setresuid(65534, 65534, 65534));
}

TEST(privileged_options_ask_the_caller)
{
	pid_t pid = (pid_t)must(fork());

	if (pid == 0) {
		int s = sp_open(SOCK_REQ), one = 1;

		become_nobody();
		must_fail(EPERM, setsockopt(s, SOL_SOCKET, SO_MARK, &one, 4));
		must_fail(EPERM, setsockopt(s, IPPROTO_IP, IP_TRANSPARENT,
					    &one, 4));
		one = 7;
		must_fail(EPERM, setsockopt(s, SOL_SOCKET, SO_PRIORITY, &one,
					    4));
		must_eq(0, get_int(s, SOL_SOCKET, SO_MARK));
		must_eq(0, get_int(s, SOL_SOCKET, SO_PRIORITY));
		/* Binding to a device takes no privilege the first time. */
		must(setsockopt(s, SOL_SOCKET, SO_BINDTODEVICE, LIT("lo")));
		_exit(0);
	}
	child_join(pid);
}

/* What was permitted once stays so, whoever adds endpoints later. */
TEST(privileged_options_outlive_the_privilege)
{
	struct addr addr;
	int l = raw_listen(&addr), peer;
	struct meet done;
	struct diag d;
	pid_t pid;

	meet_init(&done);
	pid = (pid_t)must(fork());
	if (pid == 0) {
		int s = sp_open(SOCK_SUB);

		set_int(s, SOL_SOCKET, SO_MARK, 77);
		become_nobody();
		sp_connect(s, &addr);
		await_peers(s, 1);
		meet_await(&done);
		_exit(0);
	}
	peer = raw_peer_accept(SOCK_PUB, l);
	d = diag_other_end(peer);
	EXPECT_EQ(77, d.mark);
	EXPECT_EQ(65534, d.uid);
	meet_tell(&done);
	child_join(pid);
}

SP_TEST_MAIN
