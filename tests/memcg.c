// SPDX-License-Identifier: GPL-2.0
/*
 * Memory that peers make a socket hold is charged to the control group in which
 * it was made, up to that group's limit and no further; and what the limits of
 * message sizes are without a privilege.
 *
 * The program under test is a child without privileges in a group of its own;
 * its peers are raw ones outside. It touches all memory that it will need
 * before it enters, so what the group is charged with is the kernel's.
 */
#include "sptest.h"

#include <endian.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

enum { MIB = 1 << 20, NOBODY = 65534, UNPRIVILEGED_MOST = 64 * MIB };

/* What TCP had to drop it sends again, after up to two minutes. */
enum { RESENT_MS = 130000 };

static void drop_privileges(void)
{
	must(setgroups(0, NULL));
	must(setresgid(NOBODY, NOBODY, NOBODY));
	must(setresuid(NOBODY, NOBODY, NOBODY));
}

/* Room for the largest message of any test here, and a byte more. */
static unsigned char room[8 * MIB + 1];

/* In the child: becomes the program. */
static void enter(const struct cgroup *group)
{
	must(mlockall(MCL_CURRENT));
	cgroup_enter(group);
	drop_privileges();
	/* Not longer than the test; changing credentials would forget it. */
	must(prctl(PR_SET_PDEATHSIG, SIGKILL));
}

/* Until the other one says so, however long a queue takes. */
#define await_word(go) AT(await_word_((go)))
static void await_word_(struct meet *go)
{
	struct pollfd p = { .fd = go->fd[1], .events = POLLIN };

	must_eq(1, poll(&p, 1, 10 * PATIENCE_MS));
	meet_await_(go);
}

static int program_listens(int type, const struct addr *addr)
{
	int s = sp_open(type);

	must(bind(s, &addr->sa, addr->len));
	if (type == SOCK_SUB)
		subscribe(s, LIT(""));
	return s;
}

/* A peer's one message, on its way. */
struct sender {
	int fd;
	uint32_t number;
	size_t len, off;
};

/* All have this body but for their number, which comes first. */
static unsigned char *body;

/* Sends what it takes, until so many bytes of it all are sent; false if that is nothing. */
static bool push(struct sender *p, size_t until)
{
	unsigned char head[HEADER_LEN + 4];
	uint64_t header = htobe64(p->len);
	bool moved = false;
	ssize_t n;

	memcpy(head, &header, HEADER_LEN);
	memcpy(head + HEADER_LEN, &p->number, 4);
	while (p->off < until) {
		if (p->off < sizeof(head))
			n = send(p->fd, head + p->off, sizeof(head) - p->off,
				 MSG_DONTWAIT | MSG_NOSIGNAL | MSG_MORE);
		else
			n = send(p->fd, body + p->off - HEADER_LEN,
				 until - p->off,
				 MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0)
			die("sender %u is cut off after %zu of %zu bytes: %s",
			    p->number, p->off, HEADER_LEN + p->len,
			    strerrorname_np(errno));
		p->off += (size_t)n;
		moved = true;
	}
	return moved;
}

/* Until all have sent so much: true; or nothing moves for a while: false. */
static bool push_until(struct sender *p, int n, size_t until, int quiet)
{
	int64_t moved = now_ms();
	bool done;
	int i;

	do {
		done = true;
		for (i = 0; i < n; i++) {
			if (push(&p[i], until))
				moved = now_ms();
			done = done && p[i].off >= until;
		}
		if (!done)
			pass_ms(1);
	} while (!done && now_ms() - moved < quiet);
	return done;
}

/* The same of all that they have. */
static bool push_all(struct sender *p, int n, int quiet)
{
	return push_until(p, n, HEADER_LEN + p->len, quiet);
}

static void senders_join(struct sender *p, int n, size_t len,
			 const struct addr *to)
{
	int i;

	body = filler(len, 1);
	for (i = 0; i < n; i++)
		p[i] = (struct sender){ raw_peer(SOCK_PUB, to), (uint32_t)i,
					len, 0 };
}

static void senders_leave(struct sender *p, int n)
{
	int i;

	for (i = 0; i < n; i++)
		close(p[i].fd);
	free(body);
}

/* Receives each sender's message once, whole, in whatever order. */
static void receive_all(int s, int n, size_t len)
{
	bool seen[256] = { false };
	uint32_t number;
	ssize_t got;
	int i;

	must_be(n <= (int)sizeof(seen));
	for (i = 0; i < n; i++) {
		got = recv(s, room, sizeof(room), MSG_TRUNC);
		if (got < 0)
			die("recv() of message %d of %d: %s", i, n,
			    strerrorname_np(errno));
		must_eq(len, got);
		memcpy(&number, room, sizeof(number));
		must_be(number < (uint32_t)n && !seen[number]);
		seen[number] = true;
		fill(room, sizeof(number), 1);
		must_be_filled(room, len, 1);
	}
}

