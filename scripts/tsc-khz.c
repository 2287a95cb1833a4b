// SPDX-License-Identifier: GPL-2.0
/*
 * Prints the frequency of this machine's time stamp counter in kHz.
 *
 * An emulated CPU counts with the host's counter, but its kernel cannot find
 * out how fast: the emulated timers are too jittery to measure by. vm.sh tells
 * it.
 */
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <x86intrin.h>

struct instant {
	uint64_t ticks, ns;
};

/* Of several readings, the one that was interrupted least. */
static struct instant now(void)
{
	struct instant best = { 0 };
	uint64_t shortest = UINT64_MAX;

	for (int i = 0; i < 20; i++) {
		struct timespec ts;
		uint64_t start = __rdtsc(), took;

		clock_gettime(CLOCK_MONOTONIC_RAW, &ts);
		took = __rdtsc() - start;
		if (took < shortest) {
			shortest = took;
			best.ticks = start + took / 2;
			best.ns = ts.tv_sec * 1000000000ull + ts.tv_nsec;
		}
	}
	return best;
}

int main(void)
{
	struct timespec pause = { .tv_nsec = 50000000 };
	struct instant start = now(), end;

	nanosleep(&pause, NULL);
	end = now();
	printf("%.0f\n", (end.ticks - start.ticks) * 1e6 / (end.ns - start.ns));
	return 0;
}
