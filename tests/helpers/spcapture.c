// SPDX-License-Identifier: GPL-2.0
/*
 * Captures what goes through the loopback device.
 *
 *	spcapture COMMAND [ARGUMENT]...
 *
 * Runs the command, whose output goes to standard error, and writes the packets
 * meanwhile to standard output, in the format of pcap(3).
 */
#include "must.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static void put(const void *bytes, size_t len)
{
	must_be((size_t)must(write(STDOUT_FILENO, bytes, len)) == len);
}

static void take(int s)
{
	static unsigned char packet[70000];
	struct sockaddr_ll from;
	socklen_t len = sizeof(from);
	struct timeval now;
	uint32_t head[4];
	ssize_t n;

	while ((n = recvfrom(s, packet, sizeof(packet), MSG_DONTWAIT, (void *)&from, &len)) >= 0) {
		/* Each passes twice. */
		if (from.sll_pkttype == PACKET_OUTGOING)
			continue;
		gettimeofday(&now, NULL);
		head[0] = (uint32_t)now.tv_sec;
		head[1] = (uint32_t)now.tv_usec;
		head[2] = head[3] = (uint32_t)n;
		put(head, sizeof(head));
		put(packet, (size_t)n);
	}
	must_eq(EAGAIN, errno);
}

int main(int argc, char **argv)
{
	/* Version 2.4, packets of this length at most, Ethernet. */
	static const struct {
		uint32_t magic;
		uint16_t major, minor;
		uint32_t zone, figures, longest, link;
	} file = { 0xa1b2c3d4, 2, 4, 0, 0, 70000, 1 };
	struct sockaddr_ll lo = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };
	struct pollfd p[2];
	int room = 8 << 20, status = 0;
	sigset_t child;
	pid_t pid;

	must_be(argc > 1);
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	must(sigprocmask(SIG_BLOCK, &child, NULL));
	lo.sll_ifindex = (int)if_nametoindex("lo");
	p[0].fd = (int)must(socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL)));
	p[1].fd = (int)must(signalfd(-1, &child, SFD_CLOEXEC));
	p[0].events = p[1].events = POLLIN;
	must(setsockopt(p[0].fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room)));
	must(bind(p[0].fd, (void *)&lo, sizeof(lo)));
	put(&file, sizeof(file));
	pid = (pid_t)must(fork());
	if (pid == 0) {
		must(sigprocmask(SIG_UNBLOCK, &child, NULL));
		must(dup2(STDERR_FILENO, STDOUT_FILENO));
		execvp(argv[1], argv + 1);
		_exit(127);
	}
	do {
		must(poll(p, 2, -1));
		take(p[0].fd);
	} while (!p[1].revents);
	must(waitpid(pid, &status, 0));
	/* Loopback queues a packet here as it is sent. */
	take(p[0].fd);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
