// SPDX-License-Identifier: GPL-2.0
/*
 * Peers that mean ill or are broken: each costs its own pipe at most, is
 * counted, and harms nobody else.
 */
#include "sptest.h"

#define I "\x80\0\0\1"

/*
 * A server with one good client, whose service is checked after each misdeed.
 */
FIXTURE(victim)
{
	struct addr addr;
	int rep, good;
};

FIXTURE_SETUP(victim)
{
	self->rep = sp_listener(SOCK_REP, &self->addr);
	self->good = raw_peer(SOCK_REQ, &self->addr);
	await_peers(self->rep, 1);
}

FIXTURE_TEARDOWN(victim)
{
	close(self->good);
	close(self->rep);
}

static void still_serves(FIXTURE_DATA(victim) *v)
{
	raw_frame(v->good, LIT(I "are you there?"));
	sp_expect(v->rep, LIT("are you there?"));
	sp_send(v->rep, LIT("yes"));
	raw_expect_frame(v->good, LIT(I "yes"));
}

TEST_F(victim, garbage_instead_of_a_greeting)
{
	static const struct {
		const char *bytes;
		size_t len;
	} garbage[] = {
		{ LIT("GET / HTTP/1.1\r\n\r\n") },
		{ LIT("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03") },
		{ LIT("SSH-2.0-OpenSSH_9.2\r\n") },
		{ LIT("\0\0\0\0\0\0\0\0") },
		{ LIT("\xff\xff\xff\xff\xff\xff\xff\xff") },
		{ LIT("\0SP\0\0\x30\0\1") },
		{ LIT("\0SP\0\xff\xff\0\0") },
	};
	int64_t deadline;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(garbage); i++) {
		int fd = raw_connect(&self->addr);

		raw_write(fd, garbage[i].bytes, garbage[i].len);
		raw_expect_refused(fd, SOCK_REP);
		close(fd);
		await_counter(self->rep, sp_bad_greetings, i + 1);
		still_serves(self);
	}
	EXPECT_EQ(1, counter(self->rep, sp_pipe_ups));
	deadline = patience();
	while (counter(self->rep, sp_handshaking))
		tick(deadline, "the last of them to be gone");
}

TEST_F(victim, gone_in_the_middle_of_the_greeting)
{
	int n, fd;

	for (n = 0; n < GREETING_LEN; n++) {
		fd = raw_connect(&self->addr);
		raw_write(fd, "\0SP\0\0\x30\0", (size_t)n);
		close(fd);
		fd = raw_connect(&self->addr);
		raw_write(fd, "\0SP\0\0\x30\0", (size_t)n);
		raw_reset(fd);
	}
	still_serves(self);
	EXPECT_EQ(1, counter(self->rep, sp_pipe_ups));
}

TEST_F(victim, half_frames)
{
	/* Up to every byte of a request; the end comes by FIN and by RST. */
	static const char frame[] = "\0\0\0\0\0\0\0\7" I "abc";
	size_t n;
	int fd, rude;

	for (rude = 0; rude < 2; rude++) {
		/* Whether half a length counts as half a message is open. */
		uint64_t least = counter(self->rep, sp_rx_partial);
		uint64_t most = least;

		for (n = 1; n < sizeof(frame) - 1; n += rude ? 3 : 1) {
			fd = raw_peer(SOCK_REQ, &self->addr);
			await_peers(self->rep, 2);
			raw_write(fd, frame, n);
			raw_await_acked(fd);
			if (rude)
				raw_reset(fd);
			else
				close(fd);
			await_peers(self->rep, 1);
			least += n > HEADER_LEN;
			most++;
		}
		EXPECT_LE(least, counter(self->rep, sp_rx_partial));
		EXPECT_GE(most, counter(self->rep, sp_rx_partial));
		still_serves(self);
	}
	sp_expect_nothing(self->rep);
}

TEST_F(victim, half_a_large_frame)
{
	unsigned char *half = filler(500000, 1);
	int fd = raw_peer(SOCK_REQ, &self->addr);

	raw_header(fd, 1 << 20);
	raw_write(fd, half, 500000);
	still_serves(self);
	raw_reset(fd);
	await_counter(self->rep, sp_rx_partial, 1);
	await_peers(self->rep, 1);
	still_serves(self);
	free(half);
}

