// SPDX-License-Identifier: GPL-2.0
/*
 * What closed sockets hold that is not delivered, of programs that are gone
 * above all: bounded, and whose goes first.
 */
#include "sptest.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

enum {
	MIB = 1 << 20,
	NOBODY = 65534,
	SOMEBODY = 65533,
};

/* Each test has a namespace of its own, for its bound and its counts. */
FIXTURE(closed)
{
};

FIXTURE_SETUP(closed)
{
	static const char longest[] = "600000\n";
	int fd;

	netns_enter_new();
	/* Time ends nothing here: what else does is looked at. */
	fd = (int)must(open("/proc/sys/net/sp/close_timeout_ms", O_WRONLY));
	must_eq(strlen(longest), write(fd, longest, strlen(longest)));
	close(fd);
}

FIXTURE_TEARDOWN(closed)
{
}

static const char close_mem[] = "/proc/sys/net/sp/close_mem";

static int knob_write(const char *value)
{
	int fd = (int)must(open(close_mem, O_WRONLY)), err;

	err = write(fd, value, strlen(value)) < 0 ? errno : 0;
	close(fd);
	return err;
}

static long knob_read(void)
{
	int fd = (int)must(open(close_mem, O_RDONLY));
	char text[32] = "";

	must(read(fd, text, sizeof(text) - 1));
	close(fd);
	return atol(text);
}

/* The line of /proc/net/sp about closed sockets. */
struct closed {
	uint64_t bytes, given_up;
};

static struct closed closed_now(void)
{
	FILE *f = fopen("/proc/self/net/sp", "r");
	struct closed c;
	char line[1024];

	must_be(f);
	must_be(fgets(line, sizeof(line), f));
	must_eq(2, fscanf(f, "closed %" SCNu64 " %" SCNu64, &c.bytes, &c.given_up));
	fclose(f);
	return c;
}

/* The sockets that are closed and still listed. */
static int closing(void)
{
	FILE *f = fopen("/proc/self/net/sp", "r");
	char line[1024];
	int n = 0;

	must_be(f);
	while (fgets(line, sizeof(line), f))
		n += line[0] != ' ' && strstr(line, " closing ");
	fclose(f);
	return n;
}

/* So many are given up, and so many go on. */
#define await_given_up(n, left) AT(await_given_up_((n), (left)))
static void await_given_up_(uint64_t n, int left)
{
	int64_t deadline = patience();

	while (closed_now().given_up < n || closing() > left)
		tick_(deadline, "sockets to be given up");
	must_eq(n, closed_now().given_up);
	must_eq(left, closing());
}

#define await_no_bytes() AT(await_no_bytes_())
static void await_no_bytes_(void)
{
	int64_t deadline = patience();

	while (closed_now().bytes)
		tick_(deadline, "what was closed to go");
}

static int64_t free_bytes(void)
{
	FILE *f = fopen("/proc/meminfo", "r");
	long total, free;

	must_be(f);
	must_eq(2, fscanf(f, "MemTotal: %ld kB MemFree: %ld", &total, &free));
	fclose(f);
	return (int64_t)free << 10;
}

/* A program that publishes one message to a peer that does not read. */
struct sender {
	pid_t pid;
	int peer;
};

