// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include "module.h"
#include "clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

const char *module_path(void)
{
	const char *path = getenv("SP_KO");

	return path ? path : "/root/sp.ko";
}

int module_try_load(void)
{
	int fd = open(module_path(), O_RDONLY | O_CLOEXEC), err = 0;

	if (fd < 0)
		return errno;
	if (syscall(SYS_finit_module, fd, "", 0) < 0)
		err = errno;
	close(fd);
	return err;
}

int module_try_unload(void)
{
	return syscall(SYS_delete_module, "sp", O_NONBLOCK) < 0 ? errno : 0;
}

void module_load_(void)
{
	int err = module_try_load();

	if (err)
		die("loading %s: %s", module_path(), strerrorname_np(err));
}

void module_unload_(void)
{
	int64_t deadline = patience();
	int err;

	while ((err = module_try_unload())) {
		if (err != EAGAIN && err != EBUSY)
			die("unloading sp: %s", strerrorname_np(err));
		tick(deadline, "the module to become idle");
	}
}
