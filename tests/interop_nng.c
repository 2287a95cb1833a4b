// SPDX-License-Identifier: GPL-2.0
/*
 * Our sockets against libnng.
 */
#include "sptest.h"

#define THEIRS nng
#include "interop.h"

SP_TEST_MAIN
