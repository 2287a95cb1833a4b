/* SPDX-License-Identifier: MIT */
#include "transport.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <zmq.h>

struct end {
	void *socket, *monitor;
};

static void *context;

static void check(int err, const char *what)
{
	if (err < 0)
		fail_with(what, zmq_strerror(zmq_errno()));
}

static struct end *open_end(enum role role, int port, int timeout_ms, bool binds)
{
	static const int types[] = {
		[ASKS] = ZMQ_REQ,   [ANSWERS] = ZMQ_REP,   [PUSHES] = ZMQ_PUSH,
		[PULLS] = ZMQ_PULL, [PUBLISHES] = ZMQ_PUB, [SUBSCRIBES] = ZMQ_SUB,
	};
	struct end *end = calloc(1, sizeof(*end));
	const int unlimited = 0, timeout = timeout_ms ? timeout_ms : -1;
	char addr[64];

	if (!end)
		fail("calloc");
	if (!context)
		context = zmq_ctx_new();
	end->socket = zmq_socket(context, types[role]);
	if (!end->socket)
		fail_with("zmq_socket", zmq_strerror(zmq_errno()));
	/* It must not drop what it publishes. */
	if (role == PUBLISHES)
		check(zmq_setsockopt(end->socket, ZMQ_SNDHWM, &unlimited, sizeof(unlimited)), "ZMQ_SNDHWM");
	if (role == SUBSCRIBES) {
		check(zmq_setsockopt(end->socket, ZMQ_RCVHWM, &unlimited, sizeof(unlimited)), "ZMQ_RCVHWM");
		check(zmq_setsockopt(end->socket, ZMQ_SUBSCRIBE, "", 0), "ZMQ_SUBSCRIBE");
	}
	check(zmq_setsockopt(end->socket, ZMQ_RCVTIMEO, &timeout, sizeof(timeout)), "ZMQ_RCVTIMEO");
	snprintf(addr, sizeof(addr), "inproc://%p", (void *)end);
	check(zmq_socket_monitor(end->socket, addr, ZMQ_EVENT_HANDSHAKE_SUCCEEDED), "zmq_socket_monitor");
	end->monitor = zmq_socket(context, ZMQ_PAIR);
	check(zmq_connect(end->monitor, addr), "zmq_connect");
	snprintf(addr, sizeof(addr), "tcp://127.0.0.1:%d", port);
	check(binds ? zmq_bind(end->socket, addr) : zmq_connect(end->socket, addr),
	      binds ? "zmq_bind" : "zmq_connect");
	return end;
}

struct end *end_bind(enum role role, int port, int timeout_ms)
{
	return open_end(role, port, timeout_ms, true);
}

struct end *end_connect(enum role role, int port, int timeout_ms)
{
	return open_end(role, port, timeout_ms, false);
}

void end_await(struct end *end, int others)
{
	char event[64];

	/* Two frames each: the event, and who it is. */
	for (int i = 0; i < 2 * others; i++)
		check(zmq_recv(end->monitor, event, sizeof(event), 0), "zmq_recv");
	/* Subscriptions come after that, and are told of by nothing. */
	usleep(100000);
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
	zmq_socket_monitor(end->socket, NULL, 0);
	zmq_close(end->monitor);
	zmq_close(end->socket);
	/* Waits until all is sent. */
	zmq_ctx_term(context);
	free(end);
}
