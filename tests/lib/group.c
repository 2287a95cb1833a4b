// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include "group.h"
#include "clock.h"
#include "diag.h"
#include "raw.h"
#include "task.h"
#include "works.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

void group_may_migrate_(void)
{
	int fd = (int)must_(open("/proc/sys/net/ipv4/tcp_migrate_req", O_WRONLY),
			    "open(tcp_migrate_req)");

	must_(write(fd, "1", 1), "write to tcp_migrate_req");
	close(fd);
}

int group_listen_(const struct addr *addr)
{
	int l = (int)must_(socket(addr->sa.sa_family, SOCK_STREAM, 0),
			   "socket");

	sol_set_(l, SO_REUSEPORT, 1);
	must_(bind(l, &addr->sa, addr->len), "bind");
	must_(listen(l, 128), "listen");
	return l;
}

int group_sp_bind_(int type, const struct addr *addr)
{
	int s = sp_open_(type);

	sol_set_(s, SO_REUSEPORT, 1);
	must_(bind(s, &addr->sa, addr->len), "bind");
	return s;
}

void group_move_(struct moved *m, int *keep)
{
	struct addr addr = nowhere(AF_INET);
	struct works works;
	int s, l, i;

	group_may_migrate_();
	s = group_sp_bind_(SOCK_REP, &addr);
	works_hold_(&works);
	for (i = 0; i < GROUP_SIZE; i++)
		m->from[i] = raw_connect_(&addr);
	l = group_listen_(&addr);
	if (keep)
		diag_destroy_(port_of(&addr), 0);
	else
		close(s);
	works_release_(&works);
	for (i = 0; i < GROUP_SIZE; i++)
		m->at[i] = raw_accept_(l);
	close(l);
	if (keep)
		*keep = s;
}

enum way { RECV, POLL, EPOLL, WAYS };

struct reader {
	struct task task;
	enum way way;
	int fd;
};

static void read_one(void *arg)
{
	struct reader *r = arg;
	struct epoll_event event = { .events = EPOLLIN };
	struct pollfd p = { .fd = r->fd, .events = POLLIN };
	int epoll;
	char c;

	switch (r->way) {
	case RECV:
	case WAYS:
		break;
	case POLL:
		must_eq(1, poll(&p, 1, -1));
		break;
	case EPOLL:
		epoll = (int)must_(epoll_create1(0), "epoll_create1");
		must_(epoll_ctl(epoll, EPOLL_CTL_ADD, r->fd, &event),
		      "epoll_ctl");
		must_eq(1, epoll_wait(epoll, &event, 1, -1));
		close(epoll);
		break;
	}
	must_eq(1, recv(r->fd, &c, 1, 0));
}

void group_expect_heard_(struct moved *m)
{
	struct reader r;
	int i;

	for (i = 0; i < GROUP_SIZE; i++) {
		r = (struct reader){ .way = i % WAYS, .fd = m->at[i] };
		/* Only a wake-up ends the wait; task_join() has patience. */
		set_timeout_(r.fd, SO_RCVTIMEO, 0);
		task_start_(&r.task, read_one, &r);
		task_await_asleep_(&r.task);
		raw_write_(m->from[i], LIT("!"));
		task_join_(&r.task);
	}
}
