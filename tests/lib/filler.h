/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Message bodies whose every byte says where it belongs: by its offset and by
 * the seed of its message. A shifted, repeated or mixed-up piece shows.
 */
#ifndef SP_TESTS_FILLER_H
#define SP_TESTS_FILLER_H

#include <stddef.h>
#include <stdint.h>

void fill(void *buf, size_t len, uint32_t seed);

/* Offset of the first byte that differs from what fill() wrote, or len. */
size_t filled(const void *buf, size_t len, uint32_t seed);

/* A fresh, filled buffer, for the caller to free(). */
unsigned char *filler(size_t len, uint32_t seed);

/* All len bytes are what fill() wrote. */
#define must_be_filled(buf, len, seed) \
	AT(must_be_filled_((buf), (len), (seed)))
void must_be_filled_(const void *buf, size_t len, uint32_t seed);

#endif
