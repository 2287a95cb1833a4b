// SPDX-License-Identifier: GPL-2.0
#include "peer.h"
#include "clock.h"
#include "filler.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct peer peer_open_(const struct library *library, int type)
{
	return (struct peer){ library, library->open(type) };
}

void peer_expect_(struct peer *p, const void *body, size_t len)
{
	unsigned char *got;
	size_t got_len;

	got = p->library->recv(p->id, &got_len, true);
	if (got_len != len || memcmp(got, body, len))
		die("%s got \"%.*s\" (%zu bytes), expected \"%.*s\" (%zu)",
		    p->library->name, (int)(got_len < 40 ? got_len : 40), got,
		    got_len, (int)(len < 40 ? len : 40), (const char *)body,
		    len);
	free(got);
}

void carry_(struct peer *from, struct peer *to, size_t len, uint32_t seed)
{
	unsigned char *body = filler(len, seed), *got;
	size_t got_len;

	from->library->send(from->id, body, len);
	got = to->library->recv(to->id, &got_len, true);
	if (got_len != len)
		die("%s got %zu bytes, expected %zu", to->library->name,
		    got_len, len);
	must_be_filled_(got, len, seed);
	free(got);
	free(body);
}

void await_heard_(struct peer *publisher, struct peer *subscriber,
		  const char *greeting)
{
	int64_t deadline = patience();
	size_t len = strlen(greeting), got_len;
	unsigned char *got;
	char end[32];

	snprintf(end, sizeof(end), "%s.", greeting);
	do {
		publisher->library->send(publisher->id, greeting, len);
		tick_(deadline, "a publisher to be heard");
		got = subscriber->library->recv(subscriber->id, &got_len,
						false);
	} while (!got);
	publisher->library->send(publisher->id, end, len + 1);
	while (got_len != len + 1) {
		free(got);
		got = subscriber->library->recv(subscriber->id, &got_len, true);
	}
	free(got);
}

size_t await_any_(struct peer *peers, size_t n, unsigned char **body,
		  size_t *len)
{
	int64_t deadline = patience();
	size_t i;

	for (;;) {
		for (i = 0; i < n; i++) {
			*body = peers[i].library->recv(peers[i].id, len,
						       false);
			if (*body)
				return i;
		}
		tick_(deadline, "a message for one of several");
	}
}

struct url url_of(const struct addr *a)
{
	char host[INET6_ADDRSTRLEN];
	struct url url;

	if (a->sa.sa_family == AF_INET6) {
		inet_ntop(AF_INET6, &a->in6.sin6_addr, host, sizeof(host));
		snprintf(url.text, sizeof(url.text), "tcp://[%s]:%d", host,
			 port_of(a));
	} else {
		inet_ntop(AF_INET, &a->in.sin_addr, host, sizeof(host));
		snprintf(url.text, sizeof(url.text), "tcp://%s:%d", host,
			 port_of(a));
	}
	return url;
}
