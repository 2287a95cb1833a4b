// SPDX-License-Identifier: GPL-2.0

#include <linux/sched/signal.h>
#include <linux/uaccess.h>
#include <linux/uio.h>
#include <net/sock.h>

#include "helpers.h"

/* What sockets keep of TCP's memory; their control groups limit it, and what they keep at all. */
static atomic_long_t sp_memory_allocated;
static DEFINE_PER_CPU(int, sp_memory_per_cpu_fw_alloc);
static long sp_memory_limits[] = { LONG_MAX, LONG_MAX, LONG_MAX };

void sp_helper_proto_memory(struct proto *proto)
{
	proto->memory_allocated = &sp_memory_allocated;
	proto->per_cpu_fw_alloc = &sp_memory_per_cpu_fw_alloc;
	proto->sysctl_mem = sp_memory_limits;
}

/* What getsockopt() tells before anything was set; tcp_defaults has the same for connections. */
void sp_helper_sock_defaults(struct sock *sk)
{
	sk->sk_protocol = IPPROTO_TCP;
	sk->sk_reuse = SK_CAN_REUSE;
	sock_set_flag(sk, SOCK_KEEPOPEN);
}

void sp_helper_sock_inuse(struct sock *sk, int delta)
{
	local_bh_disable();
	sock_prot_inuse_add(sock_net(sk), sk->sk_prot, delta);
	local_bh_enable();
}

void sp_helper_sock_orphan(struct sock *sk)
{
	sock_orphan(sk);
}

void sp_helper_poll_wait(struct file *file, struct socket *sock, poll_table *table)
{
	sock_poll_wait(file, sock, table);
}

int sp_helper_copy_optval(void *to, sockptr_t from, size_t len)
{
	return copy_from_sockptr(to, from, len);
}

void sp_helper_sigpipe(void)
{
	send_sig(SIGPIPE, current, 0);
}

/* Tells how many bytes were read; those in a page that is to be waited for are not. */
size_t sp_helper_copy_now(void *to, size_t len, struct iov_iter *iter)
{
	pagefault_disable();
	len = _copy_from_iter(to, len, iter);
	pagefault_enable();
	return len;
}

/* Writes all of it, or nothing that counts if some of it is in a page that is to be waited for. */
bool sp_helper_give_now(const void *from, size_t len, struct iov_iter *iter)
{
	size_t done;

	pagefault_disable();
	done = _copy_to_iter(from, len, iter);
	pagefault_enable();
	if (done < len)
		iov_iter_revert(iter, done);
	return done == len;
}
