// SPDX-License-Identifier: GPL-2.0
/*
 * Peers that send something and leave while the program does not read. What
 * they sent stays, since it was accepted, but they must not pile up: beyond a
 * number of them no connection is taken until the program has read.
 */
#include "sptest.h"

#include <endian.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/sockios.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

/* As many may have gone as a listener's backlog has room for by default. */
enum { MOST = 128 };
/* The acceptor takes several at a time before it looks again. */
enum { BATCH = 64 };
/* As few bytes as a socket may be told to hold. */
enum { LEAST_RCVBUF = 2304 };
enum { CLIENTS = 2000 };

/* How many pipes /proc/net/sp lists for a socket, and how many of them so. */
struct listed {
	int pipes, up, gone;
};

static struct listed listed(int s)
{
	struct listed n = { 0 };
	char line[512], state[32];
	unsigned long inode;
	bool ours = false;
	struct stat st;
	FILE *f = fopen("/proc/self/net/sp", "r");

	must_be(f);
	must(fstat(s, &st));
	while (fgets(line, sizeof(line), f)) {
		if (line[0] != ' ')
			ours = sscanf(line, "%lu", &inode) == 1 &&
			       inode == st.st_ino;
		if (!ours ||
		    sscanf(line, "  pipe %*s %*s %31s", state) != 1)
			continue;
		n.pipes++;
		n.up += !strcmp(state, "up");
		n.gone += !strcmp(state, "gone");
	}
	fclose(f);
	return n;
}

/*
 * A TCP connection, or -1 if it is not there in a moment: as good as never,
 * where the other side has no room for it.
 */
static int try_connect(const struct addr *to, int ms)
{
	int fd = (int)must(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	socklen_t len = sizeof(int);
	int err = 0;

	if (connect(fd, &to->sa, to->len) < 0) {
		must_eq(EINPROGRESS, errno);
		if (poll(&p, 1, ms) != 1) {
			close(fd);
			return -1;
		}
		must(getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len));
		must_eq(0, err);
	}
	must(fcntl(fd, F_SETFL, 0));
	return fd;
}

/* What a client says: its message, after its greeting, in one piece. */
static void speak(int fd, int type, bool greets, const void *body, size_t len)
{
	const size_t tag = type == SOCK_REQ ? 4 : 0;
	const uint64_t header = htobe64(tag + len);
	struct bytes head = { 0 };
	unsigned char *all;

	if (greets)
		bytes_greeting(&head, type);
	bytes_add(&head, &header, sizeof(header));
	bytes_add(&head, "\x80\0\0\1", tag);
	all = malloc(head.len + len);
	must_be(all);
	memcpy(all, head.at, head.len);
	memcpy(all + head.len, body, len);
	raw_write(fd, all, head.len + len);
	free(all);
}

/*
 * All has left for the other side, which on loopback has it then. It need not
 * have acknowledged it: who does not read takes his time.
 */
static void await_sent(int fd)
{
	int64_t deadline = patience();
	int unsent;

	for (;;) {
		must(ioctl(fd, SIOCOUTQNSD, &unsent));
		if (!unsent)
			return;
		tick(deadline, "bytes to be sent");
	}
}

/* Takes the greeting if it comes. */
static bool greeted(int fd, int ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char greeting[GREETING_LEN];

	return poll(&p, 1, ms) == 1 &&
	       recv(fd, greeting, sizeof(greeting), 0) == GREETING_LEN;
}

FIXTURE(gone)
{
	struct addr addr;
	int s;
	unsigned char *body;
};

FIXTURE_VARIANT(gone)
{
	int type;
	bool rude;
	int rcvbuf;
	size_t len;
	int clients, backlog;
};

FIXTURE_VARIANT_ADD(gone, politely)
{
	.type = SOCK_REP,
	.rcvbuf = LEAST_RCVBUF,
	.len = 100,
	.clients = CLIENTS,
};

FIXTURE_VARIANT_ADD(gone, rudely)
{
	.type = SOCK_REP,
	.rude = true,
	.rcvbuf = LEAST_RCVBUF,
	.len = 100,
	.clients = 600,
};

/* These TCP keeps until they are whole. */
FIXTURE_VARIANT_ADD(gone, after_10_kilobytes)
{
	.type = SOCK_REP,
	.len = 10000,
	.clients = 600,
};

