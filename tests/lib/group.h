/* SPDX-License-Identifier: GPL-2.0 */
/*
 * SO_REUSEPORT groups of an SP listener and an ordinary one, between which
 * connections that nobody has accepted move when one of them stops.
 */
#ifndef SP_TESTS_GROUP_H
#define SP_TESTS_GROUP_H

#include "must.h"
#include "sock.h"

/* Lets them move, in this network namespace. */
#define group_may_migrate() AT(group_may_migrate_())
void group_may_migrate_(void);

/* An ordinary listener, and an SP one, that share their address with others. */
#define group_listen(addr) AT(group_listen_((addr)))
int group_listen_(const struct addr *addr);
#define group_sp_bind(type, addr) AT(group_sp_bind_((type), (addr)))
int group_sp_bind_(int type, const struct addr *addr);

/*
 * Connections that arrived at an SP listener, which was closed (or destroyed,
 * while @keep was its socket) before it took them, and were accepted by an
 * ordinary one.
 */
enum { GROUP_SIZE = 6 };
struct moved {
	int from[GROUP_SIZE], at[GROUP_SIZE];
};

#define group_move(m, keep) AT(group_move_((m), (keep)))
void group_move_(struct moved *m, int *keep);

/* Each of them is read from, and what is sent to it then wakes the reader. */
#define group_expect_heard(m) AT(group_expect_heard_((m)))
void group_expect_heard_(struct moved *m);

#endif
