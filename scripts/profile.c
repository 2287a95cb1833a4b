// SPDX-License-Identifier: GPL-2.0
/*
 * A plugin for QEMU's emulator: counts how often each block of code is executed. At the end it writes
 * a line a block to the file that PROFILE names: address, instructions in it, times.
 *
 * The few calls of QEMU's that it needs are declared here, as its qemu-plugin.h has them: Debian 12
 * has no package of that.
 */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define EXPORT __attribute__((visibility("default")))

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_info;

enum qemu_plugin_op { QEMU_PLUGIN_INLINE_ADD_U64 };

extern void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id,
						  void (*cb)(qemu_plugin_id_t, struct qemu_plugin_tb *));
extern void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *tb, enum qemu_plugin_op op,
						     void *ptr, uint64_t imm);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
extern uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb);
extern void qemu_plugin_register_atexit_cb(qemu_plugin_id_t id, void (*cb)(qemu_plugin_id_t, void *), void *arg);

EXPORT int qemu_plugin_version = 1;

/* A block may be translated again and again: it is found by its address and length. */
struct block {
	struct block *next;
	uint64_t address, length, times;
};

enum { BUCKETS = 1 << 16 };
static struct block *blocks[BUCKETS];

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	uint64_t address = qemu_plugin_tb_vaddr(tb), length = qemu_plugin_tb_n_insns(tb);
	struct block **bucket = &blocks[(address >> 1) % BUCKETS], *block = *bucket;

	(void)id;
	while (block && (block->address != address || block->length != length))
		block = block->next;
	if (!block) {
		block = calloc(1, sizeof(*block));
		if (!block)
			abort();
		*block = (struct block){ *bucket, address, length, 0 };
		*bucket = block;
	}
	qemu_plugin_register_vcpu_tb_exec_inline(tb, QEMU_PLUGIN_INLINE_ADD_U64, &block->times, 1);
}

static void ended(qemu_plugin_id_t id, void *arg)
{
	FILE *out = fopen(arg, "w");

	(void)id;
	if (!out) {
		perror(arg);
		return;
	}
	for (int i = 0; i < BUCKETS; i++)
		for (const struct block *block = blocks[i]; block; block = block->next)
			if (block->times)
				fprintf(out, "%" PRIx64 " %" PRIu64 " %" PRIu64 "\n", block->address, block->length,
					block->times);
	fclose(out);
}

EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_info *info, int argc, char **argv)
{
	char *path = getenv("PROFILE");

	(void)info;
	(void)argc;
	(void)argv;
	if (!path)
		return -1;
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	qemu_plugin_register_atexit_cb(id, ended, path);
	return 0;
}
