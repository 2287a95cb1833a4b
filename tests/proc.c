// SPDX-License-Identifier: GPL-2.0
/*
 * /proc/net/sp, /proc/net/protocols and /proc/sys/net/sp: what they tell, in
 * which format, of which namespace, and while sockets come and go.
 */
#include "sptest.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <sched.h>
#include <sys/stat.h>

static const char header[] =
	"sp 3"
	" | closed: bytes given_up"
	" | socket: inode type uid state listeners dialers pipes handshaking"
	" rx_msgs rx_bytes tx_msgs tx_bytes rx_queued tx_queued"
	" rx_filtered rx_stale rx_malformed rx_ttl rx_oversize rx_partial"
	" tx_dropped tx_no_peer resends bad_greetings pipe_ups pipe_downs"
	" reconnects"
	" | endpoint: role local remote state rx_queued tx_queued arrived sent"
	" retries dropped\n"
	"closed 0 0\n";

/* The whole file, read in pieces of at most @piece bytes; to be freed. */
static char *read_file(const char *path, size_t piece)
{
	size_t cap = 1 << 20, len = 0;
	char *text = malloc(cap + 1);
	int fd = (int)must(open(path, O_RDONLY));
	ssize_t n;

	must_be(text);
	while ((n = must(read(fd, text + len,
			      piece < cap - len ? piece : cap - len))) > 0)
		len += (size_t)n;
	must_be(len < cap);
	text[len] = 0;
	close(fd);
	return text;
}

static char *read_sp(void)
{
	/* /proc/net is that of the process, which its threads share. */
	return read_file("/proc/self/net/sp", 1 << 20);
}

static unsigned long inode_of(int s)
{
	struct stat st;

	must(fstat(s, &st));
	return st.st_ino;
}

/* The lines of a socket, from its own to the next one's; to be freed. */
static char *lines_of(unsigned long inode)
{
	char *text = read_sp(), *line, *found = NULL, key[32];
	size_t len;

	snprintf(key, sizeof(key), "%lu ", inode);
	for (line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, key, strlen(key)) != 0)
			continue;
		len = strcspn(line, "\n") + 1;
		while (line[len] == ' ')
			len += strcspn(line + len, "\n") + 1;
		found = strndup(line, len);
		break;
	}
	free(text);
	return found;
}

/* Waits until the lines of a socket contain a text. */
#define await_text(s, text) AT(await_text_((s), (text)))
static void await_text_(int s, const char *text)
{
	int64_t deadline = patience();
	bool found = false;

	while (!found) {
		char *lines = lines_of(inode_of(s));

		found = lines && strstr(lines, text);
		free(lines);
		if (!found)
			tick_(deadline, text);
	}
}

static int count_lines(const char *text, char first)
{
	int n = 0;

	for (; *text; text += strcspn(text, "\n") + 1)
		n += first ? *text == first : *text != ' ';
	return n;
}

TEST(header_names_the_columns)
{
	char *text = read_sp();

	EXPECT_STREQ(header, text);
	free(text);
}

TEST(socket_line_has_what_info_has)
{
	struct pair p = sp_pair(SOCK_REP, SOCK_REQ);
	char *lines, expected[512];
	struct sp_info i;
	int n;

	sp_round_trip(p.connected, p.bound);
	sp_send(p.connected, LIT("queued"));
	await_in(p.bound);
	i = sp_info(p.bound);
	EXPECT_EQ(6, i.sp_rx_queued);
	n = snprintf(expected, sizeof(expected), "%lu REP 0 open %u %u %u %u",
		     inode_of(p.bound), i.sp_listeners, i.sp_dialers,
		     i.sp_pipes, i.sp_handshaking);
	/* From here on both are 64-bit counters in the same order. */
	for (const uint64_t *c = (void *)&i.sp_rx_msgs;
	     c <= (const uint64_t *)&i.sp_reconnects; c++)
		n += snprintf(expected + n, sizeof(expected) - (size_t)n,
			      " %" PRIu64, *c);
	lines = lines_of(inode_of(p.bound));
	ASSERT_NE(NULL, lines);
	lines[strcspn(lines, "\n")] = 0;
	EXPECT_STREQ(expected, lines);
	free(lines);
}

TEST(every_type_has_its_name)
{
	static const struct {
		int type;
		const char *name;
	} types[] = { { SOCK_REQ, " REQ 0 open 0 0 0 0 0 " },
		      { SOCK_REP, " REP 0 open 0 0 0 0 0 " },
		      { SOCK_PUB, " PUB 0 open 0 0 0 0 0 " },
		      { SOCK_SUB, " SUB 0 open 0 0 0 0 0 " } };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(types); i++)
		await_text(sp_open(types[i].type), types[i].name);
}

