/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A control group (v2) of a test's own, with the memory controller.
 */
#ifndef SP_TESTS_CGROUP_H
#define SP_TESTS_CGROUP_H

#include "must.h"

struct cgroup {
	char root[32], path[64];
	int fd;
};

#define cgroup_make(g) AT(cgroup_make_((g)))
void cgroup_make_(struct cgroup *g);
/* Its processes have ended; what is left of them has a moment to go. */
#define cgroup_end(g) AT(cgroup_end_((g)))
void cgroup_end_(struct cgroup *g);

/* Moves this process into the group, or back to where all others are. */
#define cgroup_enter(g) AT(cgroup_enter_((g)))
void cgroup_enter_(const struct cgroup *g);
#define cgroup_leave(g) AT(cgroup_leave_((g)))
void cgroup_leave_(const struct cgroup *g);

#define cgroup_set(g, name, value) AT(cgroup_set_((g), (name), (value)))
void cgroup_set_(const struct cgroup *g, const char *name, long value);
/* A file with one number, and one of lines with a name and a number each. */
#define cgroup_get(g, name) AT(cgroup_get_((g), (name)))
long cgroup_get_(const struct cgroup *g, const char *name);
#define cgroup_stat(g, name, key) AT(cgroup_stat_((g), (name), (key)))
long cgroup_stat_(const struct cgroup *g, const char *name, const char *key);
/* The bytes of pages that SP sockets are charged for, of all groups, as /proc/net/protocols has them. */
#define sp_in_pages() AT(sp_in_pages_())
long sp_in_pages_(void);
/*
 * What the group is charged for, without what TCP has; that goes beyond a limit. What
 * SP sockets keep of it is theirs, give or take what the CPUs have at hand of that.
 */
#define cgroup_without_tcp(g) AT(cgroup_without_tcp_((g)))
long cgroup_without_tcp_(const struct cgroup *g);

#endif
