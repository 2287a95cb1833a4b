// SPDX-License-Identifier: GPL-2.0
/* For trace.rs. */
#define CREATE_TRACE_POINTS
#include "sp_trace.h"

#include "helpers.h"

bool sp_helper_traces_messages(bool in)
{
	return in ? trace_sp_message_in_enabled() : trace_sp_message_out_enabled();
}

void sp_helper_trace_messages(bool in, u64 inode, const void *peer, unsigned int messages,
			      u64 bytes)
{
	if (in)
		trace_sp_message_in(inode, peer, messages, bytes);
	else
		trace_sp_message_out(inode, peer, messages, bytes);
}

void sp_helper_trace_drop(u64 inode, const char *reason, unsigned int messages)
{
	trace_sp_drop(inode, reason, messages);
}

void sp_helper_trace_pipe(bool up, u64 inode, const void *peer, const char *reason)
{
	if (up)
		trace_sp_pipe_up(inode, peer, reason);
	else
		trace_sp_pipe_down(inode, peer, reason);
}
