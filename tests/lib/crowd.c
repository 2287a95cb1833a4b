// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include "crowd.h"
#include "clock.h"
#include "filler.h"
#include "raw.h"
#include "ready.h"

#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* At how many places of the filler messages begin. */
#define PLACES 4096
/* How much is given to TCP at a time. */
#define PIECE 65536

static const unsigned char *body_of(const struct crowd *c, uint32_t who,
				    uint32_t nth)
{
	return c->sea + (who * 1009 + nth * 31) % PLACES;
}

void crowd_init_(struct crowd *c, int type,
		 size_t (*length)(uint32_t who, uint32_t nth), size_t longest)
{
	memset(c, 0, sizeof(*c));
	c->type = type;
	c->length = length;
	c->longest = longest;
	c->sea = filler(longest + PLACES, 1);
	c->room = malloc(longest + 1);
	if (!c->room)
		die("no memory for a message of %zu bytes", longest);
}

static int local_port(int fd)
{
	struct addr a = { .len = sizeof(a.storage) };

	must_(getsockname(fd, &a.sa, &a.len), "getsockname");
	return port_of(&a);
}

/* Not from a port from which somebody has connected to another listener. */
static int connect_from_fresh_port(struct crowd *c, const struct addr *to)
{
	int other[64], n = 0, fd;

	while (c->by_port[local_port(fd = raw_connect_(to))]) {
		if (n == 64)
			die("no fresh port to connect from");
		other[n++] = fd;
	}
	while (n)
		close(other[--n]);
	return fd;
}

void crowd_join_(struct crowd *c, const struct addr *to, int n, int sndbuf)
{
	int i;

	c->of = realloc(c->of, (size_t)(c->n + n) * sizeof(*c->of));
	if (!c->of || c->n + n > 65535)
		die("no room for %d peers", n);
	for (i = c->n; i < c->n + n; i++) {
		struct member *m = &c->of[i];

		*m = (struct member){ .who = (uint32_t)i, .type = c->type,
				      .messages = UINT32_MAX };
		m->fd = connect_from_fresh_port(c, to);
		m->port = local_port(m->fd);
		if (sndbuf)
			sol_set_(m->fd, SO_SNDBUFFORCE, sndbuf / 2);
		raw_greet_(m->fd, c->type);
		raw_expect_greeting_(m->fd, peer_type(c->type));
		c->by_port[m->port] = (uint16_t)(i + 1);
	}
	c->n += n;
}

void crowd_leave(struct crowd *c)
{
	int i;

	/* What they had still to send must not burden whoever comes next. */
	for (i = 0; i < c->n; i++)
		if (c->of[i].fd >= 0)
			raw_reset(c->of[i].fd);
	free(c->of);
	free(c->sea);
	free(c->room);
	c->of = NULL;
	c->n = 0;
}

int crowd_gone(const struct crowd *c)
{
	int i, n = 0;

	for (i = 0; i < c->n; i++)
		n += c->of[i].gone;
	return n;
}

static size_t front_len(const struct member *m)
{
	return HEADER_LEN + (m->type == SOCK_REQ ? 4 : 0);
}

uint64_t crowd_frame(const struct member *m, const struct crowd *c,
		     uint32_t nth)
{
	return front_len(m) + c->length(m->who, nth);
}

uint64_t crowd_frames(const struct member *m, const struct crowd *c, uint32_t n)
{
	uint64_t sum = 0;

	while (n)
		sum += crowd_frame(m, c, --n);
	return sum;
}

/* What comes next of the stream, from where the member is; at most PIECE. */
static size_t make_piece(const struct crowd *c, const struct member *m,
			 unsigned char *piece, size_t most)
{
	const size_t front = front_len(m);
	uint32_t nth = m->nth;
	size_t off = m->off, len = 0;

	while (len < most && nth < m->messages) {
		const size_t body = c->length(m->who, nth);
		const uint64_t header = htobe64(front - HEADER_LEN + body);
		const uint32_t id = htobe32(0x80000000u + nth);
		unsigned char head[HEADER_LEN + 4];
		size_t n;

		memcpy(head, &header, HEADER_LEN);
		memcpy(head + HEADER_LEN, &id, 4);
		if (off < front) {
			n = front - off < most - len ? front - off : most - len;
			memcpy(piece + len, head + off, n);
			off += n;
			len += n;
		}
		if (off >= front) {
			n = front + body - off;
			n = n < most - len ? n : most - len;
			memcpy(piece + len,
			       body_of(c, m->who, nth) + off - front, n);
			off += n;
			len += n;
		}
		if (off == front + body) {
			off = 0;
			nth++;
		}
	}
	return len;
}

static void advance(const struct crowd *c, struct member *m, size_t n)
{
	m->sent += n;
	while (n) {
		uint64_t rest = crowd_frame(m, c, m->nth) - m->off;

		if (n < rest) {
			m->off += n;
			return;
		}
		n -= rest;
		m->off = 0;
		m->nth++;
	}
}

static bool may_send(const struct member *m)
{
	return !m->gone && m->sent < m->until && m->nth < m->messages;
}

size_t member_send_(struct crowd *c, struct member *m)
{
	static __thread unsigned char piece[PIECE];
	size_t sum = 0;

	while (may_send(m)) {
		uint64_t most = m->until - m->sent;
		size_t len = make_piece(c, m, piece,
					most < PIECE ? most : PIECE);
		ssize_t n = send(m->fd, piece, len,
				 MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0) {
			if (errno != EPIPE && errno != ECONNRESET)
				die("sending: %s", strerrorname_np(errno));
			m->gone = true;
			break;
		}
		advance(c, m, (size_t)n);
		sum += (size_t)n;
		if ((size_t)n < len)
			break;
	}
	return sum;
}

