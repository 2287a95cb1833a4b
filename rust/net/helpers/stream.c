// SPDX-License-Identifier: GPL-2.0

#include <linux/memcontrol.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <net/inet_common.h>
#include <net/tcp.h>

#include "helpers.h"

/*
 * In a softirq, TCP charges what a packet needs beyond the limit of the control group,
 * within the bounds of its buffers. What it charges in a task may call the group's
 * OOM killer, which is right for what the task sends, but not for packets that waited
 * for it to release the lock, nor in a worker: any peer can cause that. So in this
 * scope, a task goes beyond the limit as a softirq does. What is allocated by the
 * rules of sk_allocation takes nothing from the reserves for it, headers that TCP
 * makes as if in a softirq may; and none of ours is allocated in it.
 */
unsigned int sp_helper_worker_begin(void)
{
	return current->flags & PF_KTHREAD ? memalloc_noreclaim_save() : 0;
}

void sp_helper_worker_end(unsigned int flags)
{
	memalloc_noreclaim_restore(flags);
}

/* Leaves that scope for a callback, as softirqs do for what they interrupt. */
unsigned int sp_helper_callback_begin(void)
{
	unsigned int flags = 0;

	if (in_task()) {
		flags = current->flags & PF_MEMALLOC;
		current->flags &= ~PF_MEMALLOC;
	}
	return flags;
}

void sp_helper_callback_end(unsigned int flags)
{
	if (flags)
		current->flags |= flags;
}

void sp_helper_lock_sock(struct sock *sk)
{
	lock_sock(sk);
}

/* Handles the packets that came while the lock was held. */
void sp_helper_release_sock(struct sock *sk)
{
	unsigned int flags = mem_cgroup_sk_enabled(sk) ? memalloc_noreclaim_save() : 0;

	release_sock(sk);
	memalloc_noreclaim_restore(flags);
}

/* Zero leaves a buffer to TCP's autotuning. */
void sp_helper_tcp_buffers(struct sock *sk, int sndbuf, int rcvbuf)
{
	if (rcvbuf)
		sock_set_rcvbuf(sk, rcvbuf / 2);
	if (sndbuf) {
		lock_sock(sk);
		sk->sk_userlocks |= SOCK_SNDBUF_LOCK;
		WRITE_ONCE(sk->sk_sndbuf, max_t(int, sndbuf, SOCK_MIN_SNDBUF));
		sk->sk_write_space(sk);
		release_sock(sk);
	}
}

int sp_helper_tcp_getsockopt(struct sock *sk, int level, int name, char __user *value,
			     int __user *len)
{
	return READ_ONCE(sk->sk_prot)->getsockopt(sk, level, name, value, len);
}

void sp_helper_copy_priority(struct sock *to, const struct sock *from)
{
	WRITE_ONCE(to->sk_priority, READ_ONCE(from->sk_priority));
}

int sp_helper_tcp_local(const struct sock *sk, struct sockaddr_in6 *name)
{
	const struct inet_sock *inet = inet_sk(sk);
	struct sockaddr_in *in = (struct sockaddr_in *)name;

#if IS_ENABLED(CONFIG_IPV6)
	if (sk->sk_family == AF_INET6) {
		name->sin6_family = AF_INET6;
		name->sin6_port = READ_ONCE(inet->inet_sport);
		name->sin6_addr = sk->sk_v6_rcv_saddr;
		name->sin6_scope_id = ipv6_iface_scope_id(&name->sin6_addr, sk->sk_bound_dev_if);
		return sizeof(*name);
	}
#endif
	in->sin_family = AF_INET;
	in->sin_port = READ_ONCE(inet->inet_sport);
	in->sin_addr.s_addr = READ_ONCE(inet->inet_rcv_saddr);
	return sizeof(*in);
}

void sp_helper_callbacks(const struct sock *sk, struct sp_callbacks *callbacks)
{
	callbacks->state_change = sk->sk_state_change;
	callbacks->data_ready = sk->sk_data_ready;
	callbacks->write_space = sk->sk_write_space;
	callbacks->error_report = sk->sk_error_report;
}

static void sp_set_callbacks(struct sock *sk, const struct sp_callbacks *callbacks)
{
	WRITE_ONCE(sk->sk_state_change, callbacks->state_change);
	WRITE_ONCE(sk->sk_data_ready, callbacks->data_ready);
	WRITE_ONCE(sk->sk_write_space, callbacks->write_space);
	WRITE_ONCE(sk->sk_error_report, callbacks->error_report);
}

