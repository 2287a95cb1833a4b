# SPDX-License-Identifier: MIT
"""The numbers of <linux/sp.h>, which explains them; a test compares the two."""

from typing import Final

PF_SP: Final = 18
AF_SP: Final = PF_SP

SOCK_PAIR: Final = 1
SOCK_PUSH: Final = 2
SOCK_PULL: Final = 3
SOCK_SURVEYOR: Final = 4
SOCK_BUS: Final = 5
SOCK_REQ: Final = 6
SOCK_REP: Final = 7
SOCK_PUB: Final = 8
SOCK_SUB: Final = 9
SOCK_RESPONDENT: Final = 10

SOL_SP: Final = 400

SP_SUBSCRIBE: Final = 1
SP_UNSUBSCRIBE: Final = 2
SP_REQ_RESEND_IVL: Final = 3
SP_RECONNECT_IVL: Final = 4
SP_RECONNECT_IVL_MAX: Final = 5
SP_RCVMAXSIZE: Final = 6
SP_SNDMAXSIZE: Final = 7
SP_MAXTTL: Final = 8
SP_SNDPRIO: Final = 9
SP_RCVPRIO: Final = 10
SP_REMOVE: Final = 11
SP_PEERS: Final = 12
SP_INFO: Final = 13

SP_TOPIC_MAX: Final = 4096
SP_SUBSCRIPTIONS_MAX: Final = 65536
SP_ENDPOINTS_MAX: Final = 1024
SP_PIPES_MAX: Final = 65536
