// SPDX-License-Identifier: MIT
/*
 * Sends and receives messages from a shell, in any role of PF_SP: what nanocat
 * is to nanomsg and nngcat to nng, with their options. See spcat(1).
 *
 * The socket does the work: it dials, filters, resends, and delivers what it
 * has accepted although the program has ended. What is left is to read options
 * and data, and to print.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <netdb.h>
#include <netinet/sp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* The longest message that any socket takes. */
enum { MESSAGE_MAX = 0x7ffff000 };

/* What the program ends with. */
enum { FAILED = 1, MISUSED, TIMED_OUT };

struct role {
	const char *name;
	int type;
	bool sends, receives;
	bool begins;		/* sends of its own accord, not only in reply */
};

static const struct role roles[] = {
	{ "req", SOCK_REQ, true, true, true },	  { "rep", SOCK_REP, true, true, false },
	{ "pub", SOCK_PUB, true, false, true },	  { "sub", SOCK_SUB, false, true, false },
	{ "push", SOCK_PUSH, true, false, true }, { "pull", SOCK_PULL, false, true, false },
};

/* One --bind or --connect, taken apart. */
struct endpoint {
	bool bind;
	const char *text;
	int family;
	char host[NI_MAXHOST], port[NI_MAXSERV];
};

enum format { RAW, NO, ASCII, QUOTED, HEX, MSGPACK };

static const char *const formats[] = { "raw", "no", "ascii", "quoted", "hex", "msgpack" };

static struct {
	const struct role *role;
	struct endpoint *endpoints;
	int endpoints_count;
	char **topics;
	int topics_count;
	const char *data, *path;
	enum format format;
	bool lines, verbose, async;
	bool counted, repeated;
	long count, peers, receive_max;
	double interval, delay, receive_timeout, send_timeout;
	/* An option that was given although not every role has a use for it. */
	const char *of_sending, *of_receiving, *of_beginning;
} option = { .peers = -1, .receive_max = -1 };

/*
 * Messages to send: always the same, or the lines of a file.
 */
static struct {
	bool any;
	char *data;
	size_t length, room;
	FILE *lines;
} input;

static char *read_all(FILE *file, const char *name, size_t *length)
{
	size_t len = 0, room = 65536, n;
	char *data = malloc(room);

	while (data && (n = fread(data + len, 1, room - len, file)) > 0) {
		len += n;
		if (len == room) {
			room *= 2;
			data = realloc(data, room);
		}
	}
	if (!data)
		err(FAILED, "%s", name);
	if (ferror(file))
		err(FAILED, "%s", name);
	*length = len;
	return data;
}

static const char *input_name(void)
{
	return !option.path || strcmp(option.path, "-") == 0 ? "standard input" : option.path;
}

static void input_open(void)
{
	FILE *file = stdin;

	/* A server without anything to reply only listens. */
	input.any = option.role->begins || option.data || option.path ||
		    (option.role->sends && option.lines);
	if (!input.any)
		return;
	if (option.data) {
		input.data = strdup(option.data);
		input.length = strlen(option.data);
		if (!input.data)
			err(FAILED, NULL);
		return;
	}
	if (option.path && strcmp(option.path, "-") != 0)
		file = fopen(option.path, "re");
	if (!file)
		err(FAILED, "%s", option.path);
	if (option.lines) {
		input.lines = file;
		return;
	}
	input.data = read_all(file, input_name(), &input.length);
	if (file != stdin)
		fclose(file);
}

/* Has the next message in input.data; false after the last one. */
static bool input_next(void)
{
	ssize_t length;

	if (!input.lines)
		return true;
	length = getline(&input.data, &input.room, input.lines);
	if (length < 0 && ferror(input.lines))
		err(FAILED, "%s", input_name());
	if (length < 0)
		return false;
	/* The last one may lack its end. */
	input.length = (size_t)length - (input.data[length - 1] == '\n');
	return true;
}

/*
 * What is printed: a message at once, so that nothing is lost with the program.
 */
static struct {
	size_t length;
	char bytes[65536];
} output;

