// SPDX-License-Identifier: GPL-2.0
/*
 * What a socket can do because it is a file descriptor that the kernel owns:
 * be duplicated, inherited, crossed over to another program, sent to another
 * process, outlive its process, and stay in its network namespace.
 */
#include "sptest.h"

#include <fcntl.h>
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

/*
 * After fork() both processes use the socket: the child goes on where the parent
 * was, and then each has requests of its own. (shared.c has the rest.)
 */
TEST(fork_shares_a_rep)
{
	struct pair p = sp_pair(SOCK_REP, SOCK_REQ);
	int rep = p.bound, req = p.connected;
	struct meet here, there;
	pid_t pid;

	meet_init(&here);
	meet_init(&there);
	sp_send(req, LIT("Q1"));
	sp_expect(rep, LIT("Q1"));
	pid = (pid_t)must(fork());
	if (pid == 0) {
		close(req);
		/* Goes on where the parent stopped: a request is in hand. */
		sp_send(rep, LIT("R1"));
		meet_await(&there);
		must_fail(EBADFD, send(rep, "R2", 2, MSG_NOSIGNAL));
		meet_tell(&here);
		sp_expect(rep, LIT("Q3"));
		sp_send(rep, LIT("R3"));
		sp_expect(rep, LIT("Q4"));
		sp_send(rep, LIT("R4"));
		_exit(0);
	}
	sp_expect(req, LIT("R1"));
	sp_send(req, LIT("Q2"));
	sp_expect(rep, LIT("Q2"));
	meet_tell(&there);
	meet_await(&here);
	sp_send(rep, LIT("R2"));
	sp_expect(req, LIT("R2"));
	sp_send(req, LIT("Q3"));
	sp_expect(req, LIT("R3"));
	/* One of the two may let go. */
	close(rep);
	sp_send(req, LIT("Q4"));
	sp_expect(req, LIT("R4"));
	child_join(pid);
	await_peers(req, 0);
}

TEST(fork_shares_a_req)
{
	struct pair p = sp_pair(SOCK_REP, SOCK_REQ);
	int rep = p.bound, req = p.connected;
	struct meet here, there;
	pid_t pid;

	meet_init(&here);
	meet_init(&there);
	pid = (pid_t)must(fork());
	if (pid == 0) {
		close(rep);
		sp_send(req, LIT("asked by the child"));
		meet_tell(&here);
		meet_await(&there);
		sp_expect(req, LIT("to the parent"));
		sp_send(req, LIT("all by the child"));
		sp_expect(req, LIT("to the child"));
		_exit(0);
	}
	meet_await(&here);
	sp_expect(rep, LIT("asked by the child"));
	sp_send(rep, LIT("to the child"));
	sp_expect(req, LIT("to the child"));
	sp_send(req, LIT("asked by the parent"));
	meet_tell(&there);
	sp_expect(rep, LIT("asked by the parent"));
	sp_send(rep, LIT("to the parent"));
	sp_expect(rep, LIT("all by the child"));
	sp_send(rep, LIT("to the child"));
	child_join(pid);
	must_eq(1, sp_get(rep, SP_PEERS));
}