FIXTURE_VARIANT_ADD(gone, after_40_kilobytes)
{
	.type = SOCK_REP,
	.len = 40000,
	.clients = 600,
};

FIXTURE_VARIANT_ADD(gone, publishers)
{
	.type = SOCK_SUB,
	.rcvbuf = LEAST_RCVBUF,
	.len = 100,
	.clients = 600,
};

FIXTURE_VARIANT_ADD(gone, from_a_short_backlog)
{
	.type = SOCK_REP,
	.rcvbuf = LEAST_RCVBUF,
	.len = 100,
	.clients = 600,
	.backlog = 20,
};

FIXTURE_SETUP(gone)
{
	self->s = sp_open(variant->type);
	/* More than those below cannot be reserved for long. */
	sp_set(self->s, SP_RCVMAXSIZE, 1 << 20);
	if (variant->rcvbuf)
		sol_set(self->s, SO_RCVBUF, variant->rcvbuf);
	self->addr = sp_bind(self->s, AF_INET);
	if (variant->backlog)
		must(listen(self->s, variant->backlog));
	if (variant->type == SOCK_SUB)
		subscribe(self->s, LIT(""));
	self->body = filler(variant->len, 1);
}

FIXTURE_TEARDOWN(gone)
{
	free(self->body);
	close(self->s);
}

/* Receives one message of a crowd's, and says who sent it. */
static bool receive(FIXTURE_DATA(gone) *self,
		    const FIXTURE_VARIANT(gone) *variant, uint32_t *who, int ms)
{
	unsigned char *buf = malloc(variant->len + 1);
	struct pollfd p = { .fd = self->s, .events = POLLIN };
	ssize_t n;

	must_be(buf);
	if (poll(&p, 1, ms) != 1) {
		free(buf);
		return false;
	}
	n = must(recv(self->s, buf, variant->len + 1, MSG_DONTWAIT | MSG_TRUNC));
	must_eq(variant->len, n);
	memcpy(who, buf, sizeof(*who));
	fill(buf, sizeof(*who), 1);
	must_be_filled(buf, variant->len, 1);
	free(buf);
	if (variant->type == SOCK_REP)
		sp_send(self->s, who, sizeof(*who));
	return true;
}

static void expect_answer(int fd, uint32_t who)
{
	unsigned char answer[4 + sizeof(who)] = { 0x80, 0, 0, 1 };

	memcpy(answer + 4, &who, sizeof(who));
	raw_expect_frame(fd, answer, sizeof(answer));
}

