/* SPDX-License-Identifier: MIT */
/*
 * PF_SP by io_uring: messages are sent BATCH at a time, each but the last with the hint that
 * more follow, and only the last, or one that failed, is told of; one request receives all that
 * come, into buffers that the kernel picks.
 */
#define _GNU_SOURCE
#include "sp_open.h"

#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>

/* Buffers are given a power of two. */
enum { BATCH = 32, BUFFERS = 256, GROUP = 0 };

struct end {
	int fd, timeout_ms;
	bool sends, armed;
	struct io_uring ring;
	/* The last one that is gathered. */
	struct io_uring_sqe *last;
	/* What is gathered, or received into. */
	unsigned int count;
	size_t size;
	unsigned char *room;
	/* What has come of those that receive, and how many of them were looked at; these had so many buffers. */
	struct io_uring_cqe *come[BATCH];
	unsigned int some, seen;
	int emptied;
	struct io_uring_buf_ring *buffers;
};

struct end *end_open(enum role role, bool binds, int port, int timeout_ms)
{
	struct end *end = calloc(1, sizeof(*end));
	int err;

	if (!end)
		fail("calloc");
	end->sends = role == PUSHES || role == PUBLISHES;
	end->timeout_ms = timeout_ms;
	end->fd = sp_open(role, binds, port, 0);
	/* As its manual recommends for one thread with a ring of its own. */
	err = io_uring_queue_init(BUFFERS, &end->ring, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN);
	if (err)
		fail_with("io_uring_queue_init", strerror(-err));
	err = io_uring_register_files(&end->ring, &end->fd, 1);
	if (err)
		fail_with("io_uring_register_files", strerror(-err));
	return end;
}

void end_await(struct end *end, int others)
{
	sp_await(end->fd, others);
}

static void make_room(struct end *end, unsigned int count, size_t size)
{
	if (end->room)
		return;
	end->size = size;
	end->room = calloc(count, size);
	if (!end->room)
		fail("calloc");
}

/* Prepares to send one that is gathered. */
static struct io_uring_sqe *prepare(struct end *end, unsigned int nth, int msg_flags, unsigned int flags)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&end->ring);

	io_uring_prep_send(sqe, 0, end->room + nth * end->size, end->size, msg_flags);
	io_uring_sqe_set_flags(sqe, IOSQE_FIXED_FILE | flags);
	io_uring_sqe_set_data64(sqe, nth);
	return sqe;
}

/*
 * Sends what is prepared. Those that found no room it prepares again, to wait for it one behind
 * the other; false if there are none.
 */
static bool submit(struct end *end)
{
	struct io_uring_cqe *cqe;
	unsigned int head, n = 0;
	bool again = false;

	/* All others have been sent, or are told of, when the last one is. */
	end->last->flags = IOSQE_FIXED_FILE;
	if (io_uring_submit_and_wait(&end->ring, 1) < 0)
		fail("io_uring_submit_and_wait");
	io_uring_for_each_cqe(&end->ring, head, cqe)
	{
		n++;
		if (cqe->res == -EAGAIN) {
			end->last = prepare(end, (unsigned int)io_uring_cqe_get_data64(cqe), 0,
					    IOSQE_IO_LINK | IOSQE_CQE_SKIP_SUCCESS);
			again = true;
		} else if (cqe->res < 0) {
			fail_with("send", strerror(-cqe->res));
		}
	}
	io_uring_cq_advance(&end->ring, n);
	return again;
}

static void flush(struct end *end)
{
	if (!end->count)
		return;
	end->last->msg_flags = MSG_DONTWAIT;
	while (submit(end))
		;
	end->count = 0;
}

void end_send(struct end *end, const void *body, size_t len)
{
	make_room(end, BATCH, len);
	memcpy(end->room + end->count * len, body, len);
	end->last = prepare(end, end->count++, MSG_DONTWAIT | MSG_MORE, IOSQE_CQE_SKIP_SUCCESS);
	if (end->count == BATCH)
		flush(end);
}

/* Offers a buffer again, with those before that are not offered yet. */
static void give(struct end *end, int id)
{
	io_uring_buf_ring_add(end->buffers, end->room + (size_t)id * end->size, (unsigned int)end->size,
			      (unsigned short)id, io_uring_buf_ring_mask(BUFFERS), end->emptied++);
}

static void offer(struct end *end)
{
	io_uring_buf_ring_advance(end->buffers, end->emptied);
	end->emptied = 0;
}

static void arm(struct end *end)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&end->ring);

	if (!end->buffers) {
		struct io_uring_buf_reg reg = { .ring_entries = BUFFERS, .bgid = GROUP };
		void *ring;

		if (posix_memalign(&ring, 4096, BUFFERS * sizeof(struct io_uring_buf)))
			fail("posix_memalign");
		reg.ring_addr = (unsigned long)ring;
		if (io_uring_register_buf_ring(&end->ring, &reg, 0))
			fail("io_uring_register_buf_ring");
		end->buffers = ring;
		io_uring_buf_ring_init(end->buffers);
		for (int i = 0; i < BUFFERS; i++)
			give(end, i);
		offer(end);
	}
	io_uring_prep_recv_multishot(sqe, 0, NULL, 0, 0);
	sqe->flags |= IOSQE_BUFFER_SELECT | IOSQE_FIXED_FILE;
	sqe->buf_group = GROUP;
	end->armed = true;
}

/* Waits for more. False if the time is over. */
static bool wait_for_some(struct end *end)
{
	struct __kernel_timespec timeout = { end->timeout_ms / 1000, end->timeout_ms % 1000 * 1000000L };
	struct io_uring_cqe *cqe;
	int err;

	if (end->seen) {
		offer(end);
		io_uring_cq_advance(&end->ring, end->seen);
	}
	end->seen = 0;
	while (!(end->some = io_uring_peek_batch_cqe(&end->ring, end->come, BATCH))) {
		if (!end->armed)
			arm(end);
		err = io_uring_submit_and_wait_timeout(&end->ring, &cqe, 1, end->timeout_ms ? &timeout : NULL, NULL);
		if (err == -ETIME)
			return false;
		if (err < 0 && err != -EINTR)
			fail_with("io_uring_submit_and_wait_timeout", strerror(-err));
	}
	return true;
}

ssize_t end_recv(struct end *end, void *body, size_t size)
{
	const struct io_uring_cqe *cqe;
	int res, id;

	make_room(end, BUFFERS, size);
	do {
		if (end->seen == end->some && !wait_for_some(end))
			return -1;
		cqe = end->come[end->seen++];
		res = cqe->res;
		end->armed = cqe->flags & IORING_CQE_F_MORE;
		/* All buffers were in use: some are free by now. */
	} while (res == -ENOBUFS);
	if (res < 0)
		fail_with("recv", strerror(-res));
	id = (int)(cqe->flags >> IORING_CQE_BUFFER_SHIFT);
	memcpy(body, end->room + (size_t)id * end->size, (size_t)res);
	give(end, id);
	return res;
}

void end_close(struct end *end)
{
	flush(end);
	io_uring_queue_exit(&end->ring);
	close(end->fd);
	free(end->room);
	free(end->buffers);
	free(end);
}