int sp_helper_attach(struct sock *sk, void *data, const struct sp_callbacks *callbacks)
{
	int err = 0;

	write_lock_bh(&sk->sk_callback_lock);
	if (__locked_read_sk_user_data_with_flags(sk, 0)) {
		err = -EBUSY;
	} else {
		__rcu_assign_sk_user_data_with_flags(sk, data, SK_USER_DATA_NOCOPY);
		sp_set_callbacks(sk, callbacks);
	}
	write_unlock_bh(&sk->sk_callback_lock);
	return err;
}

/*
 * Restores the callbacks, and takes out and returns the data, if they are those of
 * the given data_ready: somebody else's stay.
 */
void *sp_helper_detach(struct sock *sk, void (*data_ready)(struct sock *sk),
		       const struct sp_callbacks *callbacks)
{
	void *data = NULL;

	write_lock_bh(&sk->sk_callback_lock);
	if (sk->sk_data_ready == data_ready) {
		data = __locked_read_sk_user_data_with_flags(sk, 0);
		rcu_assign_sk_user_data(sk, NULL);
		sp_set_callbacks(sk, callbacks);
	}
	write_unlock_bh(&sk->sk_callback_lock);
	return data;
}

/* The caller keeps the data alive: by the socket lock. */
void *sp_helper_user_data(const struct sock *sk)
{
	void *data;

	rcu_read_lock();
	data = rcu_dereference_sk_user_data(sk);
	rcu_read_unlock();
	return data;
}

/* In the write_space callback: whether there is room; if so, no more calls until it is wanted. */
bool sp_helper_tcp_writeable(struct sock *sk)
{
	if (!sk_stream_is_writeable(sk))
		return false;
	if (sk->sk_socket)
		clear_bit(SOCK_NOSPACE, &sk->sk_socket->flags);
	return true;
}

int sp_helper_tcp_state(const struct sock *sk)
{
	return READ_ONCE(sk->sk_state);
}

bool sp_helper_tcp_at_end(const struct sock *sk)
{
	return (READ_ONCE(sk->sk_shutdown) & RCV_SHUTDOWN) ||
	       READ_ONCE(sk->sk_state) == TCP_CLOSE;
}

bool sp_helper_tcp_unacked(const struct sock *sk)
{
	return READ_ONCE(sk->sk_state) != TCP_CLOSE && !tcp_rtx_and_write_queues_empty(sk);
}

/* After -EAGAIN: whether it was for want of memory, so that no ACK is going to call write_space. */
bool sp_helper_tcp_starved(const struct sock *sk)
{
	return sk_stream_is_writeable(sk) || tcp_rtx_and_write_queues_empty(sk);
}

/* The socket lock is held. */
int sp_helper_tcp_unread(struct sock *sk)
{
	return tcp_inq(sk);
}

/*
 * After reading, in the middle of what is waited for: lets the peer send a segment
 * as large as it likes. On loopback that is half of what an untuned buffer holds,
 * or more than that, and TCP tunes only where reading never pauses; nor does it tell
 * of a window that has grown by less than double since it acknowledged what we have
 * just read. The peer would wait for a probe timer each time.
 *
 * What waits in the backlog counts until all of it is handled. If we are called from
 * there, the answer is true: there will be room that the peer is not told of.
 */
bool sp_helper_tcp_tell_window(struct sock *sk)
{
	struct tcp_sock *tp = tcp_sk(sk);
	int want = 2 * tp->advmss;
	u32 told, room;

	if (tcp_full_space(sk) < want && !(sk->sk_userlocks & SOCK_RCVBUF_LOCK) &&
	    !tcp_under_memory_pressure(sk)) {
		int space = min(tcp_space_from_win(sk, want),
				READ_ONCE(sock_net(sk)->ipv4.sysctl_tcp_rmem[2]));

		WRITE_ONCE(sk->sk_rcvbuf, max(sk->sk_rcvbuf, space));
		if (tp->window_clamp < want)
			WRITE_ONCE(tp->window_clamp, want);
		tp->rcv_ssthresh = max_t(u32, tp->rcv_ssthresh, want);
	}
	told = tcp_receive_window(tp);
	if (told >= tp->advmss ||
	    !((1 << sk->sk_state) & (TCPF_ESTABLISHED | TCPF_FIN_WAIT1 | TCPF_FIN_WAIT2)))
		return false;
	if (READ_ONCE(sk->sk_backlog.len))
		return true;
	room = min_t(int, tcp_space(sk), tp->rcv_ssthresh);
	if (room > told + tp->advmss / 8)
		__tcp_send_ack(sk, tp->rcv_nxt, 0);
	return false;
}