TEST_F_TIMEOUT(gone, are_bounded_and_heard, 90)
{
	enum { LATE = 3 };
	const int backlog = variant->backlog ? variant->backlog : MOST;
	const int clients = variant->clients < CLIENTS ? variant->clients :
							 many(CLIENTS);
	const int role = peer_type(variant->type);
	bool taken[CLIENTS + 1 + LATE] = { false },
	     heard[CLIENTS + 1 + LATE] = { false };
	int live, late[LATE], i, n = 0, in_backlog = 0, kept_out = 0, fd;
	struct addr peer = { .len = sizeof(peer.storage) },
		    local = { .len = sizeof(local.storage) };
	struct listed now;
	int64_t deadline;
	uint32_t who;

	/* One that stays. */
	live = raw_peer(role, &self->addr);
	await_peers(self->s, 1);
	for (i = 0; i < LATE; i++)
		late[i] = -1;
	for (who = 0; who < (uint32_t)clients; who++) {
		fd = try_connect(&self->addr, kept_out ? 0 : quiet_ms());
		if (fd < 0) {
			kept_out++;
			continue;
		}
		memcpy(self->body, &who, sizeof(who));
		speak(fd, role, true, self->body, variant->len);
		await_sent(fd);
		/* The acceptor has stopped once a greeting stays out. */
		taken[who] = greeted(fd, in_backlog ? 0 : 20 * quiet_ms());
		if (!taken[who] && in_backlog++ == 0) {
			/* Time for those that stay to queue behind it. */
			for (i = 0; i < LATE; i++) {
				uint32_t id = (uint32_t)(CLIENTS + 1 + i);

				late[i] = try_connect(&self->addr, PATIENCE_MS);
				must_be(late[i] >= 0);
				memcpy(self->body, &id, sizeof(id));
				speak(late[i], role, true, self->body, variant->len);
			}
		}
		n += taken[who];
		if (variant->rude)
			raw_reset(fd);
		else
			close(fd);
	}
	/* The one that stays speaks at last. */
	who = CLIENTS;
	memcpy(self->body, &who, sizeof(who));
	speak(live, role, false, self->body, variant->len);
	await_sent(live);

	deadline = patience();
	while (sp_get(self->s, SP_PEERS) != 1 && now_ms() < deadline)
		pass_ms(1);
	now = listed(self->s);
	printf("# of %d clients %d were greeted, %d wait or left in the backlog, %d were kept out\n",
	       clients, n, in_backlog + LATE, kept_out);
	printf("# SP_PEERS %d; %d pipes are listed, %d up, %d gone; %" PRIu64 " bytes queued\n",
	       sp_get(self->s, SP_PEERS), now.pipes, now.up, now.gone,
	       (uint64_t)counter(self->s, sp_rx_queued));
	fflush(stdout);
	EXPECT_EQ(1, sp_get(self->s, SP_PEERS));
	EXPECT_EQ(1, counter(self->s, sp_pipes));
	EXPECT_EQ(1, now.up);
	EXPECT_EQ(now.pipes - 1, now.gone);
	EXPECT_GE(1 + MOST + backlog + BATCH, now.pipes);
	EXPECT_LE(MOST, now.gone);
	/* Exactly one is there. */
	must(getsockname(live, &local.sa, &local.len));
	EXPECT_EQ(0, getpeername(self->s, &peer.sa, &peer.len));
	EXPECT_EQ(port_of(&local), port_of(&peer));

	/* All of those are heard, and so is who stays, and who came late. */
	deadline = now_ms() + 2 * PATIENCE_MS;
	for (;;) {
		bool rest = !heard[CLIENTS];

		for (i = 0; i < clients; i++)
			rest = rest || (taken[i] && !heard[i]);
		for (i = 0; i < LATE; i++)
			rest = rest || (late[i] >= 0 && !heard[CLIENTS + 1 + i]);
		if (!receive(self, variant, &who, rest ? 100 : quiet_ms())) {
			if (!rest)
				break;
			if (now_ms() < deadline)
				continue;
			for (i = n = 0; i < clients; i++)
				n += taken[i] && !heard[i];
			die("%d of those that left are not heard, late ones %d %d %d, the one that stays %d",
			    n, heard[CLIENTS + 1], heard[CLIENTS + 2],
			    heard[CLIENTS + 3], heard[CLIENTS]);
		}
		must_be(who < CLIENTS + 1 + LATE && !heard[who]);
		heard[who] = true;
	}
	for (i = n = 0; i < clients; i++)
		n += !taken[i] && heard[i];
	printf("# %d of %d were heard that had left the backlog\n", n,
	       in_backlog);
	fflush(stdout);
	for (i = 0; i < LATE && late[i] >= 0; i++) {
		raw_expect_greeting(late[i], variant->type);
		if (role == SOCK_REQ)
			expect_answer(late[i], (uint32_t)(CLIENTS + 1 + i));
	}
	if (role == SOCK_REQ)
		expect_answer(live, CLIENTS);
	await_peers(self->s, 1 + (late[0] < 0 ? 0 : LATE));
	/* And that is all that is left. */
	now = listed(self->s);
	EXPECT_EQ(sp_get(self->s, SP_PEERS), now.pipes);
	EXPECT_EQ(0, now.gone);
	EXPECT_EQ(0, counter(self->s, sp_rx_queued));
	/* Whoever comes now is served at once. */
	fd = raw_peer(role, &self->addr);
	await_peers(self->s, 2 + (late[0] < 0 ? 0 : LATE));
}

/* The version tells that there is a word that it did not have before. */
TEST(format_of_the_list)
{
	char line[8] = "";
	int version;
	FILE *f = fopen("/proc/self/net/sp", "r");

	ASSERT_NE(NULL, f);
	ASSERT_NE(NULL, fgets(line, sizeof(line), f));
	fclose(f);
	ASSERT_EQ(1, sscanf(line, "sp %d ", &version)) TH_LOG("%s", line);
	EXPECT_LE(2, version);
}

SP_TEST_MAIN
