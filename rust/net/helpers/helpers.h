/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What Rust cannot call itself: macros, inlines, and a few coarse steps of the
 * hot paths that would otherwise be many calls. Nothing here decides anything
 * about messages. Each Rust module that needs some has a file of its name here.
 */
#ifndef _SP_NET_HELPERS_H
#define _SP_NET_HELPERS_H

#include <linux/kthread.h>
#include <linux/net.h>
#include <linux/poll.h>
#include <linux/seq_file.h>
#include <linux/wait.h>
#include <net/sock.h>

/* The callbacks of a TCP socket that we replace. */
struct sp_callbacks {
	void (*state_change)(struct sock *sk);
	void (*data_ready)(struct sock *sk);
	void (*write_space)(struct sock *sk);
	void (*error_report)(struct sock *sk);
};

/* An integer from 0 to max in a folder of /proc/sys/net. */
struct sp_knob {
	const char *name;
	int *value;
	int *max;
};

/* One sleeping task; woken by keyless wake-ups and those that share a bit with key. */
struct sp_waiter {
	struct wait_queue_entry entry;
	__poll_t key;
};

/* The parent of a process, and when this was started on the monotonic clock. */
struct sp_birth {
	const struct pid *parent;
	u64 at;
	bool adopted;
};

/* For chunk.rs. */
void *sp_helper_chunk_alloc(size_t size, bool paged, gfp_t flags);
bool sp_helper_chunk_has(struct page *head);
bool sp_helper_chunk_is_ours(const void *start);
void sp_helper_chunk_free(void *start, bool paged);

/* For lock.rs. */
bool sp_helper_spin_lock_bh(spinlock_t *lock);
void sp_helper_spin_unlock_bh(spinlock_t *lock, bool disabled);
int sp_helper_spin_trylock_bh(spinlock_t *lock);

/* For setting.rs. */
const struct cred *sp_helper_current_cred(void);
void sp_helper_put_cred(const struct cred *cred);
int sp_helper_setsockopt(struct sock *sk, const struct cred *cred, int level, int name,
			 const void *value, size_t len);

/* For trace.rs. */
bool sp_helper_traces_messages(bool in);
void sp_helper_trace_messages(bool in, u64 inode, const void *peer, unsigned int messages,
			      u64 bytes);
void sp_helper_trace_drop(u64 inode, const char *reason, unsigned int messages);
void sp_helper_trace_pipe(bool up, u64 inode, const void *peer, const char *reason);

/* For sock.rs. */
u64 sp_helper_user(void);
bool sp_helper_may_force(void);
void sp_helper_sock_hold(struct sock *sk);
void sp_helper_sock_put(struct sock *sk);
struct net *sp_helper_sock_net(const struct sock *sk);
void sp_helper_set_reuseport(struct sock *sk, bool on);
int sp_helper_bound_device(const struct sock *sk);
int sp_helper_sndbuf(const struct sock *sk);
int sp_helper_rcvbuf(const struct sock *sk);
void sp_helper_forget_error(struct sock *sk);
bool sp_helper_charge_begin(const struct sock *sk, struct mem_cgroup **old);
void sp_helper_charge_end(struct mem_cgroup *old);
void sp_helper_reclaim(void);
bool sp_helper_charges_current(const struct sock *sk);
bool sp_helper_charge(struct sock *sk, unsigned int bytes);
void sp_helper_uncharge(struct sock *sk, unsigned int bytes);
void sp_helper_fixed_buffers(const struct sock *sk, int *sndbuf, int *rcvbuf);
bool sp_helper_linger(const struct sock *sk, unsigned long *time);
void sp_helper_wake(struct sock *sk, __poll_t key, int exclusive, int how, int band);
void sp_helper_state_change(struct sock *sk);
void sp_helper_async_nospace(struct sock *sk);
long sp_helper_timeo(const struct sock *sk, bool rcv, bool noblock);
void sp_helper_waiter_init(struct sp_waiter *waiter, __poll_t key);
void sp_helper_waiter_prepare(struct sock *sk, struct sp_waiter *waiter, bool exclusive);
void sp_helper_waiter_finish(struct sock *sk, struct sp_waiter *waiter);
bool sp_helper_signal_pending(void);
int sp_helper_intr_errno(long timeo);

/* For stream.rs. */
unsigned int sp_helper_worker_begin(void);
void sp_helper_worker_end(unsigned int flags);
unsigned int sp_helper_callback_begin(void);
void sp_helper_callback_end(unsigned int flags);
void sp_helper_lock_sock(struct sock *sk);
void sp_helper_release_sock(struct sock *sk);
void sp_helper_tcp_buffers(struct sock *sk, int sndbuf, int rcvbuf);
int sp_helper_tcp_getsockopt(struct sock *sk, int level, int name, char __user *value,
			     int __user *len);
