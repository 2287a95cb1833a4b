// SPDX-License-Identifier: GPL-2.0
/*
 * Every system call that takes a socket or a descriptor, on each type of SP
 * socket: it does what it does on any socket or gives a sane errno, never
 * harms the kernel, and leaves the socket fit for use. What has a meaning of
 * its own for SP is tested where that belongs.
 */
#include "sptest.h"

#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/xattr.h>

FIXTURE(call)
{
	int s, peer;
	bool sends, receives;
};

FIXTURE_VARIANT(call)
{
	int type, peer;
};

FIXTURE_VARIANT_ADD(call, req) { SOCK_REQ, SOCK_REP };
FIXTURE_VARIANT_ADD(call, rep) { SOCK_REP, SOCK_REQ };
FIXTURE_VARIANT_ADD(call, pub) { SOCK_PUB, SOCK_SUB };
FIXTURE_VARIANT_ADD(call, sub) { SOCK_SUB, SOCK_PUB };

FIXTURE_SETUP(call)
{
	struct pair p = sp_pair(variant->type, variant->peer);

	self->s = p.bound;
	self->peer = p.connected;
	self->sends = variant->type != SOCK_SUB;
	self->receives = variant->type != SOCK_PUB;
	if (variant->type == SOCK_SUB)
		subscribe(self->s, LIT(""));
	if (variant->type == SOCK_PUB)
		subscribe(self->peer, LIT(""));
}

/* Whatever was done to it, the socket still does what it is for. */
FIXTURE_TEARDOWN(call)
{
	must(fcntl(self->s, F_SETFL, 0));
	switch (variant->type) {
	case SOCK_REQ:
		sp_round_trip(self->s, self->peer);
		break;
	case SOCK_REP:
		sp_round_trip(self->peer, self->s);
		break;
	case SOCK_PUB:
		sp_send(self->s, LIT("x"));
		sp_expect(self->peer, LIT("x"));
		break;
	case SOCK_SUB:
		sp_send(self->peer, LIT("x"));
		sp_expect(self->s, LIT("x"));
		break;
	}
	close(self->s);
	close(self->peer);
}

/* What nobody can do yet to this socket, because it is not its turn. */
#define must_fail_idle(does, err, call) must_fail((does) ? (err) : EOPNOTSUPP, call)

TEST_F(call, of_sockets)
{
	struct addr addr = { .len = sizeof(addr.storage) };
	int s = self->s, fd[2];

	must_fail(EOPNOTSUPP, accept(s, NULL, NULL));
	must_fail(EOPNOTSUPP, accept(s, &addr.sa, &addr.len));
	must_fail(EOPNOTSUPP, accept4(s, NULL, NULL, SOCK_CLOEXEC));
	must_fail(EINVAL, accept4(s, NULL, NULL, 1));
	must_fail(EOPNOTSUPP, socketpair(PF_SP, variant->type, 0, fd));
	must(listen(s, 0));
	must(listen(s, -1));
	must(listen(s, 128));
	must(getsockname(s, &addr.sa, &addr.len));
	must_fail(EFAULT, getsockname(s, (void *)8, &addr.len));
	addr.len = (socklen_t)-1;
	must_fail(EINVAL, getsockname(s, &addr.sa, &addr.len));
	addr.len = 0;
	must(getpeername(s, NULL, &addr.len));
	EXPECT_EQ(sizeof(struct sockaddr_in), addr.len);
	must_fail(EFAULT, bind(s, (void *)8, 16));
	must_fail(EINVAL, bind(s, &addr.sa, 4096));
	must_fail(EFAULT, connect(s, (void *)8, 16));
	must_fail(EINVAL, connect(s, &addr.sa, (socklen_t)-1));
	must_fail(EINVAL, shutdown(s, 7));
}

