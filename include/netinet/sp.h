/* SPDX-License-Identifier: MIT */
/*
 * Scalability Protocols sockets, for programs: the counterpart of
 * <netinet/tcp.h>. Brings socket() and its relatives, the Internet addresses
 * that bind() and connect() take, and the constants of the PF_SP family.
 *
 * There is nothing to link with. There are no functions of its own either, so
 * no extern "C" is needed here.
 */
#ifndef _NETINET_SP_H
#define _NETINET_SP_H 1

#include <sys/socket.h>
#include <netinet/in.h>
#include <linux/sp.h>

#endif /* _NETINET_SP_H */
