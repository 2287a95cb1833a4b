// SPDX-License-Identifier: GPL-2.0
/*
 * libnng 1.5.2.
 */
#define _GNU_SOURCE
#include "peer.h"
#include "clock.h"

#include <nng/nng.h>
#include <nng/protocol/pipeline0/pull.h>
#include <nng/protocol/pipeline0/push.h>
#include <nng/protocol/pubsub0/pub.h>
#include <nng/protocol/pubsub0/sub.h>
#include <nng/protocol/reqrep0/rep.h>
#include <nng/protocol/reqrep0/req.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void nng_must(int err, const char *call)
{
	if (err)
		die("%s: %s", call, nng_strerror(err));
}

static nng_socket by(int id)
{
	return (nng_socket){ .id = (uint32_t)id };
}

static int opened(nng_socket s, int err)
{
	nng_must(err, "nng_*_open");
	nng_must(nng_socket_set_ms(s, NNG_OPT_RECONNMINT, 20),
		 "NNG_OPT_RECONNMINT");
	return nng_socket_id(s);
}

static int nng_open(int type)
{
	static int (*const opens[])(nng_socket *) = {
		[SOCK_REQ] = nng_req0_open, [SOCK_REP] = nng_rep0_open,
		[SOCK_PUB] = nng_pub0_open, [SOCK_SUB] = nng_sub0_open,
		[SOCK_PUSH] = nng_push0_open, [SOCK_PULL] = nng_pull0_open,
	};
	nng_socket s;
	int err = opens[type](&s), id = opened(s, err);

	nng_must(nng_socket_set_ms(s, NNG_OPT_RECVTIMEO, PATIENCE_MS),
		 "NNG_OPT_RECVTIMEO");
	/* Who only receives has no such option. */
	if (type != SOCK_SUB && type != SOCK_PULL)
		nng_must(nng_socket_set_ms(s, NNG_OPT_SENDTIMEO, PATIENCE_MS),
			 "NNG_OPT_SENDTIMEO");
	return id;
}

static void *close_it(void *id)
{
	nng_must(nng_close(by((int)(intptr_t)id)), "nng_close");
	return NULL;
}

/*
 * Closing a PUB now and then never ends, whatever its peers were: the library
 * waits for a thread of its own. All is closed by then that the other side can
 * see. The rest goes with the process.
 */
static void nng_close_(int id)
{
	static bool stuck;
	struct timespec until;
	pthread_t thread;

	if (pthread_create(&thread, NULL, close_it, (void *)(intptr_t)id))
		die("pthread_create");
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += stuck ? 0 : 2;
	stuck = pthread_timedjoin_np(thread, NULL, &until) != 0 || stuck;
}

static void nng_listen_(int id, const struct addr *at)
{
	nng_must(nng_listen(by(id), url_of(at).text, NULL, 0), "nng_listen");
}

static void nng_dial_(int id, const struct addr *to)
{
	nng_must(nng_dial(by(id), url_of(to).text, NULL, NNG_FLAG_NONBLOCK),
		 "nng_dial");
}

static void nng_subscribe(int id, const void *topic, size_t len)
{
	nng_must(nng_socket_set(by(id), NNG_OPT_SUB_SUBSCRIBE, topic, len),
		 "NNG_OPT_SUB_SUBSCRIBE");
}

static void nng_send_(int id, const void *body, size_t len)
{
	nng_must(nng_send(by(id), (void *)body, len, 0), "nng_send");
}

static unsigned char *nng_recv_(int id, size_t *len, bool wait)
{
	unsigned char *copy;
	void *body;
	int err;

	err = nng_recv(by(id), &body, len,
		       NNG_FLAG_ALLOC | (wait ? 0 : NNG_FLAG_NONBLOCK));
	if (err == NNG_EAGAIN && !wait)
		return NULL;
	nng_must(err, "nng_recv");
	copy = malloc(*len + 1);
	if (!copy)
		die("no memory for a message of %zu bytes", *len);
	memcpy(copy, body, *len);
	nng_free(body, *len);
	return copy;
}

static int nng_open_raw(int type)
{
	static int (*const opens[])(nng_socket *) = {
		[SOCK_REQ] = nng_req0_open_raw,
		[SOCK_REP] = nng_rep0_open_raw,
		[SOCK_PUB] = nng_pub0_open_raw,
		[SOCK_SUB] = nng_sub0_open_raw,
		[SOCK_PUSH] = nng_push0_open_raw,
		[SOCK_PULL] = nng_pull0_open_raw,
	};
	nng_socket s;
	int err = opens[type](&s), id = opened(s, err);

	/* A raw SUB drops what its device does not take at once. */
	if (type == SOCK_SUB)
		nng_must(nng_socket_set_int(s, NNG_OPT_RECVBUF, 128),
			 "NNG_OPT_RECVBUF");
	return id;
}

static void nng_device_(int id, int other)
{
	nng_must(nng_device(by(id), by(other)), "nng_device");
}

const struct library nng = {
	.name = "nng",
	.open = nng_open,
	.close = nng_close_,
	.own_place = nowhere,
	.our_place = nowhere,
	.listen = nng_listen_,
	.dial = nng_dial_,
	.want = nng_subscribe,
	.send = nng_send_,
	.recv = nng_recv_,
	.open_raw = nng_open_raw,
	.device = nng_device_,
};