/* Processes that receive at the same time: each message goes to one of them. */
TEST(fork_shares_messages_out)
{
	enum { PROCESSES = 3, MOST = 300 };
	struct pair p = sp_pair(SOCK_PUB, SOCK_SUB);
	const uint32_t messages = (uint32_t)many(MOST), end = MOST;
	pid_t pid[PROCESSES];
	uint32_t seq;
	int *got, i;

	got = mmap(NULL, MOST * sizeof(*got), PROT_READ | PROT_WRITE,
		   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	must_be(got != MAP_FAILED);
	subscribe(p.connected, LIT(""));
	for (i = 0; i < PROCESSES; i++) {
		pid[i] = (pid_t)must(fork());
		if (pid[i])
			continue;
		while (must_eq(4, recv(p.connected, &seq, 4, 0)), seq != end)
			__atomic_fetch_add(&got[seq], 1, __ATOMIC_RELAXED);
		_exit(0);
	}
	for (seq = 0; seq < messages; seq++)
		sp_send(p.bound, &seq, 4);
	for (i = 0; i < PROCESSES; i++)
		sp_send(p.bound, &end, 4);
	for (i = 0; i < PROCESSES; i++)
		child_join(pid[i]);
	for (seq = 0; seq < messages; seq++)
		must_eq(1, got[seq]);
	EXPECT_EQ(messages + PROCESSES, counter(p.connected, sp_rx_msgs));
	EXPECT_EQ(0, counter(p.bound, sp_tx_dropped));
}

/*
 * execve(): another program goes on with the socket.
 */
TEST(exec_keeps_requests_in_hand_and_queued)
{
	struct addr addr;
	int rep = sp_listener(SOCK_REP, &addr);
	int req = sp_dialer(SOCK_REQ, &addr), other = sp_dialer(SOCK_REQ, &addr);
	pid_t pid;

	sp_send(req, LIT("Q1"));
	sp_expect(rep, LIT("Q1"));
	sp_send(other, LIT("Q2"));
	await_in(rep);
	pid = (pid_t)must(fork());
	if (pid == 0)
		program_exec("spheir", number(rep), "send", "R1", "expect",
			     "Q2", "send", "R2", NULL);
	close(rep);
	sp_expect(req, LIT("R1"));
	sp_expect(other, LIT("R2"));
	child_join(pid);
	await_peers(req, 0);
}

TEST(exec_keeps_a_pending_request)
{
	struct pair p = sp_pair(SOCK_REP, SOCK_REQ);
	struct meet up;
	pid_t pid;

	meet_init(&up);
	sp_send(p.connected, LIT("Q1"));
	sp_expect(p.bound, LIT("Q1"));
	pid = (pid_t)must(fork());
	if (pid == 0)
		program_exec("spheir", number(p.connected), "tell",
			     number(up.fd[0]), "expect", "R1", "send", "Q2",
			     "expect", "R2", NULL);
	close(p.connected);
	meet_await(&up);
	sp_send(p.bound, LIT("R1"));
	sp_expect(p.bound, LIT("Q2"));
	sp_send(p.bound, LIT("R2"));
	child_join(pid);
}

/*
 * Close-on-exec, however it was asked for.
 */
static int cloexec_at_socket(int s)
{
	(void)s;
	return sp_open(SOCK_REQ | SOCK_CLOEXEC);
}

static int cloexec_by_fcntl(int s)
{
	must(fcntl(s, F_SETFD, FD_CLOEXEC));
	return s;
}

static int cloexec_by_dup3(int s)
{
	int twin = (int)must(dup3(s, 100, O_CLOEXEC));

	close(s);
	return twin;
}

static int cloexec_by_dupfd(int s)
{
	int twin = (int)must(fcntl(s, F_DUPFD_CLOEXEC, 100));

	close(s);
	return twin;
}

FIXTURE(cloexec)
{
	char unused;
};

FIXTURE_VARIANT(cloexec)
{
	int (*mark)(int s);
};

FIXTURE_VARIANT_ADD(cloexec, at_socket) { .mark = cloexec_at_socket };
FIXTURE_VARIANT_ADD(cloexec, by_fcntl) { .mark = cloexec_by_fcntl };
FIXTURE_VARIANT_ADD(cloexec, by_dup3) { .mark = cloexec_by_dup3 };
FIXTURE_VARIANT_ADD(cloexec, by_dupfd) { .mark = cloexec_by_dupfd };

FIXTURE_SETUP(cloexec)
{
}

FIXTURE_TEARDOWN(cloexec)
{
}

TEST_F(cloexec, closes_the_socket_at_exec)
{
	struct addr addr;
	struct meet up, go;
	int l = raw_listen(&addr), peer;
	pid_t pid;

	meet_init(&up);
	meet_init(&go);
	pid = (pid_t)must(fork());
	if (pid == 0) {
		int s = variant->mark(sp_open(SOCK_REQ));

		sp_connect(s, &addr);
		sp_send(s, LIT("before"));
		program_exec("spheir", number(s), "gone", "tell",
			     number(up.fd[0]), NULL);
	}
	peer = raw_peer_accept(SOCK_REP, l);
	meet_await(&up);
	/* Closed like any other: what was accepted is delivered. */
	raw_expect_request(peer, LIT("before"));
	raw_expect_closed(peer);
	child_join(pid);
}

/*
 * SCM_RIGHTS: the socket travels to another process.
 */
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

/* Made by one process, which is killed; then used by this one. */
struct donor {
	int via[2];
	struct meet sent;
	pid_t pid;
};

static void bequeath(struct donor *d, int s)
{
	send_fd(d->via[1], s);
	meet_tell(&d->sent);
	pause();
}

static bool donor_is_child(struct donor *d)
{
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, d->via));
	meet_init(&d->sent);
	d->pid = (pid_t)must(fork());
	return d->pid == 0;
}

