/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Sockets of several implementations, all used alike: ours, and those of the
 * libraries that ours must get on with. What blocks is bounded, and all fail
 * loudly.
 */
#ifndef SP_TESTS_PEER_H
#define SP_TESTS_PEER_H

#include "must.h"
#include "sock.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One implementation. Sockets are numbers of its own. */
struct library {
	const char *name;

	int (*open)(int type);
	void (*close)(int id);
	/* A loopback address for it to listen at, and one for us, so that it
	 * can dial; nobody is at either.
	 */
	struct addr (*own_place)(int family);
	struct addr (*our_place)(int family);
	void (*listen)(int id, const struct addr *at);
	void (*dial)(int id, const struct addr *to);
	void (*want)(int id, const void *topic, size_t len);
	void (*send)(int id, const void *body, size_t len);
	/* The next message, for free(), or NULL if there is none and nobody
	 * wants to wait for one.
	 */
	unsigned char *(*recv)(int id, size_t *len, bool wait);

	/* Raw sockets and what forwards between two, for ever; or NULL. */
	int (*open_raw)(int type);
	void (*device)(int id, int other);
};

extern const struct library ours, nanomsg, nng, pynng;

struct peer {
	const struct library *library;
	int id;
};

#define peer_open(library, type) AT(peer_open_((library), (type)))
struct peer peer_open_(const struct library *library, int type);
#define peer_close(p) AT((p)->library->close((p)->id))
#define peer_listen(p, at) AT((p)->library->listen((p)->id, (at)))
#define peer_dial(p, to) AT((p)->library->dial((p)->id, (to)))
/* Use: peer_subscribe(p, LIT("topic")). */
#define peer_subscribe(p, ...) AT((p)->library->want((p)->id, __VA_ARGS__))
#define peer_send(p, ...) AT((p)->library->send((p)->id, __VA_ARGS__))
#define peer_recv(p, len) AT((p)->library->recv((p)->id, (len), true))
#define peer_try_recv(p, len) AT((p)->library->recv((p)->id, (len), false))

/* The next message is exactly this. Use: peer_expect(p, LIT("text")). */
#define peer_expect(p, ...) AT(peer_expect_((p), __VA_ARGS__))
void peer_expect_(struct peer *p, const void *body, size_t len);

/* A message made by fill() goes from one to the other. */
#define carry(from, to, len, seed) AT(carry_((from), (to), (len), (seed)))
void carry_(struct peer *from, struct peer *to, size_t len, uint32_t seed);

/*
 * A publisher drops what it publishes before a pipe is up, and only ours tell
 * when that is. So it publishes a greeting until the subscriber, who must have
 * subscribed to that, hears it; and nothing of it is left behind.
 */
#define await_heard(publisher, subscriber, greeting) \
	AT(await_heard_((publisher), (subscriber), (greeting)))
void await_heard_(struct peer *publisher, struct peer *subscriber,
		  const char *greeting);

/* Takes turns to look, until one of n has a message: which. */
#define await_any(peers, n, body, len) \
	AT(await_any_((peers), (n), (body), (len)))
size_t await_any_(struct peer *peers, size_t n, unsigned char **body,
		  size_t *len);

/* The libraries call addresses tcp://127.0.0.1:5577. */
struct url {
	char text[64];
};

struct url url_of(const struct addr *addr);

#endif