void sp_helper_copy_priority(struct sock *to, const struct sock *from);
int sp_helper_tcp_local(const struct sock *sk, struct sockaddr_in6 *name);
void sp_helper_callbacks(const struct sock *sk, struct sp_callbacks *callbacks);
int sp_helper_attach(struct sock *sk, void *data, const struct sp_callbacks *callbacks);
void *sp_helper_detach(struct sock *sk, void (*data_ready)(struct sock *sk),
		       const struct sp_callbacks *callbacks);
void *sp_helper_user_data(const struct sock *sk);
bool sp_helper_tcp_writeable(struct sock *sk);
int sp_helper_tcp_state(const struct sock *sk);
bool sp_helper_tcp_at_end(const struct sock *sk);
bool sp_helper_tcp_unacked(const struct sock *sk);
bool sp_helper_tcp_starved(const struct sock *sk);
int sp_helper_tcp_unread(struct sock *sk);
bool sp_helper_tcp_tell_window(struct sock *sk);
bool sp_helper_tcp_urgent(const struct sock *sk);
bool sp_helper_tcp_short(const struct sock *sk);
unsigned int sp_helper_tcp_srtt_ms(const struct sock *sk);
int sp_helper_tcp_send(struct sock *sk, struct kvec *vec, size_t segments, size_t bytes,
		       unsigned int flags);
unsigned int sp_helper_skb_pins(const struct sk_buff *skb, unsigned int offset, const void *start);
void sp_helper_pages_get(const void *start);
void sp_helper_pages_put(const void *start);
bool sp_helper_pages_same(const void *start, const void *other);
void *sp_helper_pages_of(const void *bytes, size_t len);
const void *sp_helper_skb_part(const struct sk_buff *skb, unsigned int offset, unsigned int *len);
bool sp_helper_tcp_cramped(const struct sock *sk, unsigned int missing);
void sp_helper_tcp_defaults(struct sock *sk);
void sp_helper_tcp_abort_on_close(struct sock *sk);
void sp_helper_listen_wait(struct socket *listener, struct wait_queue_entry *entry,
			   wait_queue_func_t func, void *data);
void sp_helper_listen_unwait(struct socket *listener, struct wait_queue_entry *entry);
int sp_helper_listen(struct sock *sk, int backlog);
void sp_helper_listen_stop(struct socket *listener);
int sp_helper_tcp_accept(struct socket *listener, struct socket **accepted,
			 const struct sock *owner, const struct sp_callbacks *callbacks);

/* For family.rs. */
size_t sp_helper_copy_now(void *to, size_t len, struct iov_iter *iter);
bool sp_helper_give_now(const void *from, size_t len, struct iov_iter *iter);
void sp_helper_proto_memory(struct proto *proto);
void sp_helper_sock_defaults(struct sock *sk);
void sp_helper_sock_inuse(struct sock *sk, int delta);
void sp_helper_sock_orphan(struct sock *sk);
void sp_helper_poll_wait(struct file *file, struct socket *sock, poll_table *table);
int sp_helper_copy_optval(void *to, sockptr_t from, size_t len);
void sp_helper_sigpipe(void);

/* For netns.rs. */
void *sp_helper_net_generic(const struct net *net, unsigned int id);
int sp_helper_proc_create(struct net *net, const char *name, const struct seq_operations *ops);
void sp_helper_proc_remove(struct net *net, const char *name);
int sp_helper_sysctl_create(struct net *net, const char *folder, const struct sp_knob *knob,
			    size_t count, void (*written)(void *object), void *object,
			    void **sysctl);
void sp_helper_sysctl_remove(void *sysctl);
struct net *sp_helper_seq_net(struct seq_file *seq);
u64 sp_helper_sock_inode(const struct sock *sk);
unsigned int sp_helper_sock_uid(struct seq_file *seq, const struct sock *sk);

/* For task.rs. */
bool sp_helper_is_urgent(void);
u64 sp_helper_switches(void);
void sp_helper_give_way(void);
void sp_helper_get_pid(struct pid *pid);
bool sp_helper_process_ended(struct pid *pid);
bool sp_helper_thread_ended(struct pid *pid);
struct pid *sp_helper_process(void);
struct pid *sp_helper_thread(void);
void sp_helper_birth(struct sp_birth *birth);
bool sp_helper_has_threads(void);
bool sp_helper_has_children(void);

/* For thread.rs. */
unsigned int sp_helper_cpus(void);
struct kthread_worker *sp_helper_worker_create(unsigned int nth);
void sp_helper_later_init(struct kthread_work *work, kthread_work_func_t func);

/* For work.rs. */
struct workqueue_struct *sp_helper_alloc_workqueue(const char *name);
u64 sp_helper_memory(void);

#endif
