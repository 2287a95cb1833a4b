/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What bindgen reads to make the Rust side of the user-space interface: the
 * kernel's user-space headers where the module is built, the machine's where
 * its pure code is compiled for the machine.
 */
#include <asm/errno.h>
#include <asm/poll.h>
#include <asm/socket.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/tcp.h>

#include <linux/sp.h>

/* Younger than Debian 12's headers. */
#ifndef IP_LOCAL_PORT_RANGE
#define IP_LOCAL_PORT_RANGE	51
#endif
