// SPDX-License-Identifier: GPL-2.0
/*
 * Our sockets against libnanomsg.
 */
#include "sptest.h"

#define THEIRS nanomsg
#include "interop.h"

SP_TEST_MAIN
