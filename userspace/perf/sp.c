/* SPDX-License-Identifier: MIT */
/* PF_SP; compiled with BATCH=N, N messages a call. */
#define _GNU_SOURCE
#include "sp_open.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#ifndef BATCH
#define BATCH 1
#endif

struct end {
	int fd;
	bool sends;
	/* What is gathered, or handed out: messages FIRST to COUNT, each in its SIZE bytes of ROOM. */
	unsigned int first, count;
	size_t size;
	unsigned char *room;
	struct mmsghdr msg[BATCH];
	struct iovec vec[BATCH];
};

struct end *end_open(enum role role, bool binds, int port, int timeout_ms)
{
	struct end *end = calloc(1, sizeof(*end));

	if (!end)
		fail("calloc");
	end->sends = role == PUSHES || role == PUBLISHES;
	end->fd = sp_open(role, binds, port, timeout_ms);
	return end;
}

void end_await(struct end *end, int others)
{
	sp_await(end->fd, others);
}

static void make_room(struct end *end, size_t size)
{
	if (end->room)
		return;
	end->size = size;
	end->room = calloc(BATCH, size);
	if (!end->room)
		fail("calloc");
	for (int i = 0; i < BATCH; i++) {
		end->vec[i] = (struct iovec){ end->room + (size_t)i * size, size };
		end->msg[i].msg_hdr = (struct msghdr){ .msg_iov = &end->vec[i], .msg_iovlen = 1 };
	}
}

static void flush(struct end *end)
{
	while (end->first < end->count) {
		int n = sendmmsg(end->fd, end->msg + end->first, end->count - end->first, 0);

		if (n < 0)
			fail("sendmmsg");
		end->first += (unsigned int)n;
	}
	end->first = end->count = 0;
}

void end_send(struct end *end, const void *body, size_t len)
{
	if (BATCH == 1) {
		if (send(end->fd, body, len, 0) < 0)
			fail("send");
		return;
	}
	make_room(end, len);
	memcpy(end->vec[end->count++].iov_base, body, len);
	if (end->count == BATCH)
		flush(end);
}

ssize_t end_recv(struct end *end, void *body, size_t size)
{
	if (BATCH == 1) {
		ssize_t n = recv(end->fd, body, size, 0);

		if (n < 0 && errno != EAGAIN)
			fail("recv");
		return n;
	}
	make_room(end, size);
	if (end->first == end->count) {
		int n = recvmmsg(end->fd, end->msg, BATCH, MSG_WAITFORONE, NULL);

		if (n < 0 && errno != EAGAIN)
			fail("recvmmsg");
		if (n < 0)
			return -1;
		end->first = 0;
		end->count = (unsigned int)n;
	}
	memcpy(body, end->vec[end->first].iov_base, end->msg[end->first].msg_len);
	return end->msg[end->first++].msg_len;
}

void end_close(struct end *end)
{
	if (end->sends)
		flush(end);
	close(end->fd);
	free(end->room);
	free(end);
}