/* While it is on its way, the message that carries it is all that holds it. */
static int inherit(struct donor *d)
{
	meet_await(&d->sent);
	must(kill(d->pid, SIGKILL));
	must_eq(SIGKILL, WTERMSIG(child_status(d->pid)));
	return recv_fd(d->via[0]);
}

TEST(scm_rights_hands_a_pending_request_on)
{
	struct addr addr;
	int rep = sp_listener(SOCK_REP, &addr), req;
	struct donor donor;

	if (donor_is_child(&donor)) {
		close(rep);
		req = sp_dialer(SOCK_REQ, &addr);
		sp_send(req, LIT("Q"));
		bequeath(&donor, req);
	}
	sp_expect(rep, LIT("Q"));
	req = inherit(&donor);
	sp_expect_nothing(req);
	sp_send(rep, LIT("R"));
	sp_expect(req, LIT("R"));
	sp_round_trip(req, rep);
	/* The connection is still the one that the dead process made. */
	EXPECT_EQ(1, counter(rep, sp_pipe_ups));
}

TEST(scm_rights_hands_an_unread_reply_on)
{
	struct addr addr;
	int rep = sp_listener(SOCK_REP, &addr), req;
	struct donor donor;

	if (donor_is_child(&donor)) {
		close(rep);
		req = sp_dialer(SOCK_REQ, &addr);
		sp_send(req, LIT("Q"));
		await_in(req);
		bequeath(&donor, req);
	}
	sp_expect(rep, LIT("Q"));
	sp_send(rep, LIT("R"));
	req = inherit(&donor);
	expect_events(POLLIN | POLLOUT, req);
	sp_expect(req, LIT("R"));
	sp_round_trip(req, rep);
}

TEST(scm_rights_hands_requests_in_hand_and_queued_on)
{
	struct addr addr;
	struct donor donor;
	struct meet up;
	int rep, req, other, i;

	addr = nowhere(AF_INET);
	meet_init(&up);
	if (donor_is_child(&donor)) {
		rep = sp_open(SOCK_REP);
		must(bind(rep, &addr.sa, addr.len));
		meet_tell(&up);
		sp_expect(rep, LIT("Q1"));
		await_counter(rep, sp_rx_queued, 4);
		bequeath(&donor, rep);
	}
	meet_await(&up);
	req = sp_dialer(SOCK_REQ, &addr);
	sp_send(req, LIT("Q1"));
	other = sp_dialer(SOCK_REQ, &addr);
	sp_send(other, LIT("Q2"));
	sp_send(other, LIT("Q3"));
	rep = inherit(&donor);
	expect_events(POLLIN | POLLOUT, rep);
	sp_send(rep, LIT("R1"));
	sp_expect(req, LIT("R1"));
	for (i = 2; i <= 3; i++) {
		const char q[] = { 'Q', (char)('0' + i) };

		sp_expect(rep, q, 2);
		sp_send(rep, q, 2);
	}
	/* Only the last is still wanted. */
	sp_expect(other, LIT("Q3"));
	sp_round_trip(req, rep);
}

