// SPDX-License-Identifier: GPL-2.0

#include <linux/mm.h>
#include <linux/workqueue.h>

#include "helpers.h"

struct workqueue_struct *sp_helper_alloc_workqueue(const char *name)
{
	return alloc_workqueue("%s", WQ_UNBOUND, 0, name);
}

u64 sp_helper_memory(void)
{
	return (u64)totalram_pages() << PAGE_SHIFT;
}
