/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * The user-space interface of PF_SP: Scalability Protocols sockets over TCP.
 *
 * This file is the one place where the ABI is written down. Programs include
 * <netinet/sp.h>, which adds what <sys/socket.h> and <netinet/in.h> declare;
 * the module's Rust side is generated from this file.
 *
 * Only plain integer macros and one structure, so that it compiles alone, in C
 * and in C++, and so that binding generators see every constant.
 */
#ifndef _UAPI_LINUX_SP_H
#define _UAPI_LINUX_SP_H

#include <linux/types.h>

/**
 * define PF_SP - Protocol family: the first argument of socket()
 *
 * The default is 18, once reserved for Ash, which never came to Linux. Where
 * the module was loaded with another number ("insmod sp.ko pf=N"), compile
 * programs with -DPF_SP=N; AF_SP follows.
 */
#ifndef PF_SP
#define PF_SP			18
#endif

/**
 * define AF_SP - Address family, the same number as PF_SP
 *
 * Only names the family. No address carries it: bind() and connect() take
 * struct sockaddr_in and struct sockaddr_in6.
 */
#define AF_SP			PF_SP

/**
 * DOC: Socket types
 *
 * The second argument of socket(): the pattern and the role in it. The kernel
 * passes the numbers 0 to 10 on to a family, and refuses others with EINVAL;
 * what SOCK_STREAM and its kin mean elsewhere has no meaning in this one. A
 * type that the module does not implement gives ESOCKTNOSUPPORT. SOCK_NONBLOCK
 * and SOCK_CLOEXEC may be or-ed in, as with every socket.
 */

/**
 * define SOCK_PAIR - One peer at a time, messages both ways; peer: SOCK_PAIR
 */
#define SOCK_PAIR		1

/**
 * define SOCK_PUSH - Hands each message to one of its peers; peer: SOCK_PULL
 */
#define SOCK_PUSH		2

/**
 * define SOCK_PULL - Collects what its peers push; peer: SOCK_PUSH
 */
#define SOCK_PULL		3

/**
 * define SOCK_SURVEYOR - Asks all peers, collects answers until a deadline;
 *                        peer: SOCK_RESPONDENT
 */
#define SOCK_SURVEYOR		4

/**
 * define SOCK_BUS - Sends to all peers, receives from all; peer: SOCK_BUS
 */
#define SOCK_BUS		5

/**
 * define SOCK_REQ - Sends a request to one peer, receives its reply; resends
 *                   when the reply is lost; peer: SOCK_REP
 */
#define SOCK_REQ		6

/**
 * define SOCK_REP - Receives requests, one by one, and replies to each;
 *                   peer: SOCK_REQ
 *
 * Each process that shares the socket replies to what it has received itself.
 */
#define SOCK_REP		7

/**
 * define SOCK_PUB - Sends each message to all peers, drops it for those too
 *                   slow to take it; peer: SOCK_SUB
 */
#define SOCK_PUB		8

/**
 * define SOCK_SUB - Receives the messages that begin with a topic it
 *                   subscribed to; peer: SOCK_PUB
 */
#define SOCK_SUB		9

/**
 * define SOCK_RESPONDENT - Receives surveys and answers them;
 *                          peer: SOCK_SURVEYOR
 */
#define SOCK_RESPONDENT		10

/**
 * define SOL_SP - Level of the options below in getsockopt() and setsockopt()
 */
#define SOL_SP			400

/**
 * DOC: Socket options
 *
 * All of level SOL_SP. The value is an int unless noted. setsockopt() refuses
 * a value out of range, or of another length, with EINVAL and changes nothing.
 * An option that the module does not know gives ENOPROTOOPT, and so does one
 * that names socket types on all others.
 */

/**
 * define SP_SUBSCRIBE - Adds a topic; SOCK_SUB; set only
 *
 * Type: bytes, 0 to %SP_TOPIC_MAX of them, not terminated. Default: no topics,
 * so nothing is received. A message passes when one of the topics is a prefix
 * of it; the empty topic is a prefix of every message. Topics are counted: one
 * that was added twice must be removed twice. A socket has at most
 * %SP_SUBSCRIPTIONS_MAX of them, else ENOSPC.
 */
