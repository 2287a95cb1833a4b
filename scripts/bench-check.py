#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""bench-check.py OUTPUT KERNEL FIGURES [renew]: whether what guest-bench.sh has printed, OUTPUT, is as FIGURES say.

One way of a request and its reply repeats to within a percent where instructions are time. Another kernel has
other costs: then raw TCP's tell by how much. A flood depends on how reads batch, so it is compared with raw
TCP's of the same boot, and may vary.
"""

import json
import sys

MORE = 1.05
MORE_IN_A_FLOOD = 1.5


def read(path):
    """The figures of one run: transport, what and size, and thousand instructions a message."""
    figures = {}
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            transport, what, size, rest = line.rstrip("\n").split(" ", 3)
            if rest.startswith("failed"):
                sys.exit(f"bench-check: {line}")
            row = json.loads(rest)
            if what == "latency" or (what, size) == ("flood", "64"):
                instructions = row["p50"] if what == "latency" else row["ns"] / row["messages"]
                figures.setdefault(what, {}).setdefault(transport, {})[size] = round(instructions / 1000, 1)
    return figures


def main():
    path, kernel, kept, *renew = sys.argv[1:]
    now = {"kernel": kernel} | read(path)
    if renew:
        with open(kept, "w", encoding="utf-8") as out:
            json.dump(now, out, indent=1)
            out.write("\n")
        return
    with open(kept, encoding="utf-8") as file:
        then = json.load(file)
    bad = False
    for size, figure in now["latency"]["sp"].items():
        expected = then["latency"]["sp"][size]
        if kernel != then["kernel"]:
            expected *= now["latency"]["tcp"][size] / then["latency"]["tcp"][size]
        bad |= figure > MORE * expected
        print(f"one way, {size} bytes: {figure} thousand instructions, {figure / expected - 1:+.1%}")
    flood, before = (figures["flood"]["sp"]["64"] / figures["flood"]["tcp"]["64"] for figures in (now, then))
    bad |= flood > MORE_IN_A_FLOOD * before
    print(f"a flood of 64 bytes: {flood:.2f} of raw TCP's, then {before:.2f}")
    if bad:
        sys.exit("bench-check: a message has become dearer; if that is meant: make bench-check RENEW=1")


main()