bool sp_helper_tcp_urgent(const struct sock *sk)
{
	return tcp_sk(sk)->urg_data;
}

bool sp_helper_tcp_short(const struct sock *sk)
{
	return tcp_under_memory_pressure(sk);
}

unsigned int sp_helper_tcp_srtt_ms(const struct sock *sk)
{
	return (tcp_sk(sk)->srtt_us >> 3) / USEC_PER_MSEC;
}

/*
 * The socket lock is held. @flags may have MSG_SPLICE_PAGES: then the bytes are in pages that
 * have counts, and stay as they are; TCP is not told that they are not shared, or what
 * encrypts and decrypts in place would change them for others. Else they are copied.
 */
int sp_helper_tcp_send(struct sock *sk, struct kvec *vec, size_t segments, size_t bytes,
		       unsigned int flags)
{
	struct msghdr msg = { .msg_flags = MSG_DONTWAIT | MSG_NOSIGNAL | flags };
	unsigned int scope = sp_helper_worker_begin();
	int sent;

	iov_iter_kvec(&msg.msg_iter, ITER_SOURCE, vec, segments, bytes);
	sent = tcp_sendmsg_locked(sk, &msg, bytes);
	sp_helper_worker_end(scope);
	return sent;
}

/* Whether the bytes of a packet can be read where they are. */
static bool sp_skb_readable(const struct sk_buff *skb)
{
	return !IS_ENABLED(CONFIG_HIGHMEM) && skb_frags_readable(skb);
}

/*
 * What it pins to keep what is at @start, which is byte @offset of a packet: whole pages. 0
 * if it is not in any of its own, or in pages that somebody else may still write to: what a
 * program of this machine has spliced into its connection, or lets be sent from where it is.
 */
unsigned int sp_helper_skb_pins(const struct sk_buff *skb, unsigned int offset, const void *start)
{
	struct page *head;

	if (offset < skb_headlen(skb) || skb_zcopy((struct sk_buff *)skb))
		return 0;
	head = virt_to_head_page(start);
	if (skb_has_shared_frag(skb) && !sp_helper_chunk_has(head))
		return 0;
	return page_size(head);
}

void sp_helper_pages_get(const void *start)
{
	get_page(virt_to_head_page(start));
}

void sp_helper_pages_put(const void *start)
{
	put_page(virt_to_head_page(start));
}

bool sp_helper_pages_same(const void *start, const void *other)
{
	return virt_to_head_page(start) == virt_to_head_page(other);
}

/* For the unit tests. */
void *sp_helper_pages_of(const void *bytes, size_t len)
{
	struct page *page = alloc_pages(GFP_KERNEL | __GFP_COMP, get_order(len));

	return page ? memcpy(page_address(page), bytes, len) : NULL;
}

/*
 * Some contiguous bytes of a packet from @offset on, and how many they are: as many as
 * there are, where frags follow each other in the same pages. NULL if they are elsewhere.
 */
const void *sp_helper_skb_part(const struct sk_buff *skb, unsigned int offset, unsigned int *len)
{
	const struct skb_shared_info *info = skb_shinfo(skb);
	const void *start, *end;
	unsigned int size, i;
	struct page *head;

	if (offset < skb_headlen(skb)) {
		*len = skb_headlen(skb) - offset;
		return skb->data + offset;
	}
	if (!sp_skb_readable(skb))
		return NULL;
	offset -= skb_headlen(skb);
	for (i = 0; i < info->nr_frags; i++) {
		size = skb_frag_size(&info->frags[i]);
		if (offset < size)
			break;
		offset -= size;
	}
	if (i == info->nr_frags)
		return NULL;
	head = compound_head(skb_frag_page(&info->frags[i]));
	end = page_address(head) + page_size(head);
	start = skb_frag_address(&info->frags[i]) + offset;
	*len = size - offset;
	while (++i < info->nr_frags && start + *len < end &&
	       skb_frag_address(&info->frags[i]) == start + *len)
		*len += skb_frag_size(&info->frags[i]);
	return start;
}

/*
 * Whether so many more bytes may never come unless some are read: the peer sees no
 * window for them, or none for a segment as large as it likes to send.
 */