static long meminfo_kb(const char *field)
{
	char line[128];
	long kb = -1;
	FILE *f = fopen("/proc/meminfo", "r");

	must_be(f);
	while (kb < 0 && fgets(line, sizeof(line), f))
		if (!strncmp(line, field, strlen(field)))
			sscanf(line + strlen(field), ": %ld", &kb);
	fclose(f);
	return kb;
}

TEST_F(victim, length_claims_allocate_nothing)
{
	enum { LIARS = 16 };
	long before, after;
	int fd[LIARS], i;

	sp_set(self->rep, SP_RCVMAXSIZE, -1);
	before = meminfo_kb("MemAvailable");
	for (i = 0; i < LIARS; i++) {
		fd[i] = raw_peer(SOCK_REQ, &self->addr);
		raw_header(fd[i], 0x7ffff000 - (uint64_t)i);
		raw_write(fd[i], LIT(I "only this"));
		raw_await_acked(fd[i]);
	}
	after = meminfo_kb("MemAvailable");
	/* 32 GiB were announced; sockets and all cost a few megabytes. */
	EXPECT_GT(64 * 1024, before - after);
	still_serves(self);
	for (i = 0; i < LIARS; i++)
		close(fd[i]);
	await_counter(self->rep, sp_rx_partial, LIARS);
	still_serves(self);
}

TEST_F(victim, trickle)
{
	/* A frame that never ends keeps nobody from being served. */
	int fd = raw_peer(SOCK_REQ, &self->addr), i;

	raw_header(fd, 1000);
	for (i = 0; i < 20; i++) {
		raw_write(fd, "x", 1);
		still_serves(self);
	}
	EXPECT_EQ(2, sp_get(self->rep, SP_PEERS));
	close(fd);
}

TEST_F(victim, many_silent_connections)
{
	static int fd[400];
	const int silent = many(400);
	int i, good;

	for (i = 0; i < silent; i++)
		fd[i] = raw_connect(&self->addr);
	still_serves(self);
	good = raw_peer(SOCK_REQ, &self->addr);
	raw_frame(good, LIT(I "new"));
	sp_expect(self->rep, LIT("new"));
	for (i = 0; i < silent; i++)
		close(fd[i]);
	await_peers(self->rep, 2);
	still_serves(self);
}

TEST_F(victim, more_tags_than_anybody_needs)
{
	enum { TAGS = 5000 };
	static unsigned char tags[TAGS * 4 + 4];
	int fd = raw_peer(SOCK_REQ, &self->addr);

	/* None of them the last; then one that is, after far too many. */
	raw_frame(fd, tags, sizeof(tags) - 4);
	memcpy(tags + TAGS * 4, I, 4);
	raw_frame(fd, tags, sizeof(tags));
	await_refused(self->rep, 2);
	sp_expect_nothing(self->rep);
	raw_frame(fd, LIT(I "x"));
	sp_expect(self->rep, LIT("x"));
	still_serves(self);
}

TEST_F(victim, floods_of_junk)
{
	/* Requests without an id: dropped on arrival, so none takes room. */
	int fd = raw_peer(SOCK_REQ, &self->addr), i;

	for (i = 0; i < many(400); i++)
		raw_frame(fd, LIT("\0\0\0\1junk"));
	await_counter(self->rep, sp_rx_malformed, many(400));
	EXPECT_EQ(0, counter(self->rep, sp_rx_queued));
	still_serves(self);
}

TEST_F(victim, half_closed)
{
	/* A client that only shuts down writing still gets its reply, or an
	 * end; the server is free to see this as leaving.
	 */
	int fd = raw_peer(SOCK_REQ, &self->addr);

	raw_frame(fd, LIT(I "x"));
	must(shutdown(fd, SHUT_WR));
	await_peers(self->rep, 1);
	while (recv(self->rep, NULL, 0, MSG_DONTWAIT) >= 0)
		;
	still_serves(self);
	close(fd);
}

