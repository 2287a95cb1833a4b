/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Loading and unloading sp.ko. Its path is $SP_KO; by default /root/sp.ko, or
 * else where modprobe would look.
 */
#ifndef SP_TESTS_MODULE_H
#define SP_TESTS_MODULE_H

#include "must.h"

const char *module_path(void);

/* One attempt each: 0, or the errno. */
int module_try_load(void);
int module_try_unload(void);

#define module_load() AT(module_load_())
void module_load_(void);

/* Waits, bounded, for what is left of closed sockets to end. */
#define module_unload() AT(module_unload_())
void module_unload_(void);

#endif
