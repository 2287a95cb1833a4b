/* SPDX-License-Identifier: MIT */
#include "transport.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <zmq.h>

struct end {
	void *socket;
};

static void *context;
static int ends;

static void check(int err, const char *what)
{
	if (err < 0)
		fail_with(what, zmq_strerror(zmq_errno()));
}

struct end *end_open(enum role role, bool binds, int port, int timeout_ms)
{
	static const int types[] = {
		[ASKS] = ZMQ_REQ,   [ANSWERS] = ZMQ_REP,   [PUSHES] = ZMQ_PUSH,
		[PULLS] = ZMQ_PULL, [SUBSCRIBES] = ZMQ_SUB,
		/* A PUB that is told of its subscribers. */
		[PUBLISHES] = ZMQ_XPUB,
	};
	struct end *end = calloc(1, sizeof(*end));
	const int on = 1, unlimited = 0, timeout = timeout_ms ? timeout_ms : -1;
	char addr[64];

	if (!end)
		fail("calloc");
	if (!context)
		context = zmq_ctx_new();
	end->socket = zmq_socket(context, types[role]);
	if (!end->socket)
		fail_with("zmq_socket", zmq_strerror(zmq_errno()));
	/* It must not drop what it publishes. */
	if (role == PUBLISHES) {
		check(zmq_setsockopt(end->socket, ZMQ_SNDHWM, &unlimited, sizeof(unlimited)), "ZMQ_SNDHWM");
		/* Of each of them, though they subscribe to the same. */
		check(zmq_setsockopt(end->socket, ZMQ_XPUB_VERBOSE, &on, sizeof(on)), "ZMQ_XPUB_VERBOSE");
	}
	if (role == SUBSCRIBES) {
		check(zmq_setsockopt(end->socket, ZMQ_RCVHWM, &unlimited, sizeof(unlimited)), "ZMQ_RCVHWM");
		check(zmq_setsockopt(end->socket, ZMQ_SUBSCRIBE, "", 0), "ZMQ_SUBSCRIBE");
	}
	check(zmq_setsockopt(end->socket, ZMQ_RCVTIMEO, &timeout, sizeof(timeout)), "ZMQ_RCVTIMEO");
	ends++;
	snprintf(addr, sizeof(addr), "tcp://127.0.0.1:%d", port);
	check(binds ? zmq_bind(end->socket, addr) : zmq_connect(end->socket, addr),
	      binds ? "zmq_bind" : "zmq_connect");
	return end;
}

void end_await(struct end *end, int others)
{
	char subscription[64];

	while (others-- > 0)
		check(zmq_recv(end->socket, subscription, sizeof(subscription), 0), "zmq_recv");
}

void end_send(struct end *end, const void *body, size_t len)
{
	check(zmq_send(end->socket, body, len, 0), "zmq_send");
}

ssize_t end_recv(struct end *end, void *body, size_t size)
{
	int n = zmq_recv(end->socket, body, size, 0);

	if (n < 0 && zmq_errno() != EAGAIN)
		check(n, "zmq_recv");
	return n;
}

void end_close(struct end *end)
{
	zmq_close(end->socket);
	/* Waits until all is sent. */
	if (--ends == 0)
		zmq_ctx_term(context);
	free(end);
}