/* Urgent data has no meaning here, and hides what comes after it. */
TEST_F(victim, urgent_data)
{
	static const struct {
		const char *what, *before;
		size_t len;
		bool greets;
	} row[] = {
		{ "before a greeting", LIT(""), false },
		{ "in a greeting", LIT("\0SP"), false },
		{ "after a greeting", LIT(""), true },
		{ "in a length", LIT("\0\0\0"), true },
		{ "in a request", LIT("\0\0\0\0\0\0\0\x20" I "abc"), true },
		{ "after a request", LIT("\0\0\0\0\0\0\0\7" I "abc"), true },
	};
	uint64_t seen, downs = 0;
	struct sp_info info;
	ssize_t n;
	size_t i;
	char c;

	for (i = 0; i < ARRAY_SIZE(row); i++) {
		int fd = row[i].greets ? raw_peer(SOCK_REQ, &self->addr) :
					 raw_connect(&self->addr);

		downs += row[i].greets;
		raw_write(fd, row[i].before, row[i].len);
		must_eq(1, send(fd, "!", 1, MSG_OOB | MSG_NOSIGNAL));
		/* Of those that had come to it, our greeting is read first. */
		while ((n = recv(fd, &c, 1, 0)) == 1)
			;
		must_be(n == 0 || errno != EAGAIN);
		close(fd);
		await_counter(self->rep, sp_pipe_downs, downs);
		info = sp_info(self->rep);
		seen = info.sp_rx_malformed + info.sp_rx_partial +
		       info.sp_bad_greetings;
		EXPECT_LE(i + 1, seen) {
			TH_LOG("not counted: %s", row[i].what);
		}
		/* A request that came before it may be there still. */
		while (recv(self->rep, NULL, 0, MSG_DONTWAIT) >= 0)
			;
		still_serves(self);
	}
	EXPECT_EQ(1, sp_get(self->rep, SP_PEERS));
}

/* Also while nothing is read of that peer: what it sent before may arrive. */
TEST(urgent_data_behind_a_full_buffer)
{
	enum { LEN = 8000, FRAMES = 30 };
	unsigned char *body, seen[LEN + 1];
	struct addr addr;
	int sub = sp_open(SOCK_SUB), good, bad, i;
	int64_t deadline = patience();
	ssize_t n;

	sol_set(sub, SO_RCVBUF, 32768);
	addr = sp_bind(sub, AF_INET);
	subscribe(sub, LIT(""));
	good = raw_peer(SOCK_PUB, &addr);
	bad = raw_peer(SOCK_PUB, &addr);
	await_peers(sub, 2);
	for (i = 0; i < FRAMES; i++) {
		body = filler(LEN, (uint32_t)i);
		raw_frame(bad, body, LEN);
		free(body);
	}
	must_eq(1, send(bad, "!", 1, MSG_OOB | MSG_NOSIGNAL));
	for (i = 0;;) {
		bool gone = sp_get(sub, SP_PEERS) == 1;

		n = recv(sub, seen, sizeof(seen), MSG_DONTWAIT);
		if (n < 0 && gone)
			break;
		if (n < 0) {
			tick(deadline, "the pipe to end");
			continue;
		}
		must_eq(LEN, n);
		must_be_filled(seen, LEN, (uint32_t)i++);
	}
	EXPECT_EQ(1, counter(sub, sp_pipe_downs));
	raw_frame(good, LIT("good"));
	sp_expect(sub, LIT("good"));
	EXPECT_EQ(0, counter(sub, sp_rx_queued));
	close(bad);
}

/*
 * The other way round: a listener that mistreats our dialer.
 */
/*
 * What one turn reads is used up by the frames before an empty one, and there is
 * nothing behind that: nobody may wait for more to come.
 */
TEST(empty_message_at_the_end_of_a_turn)
{
	static unsigned char body[16384];
	uint64_t queued = UINT64_MAX;
	struct addr addr;
	int sub = sp_listener(SOCK_SUB, &addr);
	int peer, n, frames;

	subscribe(sub, LIT(""));
	must(setsockopt(sub, SOL_SOCKET, SO_RCVBUFFORCE, &(int){ 2 << 20 }, sizeof(int)));
	peer = raw_peer(SOCK_PUB, &addr);
	must(setsockopt(peer, SOL_SOCKET, SO_SNDBUFFORCE, &(int){ 8 << 20 }, sizeof(int)));
	/* Until one is held back; then as many as a turn takes. */
	for (frames = 0; counter(sub, sp_rx_queued) != queued; frames++) {
		queued = counter(sub, sp_rx_queued);
		raw_frame(peer, body, sizeof(body));
		raw_await_acked(peer);
	}
	for (n = 1; n < 16; n++, frames++)
		raw_frame(peer, body, sizeof(body));
	raw_frame(peer, LIT(""));
	raw_await_acked(peer);
	for (n = 0; n < frames; n++)
		must_eq(sizeof(body), recv(sub, body, sizeof(body), 0));
	sp_expect(sub, LIT(""));
	raw_frame(peer, LIT("more"));
	sp_expect(sub, LIT("more"));
	close(peer);
	await_peers(sub, 0);
	close(sub);
}