static void output_flush(void)
{
	struct pollfd room = { .fd = STDOUT_FILENO, .events = POLLOUT };
	size_t done = 0;
	ssize_t n;

	while (done < output.length) {
		n = write(STDOUT_FILENO, output.bytes + done, output.length - done);
		if (n >= 0)
			done += (size_t)n;
		else if (errno == EAGAIN)	/* whose descriptor it also is wants it so */
			poll(&room, 1, -1);
		else if (errno != EINTR)
			err(FAILED, "standard output");
	}
	output.length = 0;
}

static void put(const void *bytes, size_t length)
{
	while (length) {
		size_t part = sizeof(output.bytes) - output.length;

		if (part > length)
			part = length;
		memcpy(output.bytes + output.length, bytes, part);
		output.length += part;
		bytes = (const char *)bytes + part;
		length -= part;
		if (output.length == sizeof(output.bytes))
			output_flush();
	}
}

static bool is_printable(unsigned char c)
{
	return c >= ' ' && c <= '~';
}

static void put_escaped(unsigned char c)
{
	static const char digits[] = "0123456789abcdef";
	const char text[] = { '\\', 'x', digits[c >> 4], digits[c & 15] };

	put(text, sizeof(text));
}

static void put_quoted(const unsigned char *message, size_t length)
{
	static const char special[] = "\"\\\n\r\t", letters[] = "\"\\nrt";

	for (size_t i = 0; i < length; i++) {
		const char *found = message[i] ? strchr(special, message[i]) : NULL;

		if (found) {
			put("\\", 1);
			put(&letters[found - special], 1);
		} else if (is_printable(message[i])) {
			put(&message[i], 1);
		} else {
			put_escaped(message[i]);
		}
	}
}

/* As MessagePack's "bin", with the shortest of its lengths. */
static void put_msgpack(const unsigned char *message, size_t length)
{
	int size = length <= 0xff ? 1 : length <= 0xffff ? 2 : 4;
	unsigned char head[5] = { size == 1 ? 0xc4 : size == 2 ? 0xc5 : 0xc6 };

	for (int i = 0; i < size; i++)
		head[1 + i] = (unsigned char)(length >> 8 * (size - 1 - i));
	put(head, 1 + (size_t)size);
	put(message, length);
}

static void print_message(const unsigned char *message, size_t length)
{
	switch (option.format) {
	case NO:
		break;
	case RAW:
		put(message, length);
		if (option.lines)
			put("\n", 1);
		break;
	case ASCII:
		for (size_t i = 0; i < length; i++)
			put(is_printable(message[i]) ? (const char *)&message[i] : ".", 1);
		put("\n", 1);
		break;
	case QUOTED:
		put("\"", 1);
		put_quoted(message, length);
		put("\"\n", 2);
		break;
	case HEX:
		put("\"", 1);
		for (size_t i = 0; i < length; i++)
			put_escaped(message[i]);
		put("\"\n", 2);
		break;
	case MSGPACK:
		put_msgpack(message, length);
		break;
	}
	output_flush();
}

/*
 * The socket.
 */
static int s;

static void set_option(int name, const void *value, size_t length, const char *what)
{
	if (setsockopt(s, SOL_SP, name, value, (socklen_t)length))
		err(FAILED, "%s", what);
}

static void set_timeout(int name, double seconds)
{
	struct timeval limit = { .tv_sec = (time_t)seconds };

	limit.tv_usec = (suseconds_t)((seconds - (double)limit.tv_sec) * 1e6);
	if (seconds > 0 && setsockopt(s, SOL_SOCKET, name, &limit, sizeof(limit)))
		err(FAILED, "the timeout");
}

static void open_socket(void)
{
	s = socket(PF_SP, option.role->type | SOCK_CLOEXEC, IPPROTO_TCP);
	if (s < 0 && errno == EAFNOSUPPORT)
		errx(FAILED, "this kernel has no protocol family %d (PF_SP): the module sp is not loaded",
		     PF_SP);
	if (s < 0 && errno == ESOCKTNOSUPPORT)
		errx(FAILED, "protocol family %d is there, --%s is not: is it another module's?", PF_SP,
		     option.role->name);
	if (s < 0)
		err(FAILED, "socket");
	set_timeout(SO_RCVTIMEO, option.receive_timeout);
	set_timeout(SO_SNDTIMEO, option.send_timeout);
	if (option.receive_max >= 0) {
		int max = option.receive_max ? (int)option.receive_max : -1;

		set_option(SP_RCVMAXSIZE, &max, sizeof(max), "--recv-maxsz");
	}
	for (int i = 0; i < option.topics_count; i++)
		set_option(SP_SUBSCRIBE, option.topics[i], strlen(option.topics[i]), "--subscribe");
	if (option.role->type == SOCK_SUB && !option.topics_count)
		set_option(SP_SUBSCRIBE, "", 0, "--subscribe");
}

