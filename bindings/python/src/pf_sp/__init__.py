# SPDX-License-Identifier: MIT
"""PF_SP sockets: REQ/REP, PUB/SUB and PUSH/PULL as sockets of the Linux kernel.

``Socket`` is a ``socket.socket``, and ``Stream`` is one for asyncio. The constants have
the names and values of ``<linux/sp.h>``.
"""

from ._constants import (
    AF_SP,
    PF_SP,
    SOCK_BUS,
    SOCK_PAIR,
    SOCK_PUB,
    SOCK_PULL,
    SOCK_PUSH,
    SOCK_REP,
    SOCK_REQ,
    SOCK_RESPONDENT,
    SOCK_SUB,
    SOCK_SURVEYOR,
    SOL_SP,
    SP_ENDPOINTS_MAX,
    SP_INFO,
    SP_MAXTTL,
    SP_PEERS,
    SP_PIPES_MAX,
    SP_RCVMAXSIZE,
    SP_RCVPRIO,
    SP_RECONNECT_IVL,
    SP_RECONNECT_IVL_MAX,
    SP_REMOVE,
    SP_REQ_RESEND_IVL,
    SP_SNDMAXSIZE,
    SP_SNDPRIO,
    SP_SUBSCRIBE,
    SP_SUBSCRIPTIONS_MAX,
    SP_TOPIC_MAX,
    SP_UNSUBSCRIBE,
)
from ._info import Info
from ._socket import Socket
from ._stream import Stream

__all__ = [
    "AF_SP",
    "PF_SP",
    "SOCK_BUS",
    "SOCK_PAIR",
    "SOCK_PUB",
    "SOCK_PULL",
    "SOCK_PUSH",
    "SOCK_REP",
    "SOCK_REQ",
    "SOCK_RESPONDENT",
    "SOCK_SUB",
    "SOCK_SURVEYOR",
    "SOL_SP",
    "SP_ENDPOINTS_MAX",
    "SP_INFO",
    "SP_MAXTTL",
    "SP_PEERS",
    "SP_PIPES_MAX",
    "SP_RCVMAXSIZE",
    "SP_RCVPRIO",
    "SP_RECONNECT_IVL",
    "SP_RECONNECT_IVL_MAX",
    "SP_REMOVE",
    "SP_REQ_RESEND_IVL",
    "SP_SNDMAXSIZE",
    "SP_SNDPRIO",
    "SP_SUBSCRIBE",
    "SP_SUBSCRIPTIONS_MAX",
    "SP_TOPIC_MAX",
    "SP_UNSUBSCRIBE",
    "Info",
    "Socket",
    "Stream",
]
