// SPDX-License-Identifier: GPL-2.0
/*
 * What an administrator forbids or limits for a process's TCP sockets holds for
 * its SP sockets: control groups with BPF programs, also when a dialer dials
 * again in the background, and the accounting of memory.
 */
#include "sptest.h"

#include <linux/bpf.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* A control group of the test's own, and a BPF program that always says no. */
FIXTURE(policy)
{
	struct cgroup group;
};

FIXTURE_SETUP(policy)
{
	cgroup_make(&self->group);
}

FIXTURE_TEARDOWN(policy)
{
	/* The test's own processes are its children, and gone. */
	cgroup_end(&self->group);
}

static int bpf(int cmd, union bpf_attr *attr)
{
	return (int)syscall(SYS_bpf, cmd, attr, sizeof(*attr));
}

/* r0 = 0; exit: not allowed, or dropped. */
static const struct bpf_insn no[] = {
	{ .code = BPF_ALU64 | BPF_MOV | BPF_K },
	{ .code = BPF_JMP | BPF_EXIT },
};

/* The same, but only for packets of this SO_PRIORITY. */
enum { UNWANTED = 5 };
static const struct bpf_insn no_priority[] = {
	{ .code = BPF_LDX | BPF_W | BPF_MEM, .dst_reg = 2, .src_reg = 1,
	  .off = offsetof(struct __sk_buff, priority) },
	{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .imm = 1 },
	{ .code = BPF_JMP | BPF_JNE | BPF_K, .dst_reg = 2, .off = 1,
	  .imm = UNWANTED },
	{ .code = BPF_ALU64 | BPF_MOV | BPF_K },
	{ .code = BPF_JMP | BPF_EXIT },
};

static int program_load(const struct bpf_insn *insns, size_t count,
			enum bpf_prog_type type, enum bpf_attach_type where)
{
	union bpf_attr attr = {
		.prog_type = type,
		.expected_attach_type = where,
		.insns = (uintptr_t)insns,
		.insn_cnt = (unsigned int)count,
		.license = (uintptr_t) "GPL",
	};

	return (int)must(bpf(BPF_PROG_LOAD, &attr));
}

struct ban {
	int group, program;
	enum bpf_attach_type where;
};

static struct ban impose_program(int group, int program,
				 enum bpf_attach_type where)
{
	struct ban b = { group, program, where };
	union bpf_attr attr = {
		.target_fd = (unsigned int)group,
		.attach_bpf_fd = (unsigned int)b.program,
		.attach_type = where,
	};

	must(bpf(BPF_PROG_ATTACH, &attr));
	return b;
}

static struct ban impose(int group, enum bpf_prog_type type,
			 enum bpf_attach_type where)
{
	return impose_program(group,
			      program_load(no, ARRAY_SIZE(no), type, where),
			      where);
}

static void lift(struct ban *b)
{
	union bpf_attr attr = {
		.target_fd = (unsigned int)b->group,
		.attach_bpf_fd = (unsigned int)b->program,
		.attach_type = b->where,
	};

	must(bpf(BPF_PROG_DETACH, &attr));
	close(b->program);
}

TEST_F(policy, tcp_sockets_not_allowed)
{
	struct ban ban = impose(self->group.fd, BPF_PROG_TYPE_CGROUP_SOCK,
				BPF_CGROUP_INET_SOCK_CREATE);
	pid_t pid = (pid_t)must(fork());

	if (pid == 0) {
		struct addr addr = nowhere(AF_INET);
		int s, value = 0;

		cgroup_enter(&self->group);
		must_fail(EPERM, socket(AF_INET, SOCK_STREAM, 0));
		s = sp_open(SOCK_REQ);
		must_fail(EPERM, connect(s, &addr.sa, addr.len));
		must_fail(EPERM, bind(s, &addr.sa, addr.len));
		must_fail(EPERM, setsockopt(s, IPPROTO_TCP, TCP_NODELAY,
					    &value, sizeof(value)));
		must_eq(0, counter(s, sp_dialers) + counter(s, sp_listeners));
		_exit(0);
	}
	child_join(pid);
	lift(&ban);
}

TEST_F(policy, bind_not_allowed)
{
	struct ban ban = impose(self->group.fd, BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
				BPF_CGROUP_INET4_BIND);
	pid_t pid = (pid_t)must(fork());

	if (pid == 0) {
		struct addr addr = loopback(AF_INET, 0);
		int s;

		cgroup_enter(&self->group);
		s = sp_open(SOCK_REP);
		must_fail(EPERM, bind(s, &addr.sa, addr.len));
		must_eq(0, counter(s, sp_listeners));
		/* The other family was not mentioned. */
		sp_bind(s, AF_INET6);
		_exit(0);
	}
	child_join(pid);
	lift(&ban);
}

/* A dialer in the group, whose connect() is not allowed for a while. */
static pid_t dialer_in(const struct cgroup *group, const struct addr *to,
		       struct meet *done)
{
	pid_t pid = (pid_t)must(fork());
	int s;

