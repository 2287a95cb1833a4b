/* SPDX-License-Identifier: MIT */
/*
 * What the example programs share; endpoint.h tells what for.
 */
#define _GNU_SOURCE	/* getopt_long(), program_invocation_short_name */
#include "endpoint.h"

#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <netdb.h>
#include <netinet/sp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* Explains a mistake on the command line. */
__attribute__((format(printf, 1, 2)))
_Noreturn static void misused(const char *format, ...)
{
	va_list arguments;

	fprintf(stderr, "%s: ", program_invocation_short_name);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fprintf(stderr, "\nTry '%s --help'.\n", program_invocation_short_name);
	exit(2);
}

static long whole_number(const char *option, const char *text)
{
	char *end;
	long value;

	errno = 0;
	value = strtol(text, &end, 10);
	if (end == text || *end || errno || value < 1)
		misused("--%s takes a whole number, 1 or more: '%s'", option, text);
	return value;
}

static double duration(const char *option, const char *text)
{
	char *end;
	double value = strtod(text, &end);

	/* Written so that "nan" fails, too. */
	if (end == text || *end || !(value >= 0.001 && value <= 86400))
		misused("--%s takes seconds, 0.001 to 86400: '%s'", option, text);
	return value;
}

/* Whether the usage text speaks of an option. */
static bool offered(const char *usage, const char *option)
{
	char dashed[32];

	snprintf(dashed, sizeof(dashed), " --%s ", option);
	return strstr(usage, dashed);
}

static void quit(int signal_number)
{
	(void)signal_number;
	_exit(EXIT_SUCCESS);
}

void options_parse(struct options *o, int argc, char **argv, const char *usage)
{
	static const struct option known[] = {
		{ "bind", no_argument, NULL, 'b' },
		{ "connect", no_argument, NULL, 'c' },
		{ "count", required_argument, NULL, 'n' },
		{ "peers", required_argument, NULL, 'p' },
		{ "interval", required_argument, NULL, 'i' },
		{ "timeout", required_argument, NULL, 't' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int option, which = -1;
	long port;

	while ((option = getopt_long(argc, argv, "h", known, &which)) != -1) {
		if (which >= 0 && !offered(usage, known[which].name))
			misused("--%s means nothing here", known[which].name);
		switch (option) {
		case 'b':
			o->bind = true;
			break;
		case 'c':
			o->bind = false;
			break;
		case 'n':
			o->count = whole_number("count", optarg);
			break;
		case 'p':
			o->peers = whole_number("peers", optarg);
			break;
		case 'i':
			o->interval = duration("interval", optarg);
			break;
		case 't':
			o->timeout = duration("timeout", optarg);
			break;
		case 'h':
			fputs(usage, stdout);
			exit(EXIT_SUCCESS);
		default:	/* getopt_long() has said what is wrong. */
			fprintf(stderr, "Try '%s --help'.\n", program_invocation_short_name);
			exit(2);
		}
		which = -1;
	}
	if (argc - optind < 2)
		misused("HOST and PORT are needed");
	if (argc - optind > 2 + o->rest_max)
		misused("one argument too many: '%s'", argv[optind + 2 + o->rest_max]);
	o->host = argv[optind];
	o->port = argv[optind + 1];
	o->rest = argv + optind + 2;

	/* getaddrinfo() would take 70000 for 4464. */
	port = strtol(o->port, NULL, 10);
	if (port < 0 || port > 65535)
		misused("PORT is 0 to 65535, or the name of a service: '%s'", o->port);

	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGINT, quit);
	signal(SIGTERM, quit);
}

/* What was asked for, "HOST:PORT", as error messages show it. */
static const char *asked_for(const struct options *o)
{
	static char text[300];
	bool ipv6 = strchr(o->host, ':');

	snprintf(text, sizeof(text), ipv6 ? "[%s]:%s" : "%s:%s", o->host, o->port);
	return text;
}

/* Says where the socket listens; for port 0 nobody knew before. */
static void report_bound(int s)
{
	struct sockaddr_storage address;
	socklen_t length = sizeof(address);
	char host[NI_MAXHOST], port[NI_MAXSERV];

	if (getsockname(s, (struct sockaddr *)&address, &length) < 0)
		fail("getsockname");
	if (getnameinfo((struct sockaddr *)&address, length, host, sizeof(host), port, sizeof(port),
			NI_NUMERICHOST | NI_NUMERICSERV))
		return;
	fprintf(stderr, "%s: listening on %s port %s\n", program_invocation_short_name, host, port);
}

void endpoint_add(int s, const struct options *o)
{
	/* SOCK_STREAM because TCP is below; else every address would come thrice. */
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	struct timeval limit = { .tv_sec = (time_t)o->timeout };
	struct addrinfo *found;
	int error;

	limit.tv_usec = (suseconds_t)((o->timeout - (double)limit.tv_sec) * 1e6);
	if (setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) < 0)
		fail("setsockopt SO_RCVTIMEO");
	if (setsockopt(s, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) < 0)
		fail("setsockopt SO_SNDTIMEO");

	error = getaddrinfo(o->host, o->port, &hints, &found);
	if (error == EAI_SYSTEM)
		err(EXIT_FAILURE, "%s", asked_for(o));
	if (error)
		errx(EXIT_FAILURE, "%s: %s", asked_for(o), gai_strerror(error));

	if (o->bind) {
		if (bind(s, found->ai_addr, found->ai_addrlen) < 0)
			err(EXIT_FAILURE, "bind %s", asked_for(o));
		report_bound(s);
	} else {
		if (connect(s, found->ai_addr, found->ai_addrlen) < 0)
			err(EXIT_FAILURE, "connect %s", asked_for(o));
		fprintf(stderr, "%s: connecting to %s port %s\n", program_invocation_short_name,
			o->host, o->port);
	}
	freeaddrinfo(found);
}

void wait_seconds(double seconds)
{
	struct timespec pause = { .tv_sec = (time_t)seconds };

	pause.tv_nsec = (long)((seconds - (double)pause.tv_sec) * 1e9);
	nanosleep(&pause, NULL);
}

_Noreturn void fail(const char *call)
{
	switch (errno) {
	case EAFNOSUPPORT:
		errx(EXIT_FAILURE, "%s: this kernel has no protocol family %d (PF_SP): "
		     "the sp module is not loaded (modprobe sp, or insmod sp.ko)", call, PF_SP);
	case ESOCKTNOSUPPORT:
		errx(EXIT_FAILURE, "%s: protocol family %d is there, this socket type is not: "
		     "not yet supported, or the family is another module's", call, PF_SP);
	case EAGAIN:	/* A blocking call gives up only after SO_RCVTIMEO or SO_SNDTIMEO. */
		errx(EXIT_FAILURE, "%s: gave up after --timeout", call);
	default:
		err(EXIT_FAILURE, "%s", call);
	}
}
