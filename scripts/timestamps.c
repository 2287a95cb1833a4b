// SPDX-License-Identifier: GPL-2.0
/*
 * Has the kernel note when packets arrive, for as long as this runs, in the
 * background.
 *
 * Sockets may ask for that and close again, and each time the kernel changes
 * code that runs for every packet: a breakpoint stands there meanwhile. An
 * emulator of several CPUs may hold on to what was there when it translated
 * that code ("Oops: int3"; QEMU 7.2 does, 10.0 does not). With this one, there
 * is nothing to be changed.
 */
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

int main(void)
{
	int s = socket(AF_INET, SOCK_DGRAM, 0), on = 1;

	if (s < 0 || setsockopt(s, SOL_SOCKET, SO_TIMESTAMP, &on, sizeof(on))) {
		perror("SO_TIMESTAMP");
		return 1;
	}
	if (daemon(1, 0)) {
		perror("daemon");
		return 1;
	}
	pause();
	return 0;
}
