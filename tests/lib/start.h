/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What every test program does before its first test: moves into a network
 * namespace of its own (ports and leftovers of other programs do not matter),
 * measures this machine (clock.h), and makes sure that the module is there, so
 * that a run without it cannot pass.
 */
#ifndef SP_TESTS_START_H
#define SP_TESTS_START_H

void sp_test_start(void);
/* The same in the namespace in which it was started. */
void sp_test_start_here(void);

#define SP_TEST_MAIN                                                          \
	int main(int argc, char **argv)                                       \
	{                                                                     \
		sp_test_start();                                              \
		return test_harness_run(argc, argv);                          \
	}

#endif
