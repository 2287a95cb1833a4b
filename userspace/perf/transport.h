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

/* One end of 127.0.0.1:@port. Receiving waits for @timeout_ms, or for ever if that is 0. */
struct end *end_bind(enum role role, int port, int timeout_ms);
struct end *end_connect(enum role role, int port, int timeout_ms);

/* Waits until so many others have connected to an end that is bound. */
void end_await(struct end *end, int others);

void end_send(struct end *end, const void *body, size_t len);
/* The length of the message; -1 if none came in time. */
ssize_t end_recv(struct end *end, void *body, size_t size);

/* Sends what may still wait for more to send. */
void end_close(struct end *end);

/* Ends the program. */
void fail(const char *what) __attribute__((noreturn));
void fail_with(const char *what, const char *why) __attribute__((noreturn));

#endif
