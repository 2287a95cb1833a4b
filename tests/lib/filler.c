// SPDX-License-Identifier: GPL-2.0
#include "filler.h"
#include "must.h"

#include <stdlib.h>
#include <string.h>

/*
 * Position and seed, mixed: period 2^32 words, so no two positions of a
 * message and no two messages look alike.
 */
static uint32_t word(size_t index, uint32_t seed)
{
	uint32_t x = (uint32_t)index * 2654435761u ^ (seed + 1) * 40503u;

	return x ^ x >> 15;
}

void fill(void *buf, size_t len, uint32_t seed)
{
	unsigned char *p = buf;
	size_t i;

	for (i = 0; i < len; i += 4) {
		uint32_t w = word(i / 4, seed);

		memcpy(p + i, &w, len - i < 4 ? len - i : 4);
	}
}

size_t filled(const void *buf, size_t len, uint32_t seed)
{
	const unsigned char *p = buf;
	size_t i, j;

	for (i = 0; i < len; i += 4) {
		uint32_t w = word(i / 4, seed);
		size_t n = len - i < 4 ? len - i : 4;

		if (memcmp(p + i, &w, n) == 0)
			continue;
		for (j = 0; j < n; j++)
			if (p[i + j] != ((unsigned char *)&w)[j])
				return i + j;
	}
	return len;
}

unsigned char *filler(size_t len, uint32_t seed)
{
	unsigned char *p = malloc(len + 1);

	if (!p)
		die("no memory for a message of %zu bytes", len);
	fill(p, len, seed);
	return p;
}

void must_be_filled_(const void *buf, size_t len, uint32_t seed)
{
	size_t good = filled(buf, len, seed);

	if (good != len)
		die("message %u of %zu bytes differs at offset %zu", seed, len,
		    good);
}
