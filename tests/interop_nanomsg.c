// SPDX-License-Identifier: GPL-2.0
/*
 * Our sockets against libnanomsg 1.1.5. See interop.h for the plan, and
 * what aborts the library is not done to it.
 */
#include "sptest.h"

/* The library's own domain has the same name; PF_SP is still ours. */
#undef AF_SP
#include <nanomsg/nn.h>
#include <nanomsg/pubsub.h>
#include <nanomsg/reqrep.h>

struct foreign {
	int s;
};

#include "interop.h"

static int nn_must(int result, const char *call)
{
	if (result < 0)
		die("%s: %s", call, nn_strerror(nn_errno()));
	return result;
}

static void set_int(struct foreign *f, int option, int value)
{
	nn_must(nn_setsockopt(f->s, NN_SOL_SOCKET, option, &value,
			      sizeof(value)),
		"nn_setsockopt");
}

static void foreign_open(struct foreign *f, int type)
{
	f->s = nn_must(nn_socket(AF_SP, type == SOCK_REQ ? NN_REQ :
					   type == SOCK_REP ? NN_REP :
					   type == SOCK_PUB ? NN_PUB :
							      NN_SUB),
		       "nn_socket");
	set_int(f, NN_SNDTIMEO, PATIENCE_MS);
	set_int(f, NN_RCVTIMEO, PATIENCE_MS);
	set_int(f, NN_RECONNECT_IVL, 20);
}

/* With this on for an IPv4 address, connecting aborts the library. */
static void allow_ipv6(struct foreign *f, const char *url)
{
	if (strchr(url, '['))
		set_int(f, NN_IPV4ONLY, 0);
}

static void foreign_listen(struct foreign *f, const char *url)
{
	allow_ipv6(f, url);
	nn_must(nn_bind(f->s, url), "nn_bind");
}

static void foreign_dial(struct foreign *f, const char *url)
{
	allow_ipv6(f, url);
	nn_must(nn_connect(f->s, url), "nn_connect");
}

static void foreign_subscribe(struct foreign *f, const char *topic)
{
	nn_must(nn_setsockopt(f->s, NN_SUB, NN_SUB_SUBSCRIBE, topic,
			      strlen(topic)),
		"NN_SUB_SUBSCRIBE");
}

static void foreign_send(struct foreign *f, const void *body, size_t len)
{
	must_eq(len, nn_must(nn_send(f->s, body, len, 0), "nn_send"));
}

static unsigned char *foreign_recv(struct foreign *f, size_t len)
{
	unsigned char *copy = malloc(len + 1);
	void *body;

	must_be(copy);
	must_eq(len, nn_must(nn_recv(f->s, &body, NN_MSG, 0), "nn_recv"));
	memcpy(copy, body, len);
	nn_freemsg(body);
	return copy;
}

static void foreign_close(struct foreign *f)
{
	nn_must(nn_close(f->s), "nn_close");
}

SP_TEST_MAIN
