// SPDX-License-Identifier: GPL-2.0
/*
 * libnanomsg 1.1.5. What aborts the library is not done to it.
 */
#include "peer.h"
#include "clock.h"

/* The library's own domain has the same name; PF_SP is still ours. */
#undef AF_SP
#include <errno.h>
#include <nanomsg/nn.h>
#include <nanomsg/pipeline.h>
#include <nanomsg/pubsub.h>
#include <nanomsg/reqrep.h>
#include <stdlib.h>
#include <string.h>

static int nn_must(int result, const char *call)
{
	if (result < 0)
		die("%s: %s", call, nn_strerror(nn_errno()));
	return result;
}

static void set_int(int s, int option, int value)
{
	nn_must(nn_setsockopt(s, NN_SOL_SOCKET, option, &value, sizeof(value)),
		"nn_setsockopt");
}

static int open_in(int domain, int type)
{
	static const int protocols[] = {
		[SOCK_REQ] = NN_REQ, [SOCK_REP] = NN_REP,
		[SOCK_PUB] = NN_PUB, [SOCK_SUB] = NN_SUB,
		[SOCK_PUSH] = NN_PUSH, [SOCK_PULL] = NN_PULL,
	};
	int s = nn_must(nn_socket(domain, protocols[type]), "nn_socket");

	set_int(s, NN_RECONNECT_IVL, 20);
	return s;
}

static int nanomsg_open(int type)
{
	int s = open_in(AF_SP, type);

	set_int(s, NN_SNDTIMEO, PATIENCE_MS);
	set_int(s, NN_RCVTIMEO, PATIENCE_MS);
	return s;
}

static void nanomsg_close(int s)
{
	nn_must(nn_close(s), "nn_close");
}

/* With this on for an IPv4 address, connecting aborts the library. */
static void allow_ipv6(int s, const struct addr *a)
{
	if (a->sa.sa_family == AF_INET6)
		set_int(s, NN_IPV4ONLY, 0);
}

static void nanomsg_listen(int s, const struct addr *at)
{
	allow_ipv6(s, at);
	nn_must(nn_bind(s, url_of(at).text), "nn_bind");
}

static void nanomsg_dial(int s, const struct addr *to)
{
	allow_ipv6(s, to);
	nn_must(nn_connect(s, url_of(to).text), "nn_connect");
}

static void nanomsg_subscribe(int s, const void *topic, size_t len)
{
	nn_must(nn_setsockopt(s, NN_SUB, NN_SUB_SUBSCRIBE, topic, len),
		"NN_SUB_SUBSCRIBE");
}

static void nanomsg_send(int s, const void *body, size_t len)
{
	must_eq_((long long)len, nn_must(nn_send(s, body, len, 0), "nn_send"),
		 "all bytes", "sent");
}

static unsigned char *nanomsg_recv(int s, size_t *len, bool wait)
{
	unsigned char *copy;
	void *body;
	int n;

	n = nn_recv(s, &body, NN_MSG, wait ? 0 : NN_DONTWAIT);
	if (n < 0 && nn_errno() == EAGAIN && !wait)
		return NULL;
	nn_must(n, "nn_recv");
	copy = malloc((size_t)n + 1);
	if (!copy)
		die("no memory for a message of %d bytes", n);
	memcpy(copy, body, (size_t)n);
	nn_freemsg(body);
	*len = (size_t)n;
	return copy;
}

/* A raw SUB filters like any other, so it must want everything. */
static int nanomsg_open_raw(int type)
{
	int s = open_in(AF_SP_RAW, type);

	if (type == SOCK_SUB)
		nanomsg_subscribe(s, "", 0);
	return s;
}

static void nanomsg_device(int s, int other)
{
	nn_must(nn_device(s, other), "nn_device");
}

const struct library nanomsg = {
	.name = "nanomsg",
	.open = nanomsg_open,
	.close = nanomsg_close,
	.own_place = nowhere,
	.our_place = nowhere,
	.listen = nanomsg_listen,
	.dial = nanomsg_dial,
	.want = nanomsg_subscribe,
	.send = nanomsg_send,
	.recv = nanomsg_recv,
	.open_raw = nanomsg_open_raw,
	.device = nanomsg_device,
};
