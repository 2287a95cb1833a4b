// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include "sock.h"
#include "clock.h"
#include "filler.h"
#include "ready.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

static struct addr make_addr(int family, struct in_addr v4, struct in6_addr v6,
			     int port)
{
	struct addr a = { .len = sizeof(a.in) };

	if (family == AF_INET) {
		a.in.sin_family = AF_INET;
		a.in.sin_addr = v4;
		a.in.sin_port = htons((uint16_t)port);
	} else {
		a.len = sizeof(a.in6);
		a.in6.sin6_family = AF_INET6;
		a.in6.sin6_addr = v6;
		a.in6.sin6_port = htons((uint16_t)port);
	}
	return a;
}

struct addr loopback(int family, int port)
{
	struct in_addr v4 = { .s_addr = htonl(INADDR_LOOPBACK) };

	return make_addr(family, v4, in6addr_loopback, port);
}

struct addr wildcard(int family, int port)
{
	struct in_addr v4 = { .s_addr = htonl(INADDR_ANY) };

	return make_addr(family, v4, in6addr_any, port);
}

int port_of(const struct addr *a)
{
	return ntohs(a->sa.sa_family == AF_INET ? a->in.sin_port :
						  a->in6.sin6_port);
}

struct addr nowhere(int family)
{
	struct addr a = loopback(family, 0);
	int s = (int)must_(socket(family, SOCK_STREAM, 0), "socket");

	must_(bind(s, &a.sa, a.len), "bind to a free port");
	must_(getsockname(s, &a.sa, &a.len), "getsockname");
	close(s);
	return a;
}

void set_timeout_(int s, int option, int ms)
{
	struct timeval tv = { ms / 1000, ms % 1000 * 1000 };

	must_(setsockopt(s, SOL_SOCKET, option, &tv, sizeof(tv)),
	      "setsockopt(SO_*TIMEO)");
}

int sp_open_(int type)
{
	int s = (int)must_(socket(PF_SP, type, 0), "socket(PF_SP)");

	set_timeout_(s, SO_RCVTIMEO, PATIENCE_MS);
	set_timeout_(s, SO_SNDTIMEO, PATIENCE_MS);
	return s;
}

struct addr sp_bind_(int s, int family)
{
	struct addr a = loopback(family, 0);

	must_(bind(s, &a.sa, a.len), "bind");
	must_(getsockname(s, &a.sa, &a.len), "getsockname");
	if (port_of(&a) == 0)
		die("getsockname() after bind() gives port 0");
	return a;
}

void sp_connect_(int s, const struct addr *to)
{
	must_(connect(s, &to->sa, to->len), "connect");
}

int sp_listener_(int type, struct addr *addr)
{
	int s = sp_open_(type);

	*addr = sp_bind_(s, AF_INET);
	return s;
}

int sp_dialer_(int type, const struct addr *to)
{
	int s = sp_open_(type);

	sp_connect_(s, to);
	return s;
}

struct pair sp_pair_(int bound_type, int connected_type)
{
	struct addr a;
	struct pair p;

	p.bound = sp_listener_(bound_type, &a);
	p.connected = sp_dialer_(connected_type, &a);
	await_peers_(p.bound, 1);
	await_peers_(p.connected, 1);
	return p;
}

int sp_get_(int s, int option)
{
	int value = -12345;
	socklen_t len = sizeof(value);

	if (getsockopt(s, SOL_SP, option, &value, &len) < 0)
		die("getsockopt(SOL_SP, %d): %s", option,
		    strerrorname_np(errno));
	return value;
}

void sp_set_(int s, int option, int value)
{
	if (setsockopt(s, SOL_SP, option, &value, sizeof(value)) < 0)
		die("setsockopt(SOL_SP, %d, %d): %s", option, value,
		    strerrorname_np(errno));
}

void sol_set_(int s, int option, int value)
{
	if (setsockopt(s, SOL_SOCKET, option, &value, sizeof(value)) < 0)
		die("setsockopt(SOL_SOCKET, %d, %d): %s", option, value,
		    strerrorname_np(errno));
}

void subscribe_(int s, const void *topic, size_t len)
{
	must_(setsockopt(s, SOL_SP, SP_SUBSCRIBE, topic, (socklen_t)len),
	      "setsockopt(SP_SUBSCRIBE)");
}

