// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include "raw.h"
#include "clock.h"
#include "filler.h"
#include "ready.h"
#include "sock.h"

#include <endian.h>
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

unsigned char wire_type(int sock_type)
{
	switch (sock_type) {
	case SOCK_PAIR: return 0x10;
	case SOCK_PUB: return 0x20;
	case SOCK_SUB: return 0x21;
	case SOCK_REQ: return 0x30;
	case SOCK_REP: return 0x31;
	case SOCK_PUSH: return 0x50;
	case SOCK_PULL: return 0x51;
	case SOCK_SURVEYOR: return 0x62;
	case SOCK_RESPONDENT: return 0x63;
	case SOCK_BUS: return 0x70;
	}
	die("no such socket type: %d", sock_type);
}

int peer_type(int sock_type)
{
	switch (sock_type) {
	case SOCK_PUB: return SOCK_SUB;
	case SOCK_SUB: return SOCK_PUB;
	case SOCK_REQ: return SOCK_REP;
	case SOCK_REP: return SOCK_REQ;
	case SOCK_PUSH: return SOCK_PULL;
	case SOCK_PULL: return SOCK_PUSH;
	}
	die("no peer known for socket type %d", sock_type);
}

static int bounded(int fd)
{
	int on = 1;

	set_timeout_(fd, SO_RCVTIMEO, PATIENCE_MS);
	set_timeout_(fd, SO_SNDTIMEO, PATIENCE_MS);
	/* Each write a segment: tests decide how bytes are split. */
	must_(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)),
	      "setsockopt(TCP_NODELAY)");
	return fd;
}

int raw_connect_with_(const struct addr *to, int rcvbuf)
{
	int fd = (int)must_(socket(to->sa.sa_family, SOCK_STREAM, 0), "socket");

	if (rcvbuf)
		sol_set_(fd, SO_RCVBUF, rcvbuf);
	must_(connect(fd, &to->sa, to->len), "connect over TCP");
	return bounded(fd);
}

void raw_widen_(int fd)
{
	const int most = 65535;

	sol_set_(fd, SO_RCVBUF, 4 * most);
	must_(setsockopt(fd, IPPROTO_TCP, TCP_WINDOW_CLAMP, &most, sizeof(most)),
	      "setsockopt(TCP_WINDOW_CLAMP)");
}

int raw_connect_(const struct addr *to)
{
	return raw_connect_with_(to, 0);
}

int raw_listen_(int family, struct addr *addr)
{
	int l = (int)must_(socket(family, SOCK_STREAM, 0), "socket");

	*addr = loopback(family, 0);
	must_(bind(l, &addr->sa, addr->len), "bind");
	must_(listen(l, 128), "listen");
	must_(getsockname(l, &addr->sa, &addr->len), "getsockname");
	return l;
}

int raw_accept_(int l)
{
	await_ready_(l, POLLIN);
	return bounded((int)must_(accept(l, NULL, NULL), "accept"));
}

static int greeted(int type, int fd)
{
	raw_greet_(fd, type);
	raw_expect_greeting_(fd, peer_type(type));
	return fd;
}

int raw_peer_(int type, const struct addr *to)
{
	return greeted(type, raw_connect_(to));
}

int raw_peer_with_(int type, const struct addr *to, int rcvbuf)
{
	return greeted(type, raw_connect_with_(to, rcvbuf));
}

int raw_peer_accept_(int type, int l)
{
	return greeted(type, raw_accept_(l));
}

void bytes_add(struct bytes *b, const void *p, size_t len)
{
	if (len > sizeof(b->at) - b->len)
		die("struct bytes is too small");
	memcpy(b->at + b->len, p, len);
	b->len += len;
}

void bytes_greeting(struct bytes *b, int type)
{
	unsigned char g[GREETING_LEN] = { 0, 'S', 'P', 0, 0, wire_type(type) };

	bytes_add(b, g, sizeof(g));
}

void bytes_frame(struct bytes *b, const void *body, size_t len)
{
	uint64_t header = htobe64(len);

	bytes_add(b, &header, sizeof(header));
	bytes_add(b, body, len);
}

void raw_greet_(int fd, int type)
{
	struct bytes b = { 0 };

	bytes_greeting(&b, type);
	raw_write_(fd, b.at, b.len);
}

void raw_expect_greeting_(int fd, int type)
{
	struct bytes b = { 0 };

	bytes_greeting(&b, type);
	raw_expect_(fd, b.at, b.len);
}