TEST(endpoint_and_pipe_lines)
{
	struct addr addr, none = nowhere(AF_INET), local = { .len = 128 };
	int rep = sp_listener(SOCK_REP, &addr), peer;
	char text[160];

	snprintf(text, sizeof(text),
		 "\n  listener 127.0.0.1:%d - listening 0 0 0 0 0 0\n",
		 port_of(&addr));
	await_text(rep, text);

	sp_set(rep, SP_RECONNECT_IVL, 3600000);
	sp_connect(rep, &none);
	snprintf(text, sizeof(text), "\n  dialer - 127.0.0.1:%d waiting 0 0 0 0 0 0\n",
		 port_of(&none));
	await_text(rep, text);

	peer = raw_connect(&addr);
	must(getsockname(peer, &local.sa, &local.len));
	snprintf(text, sizeof(text),
		 "\n  pipe 127.0.0.1:%d 127.0.0.1:%d greeting 0 0 0 0 0 0\n",
		 port_of(&addr), port_of(&local));
	await_text(rep, text);

	raw_greet(peer, SOCK_REQ);
	raw_expect_greeting(peer, SOCK_REP);
	raw_frame(peer, LIT("\x80\0\0\1hello"));
	raw_frame(peer, LIT("\x80\0\0\2!"));
	snprintf(text, sizeof(text),
		 "\n  pipe 127.0.0.1:%d 127.0.0.1:%d up 6 0 2 0 0 0\n",
		 port_of(&addr), port_of(&local));
	await_text(rep, text);
	sp_expect(rep, LIT("hello"));
	sp_send(rep, LIT("reply"));
	snprintf(text, sizeof(text),
		 "\n  pipe 127.0.0.1:%d 127.0.0.1:%d up 1 0 2 1 0 0\n",
		 port_of(&addr), port_of(&local));
	await_text(rep, text);
}

TEST(dialer_lines)
{
	int req = sp_open(SOCK_REQ), l, silent, peer;
	struct addr addr;
	char text[160];

	l = raw_listen(&addr);
	sp_set(req, SP_RECONNECT_IVL, 1);
	sp_connect(req, &addr);
	silent = raw_accept(l);
	snprintf(text, sizeof(text), "\n  dialer - 127.0.0.1:%d dialing 0 0 0 0 0 0\n",
		 port_of(&addr));
	await_text(req, text);
	close(silent);
	peer = raw_peer_accept(SOCK_REP, l);
	snprintf(text, sizeof(text),
		 "\n  dialer - 127.0.0.1:%d connected 0 0 0 0 1 0\n",
		 port_of(&addr));
	await_text(req, text);
	close(peer);
}

TEST(unsent_bytes_are_the_pipe_s)
{
	struct addr addr;
	int pub = sp_listener(SOCK_PUB, &addr);
	char *lines, *pipe;
	unsigned long tx;

	sol_set(pub, SO_SNDBUF, 32768);
	raw_peer_narrow(SOCK_SUB, &addr);
	await_peers(pub, 1);
	while (counter(pub, sp_tx_dropped) == 0)
		sp_send_filled(pub, 20000, 1);
	lines = lines_of(inode_of(pub));
	pipe = strstr(lines, "\n  pipe ");
	ASSERT_NE(NULL, pipe);
	ASSERT_EQ(1, sscanf(pipe, "\n  pipe %*s %*s up 0 %lu", &tx));
	EXPECT_LE(20000, tx);
	EXPECT_EQ(counter(pub, sp_tx_queued), tx);
	free(lines);
}

/* A subscriber that reads nothing; its address is where it connected from. */
static int slow_subscriber(int pub, const struct addr *addr, struct addr *self)
{
	int before = sp_get(pub, SP_PEERS);
	int peer = raw_peer_narrow(SOCK_SUB, addr);

	await_peers(pub, before + 1);
	self->len = sizeof(self->storage);
	must(getsockname(peer, &self->sa, &self->len));
	return peer;
}

static void take_frame(int peer)
{
	static unsigned char body[20000];

	must_eq(sizeof(body), raw_read_frame(peer, body, sizeof(body)));
}

struct pipe_line {
	unsigned long long tx_queued, sent, dropped;
};

/* What is told of the pipe to this address of the loopback. */
static struct pipe_line pipe_to(int s, const struct addr *to)
{
	char *lines = lines_of(inode_of(s)), key[40], *line;
	struct pipe_line p = { 0 };

