// SPDX-License-Identifier: GPL-2.0

#include <linux/cred.h>
#include <linux/memcontrol.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/user_namespace.h>
#include <net/sock.h>

#include "helpers.h"

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

/* Whether the task that runs may do what SO_RCVBUFFORCE does. */
bool sp_helper_may_force(void)
{
	return sockopt_capable(CAP_NET_ADMIN);
}

void sp_helper_sock_hold(struct sock *sk)
{
	sock_hold(sk);
}

void sp_helper_sock_put(struct sock *sk)
{
	sock_put(sk);
}

struct net *sp_helper_sock_net(const struct sock *sk)
{
	return sock_net(sk);
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

int sp_helper_sndbuf(const struct sock *sk)
{
	return READ_ONCE(sk->sk_sndbuf);
}

int sp_helper_rcvbuf(const struct sock *sk)
{
	return READ_ONCE(sk->sk_rcvbuf);
}

void sp_helper_forget_error(struct sock *sk)
{
	sock_error(sk);
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

/* Whether nothing of a control group's limits is in the way of so many more bytes. */
static bool sp_has_room(const struct sock *sk, unsigned int bytes)
{
#ifdef CONFIG_MEMCG
	unsigned long pages = PFN_UP(bytes);
	struct mem_cgroup *memcg;

	for (memcg = mem_cgroup_from_sk(sk); memcg; memcg = parent_mem_cgroup(memcg)) {
		if (page_counter_read(&memcg->memory) + pages > READ_ONCE(memcg->memory.max))
			return false;
	}
#endif
	return true;
}

/* Whether what a socket is charged for is charged to the task's control group. */
bool sp_helper_charges_current(const struct sock *sk)
{
	struct mem_cgroup *memcg;
	bool same;

	rcu_read_lock();
	memcg = mem_cgroup_from_task(current);
	if (memcg && mem_cgroup_is_root(memcg))
		memcg = NULL;
	same = memcg == mem_cgroup_from_sk(sk);
	rcu_read_unlock();
	return same;
}

/*
 * Charges pages that TCP has as well, or had, as TCP itself does. With bottom halves off
 * that goes beyond the limit of a control group, which it is therefore compared with
 * before; so it is beyond by no more than what is charged at a time on all CPUs. Nobody
 * else has sk_forward_alloc of our sockets: this spinlock is for it.
 */
bool sp_helper_charge(struct sock *sk, unsigned int bytes)
{
	bool charged = false;
	int missing;

	spin_lock_bh(&sk->sk_lock.slock);
	if (sp_has_room(sk, bytes)) {
		missing = bytes - sk->sk_forward_alloc;
		charged = missing <= 0 || __sk_mem_schedule(sk, missing, SK_MEM_RECV);
	}
	if (charged)
		sk_mem_charge(sk, bytes);
	spin_unlock_bh(&sk->sk_lock.slock);
	return charged;
}

void sp_helper_uncharge(struct sock *sk, unsigned int bytes)
{
	spin_lock_bh(&sk->sk_lock.slock);
	sk_mem_uncharge(sk, bytes);
	spin_unlock_bh(&sk->sk_lock.slock);
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
		/* Who is alone was taken off the queue by that. */
		if (exclusive != 1 && waitqueue_active(&wq->wait))
			__wake_up(&wq->wait, TASK_INTERRUPTIBLE,
				  exclusive ? exclusive - 1 : 0, poll_to_key(key));
	}
	sk_wake_async_rcu(sk, how, band);
	rcu_read_unlock();
}

void sp_helper_state_change(struct sock *sk)
{
	sk->sk_state_change(sk);
}

void sp_helper_async_nospace(struct sock *sk)
{
	sk_set_bit(SOCKWQ_ASYNC_NOSPACE, sk);
}

long sp_helper_timeo(const struct sock *sk, bool rcv, bool noblock)
{
	return rcv ? sock_rcvtimeo(sk, noblock) : sock_sndtimeo(sk, noblock);
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

bool sp_helper_signal_pending(void)
{
	return signal_pending(current);
}

int sp_helper_intr_errno(long timeo)
{
	return sock_intr_errno(timeo);
}
