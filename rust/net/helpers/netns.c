// SPDX-License-Identifier: GPL-2.0

#include <linux/proc_fs.h>
#include <linux/seq_file_net.h>
#include <linux/sysctl.h>
#include <net/netns/generic.h>
#include <net/sock.h>

#include "helpers.h"

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