/* @len bytes, by this user. */
static struct sender sender_start(size_t len, unsigned int uid)
{
	struct addr *addr = mmap(NULL, sizeof(*addr), PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct meet bound, sent;
	struct sender s;

	must_be(addr != MAP_FAILED);
	meet_init(&bound);
	meet_init(&sent);
	s.pid = (pid_t)must(fork());
	if (!s.pid) {
		int pub;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		must(setresuid(uid, uid, uid));
		pub = sp_listener(SOCK_PUB, addr);
		sp_set(pub, SP_SNDMAXSIZE, 32 * MIB);
		sol_set(pub, SO_SNDBUF, 32768);
		meet_tell(&bound);
		await_peers(pub, 1);
		sp_send_filled(pub, len, (uint32_t)len);
		meet_tell(&sent);
		for (;;)
			pause();
	}
	meet_await(&bound);
	s.peer = raw_peer_small(SOCK_SUB, addr);
	meet_await(&sent);
	munmap(addr, sizeof(*addr));
	return s;
}

static void sender_kill(struct sender *s)
{
	must(kill(s->pid, SIGKILL));
	child_status(s->pid);
}

/* Its message arrives whole after all. */
#define expect_delivered(fd, len) AT(expect_delivered_((fd), (len)))
static void expect_delivered_(int fd, size_t len)
{
	unsigned char *body = malloc(len);

	must_be(body);
	raw_widen_(fd);
	must_eq(len, raw_read_frame_(fd, body, len));
	must_be_filled_(body, len, (uint32_t)len);
	raw_expect_closed_(fd);
	free(body);
	close(fd);
}

/* The connection is reset before the end of the message. */
#define expect_reset(fd) AT(expect_reset_((fd)))
static void expect_reset_(int fd)
{
	char buf[4096];
	size_t seen = 0;
	ssize_t n;

	while ((n = recv(fd, buf, sizeof(buf), 0)) > 0)
		seen += (size_t)n;
	if (n == 0)
		die("the end after %zu bytes", seen);
	must_eq(ECONNRESET, errno);
	close(fd);
}

TEST_F_TIMEOUT(closed, dead_programs_hold_no_more_than_the_bound, 120)
{
	enum { SENDERS = 6, KEPT = 2 };
	const int len = many(12 * MIB);
	int64_t before, held, most = many(32 * MIB);
	struct sender s[SENDERS];
	int64_t deadline;

	must_eq(0, knob_write(number(most)));

	/* Once for what is only ever taken once. */
	s[0] = sender_start(len, NOBODY);
	sender_kill(&s[0]);
	expect_delivered(s[0].peer, len);
	before = free_bytes();
	for (int i = 0; i < SENDERS; i++)
		s[i] = sender_start(len, NOBODY);
	for (int i = 0; i < SENDERS; i++)
		sender_kill(&s[i]);
	deadline = patience();
	do {
		pass_ms(100);
		held = before - free_bytes();
	} while (held > most + 16 * MIB && now_ms() < deadline);
	TH_LOG("%d killed senders of %d MiB hold %lld MiB", SENDERS, len / MIB,
	       (long long)held / MIB);
	ASSERT_LE(held, most + 16 * MIB);
	await_given_up(SENDERS - KEPT, KEPT);
	EXPECT_LE(closed_now().bytes, most);
	/* Also what TCP has of them counts until it has all. */
	EXPECT_LE((uint64_t)KEPT * (uint64_t)len, closed_now().bytes);
	/* The oldest go first. */
	for (int i = 0; i < SENDERS - KEPT; i++)
		expect_reset(s[i].peer);
	for (int i = SENDERS - KEPT; i < SENDERS; i++)
		expect_delivered(s[i].peer, len);
	await_no_bytes();
}

TEST_F_TIMEOUT(closed, user_who_holds_most_loses, 120)
{
	const int len = many(3 * MIB), other_len = len - len / 6;
	struct sender other, s[3];

	must_eq(0, knob_write(number(len * 8 / 3)));
	other = sender_start(other_len, SOMEBODY);
	for (int i = 0; i < 3; i++)
		s[i] = sender_start(len, NOBODY);
	sender_kill(&other);
	for (int i = 0; i < 3; i++)
		sender_kill(&s[i]);
	await_given_up(2, 2);
	expect_reset(s[0].peer);
	expect_reset(s[1].peer);
	expect_delivered(s[2].peer, len);
	expect_delivered(other.peer, other_len);
	await_no_bytes();
}

TEST_F_TIMEOUT(closed, shared_body_counts_once, 120)
{
	enum { LEN = MIB / 2 };
	const int n = at_speed(64);
	int pub, peer[64];
	struct addr addr;

	must_eq(0, knob_write("1048576\n"));
	pub = sp_listener(SOCK_PUB, &addr);
	sol_set(pub, SO_SNDBUF, 32768);
	for (int i = 0; i < n; i++)
		peer[i] = raw_peer_small(SOCK_SUB, &addr);
	await_peers(pub, n);
	sp_send_filled(pub, LEN, LEN);
	must(close(pub));
	EXPECT_LE(LEN, closed_now().bytes);
	EXPECT_LE(closed_now().bytes, LEN + n * 1024);
	EXPECT_EQ(0, closed_now().given_up);
	for (int i = 0; i < n; i++)
		expect_delivered(peer[i], LEN);
	await_no_bytes();
	EXPECT_EQ(0, closed_now().given_up);
}

/* Not their bytes, but what else they take. */
TEST_F_TIMEOUT(closed, empty_messages_count, 120)
{
	const int n = 100;
	struct addr addr;
	int pub = sp_listener(SOCK_PUB, &addr), peer = raw_connect_small(&addr);

	sol_set(pub, SO_SNDBUF, 32768);
	raw_greet(peer, SOCK_SUB);
	raw_expect_greeting(peer, SOCK_PUB);
	await_peers(pub, 1);
	/* Until TCP takes no more, also after a while. */
	do {
		while (!counter(pub, sp_tx_queued))
			sp_send_filled(pub, 4096, 1);
		pass_ms(quiet_ms());
	} while (!counter(pub, sp_tx_queued));
	for (int i = 0; i < n; i++)
		sp_send(pub, LIT(""));
	ASSERT_EQ(0, counter(pub, sp_tx_dropped));
	must(close(pub));
	EXPECT_LE(n * 128, closed_now().bytes);
	close(peer);
	await_no_bytes();
}

TEST_F_TIMEOUT(closed, many_small_ones_go_as_far_as_needed, 120)
{
	enum { LEN = 256 << 10, MOST = 2 * MIB };
	const int n = many(40);
	int pub[40], peer[40], given_up;
	struct addr addr;

	must_eq(0, knob_write("2097152\n"));
	for (int i = 0; i < n; i++) {
		pub[i] = sp_listener(SOCK_PUB, &addr);
		sol_set(pub[i], SO_SNDBUF, 16384);
		peer[i] = raw_peer_small(SOCK_SUB, &addr);
		await_peers(pub[i], 1);
		sp_send_filled(pub[i], LEN, LEN);
	}
	for (int i = 0; i < n; i++)
		must(close(pub[i]));
	given_up = n - MOST / (LEN + 1);
	await_given_up((uint64_t)given_up, n - given_up);
	EXPECT_LE(closed_now().bytes, MOST);
	for (int i = 0; i < given_up; i++)
		expect_reset(peer[i]);
	for (int i = given_up; i < n; i++)
		expect_delivered(peer[i], LEN);
	await_no_bytes();
}

/* A PUB that is about to be closed with more than its peer takes. */
static int publish(int *peer)
{
	struct addr addr;
	int pub = sp_listener(SOCK_PUB, &addr);

	sol_set(pub, SO_SNDBUF, 32768);
	*peer = raw_peer_small(SOCK_SUB, &addr);
	await_peers(pub, 1);
	sp_send_filled(pub, 4 * MIB, 4 * MIB);
	return pub;
}

TEST_F_TIMEOUT(closed, nothing_is_kept_where_nothing_may_be, 120)
{
	int peer, pub = publish(&peer);

	must_eq(0, knob_write("0\n"));
	must(close(pub));
	await_given_up(1, 0);
	expect_reset(peer);
	await_no_bytes();
}

TEST_F_TIMEOUT(closed, lingering_ends_when_it_is_given_up, 120)
{
	struct linger linger = { .l_onoff = 1, .l_linger = 300 };
	int peer, pub = publish(&peer);
	int64_t start;

	must_eq(0, knob_write("1000000\n"));
	must(setsockopt(pub, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)));
	start = now_ms();
	must(close(pub));
	EXPECT_GT(PATIENCE_MS, now_ms() - start);
	await_given_up(1, 0);
	expect_reset(peer);
	await_no_bytes();
}

