// SPDX-License-Identifier: GPL-2.0
/*
 * Socket options: type, default, range, direction, and that what is refused
 * changes nothing. What the options do is tested where it shows.
 */
#include "sptest.h"

#include <limits.h>

static int set_raw(int s, int option, const void *value, socklen_t len)
{
	return setsockopt(s, SOL_SP, option, value, len);
}

/* The options that are one int, for the socket type that has them. */
static const struct int_option {
	const char *name;
	int option, type;
	int initial;
	int good[4], bad[4];
	int n_good, n_bad;
} ints[] = {
	{ "SP_REQ_RESEND_IVL", SP_REQ_RESEND_IVL, SOCK_REQ, 60000,
	  { 1, INT_MAX, 0, -1 }, { 0 }, 4, 0 },
	{ "SP_RECONNECT_IVL", SP_RECONNECT_IVL, SOCK_SUB, 100,
	  { 1, 3600000, 50 }, { 0, -1, 3600001, INT_MIN }, 3, 4 },
	{ "SP_RECONNECT_IVL_MAX", SP_RECONNECT_IVL_MAX, SOCK_SUB, 0,
	  { 0, 3600000, 7 }, { -1, 3600001, INT_MAX }, 3, 3 },
	{ "SP_RCVMAXSIZE", SP_RCVMAXSIZE, SOCK_REP, 16 << 20,
	  { 0, 8, 0x7ffff000 }, { -2, INT_MIN, 0x7ffff001, INT_MAX }, 3, 4 },
	{ "SP_SNDMAXSIZE", SP_SNDMAXSIZE, SOCK_PUB, 16 << 20,
	  { 0, 8, 0x7ffff000 }, { -2, INT_MIN, 0x7ffff001, INT_MAX }, 3, 4 },
	{ "SP_MAXTTL", SP_MAXTTL, SOCK_REP, 8,
	  { 1, 255 }, { 0, 256, -1 }, 2, 3 },
	{ "SP_SNDPRIO", SP_SNDPRIO, SOCK_REQ, 8,
	  { 1, 16 }, { 0, 17, -1, INT_MAX }, 2, 4 },
	{ "SP_RCVPRIO", SP_RCVPRIO, SOCK_SUB, 8,
	  { 1, 16 }, { 0, 17, -1, INT_MAX }, 2, 4 },
};

TEST(int_options)
{
	size_t i;
	int j;

	for (i = 0; i < ARRAY_SIZE(ints); i++) {
		const struct int_option *o = &ints[i];
		int s = sp_open(o->type), last = o->initial;

		EXPECT_EQ(o->initial, sp_get(s, o->option))
			TH_LOG("%s: default", o->name);
		for (j = 0; j < o->n_good; j++) {
			EXPECT_EQ(0, set_raw(s, o->option, &o->good[j],
					     sizeof(int)))
				TH_LOG("%s = %d", o->name, o->good[j]);
			last = o->good[j];
			EXPECT_EQ(last, sp_get(s, o->option))
				TH_LOG("%s reads back", o->name);
		}
		for (j = 0; j < o->n_bad; j++) {
			errno = 0;
			EXPECT_EQ(-1, set_raw(s, o->option, &o->bad[j],
					      sizeof(int)))
				TH_LOG("%s = %d", o->name, o->bad[j]);
			EXPECT_EQ(EINVAL, errno);
			EXPECT_EQ(last, sp_get(s, o->option))
				TH_LOG("%s after a refusal", o->name);
		}
		close(s);
	}
}

