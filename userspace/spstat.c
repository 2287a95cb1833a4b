// SPDX-License-Identifier: MIT
/*
 * Shows the PF_SP sockets of a network namespace with their endpoints and
 * pipes: what /proc/net/sp tells, to be read by people (or, as JSON, by
 * programs). See spstat(1).
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* The format that is understood; within one, columns are only appended. */
#define VERSION "3"

enum { COLUMNS_MAX = 64 };

/* The names of the fields of one kind of line, or the fields of one. */
struct fields {
	char *of[COLUMNS_MAX];
	int count;
};

struct socket_lines {
	struct fields own;
	struct fields *endpoint;
	int endpoints;
};

/* What the file said at one time. */
struct snapshot {
	char *text;
	struct fields socket_columns, endpoint_columns;
	struct socket_lines *socket;
	int sockets;
	struct timespec at;
};

/* A descriptor of a socket. */
struct holder {
	unsigned long inode;
	long pid;
	int fd;
	char name[64];
};

static struct {
	bool endpoints, processes, json;
	unsigned long inode;
	double interval;
	long count;
	const char *path;
} option = { .endpoints = true, .path = "/proc/self/net/sp" };

static void *grown(void *of, int count, size_t size)
{
	/* Doubled whenever it is a power of two. */
	if (count & (count - 1))
		return of;
	of = realloc(of, (count ? (size_t)count * 2 : 1) * size);
	if (!of)
		err(1, NULL);
	return of;
}

static char *read_all(const char *path)
{
	size_t len = 0, room = 0;
	char *text = NULL;
	ssize_t n;
	int fd = open(path, O_RDONLY);

	if (fd < 0 && errno == ENOENT)
		errx(1, "%s is not there: is the module loaded?", path);
	if (fd < 0)
		err(1, "%s", path);
	do {
		if (room - len < 65536) {
			room = room * 2 + 131072;
			text = realloc(text, room);
			if (!text)
				err(1, NULL);
		}
		n = read(fd, text + len, room - len - 1);
		if (n < 0)
			err(1, "%s", path);
		len += (size_t)n;
	} while (n);
	close(fd);
	text[len] = 0;
	return text;
}

