// SPDX-License-Identifier: GPL-2.0
/*
 * Our sockets against pynng, on the machine around the guest: each connection
 * crosses a network device and QEMU's idea of a network.
 */
#include "sptest.h"

#include <stdlib.h>

#define THEIRS pynng
#define THEIRS_ARE_FAR
#include "interop.h"
#include "interop_crowd.h"

/* The device is in the namespace that the guest began with: not left. */
int main(int argc, char **argv)
{
	if (!getenv("PYNNG_PEER")) {
		ksft_print_header();
		printf("1..0 # SKIP no pynng around: see PYNNG_PEER in test.sh\n");
		return KSFT_SKIP;
	}
	sp_test_start_here();
	return test_harness_run(argc, argv);
}