	snprintf(key, sizeof(key), " 127.0.0.1:%d ", port_of(to));
	line = lines ? strstr(lines, key) : NULL;
	if (!line ||
	    sscanf(line, "%*s %*s %*s %llu %*s %llu %*s %llu\n", &p.tx_queued,
		   &p.sent, &p.dropped) != 3)
		die("no pipe to%sin\n%s", key, lines);
	free(lines);
	return p;
}

TEST(dropped_publications_are_those_of_slow_pipes)
{
	struct addr addr, where[3];
	int pub = sp_listener(SOCK_PUB, &addr), fast, i, sends[2] = { 0 };
	struct pipe_line slow, other;

	sol_set(pub, SO_SNDBUF, 32768);
	fast = raw_peer(SOCK_SUB, &addr);
	await_peers(pub, 1);
	where[2].len = sizeof(where[2].storage);
	must(getsockname(fast, &where[2].sa, &where[2].len));
	slow_subscriber(pub, &addr, &where[0]);
	while (counter(pub, sp_tx_dropped) < 3) {
		sp_send_filled(pub, 20000, 1);
		take_frame(fast);
		sends[0]++;
	}
	slow = pipe_to(pub, &where[0]);
	EXPECT_EQ(3, slow.dropped);
	/* Nobody drops but who is slow, from when it came. */
	slow_subscriber(pub, &addr, &where[1]);
	for (; pipe_to(pub, &where[1]).dropped < 2; sends[1]++) {
		sp_send_filled(pub, 20000, 1);
		take_frame(fast);
	}
	slow = pipe_to(pub, &where[0]);
	other = pipe_to(pub, &where[1]);
	EXPECT_EQ(3 + sends[1], slow.dropped);
	EXPECT_EQ(2, other.dropped);
	EXPECT_LE(20000, slow.tx_queued);
	EXPECT_EQ(counter(pub, sp_tx_dropped), slow.dropped + other.dropped);
	other = pipe_to(pub, &where[2]);
	EXPECT_EQ(0, other.dropped);
	EXPECT_EQ(sends[0] + sends[1], other.sent);
	/* All that a peer missed and all that it got is all there was. */
	for (i = 0; i < 2; i++)
		EXPECT_GE(sends[0] + sends[1], pipe_to(pub, &where[i]).sent);
}

TEST(dropped_replies_are_those_of_a_full_pipe)
{
	struct addr addr, self = { .len = sizeof(self.storage) };
	int rep = sp_listener(SOCK_REP, &addr), peer, i;

	peer = raw_peer_narrow(SOCK_REQ, &addr);
	must(getsockname(peer, &self.sa, &self.len));
	sol_set(rep, SO_SNDBUF, 32768);
	for (i = 0; counter(rep, sp_tx_dropped) < 2; i++) {
		raw_reply(peer, 0x80000000u + (uint32_t)i, LIT("more"));
		sp_expect(rep, LIT("more"));
		sp_send_filled(rep, 20000, 1);
	}
	EXPECT_EQ(2, pipe_to(rep, &self).dropped);
}

/* The command that sp(7) gives, as the Makefile has cut it out. */
TEST(the_manual_s_command_tells_who_is_slow)
{
	struct addr addr, slow;
	int pub = sp_listener(SOCK_PUB, &addr), fast;
	char expected[128], line[256] = "", path[PATH_MAX] = "", *base;
	struct pipe_line p;
	FILE *out;

	fast = raw_peer(SOCK_SUB, &addr);
	await_peers(pub, 1);
	slow_subscriber(pub, &addr, &slow);
	while (counter(pub, sp_tx_dropped) < 3) {
		sp_send_filled(pub, 20000, 1);
		take_frame(fast);
	}
	p = pipe_to(pub, &slow);
	must(readlink("/proc/self/exe", path, sizeof(path) - 1));
	base = strrchr(path, '/') + 1;
	snprintf(base, sizeof(path) - (size_t)(base - path),
		 "manual/who_is_slow");
	if (access(path, R_OK))
		SKIP(return, "the manual's commands are not here");
	snprintf(expected, sizeof(expected),
		 "127.0.0.1:%d missed 3 messages; %llu bytes wait for it\n",
		 port_of(&slow), p.tx_queued);
	out = popen(path, "r");
	must_be(out && fgets(line, sizeof(line), out));
	EXPECT_STREQ(expected, line);
	EXPECT_EQ(NULL, fgets(line, sizeof(line), out));
	EXPECT_EQ(0, pclose(out));
}

