/* SPDX-License-Identifier: GPL-2.0 */
/* What bindgen reads to make the bindings that the kernel crate lacks. */
#include <asm/ioctls.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/kthread.h>
#include <linux/net.h>
#include <linux/random.h>
#include <linux/skbuff.h>
#include <linux/sockios.h>
#include <linux/timekeeping.h>
#include <linux/workqueue.h>
#include <net/sock.h>
#include <net/tcp.h>
#include <net/tcp_states.h>

#include "helpers.h"