static void must_not_have_run_out(const struct cgroup *g)
{
	must_eq(0, cgroup_stat(g, "memory.events", "oom"));
	must_eq(0, cgroup_stat(g, "memory.events", "oom_kill"));
}

/*
 * More than the group may have; every limit of the socket's own allows it. The
 * messages come one after the other, or all at once: then none of them must
 * keep the rest of another one out.
 */
FIXTURE(memcg)
{
	struct cgroup group;
	struct addr addr;
	/* Told by the test when the program may go on, and the reverse. */
	struct meet go, told;
};

FIXTURE_VARIANT(memcg)
{
	bool at_once;
	int mib;
	/* All of them have sent as much when the group is full: none is whole. */
	bool level;
};

FIXTURE_SETUP(memcg)
{
	cgroup_make(&self->group);
	self->addr = nowhere(AF_INET);
	meet_init(&self->go);
	meet_init(&self->told);
}

FIXTURE_TEARDOWN(memcg)
{
	cgroup_end(&self->group);
}

FIXTURE_VARIANT_ADD(memcg, in_turn)
{
	.at_once = false,
	.mib = 1,
};

FIXTURE_VARIANT_ADD(memcg, at_once)
{
	.at_once = true,
	.mib = 1,
};

FIXTURE_VARIANT_ADD(memcg, large_at_once)
{
	.at_once = true,
	.mib = 8,
};

FIXTURE_VARIANT_ADD(memcg, level)
{
	.at_once = true,
	.mib = 1,
	.level = true,
};

TEST_F_TIMEOUT(memcg, is_the_bound, 90)
{
	/* TCP charges what it has received, also beyond the limit, and tells of it late. */
	enum { SLACK = 3 * MIB, STEP = 1 << 16 };
	const long limit = (long)many(64) * MIB;
	const size_t len = (size_t)variant->mib * MIB;
	const int n = (int)(limit * 2 / (long)len);
	struct sender senders[256] = { 0 };
	int i, stuck = 0;
	long idle, used;
	pid_t pid;

	cgroup_set(&self->group, "memory.max", limit);
	pid = (pid_t)must(fork());
	if (pid == 0) {
		int sub;

		enter(&self->group);
		sub = sp_open(SOCK_SUB);
		sp_set(sub, SP_RCVMAXSIZE, UNPRIVILEGED_MOST);
		set_timeout(sub, SO_RCVTIMEO, RESENT_MS);
		must(bind(sub, &self->addr.sa, self->addr.len));
		subscribe(sub, LIT(""));
		meet_tell(&self->told);
		await_word(&self->go);
		receive_all(sub, n, len);
		sp_expect_nothing(sub);
		/* Nobody has paid for it. */
		must_eq(n, sp_get(sub, SP_PEERS));
		must_eq(0, counter(sub, sp_pipe_downs));
		must_eq(0, counter(sub, sp_rx_partial));
		meet_tell(&self->told);
		await_word(&self->go);
		_exit(0);
	}
	meet_await(&self->told);
	senders_join(senders, n, len, &self->addr);
	idle = cgroup_get(&self->group, "memory.current");
	for (i = 0; !variant->at_once && i < n && stuck < 3; i++)
		stuck += !push_all(&senders[i], 1, quiet_ms());
	for (size_t some = 0; variant->level && some < len; some += STEP)
		if (!push_until(senders, n, some, quiet_ms()))
			break;
	if (!variant->level)
		push_all(senders, n, 5 * quiet_ms());
	used = cgroup_without_tcp(&self->group);
	printf("# %d messages of %d MiB, limit %ld MiB: %ld kB idle; when nothing moves %ld kB, and TCP's\n",
	       n, variant->mib, limit / MIB, idle / 1024, used / 1024);
	fflush(stdout);
	EXPECT_LE(limit / 2, used);
	/* One of them may be beyond it, where else none would ever be whole. */
	EXPECT_GE(limit + (long)len + (variant->level ? limit / 4 : SLACK),
		  used);

	meet_tell(&self->go);
	if (!push_all(senders, n, RESENT_MS))
		die("the program reads, but not all is taken");
	await_word(&self->told);
	printf("# at most %ld kB, afterwards %ld kB; %ld charges failed\n",
	       cgroup_get(&self->group, "memory.peak") / 1024,
	       cgroup_get(&self->group, "memory.current") / 1024,
	       cgroup_stat(&self->group, "memory.events", "max"));
	fflush(stdout);
	/* Meanwhile TCP has as much as it likes: see tcp_rmem in tcp(7). */
	EXPECT_GE(limit / 4, cgroup_get(&self->group, "memory.current"));
	must_not_have_run_out(&self->group);
	meet_tell(&self->go);
	child_join(pid);
	senders_leave(senders, n);
}

FIXTURE(charged)
{
	struct cgroup group;
	struct addr addr;
	struct meet go, told;
};