#define SP_SUBSCRIBE		1

/**
 * define SP_UNSUBSCRIBE - Removes a topic; SOCK_SUB; set only
 *
 * Type: bytes, as in %SP_SUBSCRIBE. A topic that is not there gives EINVAL.
 * Messages already received that no topic matches any more are discarded.
 */
#define SP_UNSUBSCRIBE		2

/**
 * define SP_REQ_RESEND_IVL - How long to wait for a reply before the request
 *                            is sent again; SOCK_REQ
 *
 * Unit: milliseconds. Default: 60000. Range: any int; zero and less turn
 * resending off, also when the peer goes away: recv() then gives ECONNRESET.
 * A new value rules the request under way as well, counted from when that was
 * sent last.
 */
#define SP_REQ_RESEND_IVL	3

/**
 * define SP_RECONNECT_IVL - Time between two attempts of connect() to reach a
 *                           peer
 *
 * Unit: milliseconds. Default: 100. Range: 1 to 3600000. Each pause is drawn at
 * random between half of this time and all of it, so that the many peers of one
 * that failed do not come back all at once. A lower value shortens pauses that
 * have begun; a higher one is for those to come.
 */
#define SP_RECONNECT_IVL	4

/**
 * define SP_RECONNECT_IVL_MAX - What the time between attempts may grow to
 *
 * Unit: milliseconds. Default: 0. Range: 0 to 3600000. The time doubles with
 * each failed attempt up to this value, and starts anew once a connection has
 * lasted for %SP_RECONNECT_IVL; 0, and anything below %SP_RECONNECT_IVL, means
 * that it does not grow. A lower value shortens pauses that have begun.
 */
#define SP_RECONNECT_IVL_MAX	5

/**
 * define SP_RCVMAXSIZE - Largest message accepted from a peer
 *
 * Unit: bytes, as recv() gives them: tags do not count. Default: 16777216
 * (16 MiB). Range: -1 to 2147479552; -1 stands for 2147479552 (0x7ffff000).
 * More than 64 MiB takes CAP_NET_ADMIN, else EPERM. A peer that sends a larger
 * one is disconnected; if that was the reply that a SOCK_REQ waits for, recv()
 * gives EMSGSIZE once.
 */
#define SP_RCVMAXSIZE		6

/**
 * define SP_SNDMAXSIZE - Largest message that send() takes
 *
 * Unit: bytes. Default: 16777216 (16 MiB). Range: -1 to 2147479552; -1 stands
 * for 2147479552. More than 64 MiB takes CAP_NET_ADMIN, else EPERM. Above it
 * send() gives EMSGSIZE.
 */
#define SP_SNDMAXSIZE		7

/**
 * define SP_MAXTTL - How many tags, so how many devices plus one, a request
 *                    may have passed; SOCK_REP
 *
 * Unit: tags. Default: 8. Range: 1 to 255. A request with more is dropped.
 */
#define SP_MAXTTL		8

/**
 * define SP_SNDPRIO - Priority for sending of the endpoints added after it;
 *                     SOCK_REQ, SOCK_PUSH
 *
 * Default: 8. Range: 1 (first) to 16 (last). A peer of a lower rank is used
 * only while none of a higher rank can take a message.
 */
#define SP_SNDPRIO		9

/**
 * define SP_RCVPRIO - Priority for receiving of the endpoints added after it;
 *                     SOCK_REP, SOCK_SUB, SOCK_PULL
 *
 * Default: 8. Range: 1 (first) to 16 (last).
 */
#define SP_RCVPRIO		10

/**
 * define SP_REMOVE - Removes one endpoint and its connections; set only
 *
 * Type: struct sockaddr_in or struct sockaddr_in6, the address that connect()
 * was given or that getsockname() gave after bind(). Of several endpoints of one
 * address, listening or dialing, the one added last is removed. ENOENT if there
 * is none.
 *
 * Addresses are compared as the kernel uses them: an IPv4 address mapped to IPv6
 * is that IPv4 address, sin6_flowinfo does not matter, and sin6_scope_id only
 * where the address is link-local. There the device of SO_BINDTODEVICE stands
 * for a missing one.
 */
#define SP_REMOVE		11

