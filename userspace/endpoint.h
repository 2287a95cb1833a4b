/* SPDX-License-Identifier: MIT */
/*
 * What the example programs share, none of it special to PF_SP: the command
 * line, the address on it, and error messages. Read the programs first.
 */
#ifndef ENDPOINT_H
#define ENDPOINT_H

#include <stdbool.h>

/* The command line. What a program puts here before options_parse() is its default. */
struct options {
	bool bind;		/* --bind or --connect: wait for peers, or go to them */
	long count;		/* --count: stop after this many messages; 0 is never */
	long peers;		/* --peers: begin when this many are connected */
	double interval;	/* --interval: pause between two messages, in seconds */
	double timeout;		/* --timeout: the longest wait, in seconds; 0 is for ever */
	const char *host;
	const char *port;
	int rest_max;		/* how many arguments may follow HOST and PORT */
	char **rest;		/* those arguments; a NULL follows the last */
};

/*
 * Reads the command line. --help prints the usage text; a mistake is explained,
 * with exit status 2. An option that the usage text does not name is a mistake.
 *
 * Also makes stdout line buffered, and SIGINT and SIGTERM end the program with
 * status 0, which takes no cleaning up: the kernel owns the socket, and delivers
 * what send() accepted even from a process that was killed.
 */
void options_parse(struct options *o, int argc, char **argv, const char *usage);

/*
 * Looks up HOST and PORT and gives the first address found to bind() or
 * connect(). Both add an endpoint to the socket and both may be called again,
 * for more of them. bind() listens from now on. connect() does not wait: the
 * kernel dials, and redials for as long as the socket lives, so peers may be
 * started in any order. Also applies --timeout to the socket.
 *
 * Says on stderr what it did; does not return when it fails.
 */
void endpoint_add(int s, const struct options *o);

/* Pauses, in seconds. */
void wait_seconds(double seconds);

/* Reports that a call failed, and why (errno); exits with status 1. */
_Noreturn void fail(const char *call);

#endif