void raw_write_(int fd, const void *bytes, size_t len)
{
	const char *p = bytes;

	while (len) {
		ssize_t n = must_(send(fd, p, len, MSG_NOSIGNAL), "raw send");

		p += n;
		len -= (size_t)n;
	}
}

void raw_write_bytewise_(int fd, const void *bytes, size_t len)
{
	const char *p = bytes;

	for (; len; len--) {
		raw_write_(fd, p++, 1);
		raw_await_acked_(fd);
	}
}

void raw_await_acked_(int fd)
{
	int64_t deadline = patience();
	int unacked;

	for (;;) {
		must_(ioctl(fd, SIOCOUTQ, &unacked), "ioctl(SIOCOUTQ)");
		if (!unacked)
			return;
		tick_(deadline, "bytes to be acknowledged");
	}
}

void raw_read_(int fd, void *buf, size_t len)
{
	char *p = buf;
	size_t got = 0;

	while (got < len) {
		ssize_t n = must_(recv(fd, p + got, len - got, 0), "raw recv");

		if (n == 0)
			die("closed after %zu of %zu bytes", got, len);
		got += (size_t)n;
	}
}

void raw_expect_(int fd, const void *bytes, size_t len)
{
	unsigned char *buf = malloc(len + 1);
	size_t i;

	if (!buf)
		die("no memory for %zu bytes", len);
	raw_read_(fd, buf, len);
	for (i = 0; i < len; i++)
		if (buf[i] != ((const unsigned char *)bytes)[i])
			die("byte %zu of %zu is 0x%02x, expected 0x%02x", i,
			    len, buf[i], ((const unsigned char *)bytes)[i]);
	free(buf);
}

void raw_header_(int fd, uint64_t len)
{
	uint64_t header = htobe64(len);

	raw_write_(fd, &header, sizeof(header));
}

void raw_frame_(int fd, const void *body, size_t len)
{
	/* In one piece where it fits, as real peers do. */
	struct bytes b = { 0 };

	if (len + HEADER_LEN <= sizeof(b.at)) {
		bytes_frame(&b, body, len);
		raw_write_(fd, b.at, b.len);
	} else {
		raw_header_(fd, len);
		raw_write_(fd, body, len);
	}
}

void raw_expect_frame_(int fd, const void *body, size_t len)
{
	uint64_t header = htobe64(len);

	raw_expect_(fd, &header, sizeof(header));
	raw_expect_(fd, body, len);
}

size_t raw_read_frame_(int fd, void *buf, size_t cap)
{
	uint64_t header;

	raw_read_(fd, &header, sizeof(header));
	header = be64toh(header);
	if (header > cap)
		die("a frame of %llu bytes, expected at most %zu",
		    (unsigned long long)header, cap);
	raw_read_(fd, buf, (size_t)header);
	return (size_t)header;
}

long raw_read_frame_or_end_(int fd, void *buf, size_t cap)
{
	char c;

	if (must_(recv(fd, &c, 1, MSG_PEEK), "raw recv") == 0)
		return -1;
	return (long)raw_read_frame_(fd, buf, cap);
}

uint32_t raw_expect_request_(int fd, const void *body, size_t len)
{
	uint64_t header = htobe64(len + 4);
	uint32_t id;

	raw_expect_(fd, &header, sizeof(header));
	raw_read_(fd, &id, sizeof(id));
	raw_expect_(fd, body, len);
	id = be32toh(id);
	if (!(id & 0x80000000))
		die("request id 0x%08x lacks its top bit", id);
	return id;
}

void raw_reply_(int fd, uint32_t id, const void *body, size_t len)
{
	struct bytes b = { 0 };

	id = htobe32(id);
	bytes_add(&b, &id, sizeof(id));
	bytes_add(&b, body, len);
	raw_frame_(fd, b.at, b.len);
}

void raw_expect_closed_(int fd)
{
	char c;
	ssize_t n = recv(fd, &c, 1, 0);

	if (n == 1)
		die("byte 0x%02x, expected the connection to close",
		    (unsigned char)c);
	if (n < 0 && errno != ECONNRESET)
		die("%s, expected the connection to close",
		    strerrorname_np(errno));
}

