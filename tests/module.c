// SPDX-License-Identifier: GPL-2.0
/*
 * Unloading: refused while any socket or any closed socket's pipe is left,
 * soon granted after, whatever the peers are doing meanwhile.
 *
 * Run it alone: while it runs, the module comes and goes.
 */
#include "sptest.h"

#include "module.h"

#include <fcntl.h>
#include <sys/stat.h>

/* Who is asked to load the module when socket() finds it missing. */
static const char modprobe_setting[] = "/proc/sys/kernel/modprobe";

FIXTURE(unload)
{
	char modprobe[256];
};

static void write_file(const char *path, const char *text, int flags)
{
	int fd = (int)must(open(path, flags, 0755));

	must_eq(strlen(text), write(fd, text, strlen(text)));
	close(fd);
}

static void reload(void)
{
	int err = module_try_load();

	must_be(err == 0 || err == EEXIST);
}

FIXTURE_SETUP(unload)
{
	int fd;

	if (access(module_path(), R_OK))
		SKIP(return, "%s is not there (set SP_KO)", module_path());
	/* Nobody: or else an unloaded module comes back by itself. */
	fd = open(modprobe_setting, O_RDONLY);
	if (fd < 0)
		return;
	must_be(read(fd, self->modprobe, sizeof(self->modprobe) - 1) > 0);
	close(fd);
	write_file(modprobe_setting, "/nobody\n", O_WRONLY);
}

/* In the parent, so that it happens after every failure too. */
FIXTURE_TEARDOWN_PARENT(unload)
{
	if (self->modprobe[0])
		write_file(modprobe_setting, self->modprobe, O_WRONLY);
	if (access(module_path(), R_OK) == 0)
		reload();
}

/* May be over before we look, so any refusal is one that passes. */
static void must_be_busy(void)
{
	int err = module_try_unload();

	must_be(err == EAGAIN || err == EBUSY);
}

TEST_F(unload, refused_while_open)
{
	struct addr addr;
	int rep, req;

	rep = sp_open(SOCK_REP);
	must_be_busy();
	addr = sp_bind(rep, AF_INET);
	must_be_busy();
	req = sp_dialer(SOCK_REQ, &addr);
	sp_round_trip(req, rep);
	must_be_busy();
	close(req);
	must_be_busy();
	close(rep);
	module_unload();
	must_fail(EAFNOSUPPORT, socket(PF_SP, SOCK_REQ, 0));
	reload();
	close(sp_open(SOCK_REQ));
}

/* The first program of the manual, where there is no such socket. */
TEST_F(unload, hello_tells_that_the_module_is_not_there)
{
	char said[256] = "";
	int fd[2], status;
	pid_t pid;

	module_unload();
	must(pipe(fd));
	pid = (pid_t)must(fork());
	if (pid == 0) {
		must(dup2(fd[1], 2));
		program_exec("manual/hello", NULL);
	}
	close(fd[1]);
	must_eq(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) != 0);
	EXPECT_LT(0, read(fd[0], said, sizeof(said) - 1));
	EXPECT_NE(NULL, strstr(said, strerror(EAFNOSUPPORT)))
		TH_LOG("%s", said);
	close(fd[0]);
	reload();
}

TEST_F(unload, refused_while_a_closed_socket_delivers)
{
	static char buf[900000];
	struct addr addr;
	int pub = sp_listener(SOCK_PUB, &addr), peer;

	/* Bounds what TCP takes, so that the pipe holds a good part. */
	sol_set(pub, SO_SNDBUF, 32768);
	peer = raw_peer_small(SOCK_SUB, &addr);
	await_peers(pub, 1);
	sp_send_filled(pub, sizeof(buf), 5);
	close(pub);
	must_be_busy();
	must_eq(sizeof(buf), raw_read_frame(peer, buf, sizeof(buf)));
	must_be_filled(buf, sizeof(buf), 5);
	raw_expect_closed(peer);
	close(peer);
	module_unload();
	reload();
}

TEST_F(unload, a_reset_ends_the_delivery)
{
	struct addr addr;
	int pub = sp_listener(SOCK_PUB, &addr), peer;

	sol_set(pub, SO_SNDBUF, 32768);
	peer = raw_peer_narrow(SOCK_SUB, &addr);
	await_peers(pub, 1);
	sp_send_filled(pub, 900000, 5);
	close(pub);
	must_be_busy();
	raw_reset(peer);
	module_unload();
	reload();
}