static void tell_bound(void)
{
	struct sockaddr_storage address;
	socklen_t length = sizeof(address);
	char host[NI_MAXHOST], port[NI_MAXSERV];

	if (getsockname(s, (struct sockaddr *)&address, &length) ||
	    getnameinfo((struct sockaddr *)&address, length, host, sizeof(host), port, sizeof(port),
			NI_NUMERICHOST | NI_NUMERICSERV))
		return;
	warnx(strchr(host, ':') ? "listening on tcp://[%s]:%s" : "listening on tcp://%s:%s", host, port);
}

static struct addrinfo *look_up(const struct endpoint *e, const char *host, int family)
{
	/* One kind of socket, for every address would come once for each. */
	const struct addrinfo hints = { .ai_family = family, .ai_socktype = SOCK_STREAM };
	struct addrinfo *found;
	int error = getaddrinfo(host, e->port, &hints, &found);

	if (error == EAI_SYSTEM)
		err(FAILED, "%s", e->text);
	if (error)
		errx(FAILED, "%s: %s", e->text, gai_strerror(error));
	return found;
}

/* The first address of a name: to one server by two addresses means every message twice. */
static void add_endpoint(const struct endpoint *e)
{
	struct addrinfo *found;
	bool everywhere = !*e->host;
	int failed;

	/* "::" is IPv4's addresses as well, where the machine has IPv6. */
	if (everywhere && e->family != AF_INET)
		found = look_up(e, "::", AF_INET6);
	else
		found = look_up(e, everywhere ? "0.0.0.0" : e->host, e->family);
	if (e->bind) {
		failed = bind(s, found->ai_addr, found->ai_addrlen);
		if (failed && everywhere && e->family == AF_UNSPEC &&
		    (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL)) {
			freeaddrinfo(found);
			found = look_up(e, "0.0.0.0", AF_INET);
			failed = bind(s, found->ai_addr, found->ai_addrlen);
		}
		if (failed)
			err(FAILED, "%s: cannot listen", e->text);
		if (option.verbose)
			tell_bound();
	} else {
		if (connect(s, found->ai_addr, found->ai_addrlen))
			err(FAILED, "%s: cannot connect", e->text);
		if (option.verbose)
			warnx("connecting to %s", e->text);
	}
	freeaddrinfo(found);
}

static struct timespec as_timespec(double seconds)
{
	struct timespec t = { .tv_sec = (time_t)seconds };

