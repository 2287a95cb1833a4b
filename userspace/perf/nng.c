/* SPDX-License-Identifier: MIT */
#include "transport.h"

#include <nng/nng.h>
#include <nng/protocol/pipeline0/pull.h>
#include <nng/protocol/pipeline0/push.h>
#include <nng/protocol/pubsub0/pub.h>
#include <nng/protocol/pubsub0/sub.h>
#include <nng/protocol/reqrep0/rep.h>
#include <nng/protocol/reqrep0/req.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct end {
	nng_socket socket;
	/* How many are connected now. */
	atomic_int others;
	bool sends_last;
};

static void check(int err, const char *what)
{
	if (err)
		fail_with(what, nng_strerror(err));
}

static void changed(nng_pipe pipe, nng_pipe_ev event, void *arg)
{
	struct end *end = arg;

	(void)pipe;
	atomic_fetch_add(&end->others, event == NNG_PIPE_EV_ADD_POST ? 1 : -1);
}

struct end *end_open(enum role role, bool binds, int port, int timeout_ms)
{
	static int (*const open[])(nng_socket *) = {
		[ASKS] = nng_req0_open,	     [ANSWERS] = nng_rep0_open,
		[PUSHES] = nng_push0_open,   [PULLS] = nng_pull0_open,
		[PUBLISHES] = nng_pub0_open, [SUBSCRIBES] = nng_sub0_open,
	};
	struct end *end = calloc(1, sizeof(*end));
	char addr[64];

	if (!end)
		fail("calloc");
	end->sends_last = role == ANSWERS || role == PUSHES || role == PUBLISHES;
	check(open[role](&end->socket), "nng_open");
	check(nng_socket_set_size(end->socket, NNG_OPT_RECVMAXSZ, 0), "NNG_OPT_RECVMAXSZ");
	check(nng_socket_set_ms(end->socket, NNG_OPT_RECVTIMEO, timeout_ms ? timeout_ms : NNG_DURATION_INFINITE),
	      "NNG_OPT_RECVTIMEO");
	if (role == SUBSCRIBES)
		check(nng_socket_set(end->socket, NNG_OPT_SUB_SUBSCRIBE, "", 0), "NNG_OPT_SUB_SUBSCRIBE");
	/* The most that they take: what is published is dropped less often. */
	if (role == PUBLISHES)
		check(nng_socket_set_int(end->socket, NNG_OPT_SENDBUF, 8192), "NNG_OPT_SENDBUF");
	if (role == SUBSCRIBES)
		check(nng_socket_set_int(end->socket, NNG_OPT_RECVBUF, 8192), "NNG_OPT_RECVBUF");
	check(nng_pipe_notify(end->socket, NNG_PIPE_EV_ADD_POST, changed, end), "nng_pipe_notify");
	check(nng_pipe_notify(end->socket, NNG_PIPE_EV_REM_POST, changed, end), "nng_pipe_notify");
	snprintf(addr, sizeof(addr), "tcp://127.0.0.1:%d", port);
	if (binds)
		check(nng_listen(end->socket, addr, NULL, 0), "nng_listen");
	else
		check(nng_dial(end->socket, addr, NULL, NNG_FLAG_NONBLOCK), "nng_dial");
	return end;
}

void end_await(struct end *end, int others)
{
	while (atomic_load(&end->others) < others)
		usleep(1000);
}

void end_send(struct end *end, const void *body, size_t len)
{
	check(nng_send(end->socket, (void *)body, len, 0), "nng_send");
}

ssize_t end_recv(struct end *end, void *body, size_t size)
{
	int err = nng_recv(end->socket, body, &size, 0);

	if (err == NNG_ETIMEDOUT)
		return -1;
	check(err, "nng_recv");
	return (ssize_t)size;
}

void end_close(struct end *end)
{
	/* nng_close() throws away what is not sent yet; who has received all leaves. */
	while (end->sends_last && atomic_load(&end->others) > 0)
		usleep(1000);
	nng_close(end->socket);
	free(end);
}