TEST(addresses_of_ipv6)
{
	int sub = sp_open(SOCK_SUB), peer;
	struct addr addr = wildcard(AF_INET6, 0), local = { .len = 128 };
	char text[160];

	must(bind(sub, &addr.sa, addr.len));
	must(getsockname(sub, &addr.sa, &addr.len));
	snprintf(text, sizeof(text), "\n  listener [::]:%d - listening ",
		 port_of(&addr));
	await_text(sub, text);

	local = loopback(AF_INET6, port_of(&addr));
	peer = raw_peer(SOCK_PUB, &local);
	must(getsockname(peer, &local.sa, &local.len));
	snprintf(text, sizeof(text), "\n  pipe [::1]:%d [::1]:%d up ",
		 port_of(&addr), port_of(&local));
	await_text(sub, text);

	/* An IPv4 peer of an IPv6 listener. */
	local = loopback(AF_INET, port_of(&addr));
	peer = raw_peer(SOCK_PUB, &local);
	must(getsockname(peer, &local.sa, &local.len));
	snprintf(text, sizeof(text),
		 "\n  pipe [::ffff:127.0.0.1]:%d [::ffff:127.0.0.1]:%d up ",
		 port_of(&addr), port_of(&local));
	await_text(sub, text);
}

TEST(owner_is_shown)
{
	struct meet up, done;
	int fd[2];
	pid_t pid;

	meet_init(&up);
	meet_init(&done);
	must(pipe(fd));
	pid = (pid_t)must(fork());
	if (pid == 0) {
		must(setresuid(1234, 1234, 1234));
		sp_open(SOCK_REQ);
		meet_tell(&up);
		meet_await(&done);
		_exit(0);
	}
	meet_await(&up);
	char *text = read_sp();

	EXPECT_NE(NULL, strstr(text, " REQ 1234 open "));
	free(text);
	meet_tell(&done);
	child_join(pid);
}

TEST(namespaces_see_their_own)
{
	int outer = sp_open(SOCK_REQ), inner;
	unsigned long inode = inode_of(outer);
	char *text;

	await_text(outer, " REQ ");
	netns_enter_new();
	text = read_sp();
	EXPECT_STREQ(header, text);
	free(text);
	inner = sp_open(SOCK_PUB);
	await_text(inner, " PUB ");
	EXPECT_EQ(NULL, lines_of(inode));
}

/* However it is read, it is the same. */
TEST(read_in_any_pieces)
{
	static const size_t pieces[] = { 1, 7, 100, 4096 };
	char *whole, *text;
	size_t i;
	int n;

	for (n = 0; n < 30; n++)
		sp_bind(sp_open(SOCK_REP), n % 2 ? AF_INET : AF_INET6);
	whole = read_sp();
	EXPECT_EQ(2 + 30, count_lines(whole, 0));
	EXPECT_EQ(30, count_lines(whole, ' '));
	for (i = 0; i < ARRAY_SIZE(pieces); i++) {
		text = read_file("/proc/self/net/sp", pieces[i]);
		EXPECT_STREQ(whole, text);
		free(text);
	}
	free(whole);
}

/* More than a page for one socket. */
TEST(many_pipes)
{
	enum { PIPES = 100 };
	struct addr addr;
	int sub = sp_listener(SOCK_SUB, &addr), i;
	char *lines;

	for (i = 0; i < PIPES; i++)
		raw_peer(SOCK_PUB, &addr);
	await_peers(sub, PIPES);
	lines = lines_of(inode_of(sub));
	ASSERT_NE(NULL, lines);
	EXPECT_EQ(1 + PIPES, count_lines(lines, ' '));
	free(lines);
}

static bool stop;

static void open_and_close(void *arg)
{
	(void)arg;
	while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
		struct pair p = sp_pair(SOCK_PUB, SOCK_SUB);

		close(p.bound);
		close(p.connected);
	}
}

/* Those that are there all the time are all there, once each. */
TEST(sockets_come_and_go_meanwhile)
{
	enum { SOCKETS = 20 };
	struct task churn;
	int s[SOCKETS], i, round;

	stop = false;
	task_start(&churn, open_and_close, NULL);
	for (i = 0; i < SOCKETS; i++) {
		s[i] = sp_open(SOCK_REP);
		sp_bind(s[i], AF_INET);
	}
	for (round = 0; round < 20; round++) {
		char *text = read_file("/proc/self/net/sp", 50 + (size_t)round);

		for (i = 0; i < SOCKETS; i++) {
			char key[40], *line;

			snprintf(key, sizeof(key), "\n%lu REP ",
				 inode_of(s[i]));
			line = strstr(text, key);
			if (!line)
				die("a socket is missing in\n%s", text);
			if (strstr(line + 1, key))
				die("a socket is there twice in\n%s", text);
		}
		free(text);
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELEASE);
	task_join(&churn);
}

