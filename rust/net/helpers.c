// SPDX-License-Identifier: GPL-2.0

#include <linux/cred.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pid.h>
#include <linux/proc_fs.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/seq_file_net.h>
#include <linux/sysctl.h>
#include <linux/user_namespace.h>
#include <linux/workqueue.h>
#include <net/inet_common.h>
#include <net/netns/generic.h>
#include <net/tcp.h>

#include "helpers.h"

void sp_helper_spin_lock_bh(spinlock_t *lock)
{
	spin_lock_bh(lock);
}

void sp_helper_spin_unlock_bh(spinlock_t *lock)
{
	spin_unlock_bh(lock);
}

int sp_helper_spin_trylock_bh(spinlock_t *lock)
{
	return spin_trylock_bh(lock);
}

void sp_helper_sock_hold(struct sock *sk)
{
	sock_hold(sk);
}

void sp_helper_sock_put(struct sock *sk)
{
	sock_put(sk);
}

void sp_helper_sock_orphan(struct sock *sk)
{
	sock_orphan(sk);
}

struct net *sp_helper_sock_net(const struct sock *sk)
{
	return sock_net(sk);
}

void sp_helper_sock_inuse(struct sock *sk, int delta)
{
	local_bh_disable();
	sock_prot_inuse_add(sock_net(sk), sk->sk_prot, delta);
	local_bh_enable();
}

void sp_helper_lock_sock(struct sock *sk)
{
	lock_sock(sk);
}

/*
 * In a softirq, TCP charges what a packet needs beyond the limit of the control group,
 * within the bounds of its buffers. What it charges in a task may call the group's
 * OOM killer, which is right where that is a task of the group, but not in a worker:
 * any peer can cause it to run, and its backlog is packets. So in this scope, a worker
 * goes beyond the limit as a softirq does. No allocation takes from the reserves for
 * it, see sk_allocation, and none of ours is made in it.
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

/* Handles the packets that came meanwhile. */
void sp_helper_release_sock(struct sock *sk)
{
	unsigned int flags = sp_helper_worker_begin();

	release_sock(sk);
	sp_helper_worker_end(flags);
}

int sp_helper_sndbuf(const struct sock *sk)
{
	return READ_ONCE(sk->sk_sndbuf);
}

void sp_helper_forget_error(struct sock *sk)
{
	sock_error(sk);
}

int sp_helper_rcvbuf(const struct sock *sk)
{
	return READ_ONCE(sk->sk_rcvbuf);
}

void sp_helper_fixed_buffers(const struct sock *sk, int *sndbuf, int *rcvbuf)
{
	*sndbuf = sk->sk_userlocks & SOCK_SNDBUF_LOCK ? READ_ONCE(sk->sk_sndbuf) : 0;
	*rcvbuf = sk->sk_userlocks & SOCK_RCVBUF_LOCK ? READ_ONCE(sk->sk_rcvbuf) : 0;
}

bool sp_helper_linger(const struct sock *sk, unsigned long *time)
{
	*time = READ_ONCE(sk->sk_lingertime);
	return sock_flag(sk, SOCK_LINGER) && !(*time && (current->flags & PF_EXITING));
}

long sp_helper_timeo(const struct sock *sk, bool rcv, bool noblock)
{
	return rcv ? sock_rcvtimeo(sk, noblock) : sock_sndtimeo(sk, noblock);
}

int sp_helper_intr_errno(long timeo)
{
	return sock_intr_errno(timeo);
}

bool sp_helper_signal_pending(void)
{
	return signal_pending(current);
}

void sp_helper_sigpipe(void)
{
	send_sig(SIGPIPE, current, 0);
}

/*
 * The state that the sleepers test was changed under a lock that they take;
 * wq_has_sleeper() has the barrier against a task that is just going to sleep.
 */
void sp_helper_wake(struct sock *sk, __poll_t key, int exclusive, int how, int band)
{
	struct socket_wq *wq;

	rcu_read_lock();
	wq = rcu_dereference(sk->sk_wq);
	if (skwq_has_sleeper(wq)) {
		if (exclusive)
			wake_up_interruptible_sync_poll(&wq->wait, key);
		else
			__wake_up(&wq->wait, TASK_INTERRUPTIBLE, 0, poll_to_key(key));
	}
	sk_wake_async_rcu(sk, how, band);
	rcu_read_unlock();
}

