#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""profile.py DIR MESSAGES: what a message costs in each function, from DIR/profile.1 and .2 and DIR/symbols.1 and .2."""

import bisect
import collections
import sys

SHOWN = 60
# Where the kernel begins.
KERNEL = 1 << 63


def counts(folder, times):
    """Instructions by function, in one run."""
    symbols = []
    with open(f"{folder}/symbols.{times}", encoding="ascii") as lines:
        for line in lines:
            address, kind, name, *module = line.split()
            if kind in "tTwW":
                symbols.append((int(address, 16), " ".join([name, *module])))
    symbols.sort()
    addresses = [address for address, _ in symbols]
    found = collections.Counter()
    with open(f"{folder}/profile.{times}", encoding="ascii") as lines:
        for line in lines:
            address, length, executed = line.split()
            address = int(address, 16)
            name = "user space"
            if address >= KERNEL:
                at = bisect.bisect_right(addresses, address) - 1
                name = symbols[at][1] if at >= 0 else "?"
            found[name] += int(length) * int(executed)
    return found


def main():
    folder, messages = sys.argv[1], int(sys.argv[2])
    once, twice = counts(folder, 1), counts(folder, 2)
    each = {name: (count - once[name]) / messages for name, count in twice.items()}
    print(f"{sum(each.values()):9.0f} instructions a message")
    for name, count in sorted(each.items(), key=lambda row: -row[1])[:SHOWN]:
        print(f"{count:9.0f} {name}")


main()