bool sp_helper_tcp_cramped(const struct sock *sk, unsigned int missing)
{
	u32 least = max_t(u32, missing, inet_csk(sk)->icsk_ack.rcv_mss);

	return tcp_receive_window(tcp_sk(sk)) <= least || tcp_under_memory_pressure(sk);
}

/*
 * What TCP holds beyond what it may send now only makes its queue longer: some megabytes,
 * which nobody reads any sooner for it. Our pipes have the next ones ready.
 */
#define SP_NOT_SENT SZ_512K

/* For a socket that nobody else knows yet. A v6 wildcard takes v4 too, whatever the sysctl says. */
void sp_helper_tcp_defaults(struct sock *sk)
{
	tcp_sock_set_nodelay(sk);
	WRITE_ONCE(tcp_sk(sk)->notsent_lowat,
		   min_t(u32, READ_ONCE(sock_net(sk)->ipv4.sysctl_tcp_notsent_lowat), SP_NOT_SENT));
	sock_set_keepalive(sk);
	sk->sk_reuse = SK_CAN_REUSE;
	sk->sk_allocation |= __GFP_NOMEMALLOC;
#if IS_ENABLED(CONFIG_IPV6)
	sk->sk_ipv6only = 0;
#endif
}

void sp_helper_tcp_abort_on_close(struct sock *sk)
{
	sock_no_linger(sk);
}

void sp_helper_listen_wait(struct socket *listener, struct wait_queue_entry *entry,
			   wait_queue_func_t func, void *data)
{
	init_waitqueue_func_entry(entry, func);
	entry->private = data;
	add_wait_queue(&listener->wq.wait, entry);
}

void sp_helper_listen_unwait(struct socket *listener, struct wait_queue_entry *entry)
{
	remove_wait_queue(&listener->wq.wait, entry);
}

/*
 * As listen() for one that listens. For one that was closed (SOCK_DESTROY), that
 * would bring it back, but with the shutdown that it was closed with, which its
 * connections would inherit.
 */
int sp_helper_listen(struct sock *sk, int backlog)
{
	int err = -EINVAL;

	lock_sock(sk);
	if (sk->sk_state == TCP_LISTEN) {
		WRITE_ONCE(sk->sk_max_ack_backlog, backlog);
		err = 0;
	}
	release_sock(sk);
	return err;
}

/*
 * Stops listening; the port stays taken, also one that bind() has chosen, and for
 * those as well that would share it with who does not listen (SO_REUSEADDR).
 */
void sp_helper_listen_stop(struct socket *listener)
{
	lock_sock(listener->sk);
	listener->sk->sk_userlocks |= SOCK_BINDPORT_LOCK;
	listener->sk->sk_reuse = SK_NO_REUSE;
	release_sock(listener->sk);
	kernel_sock_shutdown(listener, SHUT_RD);
}

/*
 * Makes a fresh connection what one from our own listener is. It may have waited
 * at another listener of an SO_REUSEPORT group, an ordinary one of the same user,
 * which stopped: tcp_migrate_req and BPF then move it to us, with the options of
 * that one. Those that act upon us are put back, in this order:
 *
 * - The callbacks, whoever's they are.
 * - What fills the error queue (SO_TIMESTAMPING, SO_TXTIME, SO_WIFI_STATUS,
 *   IP_RECVERR, IPV6_RECVERR): nobody reads it, and it counts as received bytes,
 *   so that the connection would come to a halt. IP_RECVERR besides makes of an
 *   ICMP message an error that ends it.
 * - SO_LINGER: closing would wait, with a socket's endpoints locked.
 * - SO_RCVLOWAT: a small message would not be announced. SO_OOBINLINE: urgent data
 *   is not to pass for a part of the stream.
 * - What is on by default here (TCP_NODELAY, SO_KEEPALIVE, SO_REUSEADDR), and
 *   TCP_CORK. If our user has turned it off, that is set again afterwards.
 *
 * Refused is what has another owner or another protocol inside: user data (sockmap,
 * other modules), a ULP (kTLS, MPTCP), a replaced struct proto, a kernel socket,
 * which does not hold its namespace, and TCP_REPAIR.
 *
 * The rest is left: how the packets look and where they go (marks, devices, filters,
 * congestion control, pacing, timeouts, buffer sizes), which the user has asked for
 * at this port; and what only concerns calls that we do not make (SO_ZEROCOPY,
 * SO_PEEK_OFF, SO_BUSY_POLL, timeouts of calls, control messages).
 *
 * The socket lock is held. Without an effect on our own, which have all this.
 */