static void split(char *line, struct fields *fields)
{
	char *word, *rest = NULL;

	fields->count = 0;
	for (word = strtok_r(line, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
		if (fields->count < COLUMNS_MAX)
			fields->of[fields->count++] = word;
}

/* The first line: "sp 3 | closed: ... | socket: ... | endpoint: ...". */
static void read_columns(char *line, struct snapshot *s)
{
	char *part, *rest = NULL;

	if (strncmp(line, "sp " VERSION " ", 5) != 0)
		errx(1, "%s has another format than this program knows: %.8s", option.path, line);
	for (part = strtok_r(line, "|", &rest); part; part = strtok_r(NULL, "|", &rest)) {
		if (strncmp(part, " socket: ", 9) == 0)
			split(part + 9, &s->socket_columns);
		else if (strncmp(part, " endpoint: ", 11) == 0)
			split(part + 11, &s->endpoint_columns);
	}
}

static struct snapshot look(void)
{
	struct snapshot s = { .text = read_all(option.path) };
	char *line, *rest = NULL;

	clock_gettime(CLOCK_MONOTONIC, &s.at);
	line = strtok_r(s.text, "\n", &rest);
	if (!line)
		errx(1, "%s is empty", option.path);
	read_columns(line, &s);
	/* How much closed sockets hold is for those who watch the machine. */
	strtok_r(NULL, "\n", &rest);
	while ((line = strtok_r(NULL, "\n", &rest))) {
		struct socket_lines *last;

		if (*line != ' ') {
			s.socket = grown(s.socket, s.sockets, sizeof(*s.socket));
			last = &s.socket[s.sockets++];
			memset(last, 0, sizeof(*last));
			split(line, &last->own);
		} else if (s.sockets) {
			last = &s.socket[s.sockets - 1];
			last->endpoint = grown(last->endpoint, last->endpoints,
					       sizeof(*last->endpoint));
			split(line, &last->endpoint[last->endpoints++]);
		}
	}
	return s;
}

static void forget(struct snapshot *s)
{
	for (int i = 0; i < s->sockets; i++)
		free(s->socket[i].endpoint);
	free(s->socket);
	free(s->text);
	memset(s, 0, sizeof(*s));
}

static const char *field(const struct fields *columns, const struct fields *fields,
			 const char *name)
{
	for (int i = 0; i < columns->count && i < fields->count; i++)
		if (strcmp(columns->of[i], name) == 0)
			return fields->of[i];
	return "-";
}

static unsigned long long number(const struct fields *columns, const struct fields *fields,
				 const char *name)
{
	return strtoull(field(columns, fields, name), NULL, 10);
}

static unsigned long inode_of(const struct snapshot *s, int i)
{
	return (unsigned long)number(&s->socket_columns, &s->socket[i].own, "inode");
}

static bool is_wanted(const struct snapshot *s, int i)
{
	return !option.inode || inode_of(s, i) == option.inode;
}

/* All messages that somebody meant to have and nobody got. */
static unsigned long long lost(const struct snapshot *s, int i)
{
	static const char *const names[] = {
		"rx_stale",   "rx_malformed", "rx_ttl",	    "rx_oversize",
		"rx_partial", "tx_dropped",   "tx_no_peer",
	};
	unsigned long long sum = 0;

	for (size_t n = 0; n < sizeof(names) / sizeof(*names); n++)
		sum += number(&s->socket_columns, &s->socket[i].own, names[n]);
	return sum;
}

/* Who has sockets open, as far as the caller may see that. */
static struct holder *holders;
static int holders_count;

static void look_at_descriptor(long pid, const char *process, const char *name)
{
	char path[320], link[64];
	unsigned long inode;
	struct holder *h;
	ssize_t n;
	FILE *comm;

	snprintf(path, sizeof(path), "%s/fd/%s", process, name);
	n = readlink(path, link, sizeof(link) - 1);
	if (n < 0)
		return;
	link[n] = 0;
	if (sscanf(link, "socket:[%lu]", &inode) != 1)
		return;
	holders = grown(holders, holders_count, sizeof(*holders));
	h = &holders[holders_count++];
	*h = (struct holder){ .inode = inode, .pid = pid, .fd = atoi(name), .name = "?" };
	snprintf(path, sizeof(path), "%s/comm", process);
	comm = fopen(path, "r");
	if (comm) {
		if (fgets(h->name, sizeof(h->name), comm))
			h->name[strcspn(h->name, "\n")] = 0;
		fclose(comm);
	}
}

static void find_holders(void)
{
	DIR *proc = opendir("/proc"), *fds;
	struct dirent *process, *fd;
	char path[64];

	holders_count = 0;
	if (!proc)
		err(1, "/proc");
	while ((process = readdir(proc))) {
		if (!isdigit((unsigned char)*process->d_name))
			continue;
		snprintf(path, sizeof(path), "/proc/%.20s/fd", process->d_name);
		fds = opendir(path);
		if (!fds)
			continue;
		path[strlen(path) - 3] = 0;
		while ((fd = readdir(fds)))
			if (isdigit((unsigned char)*fd->d_name))
				look_at_descriptor(atol(process->d_name), path, fd->d_name);
		closedir(fds);
	}
	closedir(proc);
}

/* A table whose columns are as wide as they have to be. */
struct table {
	char *cell[COLUMNS_MAX];
	int cells;
};

static struct table *table;
static int rows;

static void cell(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void cell(const char *format, ...)
{
	struct table *row = &table[rows - 1];
	va_list args;

	va_start(args, format);
	if (row->cells == COLUMNS_MAX || vasprintf(&row->cell[row->cells++], format, args) < 0)
		errx(1, "a row is too long");
	va_end(args);
}

static void row(void)
{
	table = grown(table, rows, sizeof(*table));
	table[rows++].cells = 0;
}

static bool is_number(const char *text)
{
	return text[strspn(text, "0123456789.")] == 0;
}

static void print_table(const char *indent)
{
	int width[COLUMNS_MAX] = { 0 };

	for (int r = 0; r < rows; r++)
		for (int c = 0; c < table[r].cells; c++) {
			int len = (int)strlen(table[r].cell[c]);

			width[c] = len > width[c] ? len : width[c];
		}
	for (int r = 0; r < rows; r++) {
		printf("%s", indent);
		for (int c = 0; c < table[r].cells; c++) {
			bool last = c == table[r].cells - 1;
			/* A heading stands as what is under it. */
			bool right = is_number(table[rows > 1 && !r ? 1 : r].cell[c]);

			if (right)
				printf("%*s", width[c], table[r].cell[c]);
			else
				printf("%-*s", last ? 0 : width[c], table[r].cell[c]);
			printf("%s", last ? "\n" : "  ");
			free(table[r].cell[c]);
		}
	}
	rows = 0;
}

static void cells(const char *const *names, int count)
{
	row();
	for (int i = 0; i < count; i++)
		cell("%s", names[i]);
}

static void processes_cell(unsigned long inode)
{
	char text[1024] = "";
	size_t len = 0;

	for (int i = 0; inode && i < holders_count && len < sizeof(text) - 100; i++)
		if (holders[i].inode == inode)
			len += (size_t)snprintf(text + len, sizeof(text) - len,
						"%s%s,pid=%ld,fd=%d", len ? " " : "",
						holders[i].name, holders[i].pid, holders[i].fd);
	cell("%s", len ? text : "-");
}

static double rate(unsigned long long now, unsigned long long then, double seconds)
{
	return now > then && seconds > 0 ? (double)(now - then) / seconds : 0;
}

static int same_socket(const struct snapshot *before, unsigned long inode)
{
	for (int i = 0; before && inode && i < before->sockets; i++)
		if (inode_of(before, i) == inode)
			return i;
	return -1;
}

static void socket_row(const struct snapshot *s, int i, const struct snapshot *before)
{
	const struct fields *columns = &s->socket_columns, *own = &s->socket[i].own;
	static const char *const names[] = { "type", "inode", "uid", "state", "pipes" };
	int then = same_socket(before, inode_of(s, i));

	row();
	for (size_t n = 0; n < sizeof(names) / sizeof(*names); n++)
		cell("%s", field(columns, own, names[n]));
	if (then >= 0) {
		const struct fields *old = &before->socket[then].own;
		double seconds = (double)(s->at.tv_sec - before->at.tv_sec) +
				 (double)(s->at.tv_nsec - before->at.tv_nsec) / 1e9;

		cell("%.0f", rate(number(columns, own, "rx_msgs"),
				  number(columns, old, "rx_msgs"), seconds));
		cell("%.0f", rate(number(columns, own, "tx_msgs"),
				  number(columns, old, "tx_msgs"), seconds));
		cell("%s", field(columns, own, "rx_queued"));
		cell("%s", field(columns, own, "tx_queued"));
		cell("%.0f", rate(lost(s, i), lost(before, then), seconds));
	} else {
		cell("%s", before ? "0" : field(columns, own, "rx_msgs"));
		cell("%s", before ? "0" : field(columns, own, "tx_msgs"));
		cell("%s", field(columns, own, "rx_queued"));
		cell("%s", field(columns, own, "tx_queued"));
		cell("%llu", before ? 0 : lost(s, i));
	}
	if (option.processes)
		processes_cell(inode_of(s, i));
}

static void endpoint_rows(const struct snapshot *s, int i)
{
	static const char *const names[] = { "role",	  "local",     "remote",  "state", "arrived",
					     "sent",	  "rx_queued", "tx_queued", "dropped",
					     "retries" };
	static const char *const headings[] = { "ROLE",	  "LOCAL",  "REMOTE",  "STATE",	"ARRIVED",
						"SENT", "RECV-Q", "SEND-Q", "DROPPED",
						"RETRIES" };
	const struct socket_lines *socket = &s->socket[i];
	int count = sizeof(names) / sizeof(*names);

	if (!socket->endpoints)
		return;
	cells(headings, count);
	for (int e = 0; e < socket->endpoints; e++) {
		row();
		for (int n = 0; n < count; n++)
			cell("%s", field(&s->endpoint_columns, &socket->endpoint[e], names[n]));
	}
	print_table("    ");
}

static void print_sockets(const struct snapshot *s, const struct snapshot *before)
{
	static const char *const sums[] = { "TYPE",  "INODE",  "UID",	 "STATE", "PEERS",  "RECEIVED",
					    "SENT", "RECV-Q", "SEND-Q", "LOST",	 "PROCESS" };
	static const char *const rates[] = { "TYPE",   "INODE",	 "UID",	   "STATE",  "PEERS", "RECEIVED/s",
					     "SENT/s", "RECV-Q", "SEND-Q", "LOST/s", "PROCESS" };
	int count = option.processes ? 11 : 10;

	if (!option.endpoints) {
		cells(before ? rates : sums, count);
		for (int i = 0; i < s->sockets; i++)
			if (is_wanted(s, i))
				socket_row(s, i, before);
		print_table("");
		return;
	}
	for (int i = 0; i < s->sockets; i++) {
		if (!is_wanted(s, i))
			continue;
		cells(before ? rates : sums, count);
		socket_row(s, i, before);
		print_table("");
		endpoint_rows(s, i);
	}
}

static void print_string(const char *text)
{
	putchar('"');
	for (; *text; text++)
		if (*text == '"' || *text == '\\')
			printf("\\%c", *text);
		else if ((unsigned char)*text < ' ')
			printf("\\u%04x", *text);
		else
			putchar(*text);
	putchar('"');
}

static void print_members(const struct fields *columns, const struct fields *fields)
{
	for (int i = 0; i < columns->count && i < fields->count; i++) {
		printf("%s\"%s\":", i ? "," : "", columns->of[i]);
		if (fields->of[i][strspn(fields->of[i], "0123456789")] == 0)
			printf("%s", fields->of[i]);
		else if (strcmp(fields->of[i], "-") == 0)
			printf("null");
		else
			print_string(fields->of[i]);
	}
}

static void print_json(const struct snapshot *s)
{
	const char *between = "";

	printf("[");
	for (int i = 0; i < s->sockets; i++) {
		const char *comma = "";

		if (!is_wanted(s, i))
			continue;
		printf("%s{", between);
		between = ",\n ";
		print_members(&s->socket_columns, &s->socket[i].own);
		printf(",\"endpoints\":[");
		for (int e = 0; option.endpoints && e < s->socket[i].endpoints; e++) {
			printf("%s{", e ? "," : "");
			print_members(&s->endpoint_columns, &s->socket[i].endpoint[e]);
			printf("}");
		}
		printf("],\"processes\":[");
		for (int h = 0; h < holders_count; h++) {
			if (!inode_of(s, i) || holders[h].inode != inode_of(s, i))
				continue;
			printf("%s{\"name\":", comma);
			comma = ",";
			print_string(holders[h].name);
			printf(",\"pid\":%ld,\"fd\":%d}", holders[h].pid, holders[h].fd);
		}
		printf("]}");
	}
	printf("]\n");
}

static void print(const struct snapshot *s, const struct snapshot *before)
{
	bool found = !option.inode;

	for (int i = 0; i < s->sockets; i++)
		found |= is_wanted(s, i);
	if (!found)
		errx(1, "no socket has the inode %lu", option.inode);
	if (option.processes)
		find_holders();
	if (option.json)
		print_json(s);
	else
		print_sockets(s, before);
	if (fflush(stdout) == EOF)
		err(1, "standard output");
}

static void watch(void)
{
	struct timespec pause = { (time_t)option.interval, 0 };
	struct snapshot before = look(), now;

	pause.tv_nsec = (long)((option.interval - (double)pause.tv_sec) * 1e9);
	for (long i = 0; !option.count || i < option.count; i++) {
		/* A screen is overwritten; a file gets one block after the other. */
		if (!option.json && isatty(STDOUT_FILENO))
			printf("\033[H\033[2J");
		else if (!option.json && i)
			putchar('\n');
		if (fflush(stdout) == EOF)
			err(1, "standard output");
		nanosleep(&pause, NULL);
		now = look();
		print(&now, &before);
		forget(&before);
		before = now;
	}
	forget(&before);
}

/* A namespace of ip-netns(8), or that of a process. */
static void enter(const char *name)
{
	static char path[128];
	int fd;

	if (name[strspn(name, "0123456789")] == 0) {
		snprintf(path, sizeof(path), "/proc/%.20s/net/sp", name);
		option.path = path;
		return;
	}
	if (strchr(name, '/') || snprintf(path, sizeof(path), "/run/netns/%s", name) >= (int)sizeof(path))
		errx(2, "'%s' is no name of a namespace", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		err(1, "%s", path);
	if (setns(fd, CLONE_NEWNET))
		err(1, "%s: cannot be entered", name);
	close(fd);
}

static unsigned long inode_named(const char *text)
{
	char *end;
	unsigned long inode;

	errno = 0;
	inode = strtoul(text, &end, 10);
	if (errno || *end || !inode || !isdigit((unsigned char)*text))
		errx(2, "'%s' is no inode number", text);
	return inode;
}

static double seconds_named(const char *text)
{
	char *end;
	double seconds = strtod(text, &end);

	if (*end || end == text || !(seconds >= 0.01 && seconds <= 86400))
		errx(2, "'%s' is no interval: 0.01 to 86400 seconds", text);
	return seconds;
}

static long count_named(const char *text)
{
	char *end;
	long count = strtol(text, &end, 10);

	if (*end || end == text || count < 1)
		errx(2, "'%s' is no count", text);
	return count;
}

static const char usage[] =
	"Usage: spstat [OPTION]...\n"
	"Shows PF_SP sockets with their endpoints and pipes.\n"
	"\n"
	"  -b, --brief           the sockets alone, a line each\n"
	"  -p, --processes       and who has them open\n"
	"  -s, --socket=INODE    only that one\n"
	"  -N, --netns=NAME|PID  those of that network namespace\n"
	"  -j, --json            all that is known of them, as JSON\n"
	"  -w, --watch[=SECONDS] again and again, with rates (every second)\n"
	"  -c, --count=N         so often\n"
	"  -h, --help            this\n";

int main(int argc, char **argv)
{
	static const struct option known[] = {
		{ "brief", no_argument, NULL, 'b' },
		{ "processes", no_argument, NULL, 'p' },
		{ "socket", required_argument, NULL, 's' },
		{ "netns", required_argument, NULL, 'N' },
		{ "json", no_argument, NULL, 'j' },
		{ "watch", optional_argument, NULL, 'w' },
		{ "count", required_argument, NULL, 'c' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	struct snapshot s;
	int c;

	while ((c = getopt_long(argc, argv, "bps:N:jw::c:h", known, NULL)) != -1) {
		switch (c) {
		case 'b':
			option.endpoints = false;
			break;
		case 'p':
			option.processes = true;
			break;
		case 's':
			option.inode = inode_named(optarg);
			break;
		case 'N':
			enter(optarg);
			break;
		case 'j':
			option.json = true;
			break;
		case 'w':
			option.interval = optarg ? seconds_named(optarg) : 1;
			break;
		case 'c':
			option.count = count_named(optarg);
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			fputs("Try 'spstat --help'.\n", stderr);
			return 2;
		}
	}
	if (optind < argc)
		errx(2, "one argument too many: '%s'", argv[optind]);
	if (option.count && option.interval == 0)
		option.interval = 1;
	if (option.interval > 0) {
		watch();
		return 0;
	}
	s = look();
	print(&s, NULL);
	forget(&s);
	return 0;
}
