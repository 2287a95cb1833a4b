/* SPDX-License-Identifier: MIT */
/*
 * Starts a program with a PF_SP socket: for languages that cannot open one, but can
 * read and write a descriptor.
 *
 *	cc -o sp_run sp_run.c
 *	sp_run rep bind 127.0.0.1 5577 -- node examples/hello_rep.mjs
 *
 * The descriptor is the first that is free, so 3 as a rule; $SP_FD says which. Who
 * reads or writes it gets EAGAIN after a second in which nothing came or went, and
 * may then look whether there is something else to do.
 */
#include <err.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

/* As <netinet/sp.h> has them. */
enum { PF_SP = 18, SOL_SP = 400, SP_SUBSCRIBE = 1 };

static const struct { const char *name; int type; } types[] = {
	{ "push", 2 }, { "pull", 3 }, { "req", 6 }, { "rep", 7 }, { "pub", 8 }, { "sub", 9 },
};

static _Noreturn void usage(void)
{
	fputs("Usage: sp_run TYPE bind|connect HOST PORT [TOPIC]... -- PROGRAM [ARGUMENT]...\n"
	      "Runs PROGRAM with a socket of TYPE: push, pull, req, rep, pub or sub.\n", stderr);
	exit(2);
}

int main(int argc, char **argv)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	const struct timeval second = { .tv_sec = 1 };
	struct addrinfo *found;
	char number[16];
	int program = 5, type = -1, s, error;
	size_t i;

	while (program < argc && strcmp(argv[program], "--"))
		program++;
	if (program + 1 >= argc || (strcmp(argv[2], "bind") && strcmp(argv[2], "connect")))
		usage();
	for (i = 0; i < sizeof(types) / sizeof(*types); i++)
		if (!strcasecmp(argv[1], types[i].name))
			type = types[i].type;
	if (type < 0)
		usage();

	s = socket(PF_SP, type, 0);
	if (s < 0)
		err(1, "socket");
	/* Before connecting, to miss nothing. */
	for (char **topic = argv + 5; topic < argv + program; topic++)
		if (setsockopt(s, SOL_SP, SP_SUBSCRIBE, *topic, (socklen_t)strlen(*topic)))
			err(1, "subscribe '%s'", *topic);
	if (setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &second, sizeof(second)) ||
	    setsockopt(s, SOL_SOCKET, SO_SNDTIMEO, &second, sizeof(second)))
		err(1, "setsockopt");

	error = getaddrinfo(argv[3], argv[4], &hints, &found);
	if (error)
		errx(1, "%s: %s", argv[3], gai_strerror(error));
	if (!strcmp(argv[2], "bind") ? bind(s, found->ai_addr, found->ai_addrlen) :
				       connect(s, found->ai_addr, found->ai_addrlen))
		err(1, "%s %s port %s", argv[2], argv[3], argv[4]);

	snprintf(number, sizeof(number), "%d", s);
	setenv("SP_FD", number, 1);
	execvp(argv[program + 1], argv + program + 1);
	err(127, "%s", argv[program + 1]);
}