static bool sp_adopt(struct sock *sk, const struct sock *listener,
		     const struct sp_callbacks *callbacks)
{
	bool foreign;

	write_lock_bh(&sk->sk_callback_lock);
	foreign = sk->sk_user_data || inet_csk(sk)->icsk_ulp_ops || tcp_sk(sk)->repair ||
		  !sk->sk_net_refcnt || sk->sk_prot != listener->sk_prot_creator;
	if (!foreign)
		sp_set_callbacks(sk, callbacks);
	write_unlock_bh(&sk->sk_callback_lock);
	if (foreign)
		return false;

	WRITE_ONCE(sk->sk_tsflags, 0);
	sk->sk_txtime_report_errors = 0;
	sock_reset_flag(sk, SOCK_WIFI_STATUS);
	inet_clear_bit(RECVERR, sk);
	inet6_clear_bit(RECVERR6, sk);
	skb_queue_purge(&sk->sk_error_queue);
	sock_error(sk);

	sock_reset_flag(sk, SOCK_LINGER);
	sock_reset_flag(sk, SOCK_URGINLINE);
	WRITE_ONCE(sk->sk_rcvlowat, 1);

	tcp_sk(sk)->nonagle = TCP_NAGLE_OFF;
	if (!sock_flag(sk, SOCK_KEEPOPEN)) {
		sk->sk_prot->keepalive(sk, true);
		sock_set_flag(sk, SOCK_KEEPOPEN);
	}
	sk->sk_reuse = SK_CAN_REUSE;
	sk->sk_allocation |= __GFP_NOMEMALLOC;
	return true;
}

/*
 * Does as kernel_accept() does, without waiting, and makes the connection @owner's,
 * also in what it costs: its memory cgroup is set before __inet_accept() charges
 * what has arrived. That finds none for the worker that we are, since it is in the
 * root cgroup, and leaves this one. (Set afterwards, what was never charged would
 * be uncharged.) The struct socket and the sock are charged to it as well.
 *
 * Where the group has no room nobody is accepted. The probe is given back, and serves
 * what is charged next; what does not fit goes beyond the limit.
 *
 * Return: 0 or -EAGAIN; -EINVAL if it is no listener any more; -ECONNABORTED if the
 * connection was not to be had; else it still waits.
 */
int sp_helper_tcp_accept(struct socket *listener, struct socket **accepted,
			 const struct sock *owner, const struct sp_callbacks *callbacks)
{
	struct proto_accept_arg arg = { .flags = O_NONBLOCK, .err = -EINVAL, .kern = true };
	const struct proto_ops *ops = READ_ONCE(listener->ops);
	struct sock *child, *sk = listener->sk;
	struct mem_cgroup *memcg, *outer;
	unsigned int flags;
	bool adopted;
	void *probe;
	int err;

	if (READ_ONCE(sk->sk_state) != TCP_LISTEN)
		return -EINVAL;
	/* Who comes now wakes us again. */
	if (reqsk_queue_empty(&inet_csk(sk)->icsk_accept_queue))
		return -EAGAIN;

	memcg = mem_cgroup_sk_enabled(owner) ? mem_cgroup_from_sk(owner) : NULL;
	outer = set_active_memcg(memcg);
	probe = kmalloc(PAGE_SIZE, GFP_NOWAIT | __GFP_ACCOUNT | __GFP_NOWARN);
	kfree(probe);
	err = -ENOMEM;
	if (probe)
		err = sock_create_lite(sk->sk_family, sk->sk_type, sk->sk_protocol, accepted);
	set_active_memcg(outer);
	if (err)
		return err;
	/* The sock takes it over from there. */
	SOCK_INODE(*accepted)->i_uid = owner->sk_uid;

	child = READ_ONCE(sk->sk_prot)->accept(sk, &arg);
	if (!child) {
		sock_release(*accepted);
		return arg.err;
	}

	lock_sock(child);
#ifdef CONFIG_MEMCG
	if (memcg) {
		css_get(&memcg->css);
		child->sk_memcg = memcg;
	}
#endif
	flags = sp_helper_worker_begin();
	outer = set_active_memcg(memcg);
	__inet_accept(listener, *accepted, child);
	set_active_memcg(outer);
	adopted = sp_adopt(child, sk, callbacks);
	release_sock(child);

	(*accepted)->ops = ops;
	__module_get(ops->owner);
	err = 0;
	if (!adopted) {
		sock_release(*accepted);
		err = -ECONNABORTED;
	}
	sp_helper_worker_end(flags);
	return err;
}