TEST_F(call, receiving_what_there_is_not)
{
	static const int odd[] = { MSG_ERRQUEUE, MSG_OOB, MSG_ERRQUEUE | MSG_PEEK };
	struct iovec iov = { NULL, 0 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct mmsghdr many = { .msg_hdr = msg };
	/* A REQ has nothing to wait for; a REP and a SUB have. */
	int err = variant->type == SOCK_REQ ? EBADFD : EAGAIN;
	int s = self->s;
	char c;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(odd); i++) {
		must_fail(EOPNOTSUPP, recv(s, &c, 1, odd[i]));
		must_fail(EOPNOTSUPP, recvmsg(s, &msg, odd[i]));
		must_fail(EOPNOTSUPP, recvmmsg(s, &many, 1, odd[i], NULL));
	}
	must_fail_idle(self->receives, EINVAL, recv(s, &c, 1, MSG_WAITALL));
	must_fail_idle(self->receives, err, recv(s, &c, 1, MSG_DONTWAIT));
	must_fail_idle(self->receives, err,
		       recv(s, NULL, 0, MSG_DONTWAIT | MSG_PEEK | MSG_TRUNC));
	must_fail_idle(self->receives, err, recvmsg(s, &msg, MSG_DONTWAIT));
	/* Flags without a meaning here are no harm. */
	must_fail_idle(self->receives, err,
		       recv(s, &c, 1, MSG_DONTWAIT | MSG_DONTROUTE |
				     MSG_CMSG_CLOEXEC | MSG_CTRUNC));
	must(fcntl(s, F_SETFL, O_NONBLOCK));
	must_fail_idle(self->receives, err, read(s, &c, 1));
	must_eq(0, read(s, &c, 0));
	iov = (struct iovec){ &c, 1 };
	must_fail_idle(self->receives, err, readv(s, &iov, 1));
	must_fail(EFAULT, recvmsg(s, (void *)8, 0));
	must_fail(EFAULT, recvmmsg(s, (void *)8, 1, 0, NULL));
	must_fail(EMSGSIZE, recvmsg(s, &(struct msghdr){ .msg_iov = &iov,
							 .msg_iovlen = 1025 },
				    0));
}

TEST_F(call, sending_what_is_not_to_be_sent)
{
	struct addr to = loopback(AF_INET, 5577);
	struct iovec iov = { "x", 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1,
			      .msg_name = &to.sa, .msg_namelen = to.len };
	/* Refused before anything else about it is looked at. */
	int address = self->sends ? EISCONN : EOPNOTSUPP;
	int s = self->s;

	must_fail(EOPNOTSUPP, send(s, "x", 1, MSG_OOB));
	must_fail(address, sendto(s, "x", 1, 0, &to.sa, to.len));
	must_fail(address, sendmsg(s, &msg, 0));
	must_fail(EFAULT, sendmsg(s, (void *)8, 0));
	must_fail(EINVAL, sendto(s, "x", 1, 0, &to.sa, 4096));
	if (variant->type == SOCK_REP)
		must_fail(EBADFD, send(s, "x", 1, MSG_NOSIGNAL));
	if (variant->type == SOCK_SUB)
		must_fail(EOPNOTSUPP, send(s, "x", 1, MSG_NOSIGNAL));
	if (variant->type == SOCK_PUB) {
		/* Nothing copied, nothing sent. */
		must_fail(EFAULT, send(s, (void *)8, 5, 0));
		iov = (struct iovec){ (void *)8, 5 };
		must_fail(EFAULT, writev(s, &iov, 1));
		EXPECT_EQ(0, counter(s, sp_tx_msgs));
	}
}

