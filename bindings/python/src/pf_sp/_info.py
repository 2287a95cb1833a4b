# SPDX-License-Identifier: MIT
"""What SP_INFO tells: struct sp_info."""

import dataclasses
import struct
from typing import ClassVar


@dataclasses.dataclass(frozen=True, slots=True)
class Info:
    """State and counters of a socket: struct sp_info, without the ``sp_`` of its members."""

    type: int
    flags: int
    listeners: int
    dialers: int
    pipes: int
    handshaking: int
    rx_msgs: int
    rx_bytes: int
    tx_msgs: int
    tx_bytes: int
    rx_queued: int
    tx_queued: int
    rx_filtered: int
    rx_stale: int
    rx_malformed: int
    rx_ttl: int
    rx_oversize: int
    rx_partial: int
    tx_dropped: int
    tx_no_peer: int
    resends: int
    bad_greetings: int
    pipe_ups: int
    pipe_downs: int
    reconnects: int

    LAYOUT: ClassVar[struct.Struct] = struct.Struct("=6I19Q")

    @classmethod
    def from_bytes(cls, data: bytes) -> "Info":
        """Reads what getsockopt() gave: zero where an older module tells less."""
        return cls(*cls.LAYOUT.unpack(data.ljust(cls.LAYOUT.size, b"\0")))
