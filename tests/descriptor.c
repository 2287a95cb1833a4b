// SPDX-License-Identifier: GPL-2.0
/*
 * What a socket can do because it is a file descriptor that the kernel owns:
 * be inherited, duplicated, sent to another process, outlive its process, and
 * stay in its network namespace.
 */
#include "sptest.h"

#include <net/if.h>
#include <sched.h>
#include <signal.h>

TEST(dup_shares_the_socket)
{
	struct pair p = sp_pair(SOCK_REP, SOCK_REQ);
	int twin = (int)must(dup(p.bound));

	sp_send(p.connected, LIT("Q"));
	sp_expect(p.bound, LIT("Q"));
	close(p.bound);
	sp_send(twin, LIT("R"));
	sp_expect(p.connected, LIT("R"));
	sp_round_trip(p.connected, twin);
}

TEST(fork_shares_the_socket)
{
	struct pair p = sp_pair(SOCK_REP, SOCK_REQ);
	pid_t pid;

	sp_send(p.connected, LIT("Q"));
	sp_expect(p.bound, LIT("Q"));
	pid = (pid_t)must(fork());
	if (pid == 0) {
		/* Goes on where the parent stopped: the request is in hand. */
		close(p.connected);
		sp_send(p.bound, LIT("R"));
		sp_expect(p.bound, LIT("Q2"));
		sp_send(p.bound, LIT("R2"));
		_exit(0);
	}
	close(p.bound);
	sp_expect(p.connected, LIT("R"));
	sp_send(p.connected, LIT("Q2"));
	sp_expect(p.connected, LIT("R2"));
	child_join(pid);
	await_peers(p.connected, 0);
}

static void send_fd(int via, int fd)
{
	char c = '!', control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { &c, 1 };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));
	must_eq(1, sendmsg(via, &msg, 0));
}

static int recv_fd(int via)
{
	char c, control[CMSG_SPACE(sizeof(int))];
	struct iovec iov = { &c, 1 };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	int fd;

	await_in(via);
	must_eq(1, recvmsg(via, &msg, 0));
	must_be(CMSG_FIRSTHDR(&msg));
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
	return fd;
}

TEST(scm_rights_moves_the_socket)
{
	struct pair p = { -1, -1 };
	struct addr addr;
	int via[2], other;
	pid_t pid;

	must(socketpair(AF_UNIX, SOCK_STREAM, 0, via));
	pid = (pid_t)must(fork());
	if (pid == 0) {
		int rep;

		close(via[0]);
		rep = recv_fd(via[1]);
		/* A request in hand, and another one in the queue. */
		sp_send(rep, LIT("R1"));
		sp_expect(rep, LIT("Q2"));
		sp_send(rep, LIT("R2"));
		_exit(0);
	}
	p.bound = sp_listener(SOCK_REP, &addr);
	p.connected = sp_dialer(SOCK_REQ, &addr);
	other = sp_dialer(SOCK_REQ, &addr);
	sp_send(p.connected, LIT("Q1"));
	sp_expect(p.bound, LIT("Q1"));
	sp_send(other, LIT("Q2"));
	await_in(p.bound);
	send_fd(via[0], p.bound);
	close(p.bound);
	sp_expect(p.connected, LIT("R1"));
	sp_expect(other, LIT("R2"));
	child_join(pid);
}

TEST(in_flight_socket_is_closed_with_its_carrier)
{
	struct addr addr;
	int pub = sp_listener(SOCK_PUB, &addr), via[2];
	int peer = raw_peer(SOCK_SUB, &addr);

	must(socketpair(AF_UNIX, SOCK_STREAM, 0, via));
	send_fd(via[0], pub);
	close(pub);
	raw_expect_quiet(peer);
	close(via[0]);
	close(via[1]);
	raw_expect_closed(peer);
}

/*
 * This function is userspace/hello.c, word for word.
 */
static int hello(void)
{
	struct sockaddr_in addr = { .sin_family = AF_INET,
				    .sin_port = htons(5577),
				    .sin_addr.s_addr = INADDR_ANY };
	int s = socket(PF_SP, SOCK_REQ, IPPROTO_TCP);

	bind(s, (struct sockaddr *)&addr, sizeof(addr));
	send(s, "Hello", 6, 0);
	close(s);
	return 0;
}

TEST(hello_program)
{
	struct addr addr = loopback(AF_INET, 5577);
	int rep = sp_dialer(SOCK_REP, &addr);
	pid_t pid = (pid_t)must(fork());

	if (pid == 0) {
		/* Only its own descriptors, as if it had been executed. */
		close(rep);
		_exit(hello());
	}
	sp_expect(rep, LIT("Hello\0"));
	child_join(pid);
}

TEST(delivers_after_sigkill)
{
	const size_t len = 900000;
	unsigned char *buf = malloc(len + 4);
	struct addr addr;
	struct meet sent;
	int l = raw_listen(&addr), peer;
	pid_t pid;

	ASSERT_NE(NULL, buf);
	/* Accepted connections inherit it: much remains with the sender. */
	sol_set(l, SO_RCVBUF, 16384);
	meet_init(&sent);
	pid = (pid_t)must(fork());
	if (pid == 0) {
		int req;

		close(l);
		req = sp_dialer(SOCK_REQ, &addr);
		sp_send_filled(req, len, 9);
		meet_tell(&sent);
		pause();
	}
	peer = raw_accept(l);
	raw_greet(peer, SOCK_REP);
	raw_expect_greeting(peer, SOCK_REQ);
	/* Killed while most of the message is still in the kernel. */
	meet_await(&sent);
	must(kill(pid, SIGKILL));
	EXPECT_EQ(SIGKILL, WTERMSIG(child_status(pid)));
	must_eq(len + 4, raw_read_frame(peer, buf, len + 4));
	must_be_filled(buf + 4, len, 9);
	raw_expect_closed(peer);
	free(buf);
}