/* Where that could be another's, nothing is handed on but the socket. */
TEST(scm_rights_hands_no_request_on_that_is_one_of_several)
{
	struct addr addr;
	int rep = sp_listener(SOCK_REP, &addr), via[2];
	int one = sp_dialer(SOCK_REQ, &addr), two = sp_dialer(SOCK_REQ, &addr);
	struct meet here;
	pid_t pid;

	must(socketpair(AF_UNIX, SOCK_STREAM, 0, via));
	meet_init(&here);
	pid = (pid_t)must(fork());
	if (pid == 0) {
		close(rep);
		rep = recv_fd(via[0]);
		expect_events(POLLIN, rep);
		must_fail(EBADFD, send(rep, "?", 1, MSG_NOSIGNAL));
		sp_expect(rep, LIT("Q3"));
		meet_tell(&here);
		sp_send(rep, LIT("R3"));
		_exit(0);
	}
	sp_round_trip(one, rep);
	sp_send(one, LIT("Q2"));
	sp_expect(rep, LIT("Q2"));
	sp_send(two, LIT("Q3"));
	await_in(rep);
	send_fd(via[1], rep);
	meet_await(&here);
	sp_send(rep, LIT("R2"));
	sp_expect(one, LIT("R2"));
	sp_expect(two, LIT("R3"));
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

/*
 * Killed right after send(): what was accepted is delivered, however much of
 * it is still with the socket.
 */
FIXTURE(killed)
{
	uint32_t *sent; /* messages, told by the process to be killed */
};

FIXTURE_VARIANT(killed)
{
	size_t len;
	uint32_t most;
};

FIXTURE_VARIANT_ADD(killed, small) { .len = 5, .most = 1 };
FIXTURE_VARIANT_ADD(killed, several) { .len = 5, .most = 20 };
FIXTURE_VARIANT_ADD(killed, large) { .len = 900000, .most = 1 };
/* Until nothing more is accepted: TCP is full, and the pipe. */
FIXTURE_VARIANT_ADD(killed, full) { .len = 20000, .most = 1000 };

FIXTURE_SETUP(killed)
{
	self->sent = mmap(NULL, sizeof(*self->sent), PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	must_be(self->sent != MAP_FAILED);
}

FIXTURE_TEARDOWN(killed)
{
	munmap(self->sent, sizeof(*self->sent));
}

/* Sends, each message another, and dies. */
static void send_and_die(const struct addr *to, size_t len, uint32_t most,
			 uint32_t *sent)
{
	unsigned char *body = filler(len, 0);
	int req = sp_dialer(SOCK_REQ, to);

	await_out(req);
	while (*sent < most && send(req, body, len, MSG_DONTWAIT) >= 0) {
		fill(body, len, ++*sent);
		/* Time for TCP to take what it will. */
		if (most == 1000 && !(ready(req, POLLOUT) & POLLOUT)) {
			struct pollfd p = { .fd = req, .events = POLLOUT };

			poll(&p, 1, quiet_ms());
		}
	}
	kill(getpid(), SIGKILL);
}

TEST_F(killed, right_after_send)
{
	unsigned char *buf = malloc(variant->len + 4);
	struct addr addr;
	int l = raw_listen(&addr), peer;
	uint32_t i;
	pid_t pid;

	ASSERT_NE(NULL, buf);
	/* Accepted connections inherit it: much remains with the sender. */
	sol_set(l, SO_RCVBUF, 16384);
	pid = (pid_t)must(fork());
	if (pid == 0) {
		close(l);
		send_and_die(&addr, variant->len, variant->most, self->sent);
	}
	peer = raw_peer_accept(SOCK_REP, l);
	EXPECT_EQ(SIGKILL, WTERMSIG(child_status(pid)));
	if (variant->most == 1000) {
		EXPECT_LT(2, *self->sent);
		EXPECT_GT(1000, *self->sent);
	} else {
		EXPECT_EQ(variant->most, *self->sent);
	}
	for (i = 0; i < *self->sent; i++) {
		must_eq(variant->len + 4,
			raw_read_frame(peer, buf, variant->len + 4));
		must_be_filled(buf + 4, variant->len, i);
	}
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
	int peer = raw_peer_narrow(SOCK_SUB, &addr);

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
 * A process makes a namespace, uses sockets in it, and exits.
 */
TEST_F(namespace, goes_when_its_processes_have_gone)
{
	struct neighbour n;

	if (!neighbour_start(&n, "spgone", variant->leave))
		SKIP(return, "no veth in this kernel");
	neighbour_end(&n);
}

SP_TEST_MAIN