void raw_expect_refused_(int fd, int type)
{
	struct bytes ours = { 0 };
	unsigned char c;
	size_t i;
	ssize_t n;

	bytes_greeting(&ours, type);
	for (i = 0; (n = recv(fd, &c, 1, 0)) == 1; i++)
		if (i == GREETING_LEN || c != ours.at[i])
			die("byte 0x%02x, expected no more than a greeting", c);
	if (n < 0 && errno != ECONNRESET)
		die("%s, expected the connection to close",
		    strerrorname_np(errno));
}

void raw_expect_quiet_(int fd)
{
	char c;

	set_timeout_(fd, SO_RCVTIMEO, quiet_ms());
	switch (recv(fd, &c, 1, 0)) {
	case 0:
		die("closed, expected the connection to stay");
	case 1:
		die("byte 0x%02x, expected silence", (unsigned char)c);
	}
	if (errno != EAGAIN)
		die("%s, expected silence", strerrorname_np(errno));
	set_timeout_(fd, SO_RCVTIMEO, PATIENCE_MS);
}

void raw_reset(int fd)
{
	struct linger now = { .l_onoff = 1, .l_linger = 0 };

	must_(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)),
	      "setsockopt(SO_LINGER)");
	close(fd);
}

static void make_frame(struct raw_flood *f)
{
	size_t tags = f->type == SOCK_REQ ? 4 : 0;
	uint64_t header = htobe64(f->len + tags);
	uint32_t id = htobe32(0x80000000u + (uint32_t)f->sent);

	f->frame_len = HEADER_LEN + tags + f->len;
	if (!f->frame)
		f->frame = malloc(f->frame_len);
	if (!f->frame)
		die("no memory for a frame of %zu bytes", f->len);
	memcpy(f->frame, &header, HEADER_LEN);
	memcpy(f->frame + HEADER_LEN, &id, tags);
	fill(f->frame + HEADER_LEN + tags, f->len, (uint32_t)f->sent);
}

void raw_flood_until_stuck_(struct raw_flood *f, int most)
{
	struct pollfd out = { .fd = f->fd, .events = POLLOUT };

	while (f->sent < most) {
		ssize_t n;

		if (f->off == 0)
			make_frame(f);
		n = send(f->fd, f->frame + f->off, f->frame_len - f->off,
			 MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno != EAGAIN)
			die("flooding: %s", strerrorname_np(errno));
		if (n < 0 && poll(&out, 1, quiet_ms()) == 0)
			return;
		if (n < 0)
			continue;
		f->off += (size_t)n;
		if (f->off == f->frame_len) {
			f->off = 0;
			f->sent++;
		}
	}
	die("sent %d frames and nothing stopped it", most);
}

void raw_flood_finish_(struct raw_flood *f)
{
	if (f->off) {
		raw_write_(f->fd, f->frame + f->off, f->frame_len - f->off);
		f->off = 0;
		f->sent++;
	}
	free(f->frame);
	f->frame = NULL;
}

void raw_flood_held_back_(int type, size_t len, int most, int s,
			  const struct addr *to)
{
	struct raw_flood flood = {
		.fd = raw_peer_(type, to), .type = type, .len = len
	};
	uint64_t queued;
	int i;

	sol_set_(flood.fd, SO_SNDBUF, 32768);
	raw_flood_until_stuck_(&flood, most);
	queued = sp_info_(s).sp_rx_queued;
	if (queued > 1 << 18)
		die("%llu bytes are queued", (unsigned long long)queued);

	for (i = 0; i < flood.sent; i++)
		sp_expect_filled_(s, len, (uint32_t)i);
	raw_flood_finish_(&flood);
	for (; i < flood.sent; i++)
		sp_expect_filled_(s, len, (uint32_t)i);
	sp_expect_nothing_(s);
}

void raw_expect_turns_(int s, int type, const struct addr *to)
{
	char body[] = "R0";
	int peer[2], i, p;

	for (p = 0; p < 2; p++) {
		peer[p] = raw_peer_(type, to);
		await_peers_(s, p + 1);
	}
	for (p = 0; p < 2; p++) {
		body[0] = "RQ"[p];
		for (i = 0; i < 4; i++) {
			body[1] = (char)('0' + i);
			raw_frame_(peer[p], body, 2);
		}
		raw_await_acked_(peer[p]);
	}
	for (i = 0; i < 4; i++) {
		body[1] = (char)('0' + i);
		for (p = 0; p < 2; p++) {
			body[0] = "RQ"[p];
			sp_expect_(s, body, 2);
		}
	}
	sp_expect_nothing_(s);
}
