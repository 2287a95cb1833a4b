/* SPDX-License-Identifier: MIT */
/* PF_SP's sockets, for the files that differ in how they call them. */
#ifndef SP_OPEN_H
#define SP_OPEN_H

#include "transport.h"

#include <netinet/in.h>
#include <netinet/sp.h>

#include <sys/time.h>
#include <unistd.h>

static inline int sp_open(enum role role, bool binds, int port, int timeout_ms)
{
	static const int types[] = {
		[ASKS] = SOCK_REQ,	[ANSWERS] = SOCK_REP,	[PUSHES] = SOCK_PUSH,
		[PULLS] = SOCK_PULL,	[PUBLISHES] = SOCK_PUB, [SUBSCRIBES] = SOCK_SUB,
	};
	struct sockaddr_in addr = {
		.sin_family = AF_INET,
		.sin_port = htons((unsigned short)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	struct timeval timeout = { timeout_ms / 1000, timeout_ms % 1000 * 1000 };
	const int buffer = 8 << 20;
	int fd = socket(PF_SP, types[role], IPPROTO_TCP);

	if (fd < 0)
		fail("socket");
	/* It must not drop what it publishes. */
	if (role == PUBLISHES && setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &buffer, sizeof(buffer)))
		fail("setsockopt(SO_SNDBUFFORCE)");
	if (role == SUBSCRIBES && setsockopt(fd, SOL_SP, SP_SUBSCRIBE, "", 0))
		fail("setsockopt(SP_SUBSCRIBE)");
	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)))
		fail("setsockopt(SO_RCVTIMEO)");
	if (binds ? bind(fd, (struct sockaddr *)&addr, sizeof(addr)) :
		    connect(fd, (struct sockaddr *)&addr, sizeof(addr)))
		fail(binds ? "bind" : "connect");
	return fd;
}

static inline void sp_await(int fd, int others)
{
	socklen_t len = sizeof(int);
	int peers;

	for (;;) {
		if (getsockopt(fd, SOL_SP, SP_PEERS, &peers, &len))
			fail("getsockopt(SP_PEERS)");
		if (peers >= others)
			return;
		usleep(1000);
	}
}

#endif
