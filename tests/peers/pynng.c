// SPDX-License-Identifier: GPL-2.0
/*
 * pynng on the machine around the guest, told what to do over plain TCP; see
 * host/pynng_peer.py. PYNNG_PEER=PORT says where that listens. It reaches the
 * guest through the port that vm.sh forwards, and the guest reaches it at the
 * address that QEMU gives the machine.
 */
#include "peer.h"
#include "clock.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#define FORWARDED_PORT 5577
#define MACHINE "10.0.2.2"

static struct addr machine(int port)
{
	struct addr a = loopback(AF_INET, port);

	inet_pton(AF_INET, MACHINE, &a.in.sin_addr);
	return a;
}

static bool on_machine(const struct addr *a)
{
	return a->in.sin_addr.s_addr == inet_addr(MACHINE);
}

/* A connection for each process, made when first needed. */
static int connection(void)
{
	static int fd = -1;
	const struct timeval longer = { 2 * PATIENCE_MS / 1000, 0 };
	const char *port = getenv("PYNNG_PEER");
	struct addr a;
	int one = 1;

	if (fd >= 0)
		return fd;
	if (!port)
		die("PYNNG_PEER is not set");
	a = machine(atoi(port));
	fd = (int)must_(socket(AF_INET, SOCK_STREAM, 0), "socket");
	must_(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &longer, sizeof(longer)),
	      "SO_RCVTIMEO");
	must_(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &longer, sizeof(longer)),
	      "SO_SNDTIMEO");
	must_(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)),
	      "TCP_NODELAY");
	must_(connect(fd, &a.sa, a.len), "connect to pynng_peer.py");
	return fd;
}

static void write_all(const void *bytes, size_t len)
{
	size_t done = 0;

	while (done < len)
		done += (size_t)must_(send(connection(),
					   (const char *)bytes + done,
					   len - done, MSG_NOSIGNAL),
				      "send to pynng_peer.py");
}

static void read_all(void *bytes, size_t len)
{
	size_t done = 0;
	long n;

	while (done < len) {
		n = must_(recv(connection(), (char *)bytes + done, len - done,
			       0),
			  "recv from pynng_peer.py");
		if (n == 0)
			die("pynng_peer.py has gone");
		done += (size_t)n;
	}
}

/* One request and its response, for free(), with a zero after its end; NULL if
 * there is no message.
 */
static char *ask(char what, int id, const void *body, size_t len,
		 size_t *got_len)
{
	struct __attribute__((packed)) {
		char what;
		uint32_t id, len;
	} request = { what, htonl((uint32_t)id), htonl((uint32_t)len) };
	struct __attribute__((packed)) {
		unsigned char status;
		uint32_t len;
	} response;
	char *got;

	write_all(&request, sizeof(request));
	write_all(body, len);
	read_all(&response, sizeof(response));
	*got_len = ntohl(response.len);
	got = malloc(*got_len + 1);
	if (!got)
		die("no memory for a message of %zu bytes", *got_len);
	read_all(got, *got_len);
	got[*got_len] = 0;
	if (response.status == 1)
		die("pynng: '%c' gave %s", what, got);
	if (response.status == 0)
		return got;
	free(got);
	return NULL;
}

static void tell(char what, int id, const void *body, size_t len)
{
	size_t got_len;

	free(ask(what, id, body, len, &got_len));
}

static int ask_number(char what, const char *body)
{
	size_t len;
	char *text = ask(what, 0, body, strlen(body), &len);
	int number = atoi(text);

	free(text);
	return number;
}

static int pynng_open(int type)
{
	static const char *const names[] = {
		[SOCK_REQ] = "req", [SOCK_REP] = "rep", [SOCK_PUB] = "pub",
		[SOCK_SUB] = "sub", [SOCK_PUSH] = "push", [SOCK_PULL] = "pull",
	};

	return ask_number('o', names[type]);
}

static void pynng_close(int id)
{
	tell('c', id, "", 0);
}

static struct addr pynng_own_place(int family)
{
	(void)family;
	return machine(ask_number('p', ""));
}

static struct addr pynng_our_place(int family)
{
	return wildcard(family, FORWARDED_PORT);
}

static void tell_port(char what, int id, int port)
{
	char text[16] = "";

	if (port)
		snprintf(text, sizeof(text), "%d", port);
	tell(what, id, text, strlen(text));
}

static void pynng_listen(int id, const struct addr *at)
{
	tell_port('l', id, port_of(at));
}

static void pynng_dial(int id, const struct addr *to)
{
	tell_port('d', id, on_machine(to) ? port_of(to) : 0);
}

static void pynng_subscribe(int id, const void *topic, size_t len)
{
	tell('t', id, topic, len);
}

static void pynng_send(int id, const void *body, size_t len)
{
	tell('s', id, body, len);
}

static unsigned char *pynng_recv(int id, size_t *len, bool wait)
{
	return (unsigned char *)ask(wait ? 'r' : 'n', id, "", 0, len);
}

const struct library pynng = {
	.name = "pynng",
	.open = pynng_open,
	.close = pynng_close,
	.own_place = pynng_own_place,
	.our_place = pynng_our_place,
	.listen = pynng_listen,
	.dial = pynng_dial,
	.want = pynng_subscribe,
	.send = pynng_send,
	.recv = pynng_recv,
};
