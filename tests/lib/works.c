// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include "works.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char unbound[] = "/sys/devices/virtual/workqueue/cpumask";

static void confine(const char *mask)
{
	int fd = open(unbound, O_WRONLY);

	if (fd < 0)
		die("open(%s): errno %d", unbound, errno);
	if (write(fd, mask, strlen(mask)) < 0)
		die("write %s to %s: errno %d", mask, unbound, errno);
	close(fd);
}

void works_hold_(struct works *w)
{
	const struct sched_param fifo = { .sched_priority = 1 };
	int fd = (int)must_(open(unbound, O_RDONLY), unbound);
	cpu_set_t first;

	memset(w->mask, 0, sizeof(w->mask));
	must_(read(fd, w->mask, sizeof(w->mask) - 1), unbound);
	close(fd);
	must_(sched_getaffinity(0, sizeof(w->cpus), &w->cpus),
	      "sched_getaffinity");
	CPU_ZERO(&first);
	CPU_SET(0, &first);
	confine("1");
	must_(sched_setaffinity(0, sizeof(first), &first), "sched_setaffinity");
	must_(sched_setscheduler(0, SCHED_FIFO, &fifo), "sched_setscheduler");
}

void works_release_(struct works *w)
{
	const struct sched_param other = { 0 };

	must_(sched_setscheduler(0, SCHED_OTHER, &other), "sched_setscheduler");
	must_(sched_setaffinity(0, sizeof(w->cpus), &w->cpus),
	      "sched_setaffinity");
	confine(w->mask);
}

/* A line of /proc/PID/status; the process may be gone. */
static bool status_line(const char *pid, const char *name, char *value,
			size_t len)
{
	char path[300], line[256];
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%s/status", pid);
	f = fopen(path, "r");
	while (f && !found && fgets(line, sizeof(line), f)) {
		found = !strncmp(line, name, strlen(name));
		if (found)
			snprintf(value, len, "%s", line + strlen(name));
	}
	if (f)
		fclose(f);
	return found;
}

long works_switches_(void)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	char value[256];
	long sum = 0;

	if (!proc)
		die("opendir(/proc): errno %d", errno);
	while ((entry = readdir(proc))) {
		const char *pid = entry->d_name;

		/* "kworker/u8:1-sp", or + while it works. */
		if (!isdigit(pid[0]) ||
		    !status_line(pid, "Name:", value, sizeof(value)) ||
		    !strstr(value, "kworker/") ||
		    !(strstr(value, "-sp\n") || strstr(value, "+sp\n")))
			continue;
		if (status_line(pid, "voluntary_ctxt_switches:", value,
				sizeof(value)))
			sum += atol(value);
	}
	closedir(proc);
	return sum;
}
