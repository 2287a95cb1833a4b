#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""bench-pictures.py JSON DIR: what bench.py has kept of the counted guest, drawn: DIR/latency.svg and DIR/rate.svg."""

import json
import os
import sys

import matplotlib

matplotlib.use("svg")
# The same figures are the same picture.
matplotlib.rcParams["svg.hashsalt"] = "pf-sp"
from matplotlib import pyplot  # noqa: E402

NAMES = {"sp": "PF_SP", "tcp": "raw TCP", "unix": "AF_UNIX", "zmq": "libzmq", "nanomsg": "nanomsg", "nng": "nng"}


def draw(rows, what, value, label, path):
    """One picture: a line for each way to send, by size."""
    figure, axes = pyplot.subplots(figsize=(7, 4))
    for transport, name in NAMES.items():
        points = sorted((r["size"], value(r)) for r in rows if (r["what"], r["transport"]) == (what, transport))
        if points:
            axes.plot(*zip(*points), marker="o", markersize=3, label=name, linewidth=2.5 if transport == "sp" else 1)
    axes.set(xscale="log", yscale="log", xlabel="bytes of a message", ylabel=label)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def main():
    path, folder = sys.argv[1:]
    with open(path, encoding="utf-8") as kept:
        rows = [r for r in json.load(kept) if r["guest"] == "counted" and "failed" not in r]
    draw(
        rows,
        "latency",
        lambda r: r["p50"] / 1000,
        "one way, thousand instructions",
        os.path.join(folder, "latency.svg"),
    )
    draw(rows, "flood", lambda r: 1e9 / r["each"], "messages per 10⁹ instructions", os.path.join(folder, "rate.svg"))


main()