/* What would do nothing is a mistake, and is told. */
TEST(options_of_other_types)
{
	static const int types[] = { SOCK_REQ, SOCK_REP,  SOCK_PUB,
				     SOCK_SUB, SOCK_PUSH, SOCK_PULL };
	static const struct {
		const char *name;
		int option, has[3];
	} rows[] = {
		{ "SP_REQ_RESEND_IVL", SP_REQ_RESEND_IVL, { SOCK_REQ } },
		{ "SP_MAXTTL", SP_MAXTTL, { SOCK_REP } },
		{ "SP_SNDPRIO", SP_SNDPRIO, { SOCK_REQ, SOCK_PUSH } },
		{ "SP_RCVPRIO", SP_RCVPRIO, { SOCK_REP, SOCK_SUB, SOCK_PULL } },
	};
	size_t i, j;

	for (i = 0; i < ARRAY_SIZE(rows); i++)
		for (j = 0; j < ARRAY_SIZE(types); j++) {
			int s = sp_open(types[j]), value = 9;
			socklen_t len = sizeof(value);
			int err = types[j] == rows[i].has[0] ||
				  types[j] == rows[i].has[1] ||
				  types[j] == rows[i].has[2] ? 0 : ENOPROTOOPT;

			EXPECT_EQ(err, set_raw(s, rows[i].option, &value, len) ?
				       errno : 0)
				TH_LOG("set %s, type %d", rows[i].name, types[j]);
			EXPECT_EQ(err, getsockopt(s, SOL_SP, rows[i].option,
						  &value, &len) ? errno : 0)
				TH_LOG("get %s, type %d", rows[i].name, types[j]);
			EXPECT_EQ(9, value);
			/* Also where the value is no good. */
			EXPECT_EQ(err ? err : EINVAL,
				  set_raw(s, rows[i].option, "", 1) ? errno : 0);
			close(s);
		}
	/* The others are everybody's. */
	for (i = 0; i < ARRAY_SIZE(ints); i++) {
		for (j = 0; j < ARRAY_SIZE(rows); j++)
			if (rows[j].option == ints[i].option)
				break;
		if (j < ARRAY_SIZE(rows))
			continue;
		for (j = 0; j < ARRAY_SIZE(types); j++) {
			int s = sp_open(types[j]);

			EXPECT_EQ(ints[i].initial, sp_get(s, ints[i].option));
			sp_set(s, ints[i].option, ints[i].good[0]);
			close(s);
		}
	}
}

TEST(no_limit_is_minus_one)
{
	static const int options[] = { SP_RCVMAXSIZE, SP_SNDMAXSIZE };
	int s = sp_open(SOCK_REQ), value;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(options); i++) {
		sp_set(s, options[i], -1);
		value = sp_get(s, options[i]);
		EXPECT_TRUE(value == -1 || value == 0x7ffff000);
	}
}

TEST(int_options_of_another_length)
{
	static const socklen_t lengths[] = { 0, 1, 2, 3, 5, 8, 4096 };
	static char value[4096] = { 1 };
	size_t i, j;

	for (i = 0; i < ARRAY_SIZE(ints); i++) {
		const struct int_option *o = &ints[i];
		int s = sp_open(o->type);

		for (j = 0; j < ARRAY_SIZE(lengths); j++) {
			errno = 0;
			EXPECT_EQ(-1, set_raw(s, o->option, value, lengths[j]));
			EXPECT_EQ(EINVAL, errno)
				TH_LOG("%s, length %u", o->name, lengths[j]);
		}
		EXPECT_EQ(o->initial, sp_get(s, o->option));
		must_fail(EFAULT, set_raw(s, o->option, (void *)8, 4));
		close(s);
	}
}

TEST(what_getsockopt_refuses)
{
	int s = sp_open(SOCK_SUB), value;
	socklen_t len = (socklen_t)-1;

	must_fail(EINVAL, getsockopt(s, SOL_SP, SP_RCVMAXSIZE, &value, &len));
	must_fail(EINVAL, getsockopt(s, SOL_SP, SP_INFO, &value, &len));
	must_fail(EFAULT, getsockopt(s, SOL_SP, SP_RCVMAXSIZE, &value,
				     (void *)8));
	len = sizeof(value);
	must_fail(EFAULT, getsockopt(s, SOL_SP, SP_RCVMAXSIZE, (void *)8,
				     &len));
}

TEST(unknown_options_and_levels)
{
	static const int unknown[] = { 0, -1, 99, 0x10000, INT_MAX };
	static const int levels[] = { 399, 401, 0x7fff };
	int s = sp_open(SOCK_SUB), value = 1;
	socklen_t len = sizeof(value);
	size_t i;

	for (i = 0; i < ARRAY_SIZE(unknown); i++) {
		must_fail(ENOPROTOOPT, set_raw(s, unknown[i], &value, len));
		must_fail(ENOPROTOOPT, getsockopt(s, SOL_SP, unknown[i],
						  &value, &len));
	}
	for (i = 0; i < ARRAY_SIZE(levels); i++) {
		must_fail(ENOPROTOOPT, setsockopt(s, levels[i], SP_RCVMAXSIZE,
						  &value, len));
		must_fail(ENOPROTOOPT, getsockopt(s, levels[i], SP_RCVMAXSIZE,
						  &value, &len));
	}
}