static int sp_waiter_wake(struct wait_queue_entry *entry, unsigned int mode, int sync, void *key)
{
	struct sp_waiter *waiter = container_of(entry, struct sp_waiter, entry);

	if (key && !(key_to_poll(key) & waiter->key))
		return 0;
	return autoremove_wake_function(entry, mode, sync, key);
}

void sp_helper_waiter_init(struct sp_waiter *waiter, __poll_t key)
{
	init_wait(&waiter->entry);
	waiter->entry.func = sp_waiter_wake;
	waiter->key = key;
}

void sp_helper_waiter_prepare(struct sock *sk, struct sp_waiter *waiter, bool exclusive)
{
	if (exclusive)
		prepare_to_wait_exclusive(sk_sleep(sk), &waiter->entry, TASK_INTERRUPTIBLE);
	else
		prepare_to_wait(sk_sleep(sk), &waiter->entry, TASK_INTERRUPTIBLE);
}

void sp_helper_waiter_finish(struct sock *sk, struct sp_waiter *waiter)
{
	finish_wait(sk_sleep(sk), &waiter->entry);
}

void sp_helper_poll_wait(struct file *file, struct socket *sock, poll_table *table)
{
	sock_poll_wait(file, sock, table);
}

void sp_helper_async_nospace(struct sock *sk)
{
	sk_set_bit(SOCKWQ_ASYNC_NOSPACE, sk);
}

void sp_helper_state_change(struct sock *sk)
{
	sk->sk_state_change(sk);
}

int sp_helper_copy_optval(void *to, sockptr_t from, size_t len)
{
	return copy_from_sockptr(to, from, len);
}

/* What getsockopt() tells before anything was set; tcp_defaults has the same for connections. */
void sp_helper_sock_defaults(struct sock *sk)
{
	sk->sk_reuse = SK_CAN_REUSE;
	sock_set_flag(sk, SOCK_KEEPOPEN);
}

/* The socket layer refuses it to all but Internet sockets. */
void sp_helper_set_reuseport(struct sock *sk, bool on)
{
	lock_sock(sk);
	sk->sk_reuseport = on;
	release_sock(sk);
}

int sp_helper_bound_device(const struct sock *sk)
{
	return READ_ONCE(sk->sk_bound_dev_if);
}

void sp_helper_copy_priority(struct sock *to, const struct sock *from)
{
	WRITE_ONCE(to->sk_priority, READ_ONCE(from->sk_priority));
}

/* What is not a uid is the number of a user namespace of root's. */
u64 sp_helper_user(void)
{
	const struct user_namespace *ns = current_user_ns();

	if (ns == &init_user_ns)
		return __kuid_val(current_uid());
	while (ns->parent != &init_user_ns)
		ns = ns->parent;
	if (uid_eq(ns->owner, GLOBAL_ROOT_UID))
		return ns->ns.ns_id + ((u64)1 << 32);
	return __kuid_val(ns->owner);
}

/* Not counted: those of the task that runs. */
struct pid *sp_helper_process(void)
{
	return task_tgid(current);
}

struct pid *sp_helper_thread(void)
{
	return task_pid(current);
}

void sp_helper_get_pid(struct pid *pid)
{
	get_pid(pid);
}

/*
 * Whether the last thread of a process has begun to exit. The leader may have done so
 * long before, and may wait to be reaped long after.
 */
bool sp_helper_process_over(struct pid *pid)
{
	struct task_struct *leader;
	bool over;

	rcu_read_lock();
	leader = pid_task(pid, PIDTYPE_TGID);
	over = !leader || !atomic_read(&leader->signal->live);
	rcu_read_unlock();
	return over;
}

/* Whether a thread has begun to exit. */
bool sp_helper_thread_over(struct pid *pid)
{
	struct task_struct *thread;
	bool over;

	rcu_read_lock();
	thread = pid_task(pid, PIDTYPE_PID);
	over = !thread || (READ_ONCE(thread->flags) & PF_EXITING);
	rcu_read_unlock();
	return over;
}

/*
 * Where the process of the task that runs comes from. The pid of the parent is not
 * counted: it is that of a pid that somebody has counted since before, or a number.
 *
 * Orphans are adopted by the first process of a namespace and by those that asked for
 * it. (Within a process, a thread's children are adopted by another thread.)
 */
