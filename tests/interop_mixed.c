// SPDX-License-Identifier: GPL-2.0
/*
 * nanomsg, nng and our sockets all together in one crowd.
 *
 * libnng defines nanomsg's functions too, so libnanomsg comes first where this
 * is linked, and whose they are is checked.
 */
#include "sptest.h"

#include "peer.h"

#include <dlfcn.h>

static const struct library *nanomsg_or_nng(void)
{
	static unsigned int turn;

	return turn++ % 2 ? &nng : &nanomsg;
}

#define THEIRS (*nanomsg_or_nng())
#include "interop_crowd.h"

TEST(libraries_are_two)
{
	Dl_info info;

	ASSERT_NE(0, dladdr(dlsym(RTLD_DEFAULT, "nn_socket"), &info));
	EXPECT_NE(NULL, strstr(info.dli_fname, "libnanomsg"));
}

SP_TEST_MAIN