FIXTURE_SETUP(charged)
{
	cgroup_make(&self->group);
	self->addr = nowhere(AF_INET);
	meet_init(&self->go);
	meet_init(&self->told);
}

FIXTURE_TEARDOWN(charged)
{
	cgroup_end(&self->group);
}

/*
 * One of them may go beyond the limit, until it is received; nobody receives any. On
 * a socket each, so that none of these has another message to wait for.
 */
TEST_F_TIMEOUT(charged, one_unfinished_message_beyond_the_limit, 90)
{
	enum { N = 48, LEN = MIB, LIMIT = 16 * MIB, STEP = 1 << 16 };
	struct addr *addr = mmap(NULL, N * sizeof(*addr), PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct sender senders[N];
	int64_t until;
	long used;
	pid_t pid;
	int i;

	must_be(addr != MAP_FAILED);
	cgroup_set(&self->group, "memory.max", LIMIT);
	pid = (pid_t)must(fork());
	if (pid == 0) {
		enter(&self->group);
		for (i = 0; i < N; i++) {
			int sub = sp_open(SOCK_SUB);

			addr[i] = sp_bind(sub, AF_INET);
			subscribe(sub, LIT(""));
		}
		meet_tell(&self->told);
		await_word(&self->go);
		_exit(0);
	}
	meet_await(&self->told);
	body = filler(LEN, 1);
	for (i = 0; i < N; i++)
		senders[i] = (struct sender){ raw_peer(SOCK_PUB, &addr[i]),
					      (uint32_t)i, LEN, 0 };
	for (size_t some = STEP; some < LEN; some += STEP)
		if (!push_until(senders, N, some, quiet_ms()))
			break;
	/* TCP is slow to notice that there is room again. */
	for (until = now_ms() + 5000; now_ms() < until;)
		push_all(senders, N, quiet_ms());
	used = cgroup_without_tcp(&self->group);
	printf("# %ld kB of %d kB\n", used / 1024, LIMIT / 1024);
	fflush(stdout);
	EXPECT_GE(LIMIT + LEN + LIMIT / 4, used);
	must_not_have_run_out(&self->group);
	meet_tell(&self->go);
	child_join(pid);
	senders_leave(senders, N);
}

/* Waits until the group is charged with so much more than it was. */
#define await_charged(g, from, least, what)                                   \
	AT(await_charged_((g), (from), (least), (what)))
static void await_charged_(const struct cgroup *g, long from, long least,
			   const char *what)
{
	int64_t deadline = patience();
	long more;

	do {
		pass_ms(1);
		more = cgroup_get_(g, "memory.current") - from;
	} while (more < least && now_ms() < deadline);
	printf("# %s: %ld bytes charged, %ld at least\n", what, more, least);
	fflush(stdout);
	if (more < least)
		die("%s: %ld bytes charged, expected %ld", what, more, least);
}

/* Wherever the program goes, and whoever has the socket in the end. */
TEST_F_TIMEOUT(charged, to_where_the_socket_was_made, 90)
{
	enum { N = 8 };
	struct sender senders[N] = { 0 };
	pid_t pid = (pid_t)must(fork());
	long idle;

	if (pid == 0) {
		int sub;

		must(mlockall(MCL_CURRENT));
		cgroup_enter(&self->group);
		sub = sp_open(SOCK_SUB);
		cgroup_leave(&self->group);
		sp_set(sub, SP_RCVMAXSIZE, 16 * MIB);
		must(bind(sub, &self->addr.sa, self->addr.len));
		subscribe(sub, LIT(""));
		meet_tell(&self->told);
		await_word(&self->go);
		receive_all(sub, N, MIB);
		_exit(0);
	}
	meet_await(&self->told);
	senders_join(senders, N, MIB, &self->addr);
	idle = cgroup_get(&self->group, "memory.current");
	must_be(push_all(senders, N, PATIENCE_MS));
	/* Some of what it was charged with before was in advance. */
	await_charged(&self->group, idle, (N - 1) * MIB, "8 MiB of messages");
	meet_tell(&self->go);
	child_join(pid);
	senders_leave(senders, N);
}

/* What waits in TCP's queues is TCP's, and charged like any connection's. */
TEST_F_TIMEOUT(charged, what_tcp_holds_of_accepted_connections, 90)
{
	enum { N = 20, LEAST = N * 32768 };
	struct raw_flood flood[N] = { 0 };
	int64_t deadline;
	pid_t pid;
	int i;

	pid = (pid_t)must(fork());
	if (pid == 0) {
		enter(&self->group);
		program_listens(SOCK_SUB, &self->addr);
		meet_tell(&self->told);
		await_word(&self->go);
		_exit(0);
	}
	meet_await(&self->told);
	for (i = 0; i < N; i++) {
		flood[i] = (struct raw_flood){ .type = SOCK_PUB, .len = 8000 };
		flood[i].fd = raw_peer(SOCK_PUB, &self->addr);
		raw_flood_until_stuck(&flood[i], 10000);
	}
	deadline = patience();
	while (cgroup_stat(&self->group, "memory.stat", "sock") < LEAST &&
	       now_ms() < deadline)
		pass_ms(10);
	printf("# %d stuck connections: sock %ld\n", N,
	       cgroup_stat(&self->group, "memory.stat", "sock"));
	fflush(stdout);
	EXPECT_LE(LEAST, cgroup_stat(&self->group, "memory.stat", "sock"));
	meet_tell(&self->go);
	child_join(pid);
}

TEST_F_TIMEOUT(charged, pipes, 90)
{
	/* TCP's socket, its inode and ours. */
	enum { N = 600, EACH = 2500 };
	pid_t pid = (pid_t)must(fork());
	long idle;
	int i;

	if (pid == 0) {
		enter(&self->group);
		program_listens(SOCK_REP, &self->addr);
		meet_tell(&self->told);
		await_word(&self->go);
		_exit(0);
	}
	meet_await(&self->told);
	raw_peer(SOCK_REQ, &self->addr);
	idle = cgroup_get(&self->group, "memory.current");
	for (i = 0; i < N; i++)
		raw_peer(SOCK_REQ, &self->addr);
	await_charged(&self->group, idle, N * EACH, "600 pipes");
	meet_tell(&self->go);
	child_join(pid);
}

/* Runs in the group until it has told, and again when told to. */
static void measure(FIXTURE_DATA(charged) *self, void (*what)(int s), int type,
		    long least, const char *name)
{
	pid_t pid = (pid_t)must(fork());
	long idle;

	if (pid == 0) {
		int s;

		enter(&self->group);
		s = sp_open(type);
		meet_tell(&self->told);
		await_word(&self->go);
		what(s);
		meet_tell(&self->told);
		await_word(&self->go);
		_exit(0);
	}
	meet_await(&self->told);
	idle = cgroup_get(&self->group, "memory.current");
	meet_tell(&self->go);
	meet_await(&self->told);
	await_charged(&self->group, idle, least, name);
	meet_tell(&self->go);
	child_join(pid);
}

enum { TOPICS = 20000, DIALERS = 1000, SOCKETS = 900 };

static void open_many(int s)
{
	int i;

	(void)s;
	for (i = 0; i < SOCKETS; i++)
		sp_open(SOCK_PUB);
}

static void subscribe_to_many(int s)
{
	unsigned char topic[4];
	uint32_t i, mixed;

	for (i = 0; i < TOPICS; i++) {
		mixed = i * 2654435761u;
		memcpy(topic, &mixed, sizeof(topic));
		subscribe(s, topic, sizeof(topic));
	}
}

static void subscribe_at_length(int s)
{
	static unsigned char topic[SP_TOPIC_MAX];
	uint32_t i;

	for (i = 0; i < 1000; i++) {
		memcpy(topic, &i, sizeof(i));
		subscribe(s, topic, sizeof(topic));
	}
}

static void dial_many(int s)
{
	struct addr addr = nowhere(AF_INET);
	int i;

	sp_set(s, SP_RECONNECT_IVL, 3600000);
	for (i = 0; i < DIALERS; i++)
		sp_connect(s, &addr);
}

TEST_F_TIMEOUT(charged, sockets, 90)
{
	/* Ours, 2 KiB and some of them, and what any socket has. */
	measure(self, open_many, SOCK_PUB, SOCKETS * 4000L, "900 sockets");
}

TEST_F_TIMEOUT(charged, topics, 90)
{
	/* A node, besides what it is for. */
	measure(self, subscribe_to_many, SOCK_SUB, TOPICS * 64L,
		"20,000 topics of 4 bytes");
	measure(self, subscribe_at_length, SOCK_SUB, 1000L * SP_TOPIC_MAX,
		"1,000 topics of 4,096 bytes");
}

TEST_F_TIMEOUT(charged, endpoints, 90)
{
	/* Each has a TCP socket that it dials again with. */
	measure(self, dial_many, SOCK_REQ, DIALERS * 2500L, "1,000 dialers");
}

/* Makes the kernel remember that these names do not exist, until it needs the memory. */
static void fill_with_names(const struct cgroup *group, long limit)
{
	static long n;
	char name[64];
	struct stat st;
	int i;

	while (cgroup_get(group, "memory.current") < limit - (1 << 16)) {
		for (i = 0; i < 100; i++) {
			snprintf(name, sizeof(name), "/sys/kernel/none-%ld", n++);
			stat(name, &st);
		}
	}
}

/* What fills the group gives way; so a publisher has little reason to drop. */
TEST_F_TIMEOUT(charged, full_of_what_can_be_had_back, 90)
{
	enum { SUBS = 8, SENDS = 300, AT_A_TIME = 20, LIMIT = 24 * MIB };
	static const unsigned char body[400];
	pid_t pid;
	int i;

	cgroup_set(&self->group, "memory.max", LIMIT);
	pid = (pid_t)must(fork());
	if (pid == 0) {
		int pub;

		/* With the right to see what its group has. */
		must(mlockall(MCL_CURRENT));
		cgroup_enter(&self->group);
		must(prctl(PR_SET_PDEATHSIG, SIGKILL));
		pub = sp_open(SOCK_PUB);
		sol_set(pub, SO_SNDBUF, 1 << 20);
		must(bind(pub, &self->addr.sa, self->addr.len));
		meet_tell(&self->told);
		await_word(&self->go);
		await_peers(pub, SUBS);
		/* TCP takes no more. */
		while (counter(pub, sp_tx_queued) < SUBS * sizeof(body) * 20)
			sp_send(pub, body, sizeof(body));
		for (i = 0; i < SENDS; i++) {
			if (i % AT_A_TIME == 0)
				fill_with_names(&self->group, LIMIT);
			sp_send(pub, body, sizeof(body));
		}
		/* Under a lock memory cannot be waited for, only before it. */
		printf("# %d of %d copies dropped\n",
		       (int)counter(pub, sp_tx_dropped), SENDS * SUBS);
		fflush(stdout);
		must_be(counter(pub, sp_tx_dropped) < SENDS * SUBS / 20);
		_exit(0);
	}
	meet_await(&self->told);
	for (i = 0; i < SUBS; i++)
		raw_peer(SOCK_SUB, &self->addr);
	meet_tell(&self->go);
	child_join(pid);
	must_not_have_run_out(&self->group);
}

/*
 * Who receives may hold on to what it has received, here to a byte of each message in
 * a pipe, and so to the page that it is in: that is nothing of the sender's any more.
 */
TEST_F_TIMEOUT(charged, nothing_of_what_was_received, 90)
{
	enum { LEN = 32768, LIMIT = 12 * MIB, SLOTS = 16 };
	static unsigned char in[LEN];
	const int n = many(1000);
	int listener = raw_listen(&self->addr), peer, ends[2], i;
	size_t left;
	pid_t pid;

	cgroup_set(&self->group, "memory.max", LIMIT);
	pid = (pid_t)must(fork());
	if (pid == 0) {
		static unsigned char body[LEN];
		int push;

		enter(&self->group);
		push = sp_dialer(SOCK_PUSH, &self->addr);
		await_peers(push, 1);
		for (i = 0; i < n; i++)
			sp_send(push, body, LEN);
		_exit(0);
	}
	peer = raw_peer_accept(SOCK_PULL, listener);
	for (i = 0; i < n; i++) {
		raw_read(peer, in, 8);
		if (i % SLOTS == 0)
			must(pipe(ends));
		must_eq(1, splice(peer, NULL, ends[1], NULL, 1, 0));
		for (left = LEN - 1; left; left -= (size_t)must(recv(peer, in, left, 0)))
			;
	}
	child_join(pid);
	must_not_have_run_out(&self->group);
}

/* In the child: fills its group with what is not had back, though the OOM killer comes. */
static void fill_for_good(void)
{
	static const char page[4096];
	const struct rlimit files = { 100000, 100000 };
	int fd = (int)must(open("/proc/self/oom_score_adj", O_WRONLY)), pipes[2];
	bool full = false;

	must_eq(5, write(fd, "-1000", 5));
	must(setrlimit(RLIMIT_NOFILE, &files));
	while (!full && pipe2(pipes, O_NONBLOCK) == 0)
		for (full = true; write(pipes[1], page, sizeof(page)) > 0;)
			full = false;
	while (eventfd(0, 0) >= 0)
		;
}

/* Sends that are to be messages of their own, since one of its peers is behind. */
static int pub_with_one_behind(struct addr *addr, int *reader)
{
	static const char body[2000];
	int pub = sp_open(SOCK_PUB);

	sol_set(pub, SO_SNDBUFFORCE, 4 * MIB);
	*addr = sp_bind(pub, AF_INET);
	*reader = raw_peer(SOCK_SUB, addr);
	await_peers(pub, 1);
	raw_peer_narrow(SOCK_SUB, addr);
	await_peers(pub, 2);
	while (counter(pub, sp_tx_queued) < 10 * sizeof(body)) {
		sp_send(pub, body, sizeof(body));
		raw_expect_frame(*reader, body, sizeof(body));
	}
	return pub;
}

/*
 * Who has no memory sends to nobody, not to some; and another process that sends
 * on the same socket does not wait for that memory.
 */
TEST_F_TIMEOUT(charged, sends_without_memory, 90)
{
	enum { SENDS = 30 };
	static const char body[400];
	int pub, reader, i, failed = 0, seen = 0, late = 0;
	int64_t took, alone = 0;
	struct {
		bool full, over;
		int taken;
	} *other = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pid;

	cgroup_set(&self->group, "memory.max", 16 * MIB);
	pub = pub_with_one_behind(&self->addr, &reader);
	for (i = 0; i < SENDS; i++) {
		took = now_us();
		must(send(pub, body, sizeof(body), MSG_DONTWAIT));
		took = now_us() - took;
		alone = took > alone ? took : alone;
		raw_expect_frame(reader, body, sizeof(body));
	}
	pid = (pid_t)must(fork());
	if (pid == 0) {
		must(prctl(PR_SET_PDEATHSIG, SIGKILL));
		must(mlockall(MCL_CURRENT));
		cgroup_enter(&self->group);
		fill_for_good();
		/* A message would need memory. */
		__atomic_store_n(&other->full, true, __ATOMIC_RELEASE);
		while (!__atomic_load_n(&other->over, __ATOMIC_ACQUIRE)) {
			if (send(pub, "nobody", 6, MSG_DONTWAIT) > 0) {
				other->taken++;
				continue;
			}
			must_eq(ENOMEM, errno);
			failed++;
		}
		must_be(failed > 0);
		_exit(0);
	}
	for (i = 0; i < PATIENCE_MS; i++)
		if (!__atomic_load_n(&other->full, __ATOMIC_ACQUIRE))
			pass_ms(1);
	must_be(other->full);
	for (i = 0; i < SENDS; i++) {
		unsigned char got[sizeof(body)];

		pass_ms(3);
		took = now_us();
		must(send(pub, body, sizeof(body), MSG_DONTWAIT));
		took = now_us() - took;
		/* The machine may give the CPU to the other one meanwhile. */
		late += took >= 10 * alone;
		while (raw_read_frame(reader, got, sizeof(got)) != sizeof(got))
			seen++;
		if (i == SENDS - 2) {
			__atomic_store_n(&other->over, true, __ATOMIC_RELEASE);
			child_join(pid);
		}
	}
	EXPECT_EQ(other->taken, seen);
	printf("# at most %lld us alone, %d later beside who has no memory\n",
	       (long long)alone, late);
	fflush(stdout);
	if (time_is_work())
		EXPECT_GT(SENDS / 3, late);
	close(pub);
}

/* Whoever sends pays, also on a socket that another group has made. */
struct send_long {
	struct task task;
	int s;
	void *body;
};

enum { LONG_BODY = 8 * MIB };

static void send_long(void *arg)
{
	struct send_long *of = arg;

	/* Until the process ends: nobody receives it. */
	send(of->s, of->body, LONG_BODY, MSG_NOSIGNAL);
}

TEST_F_TIMEOUT(charged, long_messages_on_the_socket_of_others, 90)
{
	enum { THREADS = 8, LIMIT = 16 * MIB };
	long before = sp_in_pages(), most = 0;
	int s = sp_open(SOCK_PUSH);
	int64_t since;
	pid_t pid;

	set_timeout(s, SO_SNDTIMEO, 0);
	sp_bind(s, AF_INET);
	cgroup_set(&self->group, "memory.max", LIMIT);
	pid = (pid_t)must(fork());
	if (pid == 0) {
		struct send_long of[THREADS];
		void *zeroes;
		int i;

		must(prctl(PR_SET_PDEATHSIG, SIGKILL));
		cgroup_enter(&self->group);
		zeroes = mmap(NULL, LONG_BODY, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		for (i = 0; i < THREADS; i++) {
			of[i] = (struct send_long){ .s = s, .body = zeroes };
			task_start(&of[i].task, send_long, &of[i]);
		}
		pause();
	}
	for (since = now_ms(); now_ms() - since < 5 * quiet_ms();) {
		long held = sp_in_pages() - before;

		most = held > most ? held : most;
		pass_ms(5);
	}
	printf("# at most %ld kB, of others' %d kB\n", most / 1024, LIMIT / 1024);
	fflush(stdout);
	EXPECT_GT(LIMIT, most);
	kill(pid, SIGKILL);
	child_status(pid);
	close(s);
}

/* What waits for them takes no more memory than SO_SNDBUF. */
TEST_F_TIMEOUT(charged, stuck_subscribers, 90)
{
	enum { SUBS = 200, SNDBUF = 4608 };
	long before, after;
	pid_t pid;
	int i;

	pid = (pid_t)must(fork());
	if (pid == 0) {
		static const unsigned char body[8];
		int pub;

		enter(&self->group);
		pub = sp_open(SOCK_PUB);
		sol_set(pub, SO_SNDBUF, SNDBUF / 2);
		must(bind(pub, &self->addr.sa, self->addr.len));
		meet_tell(&self->told);
		await_word(&self->go);
		await_peers(pub, SUBS);
		meet_tell(&self->told);
		await_word(&self->go);
		while (counter(pub, sp_tx_dropped) < SUBS * 100)
			sp_send(pub, body, sizeof(body));
		meet_tell(&self->told);
		await_word(&self->go);
		_exit(0);
	}
	meet_await(&self->told);
	for (i = 0; i < SUBS; i++)
		raw_peer_narrow(SOCK_SUB, &self->addr);
	meet_tell(&self->go);
	meet_await(&self->told);
	before = cgroup_get(&self->group, "memory.current") -
		 cgroup_stat(&self->group, "memory.stat", "sock");
	meet_tell(&self->go);
	await_word(&self->told);
	after = cgroup_get(&self->group, "memory.current") -
		cgroup_stat(&self->group, "memory.stat", "sock");
	printf("# %ld bytes a stuck subscriber\n", (after - before) / SUBS);
	fflush(stdout);
	EXPECT_GE(SNDBUF, (after - before) / SUBS);
	meet_tell(&self->go);
	child_join(pid);
}

/* Memory for what may come is given back once nothing does, however it was sent. */
TEST_F_TIMEOUT(charged, idle_pipes_have_given_it_back, 90)
{
	enum { PEERS = 40, MORE = 60 };
	static char body[1000], sink[65536];
	long before, after = 0;
	int pub, peers[PEERS], i, k, tries;
	struct addr addr;

	cgroup_enter(&self->group);
	pub = sp_open(SOCK_PUB);
	sol_set(pub, SO_SNDBUFFORCE, MIB);
	addr = sp_bind(pub, AF_INET);
	for (i = 0; i < PEERS; i++)
		peers[i] = raw_peer_narrow(SOCK_SUB, &addr);
	await_peers(pub, PEERS);
	before = cgroup_without_tcp(&self->group);
	/* More than TCP takes, and none follows another closely. */
	for (k = 0; counter(pub, sp_tx_queued) < PEERS * MORE * sizeof(body); k++) {
		must_be(k < 3000);
		sp_send(pub, body, sizeof(body));
		pass_ms(1);
	}
	while (counter(pub, sp_tx_queued) > 0)
		for (i = 0; i < PEERS; i++)
			while (recv(peers[i], sink, sizeof(sink), MSG_DONTWAIT) > 0)
				;
	for (tries = 0; tries < 50; tries++) {
		pass_ms(200);
		after = cgroup_without_tcp(&self->group);
		if (after < before + PEERS * 8192)
			break;
	}
	cgroup_leave(&self->group);
	printf("# %ld bytes a pipe\n", (after - before) / PEERS);
	fflush(stdout);
	EXPECT_GT(8192, (after - before) / PEERS);
}

/* Who looks at sockets of others while its group is full costs them nothing. */
TEST_F_TIMEOUT(charged, reader_without_memory_loses_no_message, 90)
{
	enum { ROUNDS = 60, SUBS = 2, MANY = 30 };
	static char body[1000];
	/* It has no memory to tell by other means. */
	struct {
		int looks, over;
	} *told = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pid;
	int i, k, n;

	must_be(told != MAP_FAILED);
	cgroup_set(&self->group, "memory.max", 16 * MIB);
	pid = (pid_t)must(fork());
	if (pid == 0) {
		static char text[65536];
		int fd = (int)must(open("/proc/net/sp", O_RDONLY));

		must(mlockall(MCL_CURRENT));
		must(pread(fd, text, sizeof(text), 0));
		cgroup_enter(&self->group);
		must(prctl(PR_SET_PDEATHSIG, SIGKILL));
		fill_for_good();
		do {
			__atomic_store_n(&told->looks, 1, __ATOMIC_RELEASE);
			pread(fd, text, sizeof(text), 0);
		} while (!__atomic_load_n(&told->over, __ATOMIC_ACQUIRE));
		_exit(0);
	}
	for (n = 0; !__atomic_load_n(&told->looks, __ATOMIC_ACQUIRE); n++) {
		must_be(n < 30000);
		pass_ms(1);
	}
	for (n = 0; n < ROUNDS; n++) {
		int pub = sp_open(SOCK_PUB), subs[SUBS];
		struct addr addr;

		sol_set(pub, SO_SNDBUFFORCE, 4 * MIB);
		addr = sp_bind(pub, AF_INET);
		for (i = 0; i < SUBS; i++)
			subs[i] = raw_peer(SOCK_SUB, &addr);
		await_peers(pub, SUBS);
		for (k = 0; k < MANY; k++)
			sp_send(pub, body, sizeof(body));
		for (i = 0; i < SUBS; i++)
			for (k = 0; k < MANY; k++)
				raw_expect_frame(subs[i], body, sizeof(body));
		must_eq(0, counter(pub, sp_tx_dropped));
		close(pub);
		for (i = 0; i < SUBS; i++)
			close(subs[i]);
	}
	__atomic_store_n(&told->over, 1, __ATOMIC_RELEASE);
	child_join(pid);
}

static const int size_options[] = { SP_RCVMAXSIZE, SP_SNDMAXSIZE };

/* Whether SO_RCVBUFFORCE, which the same privilege opens, is open. */
static bool may_force(int s)
{
	int value = 4096;

	if (setsockopt(s, SOL_SOCKET, SO_RCVBUFFORCE, &value,
		       sizeof(value)) == 0)
		return true;
	must_eq(EPERM, errno);
	return false;
}

static void check_sizes(int s, bool allowed)
{
	static const int above[] = { UNPRIVILEGED_MOST + 1, 128 * MIB,
				     0x7ffff000, -1 };
	static const int below[] = { 0, 1, 16 * MIB, UNPRIVILEGED_MOST };
	static const int never[] = { -2, 0x7ffff001, INT_MAX, INT_MIN };
	size_t o, i;

	for (o = 0; o < ARRAY_SIZE(size_options); o++) {
		const int option = size_options[o];

		for (i = 0; i < ARRAY_SIZE(below); i++) {
			sp_set(s, option, below[i]);
			must_eq(below[i], sp_get(s, option));
		}
		for (i = 0; i < ARRAY_SIZE(above); i++) {
			if (allowed) {
				sp_set(s, option, above[i]);
				must_eq(above[i], sp_get(s, option));
				continue;
			}
			must_fail(EPERM, setsockopt(s, SOL_SP, option,
						    &above[i], sizeof(int)));
			must_eq(UNPRIVILEGED_MOST, sp_get(s, option));
		}
		for (i = 0; i < ARRAY_SIZE(never); i++) {
			must_eq(-1, setsockopt(s, SOL_SP, option, &never[i],
					       sizeof(int)));
			/* Which of two reasons is told is nobody's business. */
			if (allowed || never[i] < 0 || errno != EPERM)
				must_eq(EINVAL, errno);
		}
	}
}

static void send_long_ones(bool to_some)
{
	enum { SOCKETS = 60, LEN = 2 * MIB };
	/* Not beside what other tests count: it may become one huge page. */
	char *body = mmap(NULL, LEN, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int to[SOCKETS], from[SOCKETS], i, round;

	must_be(body != MAP_FAILED);
	for (i = 0; i < SOCKETS; i++) {
		if (to_some) {
			struct pair p = sp_pair(SOCK_PUSH, SOCK_PULL);

			to[i] = p.bound;
			from[i] = p.connected;
		} else {
			to[i] = sp_open(SOCK_PUB);
		}
	}
	for (round = 0; round < 3; round++) {
		for (i = 0; i < SOCKETS; i++) {
			must_eq((int)LEN, send(to[i], body, LEN, 0));
			if (to_some)
				must_eq((int)LEN, recv(from[i], body, LEN, 0));
		}
	}
}

/* What is kept for the next message of a socket is not in the way of whoever needs memory. */
TEST(sockets_that_have_sent_long_messages)
{
	int to_some;

	for (to_some = 0; to_some < 2; to_some++) {
		struct cgroup group;
		pid_t pid;

		cgroup_make(&group);
		cgroup_set(&group, "memory.max", 32 * MIB);
		pid = must(fork());
		if (!pid) {
			cgroup_enter(&group);
			send_long_ones(to_some);
			_exit(0);
		}
		must_eq(0, child_status(pid));
		printf("# at most %ld kB\n",
		       cgroup_get(&group, "memory.peak") / 1024);
		fflush(stdout);
		cgroup_end(&group);
	}
}

TEST(sizes_that_need_a_privilege)
{
	int ours = sp_open(SOCK_REP);
	pid_t pid;

	check_sizes(ours, true);
	sp_set(ours, SP_RCVMAXSIZE, -1);
	pid = (pid_t)must(fork());
	if (pid == 0) {
		int s, largest = -1;

		drop_privileges();
		s = sp_open(SOCK_REP);
		must_be(!may_force(s));
		check_sizes(s, false);
		/* Whoever made it: who sets it is asked. What is set stays. */
		must_eq(-1, sp_get(ours, SP_RCVMAXSIZE));
		must_fail(EPERM, setsockopt(ours, SOL_SP, SP_RCVMAXSIZE,
					    &largest, sizeof(largest)));
		must_eq(-1, sp_get(ours, SP_RCVMAXSIZE));
		check_sizes(ours, false);
		_exit(0);
	}
	child_join(pid);
}

/* Everybody may be root of a namespace: that goes as far as SO_RCVBUFFORCE. */
TEST(sizes_in_a_user_namespace)
{
	int ours = sp_open(SOCK_REP);
	pid_t pid = (pid_t)must(fork());

	if (pid == 0) {
		int s;

		drop_privileges();
		must(unshare(CLONE_NEWUSER | CLONE_NEWNET));
		s = sp_open(SOCK_REP);
		printf("# root of a user namespace may%s force\n",
		       may_force(s) ? "" : " not");
		fflush(stdout);
		check_sizes(s, may_force(s));
		/* One of the outer network namespace is not its to change. */
		check_sizes(ours, false);
		_exit(0);
	}
	child_join(pid);
}

SP_TEST_MAIN
