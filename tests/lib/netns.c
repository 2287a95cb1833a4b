// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include "netns.h"
#include "clock.h"

#include <errno.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

void netns_enter_new_(void)
{
	struct ifreq lo = { .ifr_name = "lo" };
	int s;

	if (unshare(CLONE_NEWNET) < 0)
		die("unshare(CLONE_NEWNET): errno %d (not root?)", errno);
	s = (int)must_(socket(AF_INET, SOCK_DGRAM, 0), "socket");
	must_(ioctl(s, SIOCGIFFLAGS, &lo), "ioctl(SIOCGIFFLAGS)");
	lo.ifr_flags |= IFF_UP;
	must_(ioctl(s, SIOCSIFFLAGS, &lo), "ioctl(SIOCSIFFLAGS)");
	close(s);
}

struct request {
	struct nlmsghdr header;
	struct ifinfomsg info;
	char attributes[256];
};

/* Appends an attribute; its length is grown later if others nest in it. */
static struct rtattr *add(struct request *r, int type, const void *data,
			  size_t len)
{
	struct rtattr *a = (void *)((char *)r +
				    NLMSG_ALIGN(r->header.nlmsg_len));

	a->rta_type = (unsigned short)type;
	a->rta_len = (unsigned short)RTA_LENGTH(len);
	if (len)
		memcpy(RTA_DATA(a), data, len);
	r->header.nlmsg_len = NLMSG_ALIGN(r->header.nlmsg_len) +
			      RTA_ALIGN(a->rta_len);
	return a;
}

static void end(struct request *r, struct rtattr *nest)
{
	nest->rta_len = (unsigned short)((char *)r + r->header.nlmsg_len -
					 (char *)nest);
}

/* False if this kernel has no veth. */
static bool make_veth(const char *name, int pid)
{
	struct request r = {
		.header = {
			.nlmsg_len = NLMSG_LENGTH(sizeof(struct ifinfomsg)),
			.nlmsg_type = RTM_NEWLINK,
			.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK |
				       NLM_F_CREATE | NLM_F_EXCL,
		},
	};
	struct ifinfomsg far = { 0 };
	struct rtattr *link, *data, *peer;
	struct {
		struct nlmsghdr header;
		struct nlmsgerr error;
		char rest[256];
	} answer;
	int s = (int)must_(socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE),
			  "socket(AF_NETLINK)");

	add(&r, IFLA_IFNAME, name, strlen(name) + 1);
	link = add(&r, IFLA_LINKINFO, NULL, 0);
	add(&r, IFLA_INFO_KIND, "veth", 4);
	data = add(&r, IFLA_INFO_DATA, NULL, 0);
	peer = add(&r, VETH_INFO_PEER, &far, sizeof(far));
	add(&r, IFLA_IFNAME, name, strlen(name) + 1);
	add(&r, IFLA_NET_NS_PID, &pid, sizeof(pid));
	end(&r, peer);
	end(&r, data);
	end(&r, link);

	must_(send(s, &r, r.header.nlmsg_len, 0), "netlink send");
	must_(recv(s, &answer, sizeof(answer), 0), "netlink recv");
	close(s);
	if (answer.error.error == -EOPNOTSUPP)
		return false;
	if (answer.error.error)
		die("making a veth pair: errno %d", -answer.error.error);
	return true;
}

bool neighbour_start_(struct neighbour *n, const char *name,
		      void (*leave)(void))
{
	struct meet up;

	meet_init_(&up);
	meet_init_(&n->go);
	n->name = name;
	n->pid = (pid_t)must_(fork(), "fork");
	if (n->pid == 0) {
		netns_enter_new_();
		meet_tell_(&up);
		meet_await_(&n->go);
		leave();
		_exit(0);
	}
	meet_await_(&up);
	if (make_veth(name, n->pid)) {
		if (!if_nametoindex(name))
			die("%s is not there", name);
		return true;
	}
	kill(n->pid, SIGKILL);
	child_status_(n->pid);
	return false;
}

void neighbour_end_(struct neighbour *n)
{
	int64_t deadline;

	meet_tell_(&n->go);
	child_join_(n->pid);
	deadline = patience();
	while (if_nametoindex(n->name))
		tick_(deadline, "the network namespace to go");
}
