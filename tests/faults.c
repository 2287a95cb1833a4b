// SPDX-License-Identifier: GPL-2.0
/*
 * Fault injection: every allocation, and every copy from or to user space, of
 * every step in a socket's life fails once (/proc/thread-self/fail-nth). A step
 * then either fails with an errno that says so, or works all the same; it
 * leaves nothing behind (the run's kmemleak scan and rmmod check that), and
 * the traffic after it is as if it had not been.
 */
#include "sptest.h"

#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>

static int fail_nth = -1;

static void write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0)
		return;
	if (write(fd, text, strlen(text)) < 0)
		die("writing %s to %s", text, path);
	close(fd);
}

/* GFP_KERNEL allocations are to fail too, and pages of every order. */
static void fail_everything(void)
{
	mkdir("/sys/kernel/debug", 0700);
	mount("debugfs", "/sys/kernel/debug", "debugfs", 0, NULL);
	write_text("/sys/kernel/debug/failslab/ignore-gfp-wait", "N");
	write_text("/sys/kernel/debug/fail_page_alloc/ignore-gfp-wait", "N");
	write_text("/sys/kernel/debug/fail_page_alloc/min-order", "0");
	/* One line a fault in the log would be thousands. */
	write_text("/sys/kernel/debug/failslab/verbose", "0");
	write_text("/sys/kernel/debug/fail_page_alloc/verbose", "0");
	write_text("/sys/kernel/debug/fail_usercopy/verbose", "0");
}

static void arm(int n)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%d", n);

	must_eq(len, pwrite(fail_nth, text, (size_t)len, 0));
}

/*
 * True if the fault has struck since arm(). The calls that ask and disarm copy
 * from and to user space, so it may strike them: then it had not before.
 */
static bool disarm(void)
{
	char text[16] = "";
	bool struck = pread(fail_nth, text, sizeof(text) - 1, 0) > 0 &&
		      atoi(text) == 0;

	while (pwrite(fail_nth, "0", 1, 0) != 1)
		must_be(errno == EFAULT || errno == ENOMEM);
	return struck;
}

/* What a step may answer when memory or a user page is not to be had. */
static bool excusable(int err)
{
	return err == ENOMEM || err == ENOBUFS || err == EFAULT ||
	       err == ENFILE || err == EMFILE || err == EAGAIN ||
	       /* What TCP's bind() says when it has no memory for a port. */
	       err == EADDRINUSE;
}

FIXTURE(faults)
{
	struct addr addr, free_addr;
	int rep, req;
};

FIXTURE_SETUP(faults)
{
	fail_nth = open("/proc/thread-self/fail-nth", O_RDWR);
	if (fail_nth < 0)
		SKIP(return, "this kernel has no fail-nth");
	fail_everything();
	self->rep = sp_listener(SOCK_REP, &self->addr);
	self->req = sp_dialer(SOCK_REQ, &self->addr);
	self->free_addr = nowhere(AF_INET);
	await_peers(self->rep, 1);
	await_peers(self->req, 1);
}

FIXTURE_TEARDOWN(faults)
{
}

/*
 * The steps. Each returns like the system call it is about; whatever else it
 * needs is done in before() and after(), where nothing fails.
 */
typedef FIXTURE_DATA(faults) life;

struct step {
	const char *name;
	int (*before)(life *f); /* makes the descriptor that is acted upon */
	long (*call)(life *f, int s);
	void (*after)(life *f, int s, bool worked);
};

static long call_socket(life *f, int s)
{
	(void)f;
	(void)s;
	return socket(PF_SP, SOCK_SUB, 0);
}

static int make_sub(life *f)
{
	(void)f;
	return sp_open(SOCK_SUB);
}

static long call_bind(life *f, int s)
{
	return bind(s, &f->free_addr.sa, f->free_addr.len);
}

static void close_bound(life *f, int s, bool worked)
{
	int again;

	close(s);
	if (worked)
		return;
	/* A bind() that failed keeps no port. */
	again = sp_open(SOCK_SUB);
	must(bind(again, &f->free_addr.sa, f->free_addr.len));
	close(again);
}

static int make_req(life *f)
{
	(void)f;
	return sp_open(SOCK_REQ);
}

static long call_connect(life *f, int s)
{
	return connect(s, &f->addr.sa, f->addr.len);
}

