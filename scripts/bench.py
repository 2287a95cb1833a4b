#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""bench.py DIR JSON: what guest-bench.sh has printed, DIR/counted and DIR/timed, as tables and as JSON."""

import json
import os
import sys

LIBRARIES = ("zmq", "nanomsg", "nng")
NAMES = {
    "sp": "PF_SP",
    "sp_mmsg": "PF_SP, 32 a call",
    "sp_uring": "PF_SP, io_uring",
    "tcp": "raw TCP",
    "unix": "AF_UNIX",
    "zmq": "libzmq",
    "nanomsg": "nanomsg",
    "nng": "nng",
}


def read(path, guest):
    """The rows of one guest's output."""
    rows = []
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            transport, what, size, rest = line.rstrip("\n").split(" ", 3)
            row = {"guest": guest, "transport": transport, "what": what, "size": int(size)}
            if rest.startswith("failed"):
                row["failed"] = rest.removeprefix("failed ")
            else:
                row |= json.loads(rest)
                row["each"] = row["ns"] / row["messages"]
            rows.append(row)
    return rows


def ratio(row, others):
    """By how much more than the best of others a message costs."""
    best = min((o["each"] for o in others if "each" in o), default=None)
    return f"{row['each'] / best:.2f}" if best else "-"


def table(rows, unit):
    """One guest's table."""
    print(
        f"{'':10} {'size':>8} {'':18} {'p50':>10} {'p99':>10} {unit:>12} {'rate':>10}"
        f" {'switches':>9} {'segments':>9} {'to TCP':>7} {'to best library':>15}"
    )
    for row in (row for row in rows if row["what"] != "idle"):
        head = f"{row['what']:10} {row['size']:8} {NAMES[row['transport']]:18}"
        if "failed" in row:
            print(f"{head} failed: {row['failed']}")
            continue
        same = [r for r in rows if (r["what"], r["size"]) == (row["what"], row["size"])]
        tcp = ratio(row, [r for r in same if r["transport"] == "tcp"])
        library = ratio(row, [r for r in same if r["transport"] in LIBRARIES])
        print(
            f"{head} {row.get('p50', '-'):>10} {row.get('p99', '-'):>10} {row['each']:12.0f} {1e9 / row['each']:10.0f}"
            f" {row['switches'] / row['messages']:9.2f} {row['segments'] / row['messages']:9.2f} {tcp:>7} {library:>15}"
        )


def idle_table(rows, unit):
    """What one peer costs among others that are only there, and what those cost."""
    if not any(row["what"] == "idle" for row in rows):
        return
    alone = {row["transport"]: row["p50"] for row in rows if (row["what"], row["size"]) == ("latency", 64) and "p50" in row}
    print(
        f"\n{'one peer, 64 bytes':20} {'others':>8} {unit + ', p50':>18} {'to alone':>10} {'bytes each':>12}"
        f" {'to connect':>12} {'to close':>10}"
    )
    for row in (row for row in rows if row["what"] == "idle"):
        name = f"{NAMES[row['transport']]:20}"
        if "failed" in row:
            print(f"{name} failed: {row['failed']}")
            continue
        ratio_to_alone = row["p50"] / alone[row["transport"]] if row["transport"] in alone else float("nan")
        print(
            f"{name} {row['idle']:8} {row['p50']:18} {ratio_to_alone:10.2f} {row['memory']:12}"
            f" {row['connect']:12} {row['close']:10}"
        )


def main():
    folder, kept = sys.argv[1:]
    everything = []
    for guest, title, unit in (
        ("counted", "One CPU; times are instructions of the whole system", "instructions"),
        ("timed", "Two CPUs, emulated: compare within this table only", "ns"),
    ):
        path = os.path.join(folder, guest)
        if not os.path.exists(path):
            continue
        rows = read(path, guest)
        order = {row["what"]: n for n, row in reversed(list(enumerate(rows)))}
        rows.sort(key=lambda row: (order[row["what"]], row["size"]))
        print(f"\n{title}.\n")
        table(rows, unit)
        idle_table(rows, unit)
        everything += rows
    with open(kept, "w", encoding="utf-8") as out:
        json.dump(everything, out, indent=1)
    if not everything:
        sys.exit("bench.py: nothing was measured")
    # A contender may fail; we may not.
    if any("failed" in row for row in everything if row["transport"].startswith("sp")):
        sys.exit(1)


main()