/* A request that waits to be sent again outlives its program no less. */
TEST_F_TIMEOUT(closed, request_counts_once_and_goes_with_its_socket, 120)
{
	struct addr addr;
	int l = raw_listen(&addr), req = sp_dialer(SOCK_REQ, &addr), fd;

	sol_set(req, SO_SNDBUF, 32768);
	must(setsockopt(l, SOL_SOCKET, SO_RCVBUF, &(int){ 4096 }, sizeof(int)));
	fd = raw_peer_accept(SOCK_REP, l);
	await_peers(req, 1);
	sp_send_filled(req, 4 * MIB, 1);
	must(close(req));
	EXPECT_LE(4 * MIB, closed_now().bytes);
	EXPECT_LE(closed_now().bytes, 4 * MIB + 1024);
	close(fd);
	close(l);
	await_no_bytes();
}

TEST_F_TIMEOUT(closed, bound_is_each_namespaces_own, 120)
{
	int peer, pub;

	EXPECT_EQ(64 * MIB, knob_read());
	EXPECT_EQ(EINVAL, knob_write("-1\n"));
	EXPECT_EQ(EINVAL, knob_write("2147483648\n"));
	EXPECT_EQ(EINVAL, knob_write("much\n"));
	EXPECT_EQ(0, knob_write("0\n"));
	EXPECT_EQ(0, knob_read());
	netns_enter_new();
	EXPECT_EQ(64 * MIB, knob_read());
	pub = publish(&peer);
	must(close(pub));
	EXPECT_EQ(0, knob_write("2147483647\n"));
	EXPECT_EQ(2147483647, knob_read());
	expect_delivered(peer, 4 * MIB);
	EXPECT_EQ(0, closed_now().given_up);
	await_no_bytes();
}

SP_TEST_MAIN