	t.tv_nsec = (long)((seconds - (double)t.tv_sec) * 1e9);
	return t;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void sleep_until(double when)
{
	struct timespec t = as_timespec(when);

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
		;
}

static void await_peers(void)
{
	double begun = now();
	int peers;

	for (;;) {
		socklen_t size = sizeof(peers);

		if (getsockopt(s, SOL_SP, SP_PEERS, &peers, &size))
			err(FAILED, "SP_PEERS");
		if (peers >= option.peers)
			return;
		if (option.send_timeout > 0 && now() - begun >= option.send_timeout)
			errx(TIMED_OUT, "%d of %ld peers within %g s", peers, option.peers,
			     option.send_timeout);
		sleep_until(now() + 0.01);
	}
}

/*
 * Of what closed sockets hold the kernel delivers so much. A longer message would be
 * lost with the program's end, unless that waits for a reply.
 */
static void refuse_what_would_be_lost(void)
{
	FILE *file = fopen("/proc/sys/net/sp/close_mem", "re");
	unsigned long limit;

	if (!file)
		return;
	if (fscanf(file, "%lu", &limit) == 1 && input.length + 192 > limit)
		errx(FAILED, "a message of %zu bytes is more than net.sp.close_mem allows", input.length);
	fclose(file);
}

static void send_message(void)
{
	static size_t most;

	/* No limit is lower than this without being meant to be. */
	if (input.length > 1 << 20 && !option.role->receives)
		refuse_what_would_be_lost();
	for (;;) {
		if (send(s, input.data, input.length, MSG_NOSIGNAL) >= 0)
			return;
		if (errno == EINTR)	/* stopped and continued while there is a timeout */
			continue;
		if (errno == EAGAIN)
			errx(TIMED_OUT, "nobody took the message within %g s", option.send_timeout);
		/* A limit that guards against mistakes; what was given here is meant. */
		if (errno == EMSGSIZE && input.length > most && input.length <= MESSAGE_MAX) {
			int max = (int)input.length;

			most = input.length;
			if (setsockopt(s, SOL_SP, SP_SNDMAXSIZE, &max, sizeof(max)) == 0)
				continue;
		}
		err(FAILED, "cannot send %zu bytes", input.length);
	}
}

/* Receives and prints a message; false if none came in time. */
static bool receive_message(void)
{
	static unsigned char *message;
	static size_t room;
	ssize_t length;

	do {
		/* How long it is; it stays the next one. */
		length = recv(s, NULL, 0, MSG_PEEK | MSG_TRUNC);
		if (length >= 0 && (size_t)length > room) {
			room = (size_t)length;
			message = realloc(message, room);
			if (!message)
				err(FAILED, "a message of %zu bytes", room);
		}
		if (length >= 0)
			length = recv(s, message, room, MSG_TRUNC);
	} while (length < 0 && errno == EINTR);
	if (length < 0 && errno == EAGAIN)
		return false;
	if (length < 0 && errno == EMSGSIZE)
		errx(FAILED, "the reply is longer than --recv-maxsz allows");
	if (length < 0)
		err(FAILED, "cannot receive");
	if ((size_t)length > room)
		errx(FAILED, "a message of %zd bytes came in the place of one of %zu", length, room);
	print_message(message, (size_t)length);
	return true;
}

/* REQ, PUB and PUSH: once, unless there is a reason to go on. */
static void begin(void)
{
	bool once = !option.counted && !option.lines && !option.repeated;
	long count = once ? 1 : option.count;
	double next;

	if (option.delay > 0)
		sleep_until(now() + option.delay);
	await_peers();
	next = now();
	for (long i = 0; (!count || i < count) && input_next(); i++) {
		if (i && option.repeated) {
			/* Who is late does not hurry to make up for it. */
			next = next + option.interval > now() ? next + option.interval : now();
			sleep_until(next);
		}
		send_message();
		if (option.role->receives && !receive_message())
			errx(TIMED_OUT, "no reply within %g s", option.receive_timeout);
	}
}

/* REP, SUB and PULL: until there is a reason to stop. */
static void listen_to_peers(void)
{
	for (long i = 0; !option.count || i < option.count; i++) {
		if (!receive_message()) {
			/* Silence is how a stream of unknown length ends. */
			if (i && !option.count)
				return;
			errx(TIMED_OUT, "no message within %g s", option.receive_timeout);
		}
		if (!input.any)
			continue;
		if (!input_next())
			return;
		send_message();
	}
}

/*
 * The command line.
 */
static const char usage[] =
	"Usage: spcat --ROLE ADDRESS... [OPTION]...\n"
	"Sends and receives messages on a PF_SP socket; peers may use nanomsg or nng.\n"
	"\n"
	"  --req, --rep, --pub, --sub, --push, --pull\n"
	"                          the role\n"
	"\n"
	"Addresses, one or more; HOST:PORT, [IPV6]:PORT, with tcp:// or without:\n"
	"  --bind, --listen ADDR   listen there; * or no HOST is all of this machine\n"
	"  --connect, --dial ADDR  connect to it, again and again until somebody is there\n"
	"  -L, --bind-local PORT   listen on 127.0.0.1\n"
	"  -l, --connect-local PORT\n"
	"                          connect to 127.0.0.1\n"
	"\n"
	"What is sent; standard input if neither is given:\n"
	"  -D, --data DATA         that\n"
	"  -F, --file PATH         what is in the file; - is standard input\n"
	"  --lines                 each line is a message, and what is received a line\n"
	"  -i, --interval SEC      again every SEC seconds\n"
	"  -d, --delay SEC         begin after SEC seconds\n"
	"  --peers N               begin when N peers are connected\n"
	"  --send-timeout SEC      give up when nobody takes it for so long\n"
	"\n"
	"What is received:\n"
	"  --subscribe PREFIX      only messages that begin so; may be repeated\n"
	"  --raw                   as it is (the default)\n"
	"  -A, --ascii             a line each, a dot for what is not printable\n"
	"  -Q, --quoted            a line each, as a string of C\n"
	"  --hex                   a line each, every byte as \\xNN\n"
	"  --msgpack               as MessagePack's byte arrays\n"
	"  --format FORMAT         one of these, or: no\n"
	"  --recv-timeout SEC      give up when nothing comes for so long\n"
	"  -Z, --recv-maxsz SIZE   take messages of up to SIZE bytes; 0 is any\n"
	"\n"
	"  -C, --count N           end after N messages, or requests; 0 is never\n"
	"  --async, --compat       do not wait for the peer that PUB connects to\n"
	"  -v, --verbose           tell about addresses\n"
	"  -q, --silent            say nothing about errors; the status does\n"
	"  -h, --help              this\n";

static long whole_number(const char *name, const char *text, long max)
{
	char *end;
	long value;

	errno = 0;
	value = strtol(text, &end, 10);
	if (end == text || *end || errno || value < 0 || value > max)
		errx(MISUSED, "--%s takes a whole number, 0 to %ld: '%s'", name, max, text);
	return value;
}

static double duration(const char *name, const char *text, double min)
{
	char *end;
	double value = strtod(text, &end);

	/* Written so that "nan" fails, too. */
	if (end == text || *end || !(value >= min && value <= 1e6))
		errx(MISUSED, "--%s takes seconds, %g to 1000000: '%s'", name, min, text);
	return value;
}

static bool begins_with(const char **text, const char *prefix)
{
	size_t length = strlen(prefix);

	if (strncasecmp(*text, prefix, length) != 0)
		return false;
	*text += length;
	return true;
}

static void endpoint_parse(bool bind, bool local, const char *text)
{
	struct endpoint *e = &option.endpoints[option.endpoints_count++];
	const char *rest = text, *port;
	size_t length;
	long number;
	char *end;

	*e = (struct endpoint){ .bind = bind, .text = text };
	if (begins_with(&rest, "tcp4://"))
		e->family = AF_INET;
	else if (begins_with(&rest, "tcp6://"))
		e->family = AF_INET6;
	else if (!begins_with(&rest, "tcp://") && strstr(text, "://"))
		errx(MISUSED, "'%s': only tcp:// is known", text);
	port = strrchr(rest, ':');
	if (local && !port) {
		strcpy(e->host, "127.0.0.1");
		port = rest;
	} else if (!port) {
		errx(MISUSED, "'%s' has no port: HOST:PORT", text);
	} else {
		length = (size_t)(port++ - rest);
		if (*rest == '[' && length > 2 && rest[length - 1] == ']') {
			rest++;
			length -= 2;
		} else if (memchr(rest, ':', length)) {
			errx(MISUSED, "'%s': an IPv6 address is written [ADDRESS]:PORT", text);
		}
		if (length >= sizeof(e->host))
			errx(MISUSED, "'%s' is too long", text);
		memcpy(e->host, rest, length);
	}
	if (strcmp(e->host, "*") == 0)
		*e->host = 0;
	if (!*e->host && !bind)
		errx(MISUSED, "'%s' has no host to connect to", text);

	/* getaddrinfo() would take 70000 for 4464. Names of services are its matter. */
	number = strtol(port, &end, 10);
	if (!*port || strlen(port) >= sizeof(e->port) || number < 0 || number > 65535)
		errx(MISUSED, "'%s' has no port of 0 to 65535", text);
	if (!bind && !*end && !number)
		errx(MISUSED, "'%s': nobody can be reached at port 0", text);
	strcpy(e->port, port);
}

static enum format format_named(const char *name)
{
	for (size_t i = 0; i < sizeof(formats) / sizeof(*formats); i++)
		if (strcmp(name, formats[i]) == 0)
			return (enum format)i;
	errx(MISUSED, "--format is no, raw, ascii, quoted, hex or msgpack: '%s'", name);
}

/* Long options that have no short form. */
enum {
	BIND = 256, CONNECT, LINES, PEERS, SEND_TIMEOUT, SUBSCRIBE, FORMAT, RECV_TIMEOUT, ASYNC,
	IPC, ABSENT,
	ROLE,			/* and what is above: of roles[] */
	FORMATTED = ROLE + 16,	/* likewise, of formats[] */
};

#define EACH_ROLE(name, index)						\
	{ name, no_argument, NULL, ROLE + (index) },			\
	{ name "0", no_argument, NULL, ROLE + (index) }
#define NO_ROLE(name)							\
	{ name, no_argument, NULL, ABSENT },				\
	{ name "0", no_argument, NULL, ABSENT }

static const struct option known[] = {
	EACH_ROLE("req", 0),
	EACH_ROLE("rep", 1),
	EACH_ROLE("pub", 2),
	EACH_ROLE("sub", 3),
	EACH_ROLE("push", 4),
	EACH_ROLE("pull", 5),
	NO_ROLE("surveyor"),
	NO_ROLE("respondent"),
	NO_ROLE("bus"),
	NO_ROLE("pair"),
	{ "pair1", no_argument, NULL, ABSENT },
	{ "bind", required_argument, NULL, BIND },
	{ "listen", required_argument, NULL, BIND },
	{ "connect", required_argument, NULL, CONNECT },
	{ "dial", required_argument, NULL, CONNECT },
	{ "bind-local", required_argument, NULL, 'L' },
	{ "connect-local", required_argument, NULL, 'l' },
	{ "bind-ipc", required_argument, NULL, IPC },
	{ "connect-ipc", required_argument, NULL, IPC },
	{ "data", required_argument, NULL, 'D' },
	{ "file", required_argument, NULL, 'F' },
	{ "lines", no_argument, NULL, LINES },
	{ "interval", required_argument, NULL, 'i' },
	{ "delay", required_argument, NULL, 'd' },
	{ "peers", required_argument, NULL, PEERS },
	{ "send-timeout", required_argument, NULL, SEND_TIMEOUT },
	{ "subscribe", required_argument, NULL, SUBSCRIBE },
	{ "raw", no_argument, NULL, FORMATTED + RAW },
	{ "ascii", no_argument, NULL, 'A' },
	{ "quoted", no_argument, NULL, 'Q' },
	{ "hex", no_argument, NULL, FORMATTED + HEX },
	{ "msgpack", no_argument, NULL, FORMATTED + MSGPACK },
	{ "format", required_argument, NULL, FORMAT },
	{ "recv-timeout", required_argument, NULL, RECV_TIMEOUT },
	{ "receive-timeout", required_argument, NULL, RECV_TIMEOUT },
	{ "recv-maxsz", required_argument, NULL, 'Z' },
	{ "count", required_argument, NULL, 'C' },
	{ "async", no_argument, NULL, ASYNC },
	{ "compat", no_argument, NULL, ASYNC },
	{ "verbose", no_argument, NULL, 'v' },
	{ "silent", no_argument, NULL, 'q' },
	{ "help", no_argument, NULL, 'h' },
	{ 0 },
};

static const char *name_of(int c)
{
	for (const struct option *o = known; o->name; o++)
		if (o->val == c)
			return o->name;
	return "?";
}

static void role_set(const struct role *role)
{
	if (option.role && option.role != role)
		errx(MISUSED, "--%s and --%s: a socket has one role", option.role->name, role->name);
	option.role = role;
}

static void option_set(int c, char *text)
{
	const char *name = name_of(c);

	switch (c) {
	case BIND:
	case CONNECT:
		endpoint_parse(c == BIND, false, text);
		break;
	case 'L':
	case 'l':
		endpoint_parse(c == 'L', true, text);
		break;
	case 'X':
	case 'x':
	case IPC:
		errx(MISUSED, "'%s': there is TCP alone, no ipc", text);
	case ABSENT:
		errx(MISUSED, "PF_SP has no sockets of that role yet");
	case 'D':
		option.data = text;
		option.of_sending = name;
		break;
	case 'F':
		option.path = text;
		option.of_sending = name;
		break;
	case LINES:
		option.lines = true;
		break;
	case 'i':
		option.interval = duration(name, text, 0);
		option.repeated = true;
		option.of_beginning = name;
		break;
	case 'd':
		option.delay = duration(name, text, 0);
		option.of_beginning = name;
		break;
	case PEERS:
		option.peers = whole_number(name, text, 65536);
		option.of_beginning = name;
		break;
	case SEND_TIMEOUT:
		option.send_timeout = duration(name, text, 0.001);
		option.of_sending = name;
		break;
	case SUBSCRIBE:
		option.topics[option.topics_count++] = text;
		break;
	case 'A':
	case 'Q':
		option.format = c == 'A' ? ASCII : QUOTED;
		option.of_receiving = name;
		break;
	case FORMAT:
		option.format = format_named(text);
		option.of_receiving = name;
		break;
	case RECV_TIMEOUT:
		option.receive_timeout = duration(name, text, 0.001);
		option.of_receiving = name;
		break;
	case 'Z':
		option.receive_max = whole_number(name, text, MESSAGE_MAX);
		option.of_receiving = name;
		break;
	case 'C':
		option.count = whole_number(name, text, 1000000000);
		option.counted = true;
		break;
	case ASYNC:
		option.async = true;
		break;
	case 'v':
		option.verbose = true;
		break;
	case 'q':
		if (!freopen("/dev/null", "w", stderr))
			exit(FAILED);
		break;
	case 'h':
		fputs(usage, stdout);
		exit(fflush(stdout) ? FAILED : 0);
	default:
		if (c >= FORMATTED) {
			option.format = (enum format)(c - FORMATTED);
			option.of_receiving = name;
		} else if (c >= ROLE) {
			role_set(&roles[c - ROLE]);
		} else {
			exit(MISUSED);	/* getopt_long() has said what is wrong. */
		}
	}
}

/* Whoever says what has no effect means something else. */
static void refuse_if(bool senseless, const char *name)
{
	if (name && senseless)
		errx(MISUSED, "--%s means nothing with --%s", name, option.role->name);
}

static void options_check(void)
{
	bool connects = false;

	if (!option.role)
		errx(MISUSED, "a role is needed: --req, --rep, --pub, --sub, --push or --pull");
	if (!option.endpoints_count)
		errx(MISUSED, "an address is needed: --bind or --connect HOST:PORT");
	if (option.data && option.path)
		errx(MISUSED, "--data and --file: only one of them can be sent");
	if (option.data && option.lines)
		errx(MISUSED, "--data and --lines: lines come from --file, or standard input");
	refuse_if(!option.role->sends, option.of_sending);
	refuse_if(!option.role->receives, option.of_receiving);
	refuse_if(!option.role->begins, option.of_beginning);
	refuse_if(option.role->type != SOCK_SUB, option.topics_count ? "subscribe" : NULL);

	/*
	 * REQ and PUSH wait for a peer in any case; PUB would send to nobody. Who
	 * connects has somebody in mind, who listens need not.
	 */
	for (int i = 0; i < option.endpoints_count; i++)
		connects |= !option.endpoints[i].bind;
	if (option.peers < 0)
		option.peers = option.role->type == SOCK_PUB && connects && !option.async;
}

int main(int argc, char **argv)
{
	int c;

	/* No more of either than there are arguments. */
	option.endpoints = calloc((size_t)argc + 1, sizeof(*option.endpoints));
	option.topics = calloc((size_t)argc + 1, sizeof(*option.topics));
	if (!option.endpoints || !option.topics)
		err(FAILED, NULL);
	/* getopt_long() names the program so. */
	argv[0] = program_invocation_short_name;
	while ((c = getopt_long(argc, argv, "L:l:X:x:D:F:i:d:AQZ:C:vqh", known, NULL)) != -1)
		option_set(c, optarg);
	if (optind < argc)
		errx(MISUSED, "one argument too many: '%s'", argv[optind]);
	options_check();

	input_open();
	open_socket();
	for (int i = 0; i < option.endpoints_count; i++)
		add_endpoint(&option.endpoints[i]);
	if (option.role->begins)
		begin();
	else
		listen_to_peers();

	/* What is still on its way is the kernel's matter. */
	close(s);
	return 0;
}
