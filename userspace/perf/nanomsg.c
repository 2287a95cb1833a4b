/* SPDX-License-Identifier: MIT */
#include "transport.h"

#include <errno.h>
#include <nanomsg/nn.h>
#include <nanomsg/pipeline.h>
#include <nanomsg/pubsub.h>
#include <nanomsg/reqrep.h>
#include <nanomsg/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct end {
	int socket;
	bool sends_last;
};

static void check(int err, const char *what)
{
	if (err < 0)
		fail_with(what, nn_strerror(nn_errno()));
}

struct end *end_open(enum role role, bool binds, int port, int timeout_ms)
{
	static const int types[] = {
		[ASKS] = NN_REQ,   [ANSWERS] = NN_REP,	 [PUSHES] = NN_PUSH,
		[PULLS] = NN_PULL, [PUBLISHES] = NN_PUB, [SUBSCRIBES] = NN_SUB,
	};
	struct end *end = malloc(sizeof(*end));
	const int on = 1, unlimited = -1, timeout = timeout_ms ? timeout_ms : -1;
	char addr[64];

	if (!end)
		fail("malloc");
	end->sends_last = role == ANSWERS || role == PUSHES || role == PUBLISHES;
	end->socket = nn_socket(AF_SP, types[role]);
	check(end->socket, "nn_socket");
	check(nn_setsockopt(end->socket, NN_TCP, NN_TCP_NODELAY, &on, sizeof(on)), "NN_TCP_NODELAY");
	check(nn_setsockopt(end->socket, NN_SOL_SOCKET, NN_RCVMAXSIZE, &unlimited, sizeof(unlimited)),
	      "NN_RCVMAXSIZE");
	check(nn_setsockopt(end->socket, NN_SOL_SOCKET, NN_RCVTIMEO, &timeout, sizeof(timeout)),
	      "NN_RCVTIMEO");
	if (role == SUBSCRIBES)
		check(nn_setsockopt(end->socket, NN_SUB, NN_SUB_SUBSCRIBE, "", 0), "NN_SUB_SUBSCRIBE");
	snprintf(addr, sizeof(addr), "tcp://127.0.0.1:%d", port);
	check(binds ? nn_bind(end->socket, addr) : nn_connect(end->socket, addr),
	      binds ? "nn_bind" : "nn_connect");
	return end;
}

static uint64_t connections(const struct end *end)
{
	return nn_get_statistic(end->socket, NN_STAT_CURRENT_CONNECTIONS);
}

void end_await(struct end *end, int others)
{
	while (connections(end) < (uint64_t)others)
		usleep(1000);
}

void end_send(struct end *end, const void *body, size_t len)
{
	check(nn_send(end->socket, body, len, 0), "nn_send");
}

ssize_t end_recv(struct end *end, void *body, size_t size)
{
	int n = nn_recv(end->socket, body, size, 0);

	if (n < 0 && nn_errno() != ETIMEDOUT)
		check(n, "nn_recv");
	return n;
}

void end_close(struct end *end)
{
	/* nn_close() throws away what is not sent yet; who has received all leaves. */
	while (end->sends_last && connections(end))
		usleep(1000);
	nn_close(end->socket);
	free(end);
}