TEST(wrong_direction)
{
	int s = sp_open(SOCK_SUB), value = 1;
	socklen_t len = sizeof(value);
	struct sp_info info = { 0 };
	char topic[8];

	must_fail(ENOPROTOOPT, set_raw(s, SP_PEERS, &value, len));
	must_fail(ENOPROTOOPT, set_raw(s, SP_INFO, &info, sizeof(info)));
	len = sizeof(topic);
	must_fail(ENOPROTOOPT, getsockopt(s, SOL_SP, SP_SUBSCRIBE, topic,
					  &len));
	must_fail(ENOPROTOOPT, getsockopt(s, SOL_SP, SP_UNSUBSCRIBE, topic,
					  &len));
	must_fail(ENOPROTOOPT, getsockopt(s, SOL_SP, SP_REMOVE, topic, &len));
}

TEST(subscriptions)
{
	static const int others[] = { SOCK_REQ, SOCK_REP, SOCK_PUB };
	static char topic[SP_TOPIC_MAX + 1];
	int s = sp_open(SOCK_SUB);
	size_t i;

	must(set_raw(s, SP_SUBSCRIBE, topic, SP_TOPIC_MAX));
	must(set_raw(s, SP_UNSUBSCRIBE, topic, SP_TOPIC_MAX));
	must(set_raw(s, SP_SUBSCRIBE, "", 0));
	must(set_raw(s, SP_SUBSCRIBE, NULL, 0));
	must(set_raw(s, SP_UNSUBSCRIBE, NULL, 0));
	must(set_raw(s, SP_UNSUBSCRIBE, "", 0));
	must_fail(EINVAL, set_raw(s, SP_UNSUBSCRIBE, "", 0));
	must_fail(EINVAL, set_raw(s, SP_UNSUBSCRIBE, "never", 5));
	must_fail(EINVAL, set_raw(s, SP_SUBSCRIBE, topic, SP_TOPIC_MAX + 1));
	must_fail(EINVAL, set_raw(s, SP_UNSUBSCRIBE, topic, SP_TOPIC_MAX + 1));
	must_fail(EFAULT, set_raw(s, SP_SUBSCRIBE, (void *)8, 5));

	for (i = 0; i < ARRAY_SIZE(others); i++) {
		int other = sp_open(others[i]);

		must_fail(ENOPROTOOPT, set_raw(other, SP_SUBSCRIBE, "a", 1));
		must_fail(ENOPROTOOPT, set_raw(other, SP_UNSUBSCRIBE, "a", 1));
		close(other);
	}
}

TEST(info_length)
{
	struct pair p = sp_pair(SOCK_PUB, SOCK_SUB);
	struct {
		struct sp_info info;
		unsigned char after[64];
	} all, part;
	static const socklen_t lengths[] = { 0, 3, 4, 8, 24, 100,
					     sizeof(struct sp_info) };
	socklen_t len = sizeof(all);
	size_t i;

	/* More than is known: the known part, and its length. */
	memset(&all, 0xee, sizeof(all));
	must(getsockopt(p.bound, SOL_SP, SP_INFO, &all, &len));
	EXPECT_EQ(sizeof(struct sp_info), len);
	EXPECT_EQ(0xee, all.after[0]);

	/* Less: as much as fits, and nothing behind it. */
	for (i = 0; i < ARRAY_SIZE(lengths); i++) {
		memset(&part, 0xee, sizeof(part));
		len = lengths[i];
		must(getsockopt(p.bound, SOL_SP, SP_INFO, &part, &len));
		EXPECT_EQ(lengths[i], len);
		EXPECT_EQ(0, memcmp(&all, &part, lengths[i]));
		EXPECT_EQ(0xee, ((unsigned char *)&part)[lengths[i]]);
	}
}

