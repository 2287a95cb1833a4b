/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Many raw peers of one socket, whose bytes one thread sends as TCP takes them.
 *
 * Each is a stream of messages, whose lengths the test tells, up to the byte
 * that the test allows. Any piece that is shifted, repeated, lost or another's
 * shows when they are received: all are cut from one filler, each at a place of
 * its own, and the address that recvfrom() gives tells whose is due.
 */
#ifndef SP_TESTS_CROWD_H
#define SP_TESTS_CROWD_H

#include "must.h"
#include "sock.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CROWD_ALL UINT64_MAX

struct member {
	int fd, type, port;
	uint32_t who;
	/* Where it is: the byte @off of its message @nth. */
	uint32_t nth;
	size_t off;
	/* Bytes of the stream that were sent, and may be. */
	uint64_t sent, until;
	/* How many messages it consists of. */
	uint32_t messages;
	/* Of them, those that the program has, and their bytes on the wire. */
	uint32_t received;
	uint64_t received_bytes;
	/* The other side closed the connection. */
	bool gone;
	/* As crowd_held() found them. */
	uint64_t unacked, unread;
	bool open;
};

struct crowd {
	struct addr to;
	int type, n;
	struct member *of;
	size_t (*length)(uint32_t who, uint32_t nth);
	size_t longest;
	unsigned char *sea, *room;
	uint16_t by_port[65536];
};

/* No message is longer than @longest. Each member is to be told what to do. */
#define crowd_init(c, type, length, longest)                                  \
	AT(crowd_init_((c), (type), (length), (longest)))
void crowd_init_(struct crowd *c, int type,
		 size_t (*length)(uint32_t who, uint32_t nth), size_t longest);

/*
 * Adds @n members, who greet. @sndbuf is SO_SNDBUF, whatever the system's limit
 * is; 0 leaves it to TCP. They may send nothing yet, and have messages without
 * end.
 */
#define crowd_join(c, to, n, sndbuf) AT(crowd_join_((c), (to), (n), (sndbuf)))
void crowd_join_(struct crowd *c, const struct addr *to, int n, int sndbuf);
/* Resets those that are there. */
void crowd_leave(struct crowd *c);

/* How many members have been disconnected, as far as sending told. */
int crowd_gone(const struct crowd *c);

/* Bytes on the wire of a member's message, and of its first @n. */
uint64_t crowd_frame(const struct member *m, const struct crowd *c,
		     uint32_t nth);
uint64_t crowd_frames(const struct member *m, const struct crowd *c,
		      uint32_t n);

/* Sends what one member may and TCP takes now; returns how many bytes. */
#define member_send(c, m) AT(member_send_((c), (m)))
size_t member_send_(struct crowd *c, struct member *m);

/*
 * The same for all, once one of them has room or @ms have passed. With @s that
 * has something to receive it does not wait either.
 */
#define crowd_send(c, s, ms) AT(crowd_send_((c), (s), (ms)))
size_t crowd_send_(struct crowd *c, int s, int ms);

/* Until TCP has taken nothing more from anybody for quiet_ms(). */
#define crowd_settle(c) AT(crowd_settle_((c)))
void crowd_settle_(struct crowd *c);

/*
 * Receives a message, which is the next one of its sender, and returns who that
 * is; -1 if there is none and flags say not to wait.
 */
#define crowd_recv(c, s, flags) AT(crowd_recv_((c), (s), (flags)))
int crowd_recv_(struct crowd *c, int s, int flags);
/* The same, waiting, with everybody sending on. */
#define crowd_recv_sending(c, s) AT(crowd_recv_sending_((c), (s)))
int crowd_recv_sending_(struct crowd *c, int s);

/*
 * Bytes that arrived, TCP does not hold any more, and the program does not have
 * yet: those that the socket holds, of members that are connected. Exact while
 * nothing moves.
 */
#define crowd_held(c) AT(crowd_held_((c)))
int64_t crowd_held_(struct crowd *c);

/* Bytes of memory in use that are neither TCP's buffers nor of programs. */
#define memory_beyond_tcp() AT(memory_beyond_tcp_())
int64_t memory_beyond_tcp_(void);

#endif
