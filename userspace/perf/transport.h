/* SPDX-License-Identifier: MIT */
/*
 * What the benchmark programs send through. Each of the files sp.c, tcp.c ... is one
 * way to do it, by that library's ordinary calls; a program is linked with one of them.
 * Nothing returns an error: the program ends, and says what failed.
 */
#ifndef TRANSPORT_H
#define TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum role { ASKS, ANSWERS, PUSHES, PULLS, PUBLISHES, SUBSCRIBES };

struct end;

/*
 * One end: listens at 127.0.0.1:@port, or connects to it, also where nobody listens yet. Receiving
 * waits for @timeout_ms, or for ever if that is 0.
 */
struct end *end_open(enum role role, bool binds, int port, int timeout_ms);

/* Waits until so many others will get what this end sends. */
void end_await(struct end *end, int others);

void end_send(struct end *end, const void *body, size_t len);
/* The length of the message; -1 if none came in time. */
ssize_t end_recv(struct end *end, void *body, size_t size);

/* Closes it once all that was sent has left. */
void end_close(struct end *end);

/* Ends the program. */
void fail(const char *what) __attribute__((noreturn));
void fail_with(const char *what, const char *why) __attribute__((noreturn));

#endif