void unsubscribe_(int s, const void *topic, size_t len)
{
	must_(setsockopt(s, SOL_SP, SP_UNSUBSCRIBE, topic, (socklen_t)len),
	      "setsockopt(SP_UNSUBSCRIBE)");
}

void await_peers_(int s, int n)
{
	int64_t deadline = patience();

	while (sp_get_(s, SP_PEERS) != n) {
		if (now_ms() > deadline)
			die("waited %d ms for %d peers, there are %d",
			    PATIENCE_MS, n, sp_get_(s, SP_PEERS));
		pass_ms(1);
	}
}

struct sp_info sp_info_(int s)
{
	struct sp_info info;
	socklen_t len = sizeof(info);

	must_(getsockopt(s, SOL_SP, SP_INFO, &info, &len),
	      "getsockopt(SP_INFO)");
	if (len != sizeof(info))
		die("SP_INFO has %u bytes, expected %zu", len, sizeof(info));
	return info;
}

void await_counter_(int s, size_t offset, uint64_t least, const char *name)
{
	int64_t deadline = patience();

	for (;;) {
		struct sp_info info = sp_info_(s);
		uint64_t seen;

		memcpy(&seen, (char *)&info + offset, sizeof(seen));
		if (seen >= least)
			return;
		if (now_ms() > deadline)
			die("waited %d ms for %s to reach %" PRIu64
			    ", it is %" PRIu64, PATIENCE_MS, name, least, seen);
		pass_ms(1);
	}
}

void await_refused_(int s, uint64_t least)
{
	int64_t deadline = patience();

	for (;;) {
		struct sp_info i = sp_info_(s);
		uint64_t seen = i.sp_rx_filtered + i.sp_rx_stale +
				i.sp_rx_malformed + i.sp_rx_ttl;

		if (seen >= least)
			return;
		if (now_ms() > deadline)
			die("waited %d ms for %" PRIu64 " refused messages, "
			    "there are %" PRIu64, PATIENCE_MS, least, seen);
		pass_ms(1);
	}
}

void sp_send_(int s, const void *body, size_t len)
{
	ssize_t n = must_(send(s, body, len, MSG_NOSIGNAL), "send");

	if ((size_t)n != len)
		die("send() of %zu bytes gave %zd", len, n);
}

/* The next message, which is this long; to be freed. */
static unsigned char *received(int s, size_t len)
{
	/* Room for one byte more, so that a longer message shows. */
	unsigned char *buf = malloc(len + 1);
	ssize_t n;

	if (!buf)
		die("no memory for a message of %zu bytes", len);
	n = must_(recv(s, buf, len + 1, MSG_TRUNC), "recv");
	if ((size_t)n != len)
		die("a message of %zd bytes (\"%.*s\"), expected %zu", n,
		    (int)(n < 40 && (size_t)n <= len + 1 ? n : 0), buf, len);
	return buf;
}

void sp_expect_(int s, const void *body, size_t len)
{
	unsigned char *buf = received(s, len);

	if (memcmp(buf, body, len))
		die("message \"%.*s\", expected \"%.*s\"",
		    (int)(len < 40 ? len : 40), buf,
		    (int)(len < 40 ? len : 40), (const char *)body);
	free(buf);
}

void sp_send_filled_(int s, size_t len, uint32_t seed)
{
	unsigned char *body = filler(len, seed);

	sp_send_(s, body, len);
	free(body);
}

void sp_expect_filled_(int s, size_t len, uint32_t seed)
{
	unsigned char *buf = received(s, len);

	must_be_filled_(buf, len, seed);
	free(buf);
}

void sp_expect_nothing_(int s)
{
	char c;
	ssize_t n;

	expect_ready_(s, POLLIN, false);
	n = recv(s, &c, 1, MSG_DONTWAIT | MSG_TRUNC);
	if (n != -1)
		die("recv() gave a message of %zd bytes, expected none", n);
	if (errno != EAGAIN)
		die("recv(): %s, expected EAGAIN", strerrorname_np(errno));
}

void sp_round_trip_(int req, int rep)
{
	sp_send_(req, LIT("ping"));
	sp_expect_(rep, LIT("ping"));
	sp_send_(rep, LIT("pong"));
	sp_expect_(req, LIT("pong"));
}