/*
 * Connections that waited at our listener and went to an ordinary one: what
 * comes in for them afterwards is none of ours.
 */
TEST_F(unload, before_what_moved_away_is_read)
{
	struct moved m;

	group_move(&m, NULL);
	module_unload();
	group_expect_heard(&m);
	reload();
}

/* The same where it was not us who closed the listener. */
TEST_F(unload, before_what_was_taken_away_is_read)
{
	struct moved m;
	int s;

	group_move(&m, &s);
	close(s);
	module_unload();
	group_expect_heard(&m);
	reload();
}

/*
 * Traffic, close, rmmod, insmod; the peers connect and send all the while, so
 * listeners and pipes go in every stage.
 */
struct pest {
	struct task task;
	struct addr addr;
	bool stop;
};

static void pester(void *arg)
{
	struct pest *p = arg;
	struct bytes b = { 0 };

	bytes_greeting(&b, SOCK_PUB);
	bytes_frame(&b, LIT("pest"));
	while (!__atomic_load_n(&p->stop, __ATOMIC_ACQUIRE)) {
		int fd = (int)must(socket(AF_INET, SOCK_STREAM, 0));

		/* Refused, reset, half-way: all the same to a pest. */
		if (connect(fd, &p->addr.sa, p->addr.len) == 0)
			while (send(fd, b.at, b.len,
				    MSG_NOSIGNAL | MSG_DONTWAIT) > 0)
				;
		close(fd);
	}
}

TEST_F(unload, in_a_loop_while_peers_send)
{
	static struct pest pest;
	int round, sub;

	pest.addr = nowhere(AF_INET);
	task_start(&pest.task, pester, &pest);
	for (round = 0; round < 3; round++) {
		sub = sp_open(SOCK_SUB);
		subscribe(sub, LIT(""));
		must(bind(sub, &pest.addr.sa, pest.addr.len));
		sp_expect(sub, LIT("pest"));
		if (round)
			await_in(sub);
		close(sub);
		module_unload();
		reload();
	}
	__atomic_store_n(&pest.stop, true, __ATOMIC_RELEASE);
	task_join(&pest.task);
}

/*
 * socket() asks modprobe for net-pf-18. A script stands in for it.
 */
static bool stop;

static void read_files(void *arg)
{
	char buf[4096];

	(void)arg;
	while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
		static const char *const files[] = {
			"/proc/self/net/sp",
			"/proc/sys/net/sp/close_timeout_ms",
		};
		size_t i;

		for (i = 0; i < ARRAY_SIZE(files); i++) {
			int fd = open(files[i], O_RDONLY);

			if (fd < 0)
				continue;
			while (read(fd, buf, sizeof(buf)) > 0)
				;
			close(fd);
		}
	}
}

/* No reason to stay, and no way to see what is only half there. */
TEST_F(unload, while_its_files_are_read)
{
	struct task reader;
	char buf[4096];
	int fd, i;

	stop = false;
	task_start(&reader, read_files, NULL);
	for (i = 0; i < 2; i++) {
		fd = (int)must(open("/proc/self/net/sp", O_RDONLY));
		must(read(fd, buf, 10));
		module_unload();
		must_fail(EIO, read(fd, buf, sizeof(buf)));
		close(fd);
		must_fail(ENOENT, open("/proc/self/net/sp", O_RDONLY));
		reload();
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELEASE);
	task_join(&reader);
}

TEST_F(unload, socket_loads_the_module)
{
	static const char path[] = "/tmp/sp-modprobe";
	char script[512];
	int s;

	if (!self->modprobe[0] || access("/bin/sh", X_OK) ||
	    access("/sbin/insmod", X_OK))
		SKIP(return, "needs %s, /bin/sh and /sbin/insmod",
		     modprobe_setting);
	mkdir("/tmp", 0777);
	snprintf(script, sizeof(script),
		 "#!/bin/sh\n"
		 "for name; do :; done\n"
		 "[ \"$name\" = net-pf-%d ] && exec /sbin/insmod %s\n",
		 PF_SP, module_path());
	write_file(path, script, O_WRONLY | O_CREAT | O_TRUNC);
	write_file(modprobe_setting, path, O_WRONLY);
	module_unload();
	s = socket(PF_SP, SOCK_REQ, 0);
	unlink(path);
	EXPECT_LE(0, s);
}

SP_TEST_MAIN
