/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What can be traced of messages and peers. A socket is known by its inode number, the
 * one that /proc/net/sp shows while it is open.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM sp

#if !defined(_SP_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _SP_TRACE_H

#include <linux/in6.h>
#include <linux/string.h>
#include <linux/tracepoint.h>

DECLARE_EVENT_CLASS(sp_messages,
	TP_PROTO(u64 inode, const void *peer, unsigned int messages, u64 bytes),
	TP_ARGS(inode, peer, messages, bytes),
	TP_STRUCT__entry(
		__field(u64, inode)
		__field(u64, bytes)
		__field(unsigned int, messages)
		__array(u8, peer, sizeof(struct sockaddr_in6))
	),
	TP_fast_assign(
		__entry->inode = inode;
		__entry->bytes = bytes;
		__entry->messages = messages;
		memcpy(__entry->peer, peer, sizeof(struct sockaddr_in6));
	),
	TP_printk("socket=%llu peer=%pISpc messages=%u bytes=%llu", __entry->inode,
		  __entry->peer, __entry->messages, __entry->bytes)
);

/* Messages of a peer that have arrived whole; a drop may follow, or come before. */
DEFINE_EVENT(sp_messages, sp_message_in,
	TP_PROTO(u64 inode, const void *peer, unsigned int messages, u64 bytes),
	TP_ARGS(inode, peer, messages, bytes));

/* Messages that TCP has taken for a peer. */
DEFINE_EVENT(sp_messages, sp_message_out,
	TP_PROTO(u64 inode, const void *peer, unsigned int messages, u64 bytes),
	TP_ARGS(inode, peer, messages, bytes));

/* Messages, or a connection, that nobody gets; as the counters of SP_INFO say. */
TRACE_EVENT(sp_drop,
	TP_PROTO(u64 inode, const char *reason, unsigned int messages),
	TP_ARGS(inode, reason, messages),
	TP_STRUCT__entry(
		__field(u64, inode)
		__field(unsigned int, messages)
		__string(reason, reason)
	),
	TP_fast_assign(
		__entry->inode = inode;
		__entry->messages = messages;
		__assign_str(reason);
	),
	TP_printk("socket=%llu reason=%s messages=%u", __entry->inode, __get_str(reason),
		  __entry->messages)
);

DECLARE_EVENT_CLASS(sp_pipe,
	TP_PROTO(u64 inode, const void *peer, const char *reason),
	TP_ARGS(inode, peer, reason),
	TP_STRUCT__entry(
		__field(u64, inode)
		__array(u8, peer, sizeof(struct sockaddr_in6))
		__string(reason, reason)
	),
	TP_fast_assign(
		__entry->inode = inode;
		memcpy(__entry->peer, peer, sizeof(struct sockaddr_in6));
		__assign_str(reason);
	),
	TP_printk("socket=%llu peer=%pISpc reason=%s", __entry->inode, __entry->peer,
		  __get_str(reason))
);

/* Greetings were exchanged with a peer. */
DEFINE_EVENT(sp_pipe, sp_pipe_up,
	TP_PROTO(u64 inode, const void *peer, const char *reason),
	TP_ARGS(inode, peer, reason));

/* A connection is over, whether it was up or not. */
DEFINE_EVENT(sp_pipe, sp_pipe_down,
	TP_PROTO(u64 inode, const void *peer, const char *reason),
	TP_ARGS(inode, peer, reason));

#endif

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE sp_trace
#include <trace/define_trace.h>
