// SPDX-License-Identifier: GPL-2.0
/*
 * Our sockets against libnng, one to one and in a crowd.
 */
#include "sptest.h"

#define THEIRS nng
#include "interop.h"
#include "interop_crowd.h"

SP_TEST_MAIN