	if (pid)
		return pid;
	cgroup_enter(group);
	s = sp_open(SOCK_SUB);
	sp_set(s, SP_RECONNECT_IVL, 1);
	/* Whether somebody may be reached is nothing that connect() tells. */
	sp_connect(s, to);
	meet_await(done);
	_exit(0);
}

TEST_F(policy, connect_not_allowed)
{
	struct ban ban = impose(self->group.fd, BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
				BPF_CGROUP_INET4_CONNECT);
	struct addr addr;
	int l = raw_listen(&addr);
	struct meet done;
	pid_t pid;

	meet_init(&done);
	pid = dialer_in(&self->group, &addr, &done);
	expect_stays_not_in(l);
	lift(&ban);
	raw_peer_accept(SOCK_PUB, l);
	meet_tell(&done);
	child_join(pid);
}

/* What dials again is no task of the group any more, but it does it for one. */
TEST_F(policy, redial_not_allowed)
{
	struct addr addr;
	int l = raw_listen(&addr), peer;
	struct meet done;
	struct ban ban;
	pid_t pid;

	meet_init(&done);
	pid = dialer_in(&self->group, &addr, &done);
	peer = raw_peer_accept(SOCK_PUB, l);
	ban = impose(self->group.fd, BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
		     BPF_CGROUP_INET4_CONNECT);
	close(peer);
	expect_stays_not_in(l);
	lift(&ban);
	raw_peer_accept(SOCK_PUB, l);
	meet_tell(&done);
	child_join(pid);
}

/*
 * A request from the group, whose packets are dropped for a while: nothing is
 * lost, only late. With a priority, until the socket has another one.
 */
static void request_late(const FIXTURE_DATA(policy) *self,
			 const struct bpf_insn *insns, size_t count,
			 int priority)
{
	const enum bpf_attach_type where = BPF_CGROUP_INET_EGRESS;
	struct addr addr;
	int rep = sp_listener(SOCK_REP, &addr);
	struct meet up, go;
	struct ban ban;
	pid_t pid;

	meet_init(&up);
	meet_init(&go);
	pid = (pid_t)must(fork());
	if (pid == 0) {
		int req;

		cgroup_enter(&self->group);
		req = sp_dialer(SOCK_REQ, &addr);
		await_peers(req, 1);
		meet_tell(&up);
		meet_await(&go);
		sol_set(req, SO_PRIORITY, priority);
		sp_send(req, LIT("Q"));
		meet_tell(&up);
		meet_await(&go);
		/* TCP sends it again. */
		sol_set(req, SO_PRIORITY, 0);
		sp_expect(req, LIT("R"));
		_exit(0);
	}
	meet_await(&up);
	await_peers(rep, 1);
	ban = impose_program(self->group.fd,
			     program_load(insns, count,
					  BPF_PROG_TYPE_CGROUP_SKB, where),
			     where);
	meet_tell(&go);
	meet_await(&up);
	expect_stays_not_in(rep);
	if (!priority)
		lift(&ban);
	meet_tell(&go);
	sp_expect(rep, LIT("Q"));
	sp_send(rep, LIT("R"));
	child_join(pid);
	if (priority)
		lift(&ban);
}

TEST_F(policy, packets_dropped)
{
	request_late(self, no, ARRAY_SIZE(no), 0);
}

/* What a firewall or a queueing discipline goes by is on the packets. */
TEST_F(policy, packets_of_a_priority_dropped)
{
	request_late(self, no_priority, ARRAY_SIZE(no_priority), UNWANTED);
}

/* Messages that wait are charged to whom sent them, and uncharged later. */
TEST_F(policy, memory_is_the_sender_s)
{
	enum { LEN = 100000, SNDBUF = 8 << 20 };
	struct addr addr;
	struct meet full, drained;
	int64_t deadline;
	long idle, used;
	pid_t pid;
	int peer, pub;

	meet_init(&full);
	meet_init(&drained);
	addr = nowhere(AF_INET);
	pid = (pid_t)must(fork());
	if (pid == 0) {
		unsigned char *body;

		cgroup_enter(&self->group);
		body = filler(LEN, 1);
		pub = sp_open(SOCK_PUB);
		must(bind(pub, &addr.sa, addr.len));
		meet_tell(&full);
		await_peers(pub, 1);
		sol_set(pub, SO_SNDBUFFORCE, SNDBUF);
		while (counter(pub, sp_tx_dropped) == 0)
			sp_send(pub, body, LEN);
		must_be(counter(pub, sp_tx_queued) >= SNDBUF);
		meet_tell(&full);
		meet_await(&drained);
		_exit(0);
	}
	meet_await(&full);
	peer = raw_connect_narrow(&addr);
	idle = cgroup_get(&self->group, "memory.current");
	raw_greet(peer, SOCK_SUB);
	raw_expect_greeting(peer, SOCK_PUB);
	meet_await(&full);
	used = cgroup_get(&self->group, "memory.current");
	EXPECT_LE(SNDBUF, used - idle);
	raw_reset(peer);
	deadline = patience();
	while (cgroup_get(&self->group, "memory.current") - idle > SNDBUF / 2)
		tick(deadline, "the memory to be given back");
	meet_tell(&drained);
	child_join(pid);
}

