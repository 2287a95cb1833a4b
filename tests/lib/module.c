// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include "module.h"
#include "clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

const char *module_path(void)
{
	static char installed[300];
	const char *path = getenv("SP_KO");
	struct utsname u;

	if (path)
		return path;
	if (access("/root/sp.ko", R_OK) == 0 || uname(&u) < 0)
		return "/root/sp.ko";
	snprintf(installed, sizeof(installed), "/lib/modules/%s/sp.ko",
		 u.release);
	return installed;
}

/*
 * The suites ran when the run began. Once more at each load would take longer
 * than all that is tested here.
 */
static void no_kunit(void)
{
	int fd = open("/sys/module/kunit/parameters/filter_glob",
		      O_WRONLY | O_TRUNC);

	if (fd < 0)
		return;
	must_(write(fd, "none", 4), "write to KUnit's filter_glob");
	close(fd);
}

int module_try_load(void)
{
	int fd = open(module_path(), O_RDONLY | O_CLOEXEC), err = 0;

	if (fd < 0)
		return errno;
	no_kunit();
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
		tick_(deadline, "the module to become idle");
	}
}
