// SPDX-License-Identifier: GPL-2.0
#include "clock.h"
#include "must.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/*
 * One way through loopback on a machine that needs no stretching: what the
 * stock kernel takes under emulation. Bare metal is faster; that never makes
 * a bound tighter than the test wrote it.
 */
#define REFERENCE_US 70

static int64_t one_way_us = REFERENCE_US;

int64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t now_ms(void)
{
	return now_us() / 1000;
}

void clock_calibrate(int64_t us)
{
	one_way_us = us;
}

int slow_ms(int ms)
{
	if (one_way_us <= REFERENCE_US)
		return ms;
	return (int)((int64_t)ms * one_way_us / REFERENCE_US);
}

int many(int n)
{
	return slow_ms(1) > 3 ? n / 4 : n;
}

int at_speed(int n)
{
	int slow = slow_ms(1);

	return n / (slow < 3 ? 1 : slow < 50 ? slow : 50);
}

bool time_is_work(void)
{
	const char *guest = getenv("SP_GUEST");

	return guest && !strcmp(guest, "counted");
}

int quiet_ms(void)
{
	/* Sixty trips: ample for a reaction, and cheap enough to use often. */
	int64_t ms = 60 * one_way_us / 1000;

	return ms < 50 ? 50 : ms > 300 ? 300 : (int)ms;
}

int64_t patience(void)
{
	return now_ms() + PATIENCE_MS;
}

void tick_(int64_t deadline, const char *what)
{
	if (now_ms() > deadline)
		die("waited %d ms in vain for %s", PATIENCE_MS, what);
	pass_ms(1);
}

void pass_ms(int ms)
{
	struct timespec left = { ms / 1000, ms % 1000 * 1000000L };

	while (nanosleep(&left, &left) < 0 && errno == EINTR)
		;
}
