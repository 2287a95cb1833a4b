/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the kernel knows of a TCP connection or listener, whoever owns it: by
 * sock_diag(7), as ss shows it.
 */
#ifndef SP_TESTS_DIAG_H
#define SP_TESTS_DIAG_H

#include "must.h"

#include <linux/inet_diag.h>
#include <linux/tcp.h>
#include <stdbool.h>
#include <stdint.h>

struct diag {
	struct inet_diag_sockid id;
	int family;
	unsigned int state;
	unsigned int uid;
	int ifindex;
	int tos, tclass;
	uint32_t mark;
	bool v6only;
	/* What its receive buffer holds, errors for the program included. */
	unsigned int rmem;
	char congestion[16];
	/* Until the keepalive timer fires; -1 if it does not run. */
	int keepalive_ms;
	/* Another timer is shown in its place: of what is not acknowledged. */
	bool keepalive_hidden;
};

/*
 * The TCP socket in this network namespace with these two ports; a listener's
 * remote port is 0. False if there is none. Root sees it all.
 */
#define diag_find(d, local, remote) AT(diag_find_((d), (local), (remote)))
bool diag_find_(struct diag *d, int local_port, int remote_port);

/*
 * The kernel's side of the connection that the raw peer @fd has, once all that
 * it sent is acknowledged.
 */
#define diag_other_end(fd) AT(diag_other_end_((fd)))
struct diag diag_other_end_(int fd);

/* Ends that socket, as `ss -K` does (SOCK_DESTROY). It has to be there. */
#define diag_destroy(local, remote) AT(diag_destroy_((local), (remote)))
void diag_destroy_(int local_port, int remote_port);

#endif