/* A listener in the group, until @done. Nothing is received. */
static pid_t listener_in(const struct cgroup *group, int rcvbuf, struct addr *addr,
			 struct meet *done)
{
	struct meet up;
	pid_t pid;
	int rep;

	*addr = nowhere(AF_INET);
	meet_init(&up);
	meet_init(done);
	pid = (pid_t)must(fork());
	if (pid == 0) {
		cgroup_enter(group);
		rep = sp_open(SOCK_REP);
		sol_set(rep, SO_RCVBUF, rcvbuf);
		must(bind(rep, &addr->sa, addr->len));
		meet_tell(&up);
		meet_await(done);
		_exit(0);
	}
	meet_await(&up);
	return pid;
}

/* A greeting, and requests of 1,000 bytes that make up @len. */
static void send_requests(int fd, size_t len)
{
	static const unsigned char head[] = { 0, 0, 0, 0, 0, 0, 3, 0xe8, 0x80 };
	unsigned char frame[HEADER_LEN + 1000] = { 0 };

	raw_greet(fd, SOCK_REQ);
	memcpy(frame, head, sizeof(head));
	/* Each with an id of its own: one that waits is not queued again. */
	for (; len > sizeof(frame); len -= sizeof(frame)) {
		frame[HEADER_LEN + 3]++;
		raw_write(fd, frame, sizeof(frame));
	}
}

/* What had arrived before it was accepted, too; most of it still waits. */
TEST_F(policy, memory_of_what_came_before_accept)
{
	int64_t deadline = patience();
	struct works works;
	struct addr addr;
	struct meet done;
	pid_t pid;
	int fd;

	pid = listener_in(&self->group, 4096, &addr, &done);
	works_hold(&works);
	fd = raw_connect(&addr);
	send_requests(fd, 30000);
	works_release(&works);
	raw_expect_greeting(fd, SOCK_REP);
	while (cgroup_stat(&self->group, "memory.stat", "sock") < 4096)
		tick(deadline, "what came to be charged");
	meet_tell(&done);
	child_join(pid);
	/* No less than was charged; below zero would be a huge number. */
	while (cgroup_stat(&self->group, "memory.stat", "sock"))
		tick(deadline, "what came to be uncharged");
}

/* Nobody dies of what arrived before it was accepted, either. */
TEST_F(policy, no_room_for_what_came_before_accept)
{
	enum { PEERS = 8, EACH = 40000 };
	int peers[PEERS], i;
	struct works works;
	struct addr addr;
	struct meet done;
	pid_t pid;

	pid = listener_in(&self->group, 65536, &addr, &done);
	works_hold(&works);
	for (i = 0; i < PEERS; i++) {
		peers[i] = raw_connect(&addr);
		send_requests(peers[i], EACH);
	}
	cgroup_set(&self->group, "memory.max",
		   cgroup_get(&self->group, "memory.current") + EACH);
	works_release(&works);
	/* The first has room, for itself at least. */
	raw_expect_greeting(peers[0], SOCK_REP);
	pass_ms(500);
	EXPECT_EQ(0, cgroup_stat(&self->group, "memory.events", "oom"));
	must_eq(0, waitpid(pid, NULL, WNOHANG));
	cgroup_set(&self->group, "memory.max", 1 << 30);
	for (i = 1; i < PEERS; i++)
		raw_expect_greeting(peers[i], SOCK_REP);
	meet_tell(&done);
	child_join(pid);
}

/*
 * A group without room takes no connections, and a peer that comes has nobody
 * killed for it. When there is room again, who waits gets in.
 */
TEST_F(policy, no_room_for_a_connection)
{
	enum { MOST = 2000 };
	int *peers = calloc(MOST, sizeof(*peers)), n;
	struct addr addr;
	struct meet done;
	pid_t pid;

	must_be(peers);
	pid = listener_in(&self->group, 4096, &addr, &done);
	cgroup_set(&self->group, "memory.max",
		   cgroup_get(&self->group, "memory.current"));
	/* There may be room for a few that is accounted for already. */
	for (n = 0; n < MOST; n++) {
		struct pollfd p = { .events = POLLIN };

		peers[n] = p.fd = raw_connect(&addr);
		/* Long enough for a busy machine to let in whom there is room for. */
		if (poll(&p, 1, 500 + 4 * quiet_ms()) == 0)
			break;
	}
	must_be(n < MOST);
	expect_stays_not_in(peers[n]);
	EXPECT_EQ(0, cgroup_stat(&self->group, "memory.events", "oom"));
	must_eq(0, waitpid(pid, NULL, WNOHANG));
	cgroup_set(&self->group, "memory.max", 1 << 30);
	raw_expect_greeting(peers[n], SOCK_REP);
	meet_tell(&done);
	child_join(pid);
	free(peers);
}

SP_TEST_MAIN
