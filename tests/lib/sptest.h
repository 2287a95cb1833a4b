/* SPDX-License-Identifier: GPL-2.0 */
/*
 * All that a test program includes besides what its subject needs.
 */
#ifndef SP_TESTS_SPTEST_H
#define SP_TESTS_SPTEST_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "kselftest_harness.h"

/*
 * The harness kills a test that takes longer, in seconds; what a test names
 * instead is for a machine that has nothing else to do.
 */
#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT 120
#undef TEST_F_TIMEOUT
#define TEST_F_TIMEOUT(fixture, test, seconds)                                \
	__TEST_F_IMPL(fixture, test, -1, 4 * (seconds))

#include "cgroup.h"
#include "clock.h"
#include "crowd.h"
#include "diag.h"
#include "filler.h"
#include "group.h"
#include "late.h"
#include "must.h"
#include "netns.h"
#include "program.h"
#include "raw.h"
#include "ready.h"
#include "sock.h"
#include "start.h"
#include "task.h"
#include "works.h"

#endif
