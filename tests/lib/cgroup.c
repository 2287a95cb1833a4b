// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include "cgroup.h"
#include "clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static void write_text(const char *dir, const char *name, const char *text)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = (int)must_(open(path, O_WRONLY), path);
	must_(write(fd, text, strlen(text)), path);
	close(fd);
}

static void read_text(const struct cgroup *g, const char *name, char *text,
		      size_t size)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", g->path, name);
	fd = (int)must_(open(path, O_RDONLY), path);
	text[must_(read(fd, text, size - 1), path)] = 0;
	close(fd);
}

void cgroup_make_(struct cgroup *g)
{
	strcpy(g->root, "/tmp/cgroup.XXXXXX");
	if (mkdir("/tmp", 01777) < 0 && errno != EEXIST)
		die("mkdir(/tmp): %s", strerrorname_np(errno));
	if (!mkdtemp(g->root))
		die("mkdtemp: %s", strerrorname_np(errno));
	must_(mount("none", g->root, "cgroup2", 0, NULL), "mount(cgroup2)");
	write_text(g->root, "cgroup.subtree_control", "+memory");
	/* All mounts show one hierarchy; what a failed test left is in it, too. */
	snprintf(g->path, sizeof(g->path), "%s/sp.%d", g->root, getpid());
	must_(mkdir(g->path, 0755), "mkdir");
	g->fd = (int)must_(open(g->path, O_RDONLY | O_DIRECTORY), "open");
}

void cgroup_end_(struct cgroup *g)
{
	int64_t deadline = patience();

	close(g->fd);
	while (rmdir(g->path) < 0) {
		if (errno != EBUSY)
			die("rmdir: %s", strerrorname_np(errno));
		tick_(deadline, "a control group to be empty");
	}
	must_(umount2(g->root, MNT_DETACH), "umount2");
	rmdir(g->root);
}

void cgroup_enter_(const struct cgroup *g)
{
	/* Whoever writes it. */
	write_text(g->path, "cgroup.procs", "0");
}

void cgroup_leave_(const struct cgroup *g)
{
	write_text(g->root, "cgroup.procs", "0");
}

void cgroup_set_(const struct cgroup *g, const char *name, long value)
{
	char text[32];

	snprintf(text, sizeof(text), "%ld", value);
	write_text(g->path, name, text);
}

long cgroup_get_(const struct cgroup *g, const char *name)
{
	char text[32];

	read_text(g, name, text, sizeof(text));
	return atol(text);
}

long cgroup_stat_(const struct cgroup *g, const char *name, const char *key)
{
	char text[8192], *line;
	size_t len = strlen(key);

	read_text(g, name, text, sizeof(text));
	for (line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (!strncmp(line, key, len) && line[len] == ' ')
			return atol(line + len);
	}
	die("%s does not tell %s", name, key);
}

long sp_in_pages_(void)
{
	FILE *file = fopen("/proc/net/protocols", "r");
	char line[512];
	long pages = -1;

	must_be(file);
	while (pages < 0 && fgets(line, sizeof(line), file))
		sscanf(line, "SP %*d %*d %ld", &pages);
	fclose(file);
	must_be(pages >= 0);
	return pages * sysconf(_SC_PAGESIZE);
}

long cgroup_without_tcp_(const struct cgroup *g)
{
	long used = cgroup_get_(g, "memory.current");

	return used - cgroup_stat_(g, "memory.stat", "sock") + sp_in_pages_();
}