TEST(info_tells_what_happened)
{
	struct pair p = sp_pair(SOCK_REP, SOCK_REQ);
	struct sp_info i;
	struct addr addr = { .len = sizeof(addr.storage) };
	int silent;

	sp_round_trip(p.connected, p.bound);
	i = sp_info(p.bound);
	EXPECT_EQ(SOCK_REP, i.sp_type);
	EXPECT_EQ(0, i.sp_flags);
	EXPECT_EQ(1, i.sp_listeners);
	EXPECT_EQ(0, i.sp_dialers);
	EXPECT_EQ(1, i.sp_pipes);
	EXPECT_EQ(1, i.sp_pipe_ups);
	EXPECT_EQ(0, i.sp_pipe_downs);
	EXPECT_EQ(1, i.sp_rx_msgs);
	EXPECT_EQ(4, i.sp_rx_bytes);
	EXPECT_EQ(1, i.sp_tx_msgs);
	EXPECT_EQ(4, i.sp_tx_bytes);
	EXPECT_EQ(0, i.sp_rx_queued);
	EXPECT_EQ(0, i.sp_reconnects);
	EXPECT_EQ(0, i.sp_bad_greetings);

	i = sp_info(p.connected);
	EXPECT_EQ(SOCK_REQ, i.sp_type);
	EXPECT_EQ(0, i.sp_listeners);
	EXPECT_EQ(1, i.sp_dialers);
	EXPECT_EQ(1, i.sp_pipes);
	EXPECT_EQ(0, i.sp_resends);

	must(getsockname(p.bound, &addr.sa, &addr.len));
	silent = raw_connect(&addr);
	raw_expect_greeting(silent, SOCK_REP);
	EXPECT_EQ(1, counter(p.bound, sp_handshaking));
	raw_greet(silent, SOCK_REQ);
	await_peers(p.bound, 2);
	EXPECT_EQ(0, counter(p.bound, sp_handshaking));

	close(p.connected);
	await_counter(p.bound, sp_pipe_downs, 1);
	EXPECT_EQ(1, sp_get(p.bound, SP_PEERS));
}

TEST(buffer_sizes_read_back_as_in_socket_7)
{
	static const int options[] = { SO_SNDBUF, SO_RCVBUF };
	int s = sp_open(SOCK_PUB), ref = (int)must(socket(AF_UNIX,
							  SOCK_DGRAM, 0));
	static const int values[] = { 20000, 100000, 1, INT_MAX / 2 };
	socklen_t len;
	size_t i, j;
	int value, expected;

	for (i = 0; i < ARRAY_SIZE(options); i++) {
		len = sizeof(value);
		must(getsockopt(s, SOL_SOCKET, options[i], &value, &len));
		EXPECT_LT(0, value);
		for (j = 0; j < ARRAY_SIZE(values); j++) {
			sol_set(s, options[i], values[j]);
			sol_set(ref, options[i], values[j]);
			len = sizeof(value);
			must(getsockopt(s, SOL_SOCKET, options[i], &value,
					&len));
			must(getsockopt(ref, SOL_SOCKET, options[i], &expected,
					&len));
			EXPECT_EQ(expected, value)
				TH_LOG("option %d = %d", options[i], values[j]);
		}
	}
}

TEST(timeouts_read_back)
{
	static const int options[] = { SO_SNDTIMEO, SO_RCVTIMEO };
	int s = (int)must(socket(PF_SP, SOCK_REQ, 0));
	struct timeval tv;
	socklen_t len;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(options); i++) {
		len = sizeof(tv);
		must(getsockopt(s, SOL_SOCKET, options[i], &tv, &len));
		EXPECT_EQ(0, tv.tv_sec);
		EXPECT_EQ(0, tv.tv_usec);
		set_timeout(s, options[i], 2500);
		len = sizeof(tv);
		must(getsockopt(s, SOL_SOCKET, options[i], &tv, &len));
		EXPECT_EQ(2, tv.tv_sec);
		EXPECT_EQ(500000, tv.tv_usec);
	}
}

TEST(no_error_is_pending)
{
	struct addr addr = nowhere(AF_INET);
	int s = sp_dialer(SOCK_SUB, &addr), value = -1;
	socklen_t len = sizeof(value);

	sp_set(s, SP_RECONNECT_IVL, 5);
	await_counter(s, sp_reconnects, 1);
	/* What happens to dialers is no error of the socket. */
	must(getsockopt(s, SOL_SOCKET, SO_ERROR, &value, &len));
	EXPECT_EQ(0, value);
	expect_events(0, s);
}

TEST(endpoints_have_a_limit)
{
	int s = sp_open(SOCK_SUB), i;
	struct addr addr = nowhere(AF_INET);

	if (many(4) < 4)
		SKIP(return, "a thousand endpoints take too long here");
	sp_set(s, SP_RECONNECT_IVL, 3600000);
	for (i = 0; i < SP_ENDPOINTS_MAX; i++)
		sp_connect(s, &addr);
	must_fail(ENOSPC, connect(s, &addr.sa, addr.len));
	addr = loopback(AF_INET, 0);
	must_fail(ENOSPC, bind(s, &addr.sa, addr.len));
	EXPECT_EQ(SP_ENDPOINTS_MAX, counter(s, sp_dialers));
}

SP_TEST_MAIN
