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