static void close_connected(life *f, int s, bool worked)
{
	/* A connect() that succeeded gets there in the end. */
	if (worked)
		sp_round_trip(s, f->rep);
	close(s);
	await_peers(f->rep, 1);
}

static long call_subscribe(life *f, int s)
{
	(void)f;
	return setsockopt(s, SOL_SP, SP_SUBSCRIBE, "a topic", 7);
}

static void close_subscribed(life *f, int s, bool worked)
{
	int gone = setsockopt(s, SOL_SP, SP_UNSUBSCRIBE, "a topic", 7);

	(void)f;
	/* All or nothing. */
	must_eq(worked ? 0 : -1, gone);
	close(s);
}

static int same_req(life *f)
{
	return f->req;
}

static long call_send(life *f, int s)
{
	(void)f;
	return send(s, "a request", 9, MSG_DONTWAIT);
}

static void answer(life *f, int s, bool worked)
{
	if (!worked)
		return;
	sp_expect(f->rep, LIT("a request"));
	sp_send(f->rep, LIT("a reply"));
	sp_expect(s, LIT("a reply"));
}

static unsigned char *large;
enum { LARGE = 200000 };

static long call_send_large(life *f, int s)
{
	(void)f;
	return send(s, large, LARGE, MSG_DONTWAIT);
}

static void answer_large(life *f, int s, bool worked)
{
	if (!worked)
		return;
	sp_expect_filled(f->rep, LARGE, 3);
	sp_send(f->rep, LIT("a reply"));
	sp_expect(s, LIT("a reply"));
}

static int request_is_there(life *f)
{
	sp_send(f->req, LIT("a request"));
	await_in(f->rep);
	return f->rep;
}

static long call_recv(life *f, int s)
{
	char buf[32];

	(void)f;
	return recv(s, buf, sizeof(buf), MSG_DONTWAIT);
}

static void answer_received(life *f, int s, bool worked)
{
	char buf[32];

	/* After a fault the message may or may not be there still. */
	if (!worked && recv(s, buf, sizeof(buf), MSG_DONTWAIT) < 0)
		return;
	sp_send(s, LIT("a reply"));
	sp_expect(f->req, LIT("a reply"));
}

static int request_in_hand(life *f)
{
	sp_send(f->req, LIT("a request"));
	sp_expect(f->rep, LIT("a request"));
	return f->rep;
}

static long call_reply(life *f, int s)
{
	(void)f;
	return send(s, "a reply", 7, MSG_DONTWAIT);
}

static void expect_reply(life *f, int s, bool worked)
{
	/* A send() that failed has not used up the request. */
	if (!worked)
		sp_send(s, LIT("a reply"));
	sp_expect(f->req, LIT("a reply"));
}

static long call_info(life *f, int s)
{
	struct sp_info info;
	socklen_t len = sizeof(info);

	(void)f;
	return getsockopt(s, SOL_SP, SP_INFO, &info, &len);
}

static void nothing(life *f, int s, bool worked)
{
	(void)f;
	(void)s;
	(void)worked;
}

static int make_connected_req(life *f)
{
	int s = sp_dialer(SOCK_REQ, &f->addr);

	await_peers(s, 1);
	sp_send(s, LIT("a last request"));
	return s;
}

static long call_close(life *f, int s)
{
	(void)f;
	return close(s);
}

static void expect_last_request(life *f, int s, bool worked)
{
	(void)s;
	(void)worked;
	/* close() cannot fail, nor lose what send() had accepted. */
	sp_expect(f->rep, LIT("a last request"));
	await_peers(f->rep, 1);
}

static long call_set(life *f, int s)
{
	const int probes = 3;

	(void)f;
	return setsockopt(s, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
}

static int keepcnt(int s)
{
	int probes = -1;
	socklen_t len = sizeof(probes);

	must(getsockopt(s, IPPROTO_TCP, TCP_KEEPCNT, &probes, &len));
	return probes;
}

static void close_set(life *f, int s, bool worked)
{
	(void)f;
	/* Refused, it changed nothing. */
	must_eq(worked, keepcnt(s) == 3);
	close(s);
}

static int make_set_req(life *f)
{
	int s = sp_open(SOCK_REQ);

	must(call_set(f, s));
	return s;
}

static int open_proc(life *f)
{
	(void)f;
	return (int)must(open("/proc/thread-self/net/sp", O_RDONLY));
}

static long call_read(life *f, int s)
{
	char buf[4096];

	(void)f;
	return read(s, buf, sizeof(buf));
}

static void close_it(life *f, int s, bool worked)
{
	(void)f;
	(void)worked;
	close(s);
}

/* Only what our module calls for fails, or everything again. */
static void fail_between(unsigned long start, unsigned long end)
{
	static const char *const what[] = { "failslab", "fail_page_alloc",
					    "fail_usercopy" };
	char path[80], text[32];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(what); i++) {
		snprintf(path, sizeof(path), "/sys/kernel/debug/%s/require-start",
			 what[i]);
		snprintf(text, sizeof(text), "0x%lx", start);
		write_text(path, text);
		snprintf(path, sizeof(path), "/sys/kernel/debug/%s/require-end",
			 what[i]);
		snprintf(text, sizeof(text), "0x%lx", end);
		write_text(path, text);
	}
}