size_t crowd_send_(struct crowd *c, int s, int ms)
{
	struct pollfd *p = calloc((size_t)c->n + 1, sizeof(*p));
	size_t sum = 0;
	int i;

	if (!p)
		die("no memory to poll with");
	for (i = 0; i < c->n; i++) {
		p[i].fd = may_send(&c->of[i]) ? c->of[i].fd : -1;
		p[i].events = POLLOUT;
	}
	p[c->n].fd = s;
	p[c->n].events = POLLIN;
	must_(poll(p, (nfds_t)c->n + 1, ms), "poll");
	for (i = 0; i < c->n; i++)
		if (p[i].revents)
			sum += member_send_(c, &c->of[i]);
	free(p);
	return sum;
}

void crowd_settle_(struct crowd *c)
{
	int64_t moved = now_ms(), give_up = moved + 3 * PATIENCE_MS;

	while (now_ms() - moved < quiet_ms()) {
		if (crowd_send_(c, -1, 10))
			moved = now_ms();
		if (moved > give_up)
			die("the peers never come to rest");
	}
}

int crowd_recv_(struct crowd *c, int s, int flags)
{
	struct addr from = { .len = sizeof(from.storage) };
	ssize_t n = recvfrom(s, c->room, c->longest + 1, flags | MSG_TRUNC,
			     &from.sa, &from.len);
	struct member *m;
	size_t len;
	int who;

	if (n < 0 && errno == EAGAIN && flags & MSG_DONTWAIT)
		return -1;
	must_(n, "recvfrom");
	who = c->by_port[port_of(&from)] - 1;
	if (who < 0)
		die("a message of %zd bytes from a stranger", n);
	m = &c->of[who];
	len = c->length(m->who, m->received);
	if ((size_t)n != len)
		die("message %u of peer %d has %zd bytes, expected %zu",
		    m->received, who, n, len);
	if (memcmp(c->room, body_of(c, m->who, m->received), len))
		die("message %u of peer %d is not as it was sent", m->received,
		    who);
	m->received_bytes += crowd_frame(m, c, m->received++);
	if (m->received_bytes > m->sent)
		die("message %u of peer %d before it was sent", m->received - 1,
		    who);
	return who;
}

int crowd_recv_sending_(struct crowd *c, int s)
{
	int64_t deadline = patience();

	for (;;) {
		int who = crowd_recv_(c, s, MSG_DONTWAIT);

		if (who >= 0)
			return who;
		if (now_ms() > deadline)
			die("waited %d ms in vain for a message", PATIENCE_MS);
		crowd_send_(c, s, 10);
	}
}

int64_t crowd_held_(struct crowd *c)
{
	char line[256];
	int64_t held = 0;
	FILE *f = fopen("/proc/net/tcp", "r");
	int i;

	if (!f)
		die("fopen(/proc/net/tcp): %s", strerrorname_np(errno));
	for (i = 0; i < c->n; i++)
		c->of[i].open = false;
	while (fgets(line, sizeof(line), f)) {
		unsigned int local, remote, state, unacked, unread;
		struct member *m;

		/* One that closed its side is none we have read to the end. */
		if (sscanf(line, "%*d: %*x:%x %*x:%x %x %x:%x", &local, &remote,
			   &state, &unacked, &unread) != 5 || state != 1)
			continue;
		if (local < 65536 && c->by_port[local]) {
			m = &c->of[c->by_port[local] - 1];
			m->unacked = unacked;
		} else if (remote < 65536 && c->by_port[remote]) {
			m = &c->of[c->by_port[remote] - 1];
			m->unread = unread;
			m->open = true;
		}
	}
	fclose(f);
	for (i = 0; i < c->n; i++) {
		struct member *m = &c->of[i];

		if (m->open)
			held += (int64_t)(m->sent - m->received_bytes -
					  m->unacked - m->unread);
	}
	return held;
}

/* The sum of the numbers that come after this word; or the first of them. */
static int64_t numbers_after(const char *path, const char *word, bool all)
{
	char line[256];
	int64_t sum = -1;
	FILE *f = fopen(path, "r");

	if (!f)
		die("fopen(%s): %s", path, strerrorname_np(errno));
	while ((all || sum < 0) && fgets(line, sizeof(line), f)) {
		char *at = strstr(line, word);
		long long n;

		if (at && sscanf(at + strlen(word), "%lld", &n) == 1)
			sum = n + (sum < 0 ? 0 : sum);
	}
	fclose(f);
	if (sum < 0)
		die("%s does not tell %s", path, word);
	return sum;
}

static int64_t number_after(const char *path, const char *word)
{
	return numbers_after(path, word, false);
}

int64_t memory_beyond_tcp_(void)
{
	int64_t kb = number_after("/proc/meminfo", "MemTotal:") -
		     number_after("/proc/meminfo", "MemFree:") -
		     number_after("/proc/meminfo", "Cached:") -
		     number_after("/proc/meminfo", "AnonPages:");

	/* Pages that are free, but each with a CPU, are not in MemFree. */
	return kb * 1024 - sysconf(_SC_PAGESIZE) *
		(number_after("/proc/net/sockstat", " mem ") +
		 numbers_after("/proc/zoneinfo", " count:", true));
}