/* The "sockets" column of our line in /proc/net/protocols. */
static int in_use(void)
{
	char *text = read_file("/proc/self/net/protocols", 1 << 20);
	char *line = strstr(text, "\nSP ");
	int n = -1;

	must_be(line && sscanf(line, "\nSP %*d %d", &n) == 1);
	free(text);
	return n;
}

TEST(protocols_count_sockets)
{
	int before = in_use(), s[5], i;

	for (i = 0; i < 5; i++)
		s[i] = sp_open(SOCK_REQ);
	EXPECT_EQ(before + 5, in_use());
	for (i = 0; i < 5; i++)
		close(s[i]);
	EXPECT_EQ(before, in_use());
	/* Those of this namespace, like all counts there. */
	s[0] = sp_open(SOCK_REQ);
	netns_enter_new();
	EXPECT_EQ(0, in_use());
}

static const char knob[] = "/proc/sys/net/sp/close_timeout_ms";

static int knob_write(const char *value)
{
	int fd = (int)must(open(knob, O_WRONLY)), err;

	err = write(fd, value, strlen(value)) < 0 ? errno : 0;
	close(fd);
	return err;
}

static int knob_read(void)
{
	char *text = read_file(knob, 64);
	int value = atoi(text);

	free(text);
	return value;
}

TEST(close_timeout_has_bounds)
{
	EXPECT_EQ(30000, knob_read());
	EXPECT_EQ(0, knob_write("0\n"));
	EXPECT_EQ(0, knob_read());
	EXPECT_EQ(0, knob_write("600000\n"));
	EXPECT_EQ(EINVAL, knob_write("600001\n"));
	EXPECT_EQ(EINVAL, knob_write("-1\n"));
	EXPECT_EQ(EINVAL, knob_write("soon\n"));
	EXPECT_EQ(600000, knob_read());
	netns_enter_new();
	EXPECT_EQ(30000, knob_read());
	EXPECT_EQ(0, knob_write("5000\n"));
	EXPECT_EQ(5000, knob_read());
}

/* A closed socket that has more to deliver than its peer takes. */
static int close_with_a_rest(struct addr *addr)
{
	int pub = sp_listener(SOCK_PUB, addr), peer;

	peer = raw_peer_narrow(SOCK_SUB, addr);
	await_peers(pub, 1);
	sol_set(pub, SO_SNDBUF, 1 << 20);
	sp_send_filled(pub, 5 << 20, 1);
	must_be(counter(pub, sp_tx_queued) > 0);
	close(pub);
	return peer;
}

/* Waits until no socket is listed any more. */
static void await_empty(void)
{
	int64_t deadline = patience();
	bool empty = false;

	while (!empty) {
		char *text = read_sp();

		empty = !strcmp(text, header);
		free(text);
		if (!empty)
			tick(deadline, "the closed socket to go");
	}
}

TEST(closed_sockets_are_listed_until_they_have_delivered)
{
	struct addr addr;
	int peer = close_with_a_rest(&addr);
	unsigned char *body = malloc(5 << 20);
	char *text, *line;

	ASSERT_NE(NULL, body);
	text = read_sp();
	line = strstr(text, "\n0 PUB 0 closing 0 0 ");
	ASSERT_NE(NULL, line);
	EXPECT_NE(NULL, strstr(line, " closing 0 5242880 0 "));
	free(text);

	raw_widen(peer);
	must_eq(5 << 20, raw_read_frame(peer, body, 5 << 20));
	must_be_filled(body, 5 << 20, 1);
	raw_expect_closed(peer);
	close(peer);
	await_empty();
	free(body);
}

TEST(close_timeout_ends_the_delivery)
{
	int64_t start = now_ms();
	struct addr addr;
	int peer;

	EXPECT_EQ(0, knob_write("1000\n"));
	peer = close_with_a_rest(&addr);
	await_empty();
	EXPECT_LE(1000, now_ms() - start);
	/* What did not get through is reset, and does not look complete. */
	for (;;) {
		char buf[4096];
		ssize_t n = recv(peer, buf, sizeof(buf), 0);

		if (n > 0)
			continue;
		EXPECT_EQ(-1, n);
		EXPECT_EQ(ECONNRESET, errno);
		break;
	}
}

SP_TEST_MAIN
