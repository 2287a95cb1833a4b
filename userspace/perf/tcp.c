/* SPDX-License-Identifier: MIT */
/*
 * TCP, or with UNIX defined AF_UNIX's sequenced packets. On TCP each message has its length
 * in front, 4 bytes; what has arrived is read into a buffer, as far as it fits there, and messages are
 * taken out of that.
 */
#define _GNU_SOURCE
#include "transport.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#ifdef UNIX
enum { PACKETS = 1, TYPE = SOCK_SEQPACKET };
#else
enum { PACKETS = 0, TYPE = SOCK_STREAM };
#endif

enum { BUFFER = 1 << 16, MOST = 1100 };

struct end {
	int listener, timeout_ms;
	/* The connections; one but for who publishes, or answers many. */
	int fd[MOST], count;
	/* Bytes FROM to TO have arrived and are not taken yet. */
	size_t from, to;
	unsigned char buffer[BUFFER];
};

union addr {
	struct sockaddr sa;
	struct sockaddr_in in;
	struct sockaddr_un un;
};

static socklen_t address(union addr *addr, int port)
{
	memset(addr, 0, sizeof(*addr));
	if (PACKETS) {
		addr->un.sun_family = AF_UNIX;
		/* Its first byte is zero: a name in no file system. */
		return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
				   (size_t)sprintf(addr->un.sun_path + 1, "perf.%d", port));
	}
	addr->in.sin_family = AF_INET;
	addr->in.sin_port = htons((unsigned short)port);
	addr->in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return sizeof(addr->in);
}

static struct end *new_end(int timeout_ms)
{
	struct end *end = calloc(1, sizeof(*end));

	if (!end)
		fail("calloc");
	end->listener = -1;
	end->timeout_ms = timeout_ms;
	return end;
}

static void add(struct end *end, int fd)
{
	struct timeval timeout = { end->timeout_ms / 1000, end->timeout_ms % 1000 * 1000 };
	const int on = 1, buffer = 4 << 20;

	if (end->count == MOST)
		fail_with("accept", "too many connections");
	/* A packet must fit. */
	if (PACKETS ? setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &buffer, sizeof(buffer)) :
		      setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)))
		fail("setsockopt");
	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)))
		fail("setsockopt(SO_RCVTIMEO)");
	end->fd[end->count++] = fd;
}

struct end *end_open(enum role role, bool binds, int port, int timeout_ms)
{
	struct end *end = new_end(timeout_ms);
	union addr addr;
	socklen_t len = address(&addr, port);
	int fd = socket(addr.sa.sa_family, TYPE, 0);
	const int on = 1;

	(void)role;
	if (fd < 0)
		fail("socket");
	if (binds) {
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
		if (bind(fd, &addr.sa, len) || listen(fd, MOST))
			fail("bind");
		end->listener = fd;
		return end;
	}
	while (connect(fd, &addr.sa, len)) {
		if (errno != ECONNREFUSED)
			fail("connect");
		usleep(1000);
	}
	add(end, fd);
	return end;
}

void end_await(struct end *end, int others)
{
	while (end->count < others) {
		int fd = accept(end->listener, NULL, NULL);

		if (fd < 0)
			fail("accept");
		add(end, fd);
	}
}

static void send_to(int fd, const void *body, size_t len)
{
	uint32_t head = htonl((uint32_t)len);
	struct iovec vec[2] = { { &head, sizeof(head) }, { (void *)body, len } };
	size_t left = sizeof(head) + len;
	ssize_t n;

	if (PACKETS) {
		if (send(fd, body, len, 0) < 0)
			fail("send");
		return;
	}
	while ((n = writev(fd, vec, 2)) != (ssize_t)left) {
		if (n < 0)
			fail("writev");
		left -= (size_t)n;
		for (int i = 0; i < 2; i++) {
			size_t part = (size_t)n < vec[i].iov_len ? (size_t)n : vec[i].iov_len;

			vec[i].iov_base = (char *)vec[i].iov_base + part;
			vec[i].iov_len -= part;
			n -= (ssize_t)part;
		}
	}
}

void end_send(struct end *end, const void *body, size_t len)
{
	for (int i = 0; i < end->count; i++)
		send_to(end->fd[i], body, len);
}

/* Waits until so many bytes are in the buffer; false if they do not come in time. */
static bool fill(struct end *end, size_t len)
{
	while (end->to - end->from < len) {
		ssize_t n;

		if (end->from == end->to)
			end->from = end->to = 0;
		if (BUFFER - end->from < len) {
			memmove(end->buffer, end->buffer + end->from, end->to - end->from);
			end->to -= end->from;
			end->from = 0;
		}
		n = recv(end->fd[0], end->buffer + end->to, BUFFER - end->to, 0);
		if (n < 0 && errno == EAGAIN)
			return false;
		if (n <= 0)
			fail("recv");
		end->to += (size_t)n;
	}
	return true;
}

ssize_t end_recv(struct end *end, void *body, size_t size)
{
	size_t len, part;
	uint32_t head;
	ssize_t n;

	/* Who answers takes who comes. */
	end_await(end, 1);
	if (PACKETS) {
		n = recv(end->fd[0], body, size, 0);
		if (n < 0 && errno != EAGAIN)
			fail("recv");
		return n;
	}
	if (!fill(end, sizeof(head)))
		return -1;
	memcpy(&head, end->buffer + end->from, sizeof(head));
	end->from += sizeof(head);
	len = ntohl(head);
	if (len > size)
		fail_with("recv", "a message is too long");
	if (len <= BUFFER / 2) {
		if (!fill(end, len))
			return -1;
		memcpy(body, end->buffer + end->from, len);
		end->from += len;
		return (ssize_t)len;
	}
	/* The rest of a long one goes where it belongs. */
	part = end->to - end->from < len ? end->to - end->from : len;
	memcpy(body, end->buffer + end->from, part);
	end->from += part;
	while (part < len) {
		n = recv(end->fd[0], (char *)body + part, len - part, MSG_WAITALL);
		if (n <= 0)
			fail("recv");
		part += (size_t)n;
	}
	return (ssize_t)len;
}

void end_close(struct end *end)
{
	for (int i = 0; i < end->count; i++)
		close(end->fd[i]);
	if (end->listener >= 0)
		close(end->listener);
	free(end);
}
