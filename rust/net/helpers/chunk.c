// SPDX-License-Identifier: GPL-2.0

#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include "helpers.h"

void *sp_helper_chunk_alloc(size_t size, bool paged, gfp_t flags)
{
	struct page *page;

	if (!paged)
		return kmalloc(size, flags);
	page = alloc_pages(flags | __GFP_COMP, get_order(size));
	return page ? page_address(page) : NULL;
}

void sp_helper_chunk_free(void *start, bool paged)
{
	if (paged)
		put_page(virt_to_page(start));
	else
		kfree(start);
}