TEST(not_resent_after_close)
{
	struct addr addr;
	int req = sp_listener(SOCK_REQ, &addr);
	int one = raw_peer(SOCK_REP, &addr), two;

	await_peers(req, 1);
	sp_send(req, LIT("Q"));
	two = raw_peer(SOCK_REP, &addr);
	await_peers(req, 2);
	close(req);
	raw_expect_request(one, LIT("Q"));
	raw_expect_closed(one);
	raw_expect_closed(two);
}

/*
 * Network namespaces.
 */
TEST(socket_stays_in_its_namespace)
{
	struct addr addr;
	int rep = sp_listener(SOCK_REP, &addr), req, stranger;
	int req_here = sp_open(SOCK_REQ);

	netns_enter_new();
	/* Made before: connects there. Made after: nobody answers here. */
	sp_connect(req_here, &addr);
	sp_round_trip(req_here, rep);
	stranger = sp_open(SOCK_REQ);
	sp_set(stranger, SP_RECONNECT_IVL, 5);
	sp_connect(stranger, &addr);
	await_counter(stranger, sp_reconnects, 3);
	EXPECT_EQ(0, sp_get(stranger, SP_PEERS));
	/* The same port is free here, and the listener of old still serves. */
	req = sp_open(SOCK_REP);
	must(bind(req, &addr.sa, addr.len));
	sp_round_trip(req_here, rep);
}

TEST(two_namespaces_keep_apart)
{
	struct addr addr;
	struct meet up, done;
	pid_t pid;
	int rep;

	meet_init(&up);
	meet_init(&done);
	pid = (pid_t)must(fork());
	if (pid == 0) {
		netns_enter_new();
		rep = sp_open(SOCK_REP);
		addr = loopback(AF_INET, 5578);
		must(bind(rep, &addr.sa, addr.len));
		meet_tell(&up);
		meet_await(&done);
		must_eq(0, counter(rep, sp_pipe_ups));
		_exit(0);
	}
	meet_await(&up);
	addr = loopback(AF_INET, 5578);
	rep = sp_open(SOCK_REP);
	must(bind(rep, &addr.sa, addr.len));
	sp_round_trip(sp_dialer(SOCK_REQ, &addr), rep);
	meet_tell(&done);
	child_join(pid);
}

FIXTURE(namespace)
{
	char unused;
};

FIXTURE_VARIANT(namespace)
{
	void (*leave)(void);
};

static void after_traffic(void)
{
	struct pair p = sp_pair(SOCK_REP, SOCK_REQ);

	sp_round_trip(p.connected, p.bound);
}

static void with_a_request_queued(void)
{
	struct pair p = sp_pair(SOCK_REP, SOCK_REQ);

	sp_send(p.connected, LIT("Q"));
	await_in(p.bound);
}

static void with_a_dialer_that_found_nobody(void)
{
	struct addr addr = nowhere(AF_INET);
	int s = sp_open(SOCK_SUB);

	sp_set(s, SP_RECONNECT_IVL, 5);
	sp_connect(s, &addr);
	await_counter(s, sp_reconnects, 2);
}

static void with_silent_connections(void)
{
	struct addr addr;
	int rep = sp_listener(SOCK_REP, &addr), i;

	for (i = 0; i < 5; i++)
		raw_expect_greeting(raw_connect(&addr), SOCK_REP);
	must_be(counter(rep, sp_pipe_ups) == 0);
}

static void after_close_and_reset(void)
{
	struct addr addr;
	int pub = sp_listener(SOCK_PUB, &addr);
	int peer = raw_connect_narrow(&addr);

	raw_greet(peer, SOCK_SUB);
	raw_expect_greeting(peer, SOCK_PUB);
	await_peers(pub, 1);
	sp_send_filled(pub, 900000, 1);
	close(pub);
	raw_reset(peer);
}

FIXTURE_VARIANT_ADD(namespace, after_traffic) {
	.leave = after_traffic,
};
FIXTURE_VARIANT_ADD(namespace, with_a_request_queued) {
	.leave = with_a_request_queued,
};
FIXTURE_VARIANT_ADD(namespace, with_a_dialer_that_found_nobody) {
	.leave = with_a_dialer_that_found_nobody,
};
FIXTURE_VARIANT_ADD(namespace, with_silent_connections) {
	.leave = with_silent_connections,
};
FIXTURE_VARIANT_ADD(namespace, after_close_and_reset) {
	.leave = after_close_and_reset,
};

FIXTURE_SETUP(namespace)
{
}

FIXTURE_TEARDOWN(namespace)
{
}

/*
 * A process makes a namespace, uses sockets in it, and exits. A veth pair into
 * that namespace vanishes here when it is gone.
 */
TEST_F(namespace, goes_when_its_processes_have_gone)
{
	static const char name[] = "spgone";
	struct meet up, go;
	int64_t deadline;
	pid_t pid;

	meet_init(&up);
	meet_init(&go);
	pid = (pid_t)must(fork());
	if (pid == 0) {
		netns_enter_new();
		meet_tell(&up);
		meet_await(&go);
		variant->leave();
		_exit(0);
	}
	meet_await(&up);
	if (!netns_veth(name, pid)) {
		kill(pid, SIGKILL);
		SKIP(return, "no veth in this kernel");
	}
	must_be(if_nametoindex(name));
	meet_tell(&go);
	child_join(pid);
	deadline = patience();
	while (if_nametoindex(name))
		tick(deadline, "the network namespace to go");
}

SP_TEST_MAIN