void sp_helper_birth(struct sp_birth *birth)
{
	const struct task_struct *self = current->group_leader;
	struct task_struct *parent;
	struct pid *pid;

	birth->at = self->start_time;
	rcu_read_lock();
	parent = rcu_dereference(self->real_parent);
	pid = task_tgid(parent);
	birth->parent = pid;
	birth->adopted = !pid || is_child_reaper(pid) || parent->signal->is_child_subreaper;
	rcu_read_unlock();
}

bool sp_helper_has_threads(void)
{
	return !thread_group_empty(current);
}

/* Children of the thread that runs. */
bool sp_helper_has_children(void)
{
	return !list_empty(&current->children);
}

const struct cred *sp_helper_current_cred(void)
{
	return get_current_cred();
}

void sp_helper_put_cred(const struct cred *cred)
{
	put_cred(cred);
}

/*
 * Sets an option on behalf of whom the credentials are. All that sock_setsockopt()
 * takes from the socket is its sock.
 */
int sp_helper_setsockopt(struct sock *sk, const struct cred *cred, int level, int name,
			 const void *value, size_t len)
{
	sockptr_t optval = KERNEL_SOCKPTR((void *)value);
	struct socket sock = { .sk = sk };
	const struct cred *old;
	int err;

	old = override_creds(cred);
	if (level == SOL_SOCKET)
		err = sock_setsockopt(&sock, level, name, optval, len);
	else
		err = READ_ONCE(sk->sk_prot)->setsockopt(sk, level, name, optval, len);
	revert_creds(old);
	return err;
}

