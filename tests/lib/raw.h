/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A raw TCP peer that speaks bytes: good and bad greetings, frames in any
 * split, half frames, resets.
 *
 * "Acked" is its rendezvous: a socket under test decodes in the callback in
 * which TCP hands it the bytes, and TCP acknowledges afterwards. So once
 * everything sent is acknowledged, it has been acted upon.
 */
#ifndef SP_TESTS_RAW_H
#define SP_TESTS_RAW_H

#include "must.h"
#include "sock.h"

#include <stddef.h>
#include <stdint.h>

#define GREETING_LEN 8
#define HEADER_LEN 8

/* The endpoint type that a greeting carries (sp-tcp-mapping-01). */
unsigned char wire_type(int sock_type);
/* REQ for REP and so on: the type that may talk to this one. */
int peer_type(int sock_type);

/* TCP only. The accepting end waits at most PATIENCE_MS. */
#define raw_connect(to) AT(raw_connect_((to)))
int raw_connect_(const struct addr *to);
#define raw_listen(addr) AT(raw_listen_(AF_INET, (addr)))
#define raw_listen_on(family, addr) AT(raw_listen_((family), (addr)))
int raw_listen_(int family, struct addr *addr);
#define raw_accept(l) AT(raw_accept_((l)))
int raw_accept_(int l);

/*
 * A small window, to make the other side feel backpressure soon; or not so
 * small that a large transfer becomes slow.
 */
#define RAW_NARROW 4096
#define RAW_SMALL 32768
#define raw_connect_narrow(to) AT(raw_connect_with_((to), RAW_NARROW))
#define raw_connect_small(to) AT(raw_connect_with_((to), RAW_SMALL))
int raw_connect_with_(const struct addr *to, int rcvbuf);
/* Ends that: what comes from now on comes in large segments. */
#define raw_widen(fd) AT(raw_widen_((fd)))
void raw_widen_(int fd);

/*
 * Plays a socket of @type: connects or accepts, exchanges greetings, checks
 * that of the other side.
 */
#define raw_peer(type, to) AT(raw_peer_((type), (to)))
int raw_peer_(int type, const struct addr *to);
#define raw_peer_narrow(type, to) AT(raw_peer_with_((type), (to), RAW_NARROW))
#define raw_peer_small(type, to) AT(raw_peer_with_((type), (to), RAW_SMALL))
int raw_peer_with_(int type, const struct addr *to, int rcvbuf);
#define raw_peer_accept(type, l) AT(raw_peer_accept_((type), (l)))
int raw_peer_accept_(int type, int l);

#define raw_greet(fd, type) AT(raw_greet_((fd), (type)))
void raw_greet_(int fd, int type);
#define raw_expect_greeting(fd, type) AT(raw_expect_greeting_((fd), (type)))
void raw_expect_greeting_(int fd, int type);

#define raw_write(fd, ...) AT(raw_write_((fd), __VA_ARGS__))
void raw_write_(int fd, const void *bytes, size_t len);
/* Each byte in a segment, and a callback, of its own. */
#define raw_write_bytewise(fd, ...) AT(raw_write_bytewise_((fd), __VA_ARGS__))
void raw_write_bytewise_(int fd, const void *bytes, size_t len);
#define raw_await_acked(fd) AT(raw_await_acked_((fd)))
void raw_await_acked_(int fd);

/* Exactly these bytes come next. */
#define raw_expect(fd, ...) AT(raw_expect_((fd), __VA_ARGS__))
void raw_expect_(int fd, const void *bytes, size_t len);
#define raw_read(fd, buf, len) AT(raw_read_((fd), (buf), (len)))
void raw_read_(int fd, void *buf, size_t len);

/* Frames: raw_frame(fd, LIT("body")), or just the length of one. */
#define raw_frame(fd, ...) AT(raw_frame_((fd), __VA_ARGS__))
void raw_frame_(int fd, const void *body, size_t len);
#define raw_header(fd, len) AT(raw_header_((fd), (len)))
void raw_header_(int fd, uint64_t len);
#define raw_expect_frame(fd, ...) AT(raw_expect_frame_((fd), __VA_ARGS__))
void raw_expect_frame_(int fd, const void *body, size_t len);
/* The next frame's body, at most cap bytes; returns its length. */
#define raw_read_frame(fd, buf, cap) AT(raw_read_frame_((fd), (buf), (cap)))
size_t raw_read_frame_(int fd, void *buf, size_t cap);

/* The same, or -1 if the other side closes here, between two frames. */
#define raw_read_frame_or_end(fd, buf, cap) \
	AT(raw_read_frame_or_end_((fd), (buf), (cap)))
long raw_read_frame_or_end_(int fd, void *buf, size_t cap);

/* As a REP: the next request is this one; returns its id. Then the answer. */
#define raw_expect_request(fd, ...) AT(raw_expect_request_((fd), __VA_ARGS__))
uint32_t raw_expect_request_(int fd, const void *body, size_t len);
#define raw_reply(fd, id, ...) AT(raw_reply_((fd), (id), __VA_ARGS__))
void raw_reply_(int fd, uint32_t id, const void *body, size_t len);

/* The other side closes: end of file or reset, and no byte before it. */
#define raw_expect_closed(fd) AT(raw_expect_closed_((fd)))
void raw_expect_closed_(int fd);
/* The same, for a bad greeting: ours may have been sent before it was read. */
#define raw_expect_refused(fd, type) AT(raw_expect_refused_((fd), (type)))
void raw_expect_refused_(int fd, int type);
/* Neither a byte nor the end within quiet_ms(). */
#define raw_expect_quiet(fd) AT(raw_expect_quiet_((fd)))
void raw_expect_quiet_(int fd);

/* Leaves rudely, with RST. */
void raw_reset(int fd);

/*
 * A peer that sends frames of @len bytes, made by fill() with the frame's
 * number as the seed, for as long as it is let. As a REQ it tags each one with
 * an id of its own.
 */
struct raw_flood {
	int fd, type;
	size_t len;
	int sent; /* frames, whole */
	size_t off; /* bytes already sent of the next */
	unsigned char *frame;
	size_t frame_len;
};

/* Until the other side takes nothing for quiet_ms(); @most are too many. */
#define raw_flood_until_stuck(f, most) AT(raw_flood_until_stuck_((f), (most)))
void raw_flood_until_stuck_(struct raw_flood *f, int most);
/* Completes the frame that got stuck half-way, if one did. */
#define raw_flood_finish(f) AT(raw_flood_finish_((f)))
void raw_flood_finish_(struct raw_flood *f);

/*
 * A flood that @s, bound at @to, does not read: what it holds stays small, and
 * once it reads nothing is lost.
 */
#define raw_flood_held_back(type, len, most, s, to) \
	AT(raw_flood_held_back_((type), (len), (most), (s), (to)))
void raw_flood_held_back_(int type, size_t len, int most, int s,
			  const struct addr *to);

/*
 * Four messages on one pipe of @s, bound at @to, and then four on another are
 * received in turn.
 */
#define raw_expect_turns(s, type, to) AT(raw_expect_turns_((s), (type), (to)))
void raw_expect_turns_(int s, int type, const struct addr *to);

/* Bytes collected to be written in one piece. */
struct bytes {
	size_t len;
	unsigned char at[512];
};

void bytes_add(struct bytes *b, const void *p, size_t len);
void bytes_greeting(struct bytes *b, int type);
void bytes_frame(struct bytes *b, const void *body, size_t len);

#endif
