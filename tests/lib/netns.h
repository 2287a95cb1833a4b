/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Network namespaces of a test's own, with loopback up.
 */
#ifndef SP_TESTS_NETNS_H
#define SP_TESTS_NETNS_H

#include "must.h"
#include "task.h"

#include <stdbool.h>

/* Moves this process into a fresh namespace. Needs root. */
#define netns_enter_new() AT(netns_enter_new_())
void netns_enter_new_(void);

/*
 * A process in a namespace of its own, and a veth pair from here into that: the
 * near end is called @name. It goes away with either namespace, so its absence
 * here proves that the far one is gone.
 */
struct neighbour {
	const char *name;
	pid_t pid;
	struct meet go;
};

/* False if this kernel has no veth. Its last act is to call @leave. */
#define neighbour_start(n, name, leave) \
	AT(neighbour_start_((n), (name), (leave)))
bool neighbour_start_(struct neighbour *n, const char *name,
		      void (*leave)(void));

/* Lets it go, and waits until its namespace has gone, too. */
#define neighbour_end(n) AT(neighbour_end_((n)))
void neighbour_end_(struct neighbour *n);

#endif