int sp_helper_tcp_getsockopt(struct sock *sk, int level, int name, char __user *value,
			     int __user *len)
{
	return READ_ONCE(sk->sk_prot)->getsockopt(sk, level, name, value, len);
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

/* For a socket that nobody else knows yet. A v6 wildcard takes v4 too, whatever the sysctl says. */
void sp_helper_tcp_defaults(struct sock *sk)
{
	tcp_sock_set_nodelay(sk);
	sock_set_keepalive(sk);
	sk->sk_reuse = SK_CAN_REUSE;
	sk->sk_allocation |= __GFP_NOMEMALLOC;
#if IS_ENABLED(CONFIG_IPV6)
	sk->sk_ipv6only = 0;
#endif
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

void sp_helper_tcp_linger0(struct sock *sk)
{
	sock_no_linger(sk);
}

/* The socket lock is held. Bytes are copied. */
int sp_helper_tcp_send(struct sock *sk, struct kvec *vec, size_t segments, size_t bytes, bool more)
{
	struct msghdr msg = {
		.msg_flags = MSG_DONTWAIT | MSG_NOSIGNAL | (more ? MSG_MORE : 0),
	};
	unsigned int flags = sp_helper_worker_begin();
	int sent;

	iov_iter_kvec(&msg.msg_iter, ITER_SOURCE, vec, segments, bytes);
	sent = tcp_sendmsg_locked(sk, &msg, bytes);
	sp_helper_worker_end(flags);
	return sent;
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

/* After -EAGAIN: whether it was for want of memory, so that no ACK is going to call write_space. */
bool sp_helper_tcp_starved(const struct sock *sk)
{
	return sk_stream_is_writeable(sk) || tcp_rtx_and_write_queues_empty(sk);
}

bool sp_helper_tcp_unacked(const struct sock *sk)
{
	return READ_ONCE(sk->sk_state) != TCP_CLOSE && !tcp_rtx_and_write_queues_empty(sk);
}

/* The socket lock is held, as below. */
int sp_helper_tcp_unread(struct sock *sk)
{
	return tcp_inq(sk);
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

bool sp_helper_tcp_short(const struct sock *sk)
{
	return tcp_under_memory_pressure(sk);
}

bool sp_helper_tcp_urgent(const struct sock *sk)
{
	return tcp_sk(sk)->urg_data;
}

unsigned int sp_helper_tcp_srtt_ms(const struct sock *sk)
{
	return (tcp_sk(sk)->srtt_us >> 3) / USEC_PER_MSEC;
}

int sp_helper_tcp_state(const struct sock *sk)
{
	return READ_ONCE(sk->sk_state);
}

bool sp_helper_tcp_eof(const struct sock *sk)
{
	return (READ_ONCE(sk->sk_shutdown) & RCV_SHUTDOWN) ||
	       READ_ONCE(sk->sk_state) == TCP_CLOSE;
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
 * Ends listening; the port stays taken, also one that bind() has chosen, and for
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

void sp_helper_tcp_forget_error(struct sock *sk)
{
	sock_error(sk);
}

void *sp_helper_net_generic(const struct net *net, unsigned int id)
{
	return net_generic(net, id);
}

int sp_helper_proc_create(struct net *net, const char *name, const struct seq_operations *ops)
{
	if (!IS_ENABLED(CONFIG_PROC_FS))
		return 0;
	return proc_create_net_data(name, 0444, net->proc_net, ops, sizeof(struct seq_net_private),
				    NULL) ? 0 : -ENOMEM;
}

void sp_helper_proc_remove(struct net *net, const char *name)
{
	remove_proc_entry(name, net->proc_net);
}

struct sp_knobs {
	struct ctl_table_header *header;
	void (*written)(void *object);
	void *object;
	int min;
	struct ctl_table table[];
};

static int sp_knob_handler(const struct ctl_table *table, int write, void *buffer, size_t *lenp,
			   loff_t *ppos)
{
	struct sp_knobs *knobs = container_of(table->extra1, struct sp_knobs, min);
	int err = proc_dointvec_minmax(table, write, buffer, lenp, ppos);

	if (write && !err)
		knobs->written(knobs->object);
	return err;
}

int sp_helper_sysctl_create(struct net *net, const char *folder, const struct sp_knob *knob,
			    size_t count, void (*written)(void *object), void *object,
			    void **sysctl)
{
	struct sp_knobs *knobs;
	char path[32];
	size_t i;

	if (!IS_ENABLED(CONFIG_SYSCTL))
		return 0;
	knobs = kzalloc(struct_size(knobs, table, count), GFP_KERNEL_ACCOUNT);
	if (!knobs)
		return -ENOMEM;
	knobs->written = written;
	knobs->object = object;
	for (i = 0; i < count; i++) {
		struct ctl_table *table = &knobs->table[i];

		table->procname = knob[i].name;
		table->data = knob[i].value;
		table->maxlen = sizeof(*knob[i].value);
		table->mode = 0644;
		table->proc_handler = sp_knob_handler;
		/* By which the handler finds the rest as well. */
		table->extra1 = &knobs->min;
		table->extra2 = knob[i].max;
	}
	snprintf(path, sizeof(path), "net/%s", folder);
	knobs->header = register_net_sysctl_sz(net, path, knobs->table, count);
	if (knobs->header) {
		*sysctl = knobs;
		return 0;
	}
	kfree(knobs);
	return -ENOMEM;
}

/* Waits for handlers that run. */
void sp_helper_sysctl_remove(void *sysctl)
{
	struct sp_knobs *knobs = sysctl;

	if (!knobs)
		return;
	unregister_net_sysctl_table(knobs->header);
	kfree(knobs);
}

struct net *sp_helper_seq_net(struct seq_file *seq)
{
	return seq_file_net(seq);
}

u64 sp_helper_sock_inode(const struct sock *sk)
{
	return sock_i_ino(sk);
}

unsigned int sp_helper_sock_uid(struct seq_file *seq, const struct sock *sk)
{
	return from_kuid_munged(seq_user_ns(seq), sk_uid(sk));
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

/*
 * What is allocated for a socket outside its owner's calls is charged to the control
 * group that it was made in. False if that is none: nothing is to be charged then.
 */
bool sp_helper_charge_begin(const struct sock *sk, struct mem_cgroup **old)
{
	struct mem_cgroup *memcg = mem_cgroup_from_sk(sk);

	if (!memcg)
		return false;
	*old = set_active_memcg(memcg);
	return true;
}

void sp_helper_charge_end(struct mem_cgroup *old)
{
	set_active_memcg(old);
}

/* Reclaims from the control group, or from all, without calling the OOM killer. May sleep. */
void sp_helper_reclaim(void)
{
	kfree(kmalloc(SZ_32K, GFP_KERNEL_ACCOUNT | __GFP_NORETRY | __GFP_NOWARN));
}

/* As SO_RCVBUFFORCE asks for. */
bool sp_helper_may_force(void)
{
	return sockopt_capable(CAP_NET_ADMIN);
}

u64 sp_helper_memory(void)
{
	return (u64)totalram_pages() << PAGE_SHIFT;
}

struct workqueue_struct *sp_helper_alloc_workqueue(const char *name)
{
	return alloc_workqueue("%s", WQ_UNBOUND, 0, name);
}
