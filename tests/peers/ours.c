// SPDX-License-Identifier: GPL-2.0
#include "peer.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static int ours_open(int type)
{
	return sp_open_(type);
}

static void ours_close(int s)
{
	must_(close(s), "close");
}

static void ours_listen(int s, const struct addr *at)
{
	must_(bind(s, &at->sa, at->len), "bind");
}

static void ours_dial(int s, const struct addr *to)
{
	sp_connect_(s, to);
}

static void ours_subscribe(int s, const void *topic, size_t len)
{
	subscribe_(s, topic, len);
}

static void ours_send(int s, const void *body, size_t len)
{
	sp_send_(s, body, len);
}

static unsigned char *ours_recv(int s, size_t *len, bool wait)
{
	int flags = wait ? 0 : MSG_DONTWAIT;
	unsigned char *body;
	ssize_t n;

	/* The length first, so that the buffer fits. */
	n = recv(s, NULL, 0, flags | MSG_PEEK | MSG_TRUNC);
	if (n < 0 && errno == EAGAIN && !wait)
		return NULL;
	must_(n, "recv(MSG_PEEK)");
	body = malloc((size_t)n + 1);
	if (!body)
		die("no memory for a message of %zd bytes", n);
	if (must_(recv(s, body, (size_t)n + 1, flags | MSG_TRUNC), "recv") != n)
		die("recv() gives another message than MSG_PEEK did");
	*len = (size_t)n;
	return body;
}

const struct library ours = {
	.name = "ours",
	.open = ours_open,
	.close = ours_close,
	.own_place = nowhere,
	.our_place = nowhere,
	.listen = ours_listen,
	.dial = ours_dial,
	.want = ours_subscribe,
	.send = ours_send,
	.recv = ours_recv,
};