/* Control messages: none of ours are known, and descriptors go nowhere. */
TEST_F(call, control_messages)
{
	union {
		struct cmsghdr h;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { .h = { CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS } };
	char body;
	struct iovec iov = { &body, 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1,
			      .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	int from = self->sends ? self->s : self->peer;
	int to = self->sends ? self->peer : self->s;

	if (variant->type == SOCK_REP) {
		from = self->peer;
		to = self->s;
	}
	body = 'x';
	memcpy(CMSG_DATA(&control.h), &to, sizeof(to));
	must_eq(1, sendmsg(from, &msg, 0));
	memset(&control, 0, sizeof(control));
	must_eq(1, recvmsg(to, &msg, 0));
	EXPECT_EQ(0, msg.msg_controllen);
	EXPECT_EQ('x', body);
}

TEST_F(call, ioctl)
{
	int s = self->s, value = -1;
	struct ifreq ifr = { .ifr_ifindex = 1 };
	struct timespec ts;

	must(ioctl(s, FIONREAD, &value));
	EXPECT_EQ(0, value);
	must(ioctl(s, SIOCOUTQ, &value));
	EXPECT_EQ(0, value);
	must_fail(EFAULT, ioctl(s, FIONREAD, (void *)8));
	must_fail(EFAULT, ioctl(s, SIOCOUTQ, (void *)8));
	/* There is no urgent data, so no mark. */
	must_fail(ENOTTY, ioctl(s, SIOCATMARK, &value));
	must_fail(ENOTTY, ioctl(s, TCGETS, &ts));
	/* The first of those that a protocol may have for itself, and the last. */
	must_be(ioctl(s, 0x89e0, &value) < 0);
	must_be(ioctl(s, 0x89ff, &value) < 0);
	must_fail(ENOTTY, ioctl(s, 0xdeadbeef, &value));
	/* Those that ask the network, by whatever socket. */
	must(ioctl(s, SIOCGIFNAME, &ifr));
	EXPECT_EQ(0, strcmp("lo", ifr.ifr_name));
	must_be(ioctl(s, SIOCGSTAMPNS, &ts) < 0);

	value = 1;
	must(ioctl(s, FIONBIO, &value));
	EXPECT_EQ(O_NONBLOCK, fcntl(s, F_GETFL) & O_NONBLOCK);
	value = 0;
	must(ioctl(s, FIONBIO, &value));
	EXPECT_EQ(0, fcntl(s, F_GETFL) & O_NONBLOCK);
	must(ioctl(s, FIOCLEX));
	EXPECT_EQ(FD_CLOEXEC, fcntl(s, F_GETFD));
	must(ioctl(s, FIONCLEX));

	value = getpid();
	must(ioctl(s, FIOSETOWN, &value));
	value = 0;
	must(ioctl(s, SIOCGPGRP, &value));
	EXPECT_EQ(getpid(), value);
	EXPECT_EQ(getpid(), fcntl(s, F_GETOWN));
}

TEST_F(call, of_files)
{
	int s = self->s, other = memfd_create("file", 0), fd[2];
	static char page[64];
	struct stat st;
	struct statvfs vfs;
	struct iovec iov = { page, 1 };
	loff_t off = 0;
	char name[16] = "";

	must(pipe(fd));
	must(ftruncate(other, 4096));
	must_be(mmap(NULL, 4096, PROT_READ, MAP_SHARED, s, 0) == MAP_FAILED);
	EXPECT_EQ(ENODEV, errno);
	must_be(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, s, 0) == MAP_FAILED);
	EXPECT_EQ(ENODEV, errno);
	must_fail(ESPIPE, lseek(s, 0, SEEK_CUR));
	must_fail(ESPIPE, pread(s, page, 1, 0));
	must_fail(ESPIPE, pwrite(s, page, 1, 0));
	must_fail(ESPIPE, preadv(s, &iov, 1, 0));
	must_fail(ESPIPE, pwritev(s, &iov, 1, 0));
	must_fail(EINVAL, ftruncate(s, 0));
	must_be(fallocate(s, 0, 0, 1) < 0);
	must_fail(EINVAL, fsync(s));
	must_fail(EINVAL, fdatasync(s));
	must_be(readahead(s, 0, 1) < 0);
	must_be(posix_fadvise(s, 0, 0, POSIX_FADV_NORMAL) >= 0);
	must_be(sync_file_range(s, 0, 1, SYNC_FILE_RANGE_WRITE) < 0);
	must_be(copy_file_range(s, NULL, other, NULL, 1, 0) < 0);
	must_be(copy_file_range(other, NULL, s, NULL, 1, 0) < 0);
	must_be(sendfile(fd[1], s, &off, 1) < 0);
	must_fail(EINVAL, tee(s, fd[1], 1, 0));
	must_fail(EBADF, vmsplice(s, &iov, 1, 0));
	must_fail(EINVAL, splice(s, NULL, other, NULL, 1, 0));
	must_be(splice(s, &off, fd[1], NULL, 1, 0) < 0);
	/* As on other sockets, SPLICE_F_NONBLOCK is about the pipe. */
	must(fcntl(s, F_SETFL, O_NONBLOCK));
	must_be(splice(s, NULL, fd[1], NULL, 1, 0) < 0);
	must_fail(ENOTDIR, fchdir(s));
	must_be(syscall(SYS_getdents64, s, page, sizeof(page)) < 0);
	must(fstat(s, &st));
	must_be(S_ISSOCK(st.st_mode));
	EXPECT_EQ(getuid(), st.st_uid);
	must(fstatvfs(s, &vfs));
	must(flock(s, LOCK_EX));
	must(flock(s, LOCK_UN));
	must_be(fgetxattr(s, "system.sockprotoname", name, sizeof(name)) > 0);
	EXPECT_EQ(0, strcmp("SP", name));
	must_fail(EINVAL, fcntl(s, F_SETLEASE, F_RDLCK));
	must_fail(EBADF, fcntl(s, F_GETPIPE_SZ));
	must_be(fcntl(s, F_ADD_SEALS, F_SEAL_WRITE) < 0);
	close(other);
	close(fd[0]);
	close(fd[1]);
}

/* From a file, and from nowhere. */
TEST_F(call, sendfile_and_splice_into)
{
	int file = memfd_create("file", 0), fd[2];
	int from = self->s, to = self->peer;
	char buf[32];
	loff_t off = 0;

	must_eq(5, write(file, "hello", 5));
	must(pipe(fd));
	if (variant->type == SOCK_SUB) {
		must_fail(EOPNOTSUPP, sendfile(from, file, &off, 5));
		must_eq(5, write(fd[1], "hello", 5));
		must_fail(EOPNOTSUPP, splice(fd[0], NULL, from, NULL, 5, 0));
		close(fd[0]);
		close(fd[1]);
		return;
	}
	if (variant->type == SOCK_REP) {
		sp_send(to, LIT("Q"));
		sp_expect(from, LIT("Q"));
	}
	must_eq(5, sendfile(from, file, &off, 5));
	must_eq(5, recv(to, buf, sizeof(buf), 0));
	EXPECT_EQ(0, memcmp(buf, "hello", 5));
	if (variant->type == SOCK_REP) {
		must_eq(5, write(fd[1], "hello", 5));
		must_fail(EBADFD, splice(fd[0], NULL, from, NULL, 5, 0));
	}
	close(file);
	close(fd[0]);
	close(fd[1]);
}

/* The kernel's own asynchronous I/O knows to poll. */
static long aio_submit(aio_context_t ctx, struct iocb *cb)
{
	return syscall(SYS_io_submit, ctx, 1, &cb);
}

TEST_F(call, aio_poll)
{
	struct iocb cb = { .aio_fildes = (uint32_t)self->s,
			   .aio_lio_opcode = IOCB_CMD_POLL,
			   .aio_buf = POLLIN };
	struct timespec limit = { PATIENCE_MS / 1000, 0 };
	struct timespec now = { 0, 0 };
	aio_context_t ctx = 0;
	struct io_event ev;

	if (syscall(SYS_io_setup, 4, &ctx) < 0)
		SKIP(return, "no AIO in this kernel");
	must_eq(1, aio_submit(ctx, &cb));
	must_eq(0, syscall(SYS_io_getevents, ctx, 0, 1, &ev, &now));
	if (variant->type == SOCK_REP || variant->type == SOCK_SUB) {
		sp_send(self->peer, LIT("x"));
		must_eq(1, syscall(SYS_io_getevents, ctx, 1, 1, &ev, &limit));
		EXPECT_EQ(POLLIN, ev.res & (POLLIN | POLLOUT));
		sp_expect(self->s, LIT("x"));
		if (variant->type == SOCK_REP) {
			sp_send(self->s, LIT("y"));
			sp_expect(self->peer, LIT("y"));
		}
	} else {
		syscall(SYS_io_cancel, ctx, &cb, &ev);
	}
	must(syscall(SYS_io_destroy, ctx));
}

/*
 * Signals instead of waiting: O_ASYNC, and who gets them.
 */
static volatile sig_atomic_t signals, last_band, last_fd;

static void on_signal(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)context;
	last_band = (sig_atomic_t)info->si_band;
	last_fd = info->si_fd;
	signals++;
}

