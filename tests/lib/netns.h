/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Network namespaces of a test's own, with loopback up.
 */
#ifndef SP_TESTS_NETNS_H
#define SP_TESTS_NETNS_H

#include "must.h"

#include <stdbool.h>

/* Moves this process into a fresh namespace. Needs root. */
#define netns_enter_new() AT(netns_enter_new_())
void netns_enter_new_(void);

/*
 * Stretches a veth pair from here into the namespace of process @pid: the near
 * end is called @name. It goes away with either namespace, so its absence here
 * proves that the far one is gone. False if this kernel has no veth.
 */
#define netns_veth(name, pid) AT(netns_veth_((name), (pid)))
bool netns_veth_(const char *name, int pid);

#endif
