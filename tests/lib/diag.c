// SPDX-License-Identifier: GPL-2.0
#include "diag.h"

#include "clock.h"
#include "sock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* The timers of struct inet_diag_msg, which has room for one at a time. */
enum { TIMER_NONE = 0, TIMER_KEEPALIVE = 2 };

static int value(const struct rtattr *a, size_t len)
{
	uint8_t byte;
	int word;

	if (len == 1) {
		memcpy(&byte, RTA_DATA(a), 1);
		return byte;
	}
	memcpy(&word, RTA_DATA(a), sizeof(word));
	return word;
}

static void take(struct diag *d, const struct nlmsghdr *nlh)
{
	const struct inet_diag_msg *m = NLMSG_DATA(nlh);
	const struct rtattr *a = (const void *)(m + 1);
	long len = (long)nlh->nlmsg_len - (long)NLMSG_LENGTH(sizeof(*m));

	memset(d, 0, sizeof(*d));
	d->id = m->id;
	d->family = m->idiag_family;
	d->state = m->idiag_state;
	d->uid = m->idiag_uid;
	d->ifindex = (int)m->id.idiag_if;
	d->keepalive_ms = -1;
	if (m->idiag_timer == TIMER_KEEPALIVE)
		d->keepalive_ms = (int)m->idiag_expires;
	else
		d->keepalive_hidden = m->idiag_timer != TIMER_NONE;
	for (; RTA_OK(a, len); a = RTA_NEXT(a, len)) {
		size_t n = RTA_PAYLOAD(a);

		switch (a->rta_type) {
		case INET_DIAG_TOS:
			d->tos = value(a, n);
			break;
		case INET_DIAG_TCLASS:
			d->tclass = value(a, n);
			break;
		case INET_DIAG_MARK:
			d->mark = (uint32_t)value(a, n);
			break;
		case INET_DIAG_SKV6ONLY:
			d->v6only = value(a, n);
			break;
		case INET_DIAG_SKMEMINFO:
			memcpy(&d->rmem, RTA_DATA(a), sizeof(d->rmem));
			break;
		case INET_DIAG_CONG:
			strncpy(d->congestion, RTA_DATA(a),
				sizeof(d->congestion) - 1);
			break;
		}
	}
}

/* About TCP sockets in any state. */
static void request(int nl, uint16_t type, uint16_t flags,
		    struct inet_diag_req_v2 req)
{
	struct {
		struct nlmsghdr nlh;
		struct inet_diag_req_v2 req;
	} msg = {
		.nlh = {
			.nlmsg_len = sizeof(msg),
			.nlmsg_type = type,
			.nlmsg_flags = NLM_F_REQUEST | flags,
		},
		.req = req,
	};

	msg.req.sdiag_protocol = IPPROTO_TCP;
	msg.req.idiag_states = ~0U;
	must_(send(nl, &msg, sizeof(msg), 0), "send to sock_diag");
}

static void ask(int nl, int family)
{
	struct inet_diag_req_v2 req = {
		.sdiag_family = (uint8_t)family,
		.idiag_ext = 1 << (INET_DIAG_TOS - 1) |
			     1 << (INET_DIAG_TCLASS - 1) |
			     1 << (INET_DIAG_SKMEMINFO - 1) |
			     1 << (INET_DIAG_CONG - 1),
	};

	request(nl, SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, req);
}

/* Reads the whole answer; true if it had the socket. */
static bool answer(int nl, struct diag *d, int local, int remote)
{
	static char buf[32768];
	bool found = false;

	for (;;) {
		long len = must_(recv(nl, buf, sizeof(buf), 0), "recv from sock_diag");
		struct nlmsghdr *nlh = (void *)buf;

		for (; NLMSG_OK(nlh, len); nlh = NLMSG_NEXT(nlh, len)) {
			const struct inet_diag_msg *m = NLMSG_DATA(nlh);

			if (nlh->nlmsg_type == NLMSG_DONE)
				return found;
			if (nlh->nlmsg_type == NLMSG_ERROR)
				die("sock_diag refuses");
			if (ntohs(m->id.idiag_sport) != local ||
			    ntohs(m->id.idiag_dport) != remote)
				continue;
			take(d, nlh);
			found = true;
		}
	}
}

bool diag_find_(struct diag *d, int local, int remote)
{
	static const int families[] = { AF_INET, AF_INET6 };
	bool found = false;
	int i, nl;

	for (i = 0; i < 2 && !found; i++) {
		nl = (int)must_(socket(AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG),
				"socket(NETLINK_SOCK_DIAG)");
		ask(nl, families[i]);
		found = answer(nl, d, local, remote);
		close(nl);
	}
	return found;
}

struct diag diag_other_end_(int fd)
{
	struct addr here = { .len = sizeof(here.storage) };
	struct addr there = { .len = sizeof(there.storage) };
	int64_t deadline = patience();
	struct diag d;

	must(getsockname(fd, &here.sa, &here.len));
	must(getpeername(fd, &there.sa, &there.len));
	for (;;) {
		if (!diag_find_(&d, port_of(&there), port_of(&here)))
			die("the kernel has no other end");
		if (!d.keepalive_hidden)
			return d;
		tick(deadline, "the acknowledgement of what was sent");
	}
}

/* Asks for the one that a packet with these ports would meet; 0, or the errno. */
static int destroy(int nl, const struct diag *d, int remote)
{
	struct inet_diag_req_v2 req = {
		.sdiag_family = (uint8_t)d->family,
		.id = d->id,
	};
	struct {
		struct nlmsghdr nlh;
		struct nlmsgerr error;
		char rest[256];
	} answer;

	req.id.idiag_dport = htons((uint16_t)remote);
	request(nl, SOCK_DESTROY, NLM_F_ACK, req);
	must_(recv(nl, &answer, sizeof(answer), 0), "recv from sock_diag");
	return answer.nlh.nlmsg_type == NLMSG_ERROR ? -answer.error.error : 0;
}

void diag_destroy_(int local, int remote)
{
	struct diag d;
	int nl, err, i;

	if (!diag_find_(&d, local, remote))
		die("no TCP socket with ports %d and %d", local, remote);
	nl = (int)must_(socket(AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG),
			"socket(NETLINK_SOCK_DIAG)");
	err = destroy(nl, &d, remote);
	/* In an SO_REUSEPORT group it is a matter of chance which one is met. */
	for (i = 1; err == ENOENT && !remote && i < 1000; i++)
		err = destroy(nl, &d, i);
	close(nl);
	if (err)
		die("SOCK_DESTROY: errno %d", err);
}