static void fail_in_module(void)
{
	FILE *modules = fopen("/proc/modules", "r");
	unsigned long start = 0, size = 0;
	char line[256];

	must_be(modules);
	while (!start && fgets(line, sizeof(line), modules))
		if (sscanf(line, "sp %lu %*d %*s %*s 0x%lx", &size, &start) < 2)
			start = 0;
	fclose(modules);
	must_be(start);
	fail_between(start, start + size);
}

/* Of all that a new namespace needs. */
static int remember_home(life *f)
{
	(void)f;
	fail_in_module();
	return (int)must(open("/proc/thread-self/ns/net", O_RDONLY));
}

static long call_unshare(life *f, int s)
{
	(void)f;
	(void)s;
	return unshare(CLONE_NEWNET);
}

static void go_home(life *f, int s, bool worked)
{
	(void)f;
	if (worked)
		must(setns(s, CLONE_NEWNET));
	close(s);
	fail_between(0, ULONG_MAX);
}

static void close_made(life *f, int s, bool worked)
{
	(void)f;
	if (worked)
		close(s);
}

static const struct step steps[] = {
	{ "socket", NULL, call_socket, close_made },
	{ "bind", make_sub, call_bind, close_bound },
	{ "connect", make_req, call_connect, close_connected },
	{ "subscribe", make_sub, call_subscribe, close_subscribed },
	{ "send", same_req, call_send, answer },
	{ "send_large", same_req, call_send_large, answer_large },
	{ "recv", request_is_there, call_recv, answer_received },
	{ "reply", request_in_hand, call_reply, expect_reply },
	{ "info", same_req, call_info, nothing },
	{ "close", make_connected_req, call_close, expect_last_request },
	{ "set", make_req, call_set, close_set },
	{ "connect_set", make_set_req, call_connect, close_connected },
	{ "proc", open_proc, call_read, close_it },
	{ "namespace", remember_home, call_unshare, go_home },
};

FIXTURE_VARIANT(faults)
{
	int step;
};

#define STEP(name, i) FIXTURE_VARIANT_ADD(faults, name) { .step = i }
STEP(socket, 0);
STEP(bind, 1);
STEP(connect, 2);
STEP(subscribe, 3);
STEP(send, 4);
STEP(send_large, 5);
STEP(recv, 6);
STEP(reply, 7);
STEP(info, 8);
STEP(close, 9);
STEP(set, 10);
STEP(connect_set, 11);
STEP(proc, 12);
STEP(namespace, 13);

TEST_F(faults, each_one)
{
	const struct step *step = &steps[variant->step];
	enum { MOST = 500 };
	bool struck = true;
	int n, failed = 0;

	large = filler(LARGE, 3);
	for (n = 1; struck; n++) {
		int s = step->before ? step->before(self) : -1, err;
		long result;

		ASSERT_GT(MOST, n) TH_LOG("%s never gets through", step->name);
		arm(n);
		result = step->call(self, s);
		err = errno;
		struck = disarm();
		if (result < 0) {
			failed++;
			ASSERT_TRUE(struck)
				TH_LOG("%s failed by itself: %s", step->name,
				       strerrorname_np(err));
			ASSERT_TRUE(excusable(err))
				TH_LOG("%s, fault %d: %s", step->name, n,
				       strerrorname_np(err));
		}
		step->after(self, s < 0 ? (int)result : s, result >= 0);
	}
	TH_LOG("%s: %d faults, %d of them seen by the caller", step->name,
	       n - 2, failed);
	sp_round_trip(self->req, self->rep);
	free(large);
}

SP_TEST_MAIN
