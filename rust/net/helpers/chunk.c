// SPDX-License-Identifier: GPL-2.0

#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include "helpers.h"

/* Its address is the private data of our pages, by which a receiver on this machine knows them. */
static const char sp_chunk_mark;

/* Pages are charged by whoever has them: those who receive may keep them after we do. */
void *sp_helper_chunk_alloc(size_t size, bool paged, gfp_t flags)
{
	struct page *page;

	if (!paged)
		return kmalloc(size, flags);
	page = alloc_pages((flags | __GFP_COMP) & ~__GFP_ACCOUNT, get_order(size));
	if (!page)
		return NULL;
	set_page_private(page, (unsigned long)&sp_chunk_mark);
	return page_address(page);
}

bool sp_helper_chunk_has(struct page *head)
{
	return page_private(head) == (unsigned long)&sp_chunk_mark;
}

/*
 * Whether nobody else has the pages. Who had them has released them after the last use, and
 * what we are going to write depends on that count.
 */
bool sp_helper_chunk_is_ours(const void *start)
{
	return page_ref_count(virt_to_page(start)) == 1;
}

void sp_helper_chunk_free(void *start, bool paged)
{
	if (paged)
		put_page(virt_to_page(start));
	else
		kfree(start);
}
