/* SPDX-License-Identifier: GPL-2.0 */
/*
 * SP sockets in fixtures: made, bound, connected, and awaited.
 *
 * connect() of an SP socket returns at once, so nothing here may assume that a
 * peer is there: await_peers() is the rendezvous.
 */
#ifndef SP_TESTS_SOCK_H
#define SP_TESTS_SOCK_H

#include "must.h"

#include <netinet/sp.h>
#include <stddef.h>
#include <stdint.h>

/* A byte string without its terminator, as two arguments: LIT("a\0b"). */
#define LIT(text) (text), (sizeof(text) - 1)

struct addr {
	union {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
		struct sockaddr_storage storage;
	};
	socklen_t len;
};

struct addr loopback(int family, int port);
struct addr wildcard(int family, int port);
int port_of(const struct addr *addr);

/* A loopback address on which nobody listens (nor will: fresh namespace). */
struct addr nowhere(int family);

/* A socket whose blocking calls give EAGAIN after PATIENCE_MS. */
#define sp_open(type) AT(sp_open_((type)))
int sp_open_(int type);

/* Binds to a loopback port of the kernel's choice and returns the address. */
#define sp_bind(s, family) AT(sp_bind_((s), (family)))
struct addr sp_bind_(int s, int family);

#define sp_connect(s, to) AT(sp_connect_((s), (to)))
void sp_connect_(int s, const struct addr *to);

/* sp_open(), then sp_bind() or sp_connect(), over IPv4. */
#define sp_listener(type, addr) AT(sp_listener_((type), (addr)))
int sp_listener_(int type, struct addr *addr);
#define sp_dialer(type, to) AT(sp_dialer_((type), (to)))
int sp_dialer_(int type, const struct addr *to);

/* Two sockets, the first bound, the second connected, both with the pipe up. */
struct pair {
	int bound, connected;
};

#define sp_pair(bound, connected) AT(sp_pair_((bound), (connected)))
struct pair sp_pair_(int bound_type, int connected_type);

/* Waits until the socket has exactly n live pipes. */
#define await_peers(s, n) AT(await_peers_((s), (n)))
void await_peers_(int s, int n);

#define sp_info(s) AT(sp_info_((s)))
struct sp_info sp_info_(int s);

/* One member of SP_INFO now; and the wait until it has reached a value. */
#define counter(s, member) (sp_info(s).member)
#define await_counter(s, member, least)                                       \
	AT(await_counter_((s), offsetof(struct sp_info, member), (least),     \
			  #member))
void await_counter_(int s, size_t offset, uint64_t least, const char *name);

/* All messages that arrived whole and were dropped, whatever the reason. */
#define await_refused(s, least) AT(await_refused_((s), (least)))
void await_refused_(int s, uint64_t least);

#define sp_set(s, option, value) AT(sp_set_((s), (option), (value)))
void sp_set_(int s, int option, int value);
#define sp_get(s, option) AT(sp_get_((s), (option)))
int sp_get_(int s, int option);
#define sol_set(s, option, value) AT(sol_set_((s), (option), (value)))
void sol_set_(int s, int option, int value);

/* Use: subscribe(s, LIT("topic")). */
#define subscribe(s, ...) AT(subscribe_((s), __VA_ARGS__))
void subscribe_(int s, const void *topic, size_t len);
#define unsubscribe(s, ...) AT(unsubscribe_((s), __VA_ARGS__))
void unsubscribe_(int s, const void *topic, size_t len);

/* SO_RCVTIMEO or SO_SNDTIMEO; 0 is for ever. */
#define set_timeout(s, option, ms) AT(set_timeout_((s), (option), (ms)))
void set_timeout_(int s, int option, int ms);

/* send() takes the whole message. Use: sp_send(s, LIT("text")). */
#define sp_send(s, ...) AT(sp_send_((s), __VA_ARGS__))
void sp_send_(int s, const void *body, size_t len);

/* recv() gives exactly this message. Use: sp_expect(s, LIT("text")). */
#define sp_expect(s, ...) AT(sp_expect_((s), __VA_ARGS__))
void sp_expect_(int s, const void *body, size_t len);

/* The same for messages made by fill(). */
#define sp_send_filled(s, len, seed) AT(sp_send_filled_((s), (len), (seed)))
void sp_send_filled_(int s, size_t len, uint32_t seed);
#define sp_expect_filled(s, len, seed) AT(sp_expect_filled_((s), (len), (seed)))
void sp_expect_filled_(int s, size_t len, uint32_t seed);

/* Nothing to receive now: recv() gives EAGAIN and poll() agrees. */
#define sp_expect_nothing(s) AT(sp_expect_nothing_((s)))
void sp_expect_nothing_(int s);

/* A request goes from req to rep and its reply back. */
#define sp_round_trip(req, rep) AT(sp_round_trip_((req), (rep)))
void sp_round_trip_(int req, int rep);

#endif