static void await_signals(int n)
{
	int64_t deadline = patience();

	while (signals < n)
		tick(deadline, "a signal");
}

static void handle(int sig)
{
	struct sigaction sa = { .sa_sigaction = on_signal,
				.sa_flags = SA_SIGINFO | SA_RESTART };

	signals = 0;
	must(sigaction(sig, &sa, NULL));
}

TEST(sigio_for_a_message)
{
	struct pair p = sp_pair(SOCK_PUB, SOCK_SUB);
	int on = 1;

	handle(SIGIO);
	subscribe(p.connected, LIT("t"));
	must(fcntl(p.connected, F_SETOWN, getpid()));
	must(ioctl(p.connected, FIOASYNC, &on));
	EXPECT_EQ(O_ASYNC, fcntl(p.connected, F_GETFL) & O_ASYNC);
	sp_send(p.bound, LIT("t"));
	await_signals(1);
	/* What is filtered is no news. */
	sp_send(p.bound, LIT("x"));
	await_counter(p.connected, sp_rx_filtered, 1);
	EXPECT_EQ(1, signals);
	sp_send(p.bound, LIT("t"));
	await_signals(2);
	/* Off again, by the other way. */
	must(fcntl(p.connected, F_SETFL, 0));
	sp_send(p.bound, LIT("t"));
	sp_expect(p.connected, LIT("t"));
	sp_expect(p.connected, LIT("t"));
	sp_expect(p.connected, LIT("t"));
	EXPECT_EQ(2, signals);
}

