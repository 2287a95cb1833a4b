// SPDX-License-Identifier: GPL-2.0
/*
 * Our sockets against libnng 1.5.2. See interop.h for the plan.
 */
#include "sptest.h"

#include <nng/nng.h>
#include <nng/protocol/pubsub0/pub.h>
#include <nng/protocol/pubsub0/sub.h>
#include <nng/protocol/reqrep0/rep.h>
#include <nng/protocol/reqrep0/req.h>

struct foreign {
	nng_socket s;
};

#include "interop.h"

static void nng_must(int err, const char *call)
{
	if (err)
		die("%s: %s", call, nng_strerror(err));
}

static void foreign_open(struct foreign *f, int type)
{
	nng_must(type == SOCK_REQ ? nng_req0_open(&f->s) :
		 type == SOCK_REP ? nng_rep0_open(&f->s) :
		 type == SOCK_PUB ? nng_pub0_open(&f->s) :
				    nng_sub0_open(&f->s),
		 "nng_*_open");
	nng_must(nng_socket_set_ms(f->s, NNG_OPT_RECVTIMEO, PATIENCE_MS),
		 "NNG_OPT_RECVTIMEO");
	/* A SUB has no such option. */
	if (type != SOCK_SUB)
		nng_must(nng_socket_set_ms(f->s, NNG_OPT_SENDTIMEO,
					   PATIENCE_MS),
			 "NNG_OPT_SENDTIMEO");
	nng_must(nng_socket_set_ms(f->s, NNG_OPT_RECONNMINT, 20),
		 "NNG_OPT_RECONNMINT");
}

static void foreign_listen(struct foreign *f, const char *url)
{
	nng_must(nng_listen(f->s, url, NULL, 0), "nng_listen");
}

static void foreign_dial(struct foreign *f, const char *url)
{
	nng_must(nng_dial(f->s, url, NULL, NNG_FLAG_NONBLOCK), "nng_dial");
}

static void foreign_subscribe(struct foreign *f, const char *topic)
{
	nng_must(nng_socket_set(f->s, NNG_OPT_SUB_SUBSCRIBE, topic,
				strlen(topic)),
		 "NNG_OPT_SUB_SUBSCRIBE");
}

static void foreign_send(struct foreign *f, const void *body, size_t len)
{
	nng_must(nng_send(f->s, (void *)body, len, 0), "nng_send");
}

static unsigned char *foreign_recv(struct foreign *f, size_t len)
{
	unsigned char *copy = malloc(len + 1);
	void *body;
	size_t got;

	must_be(copy);
	nng_must(nng_recv(f->s, &body, &got, NNG_FLAG_ALLOC), "nng_recv");
	must_eq(len, got);
	memcpy(copy, body, len);
	nng_free(body, got);
	return copy;
}

static void foreign_close(struct foreign *f)
{
	nng_must(nng_close(f->s), "nng_close");
}

SP_TEST_MAIN