/**
 * define SP_PEERS - How many peers are connected now; get only
 *
 * Unit: connections that have passed the greeting. Range: 0 to %SP_PIPES_MAX.
 */
#define SP_PEERS		12

/**
 * define SP_INFO - State and counters of the socket; get only
 *
 * Type: struct sp_info.
 */
#define SP_INFO			13

/**
 * DOC: Limits
 *
 * Bounds of one socket. They may grow in later versions.
 */

/**
 * define SP_TOPIC_MAX - Longest topic, in bytes
 */
#define SP_TOPIC_MAX		4096

/**
 * define SP_SUBSCRIPTIONS_MAX - Most topics a socket subscribes to
 */
#define SP_SUBSCRIPTIONS_MAX	65536

/**
 * define SP_ENDPOINTS_MAX - Most endpoints (bind() and connect() together)
 */
#define SP_ENDPOINTS_MAX	1024

/**
 * define SP_PIPES_MAX - Most connected peers
 */
#define SP_PIPES_MAX		65536

/**
 * struct sp_info - What getsockopt(SOL_SP, SP_INFO) tells about a socket
 * @sp_type: socket type, one of SOCK_REQ, SOCK_REP, ...
 * @sp_flags: flags; none are defined yet, so zero
 * @sp_listeners: endpoints made by bind()
 * @sp_dialers: endpoints made by connect()
 * @sp_pipes: peers connected now, as %SP_PEERS
 * @sp_handshaking: connections that have not yet exchanged greetings
 * @sp_rx_msgs: messages given to the program
 * @sp_rx_bytes: bytes in them
 * @sp_tx_msgs: messages taken from the program
 * @sp_tx_bytes: bytes in them
 * @sp_rx_queued: bytes now waiting for the program to receive them
 * @sp_tx_queued: bytes now waiting for TCP to take them
 * @sp_rx_filtered: not delivered: no topic matched
 * @sp_rx_stale: not delivered: a reply to a request that is over, or a request
 *               that was sent again and waits already, or has been replied to
 * @sp_rx_malformed: not delivered: missing or broken tags, or urgent data, or
 *                   sent to a SOCK_PUB
 * @sp_rx_ttl: not delivered: more tags than %SP_MAXTTL
 * @sp_rx_oversize: not delivered: larger than %SP_RCVMAXSIZE
 * @sp_rx_partial: not delivered: arrived in part only, or too slowly
 * @sp_tx_dropped: not sent: the peer was too slow for it
 * @sp_tx_no_peer: not sent: nobody was there, or the requester had gone
 * @sp_resends: requests sent again
 * @sp_bad_greetings: connections closed because of the peer's greeting, or
 *                    for want of one
 * @sp_pipe_ups: peers that came
 * @sp_pipe_downs: peers that went
 * @sp_reconnects: attempts to connect after the first
 *
 * The messages count once however many peers they go to. getsockopt() copies as
 * much as fits in the caller's buffer and reports the length, so old programs
 * run on new kernels and the reverse; members are only ever appended.
 */
struct sp_info {
	__u32 sp_type;
	__u32 sp_flags;
	__u32 sp_listeners;
	__u32 sp_dialers;
	__u32 sp_pipes;
	__u32 sp_handshaking;

	__aligned_u64 sp_rx_msgs;
	__aligned_u64 sp_rx_bytes;
	__aligned_u64 sp_tx_msgs;
	__aligned_u64 sp_tx_bytes;

	__aligned_u64 sp_rx_queued;
	__aligned_u64 sp_tx_queued;

	__aligned_u64 sp_rx_filtered;
	__aligned_u64 sp_rx_stale;
	__aligned_u64 sp_rx_malformed;
	__aligned_u64 sp_rx_ttl;
	__aligned_u64 sp_rx_oversize;
	__aligned_u64 sp_rx_partial;

	__aligned_u64 sp_tx_dropped;
	__aligned_u64 sp_tx_no_peer;
	__aligned_u64 sp_resends;

	__aligned_u64 sp_bad_greetings;
	__aligned_u64 sp_pipe_ups;
	__aligned_u64 sp_pipe_downs;
	__aligned_u64 sp_reconnects;
};

#endif /* _UAPI_LINUX_SP_H */