TEST(signal_of_choice_tells_what_and_where)
{
	struct pair p = sp_pair(SOCK_REP, SOCK_REQ);
	const int sig = SIGRTMIN;

	handle(sig);
	must(fcntl(p.bound, F_SETOWN, getpid()));
	must(fcntl(p.bound, F_SETSIG, sig));
	must(fcntl(p.bound, F_SETFL, O_ASYNC));
	sp_send(p.connected, LIT("Q"));
	await_signals(1);
	EXPECT_EQ(p.bound, last_fd);
	EXPECT_EQ(POLLIN | POLLRDNORM, last_band & (POLLIN | POLLRDNORM));
	EXPECT_EQ(0, last_band & POLLOUT);
	sp_expect(p.bound, LIT("Q"));
}

TEST(sigio_for_somebody_to_send_to)
{
	struct addr addr;
	int req = sp_listener(SOCK_REQ, &addr);

	handle(SIGIO);
	must(fcntl(req, F_SETOWN, getpid()));
	must(fcntl(req, F_SETSIG, SIGIO));
	must(fcntl(req, F_SETFL, O_ASYNC | O_NONBLOCK));
	/* It must have been asked for. */
	must_fail(EAGAIN, send(req, "Q", 1, 0));
	expect_not_out(req);
	raw_peer(SOCK_REP, &addr);
	await_signals(1);
	EXPECT_EQ(POLLOUT, last_band & POLLOUT);
	EXPECT_EQ(req, last_fd);
	sp_send(req, LIT("Q"));
}

SP_TEST_MAIN