TEST(dialer_meets_garbage_and_good)
{
	struct addr bad_addr, good_addr;
	int bad = raw_listen(&bad_addr), good = raw_listen(&good_addr);
	int req = sp_open(SOCK_REQ), fd, peer, i;

	sp_set(req, SP_RECONNECT_IVL, 10);
	sp_connect(req, &bad_addr);
	sp_connect(req, &good_addr);
	peer = raw_peer_accept(SOCK_REP, good);
	await_peers(req, 1);
	for (i = 0; i < 5; i++) {
		fd = raw_accept(bad);
		raw_write(fd, LIT("HTTP/1.1 400 Bad Request\r\n\r\n"));
		raw_expect_refused(fd, SOCK_REQ);
		close(fd);
		sp_send(req, LIT("Q"));
		raw_reply(peer, raw_expect_request(peer, LIT("Q")), LIT("R"));
		sp_expect(req, LIT("R"));
	}
	await_counter(req, sp_bad_greetings, 5);
	await_counter(req, sp_reconnects, 4);
	EXPECT_EQ(1, counter(req, sp_pipe_ups));
}

TEST(dialer_meets_resets)
{
	struct addr addr;
	int l = raw_listen(&addr), req = sp_open(SOCK_REQ), fd, i;

	sp_set(req, SP_RECONNECT_IVL, 10);
	sp_connect(req, &addr);
	for (i = 0; i < 10; i++) {
		fd = raw_accept(l);
		if (i % 2)
			raw_greet(fd, SOCK_REP);
		raw_reset(fd);
	}
	fd = raw_peer_accept(SOCK_REP, l);
	sp_send(req, LIT("Q"));
	raw_reply(fd, raw_expect_request(fd, LIT("Q")), LIT("R"));
	sp_expect(req, LIT("R"));
}

/* Replies that nobody wants any more are none the dearer for being large. */
TEST(large_replies_to_requests_that_are_over)
{
	enum { TIMES = 3 };
	const int len = many(16 << 20);
	unsigned char *body = filler((size_t)len, 1);
	struct addr addr;
	int req = sp_listener(SOCK_REQ, &addr), peer, i;
	uint32_t id[2], be;

	sp_set(req, SP_RCVMAXSIZE, len);
	peer = raw_peer(SOCK_REP, &addr);
	await_peers(req, 1);
	for (i = 0; i < TIMES; i++) {
		sp_send(req, LIT("first"));
		id[0] = raw_expect_request(peer, LIT("first"));
		be = htonl(id[0]);
		raw_header(peer, (size_t)len + 4);
		raw_write(peer, &be, 4);
		raw_write(peer, body, (size_t)len);
		await_in(req);
		/* Not taken, and replaced; then it comes once more. */
		sp_send(req, LIT("second"));
		expect_not_in(req);
		id[1] = raw_expect_request(peer, LIT("second"));
		raw_header(peer, (size_t)len + 4);
		raw_write(peer, &be, 4);
		raw_write(peer, body, (size_t)len);
		raw_reply(peer, id[1], LIT("R"));
		sp_expect(req, LIT("R"));
		EXPECT_EQ(i + 1, counter(req, sp_rx_stale));
		EXPECT_EQ(0, counter(req, sp_rx_queued));
	}
	EXPECT_EQ(0, counter(req, sp_pipe_downs));
	free(body);
}

TEST(reset_of_the_requester_in_hand)
{
	struct addr addr;
	int rep = sp_listener(SOCK_REP, &addr), fd, i;

	for (i = 0; i < 10; i++) {
		fd = raw_peer(SOCK_REQ, &addr);
		raw_frame(fd, LIT(I "Q"));
		sp_expect(rep, LIT("Q"));
		raw_reset(fd);
		/* Sometimes the news is here already, sometimes not. */
		if (i % 2)
			await_peers(rep, 0);
		sp_send(rep, LIT("R"));
	}
	await_peers(rep, 0);
	must_fail(EBADFD, send(rep, "x", 1, MSG_NOSIGNAL));
	fd = raw_peer(SOCK_REQ, &addr);
	raw_frame(fd, LIT(I "Q"));
	sp_expect(rep, LIT("Q"));
	sp_send(rep, LIT("R"));
	raw_expect_frame(fd, LIT(I "R"));
}

SP_TEST_MAIN
