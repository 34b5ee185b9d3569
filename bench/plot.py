#!/usr/bin/env python3
"""Draws the benchmark's tables: versions.png, growth.png and sizes.png.

    python3 bench/plot.py out/bench [FIGURE_DIR]     figures go beside the tables unless a folder is named
"""
import csv
import statistics
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt


def read(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def versions(rows, path):
    figure, axes = plt.subplots(figsize=(8, 3.2))
    names = [row["version"] for row in rows][::-1]
    shares = [float(row["share"]) for row in rows][::-1]
    axes.barh(names, shares, color=["#4878a8"] * len(rows))
    for place, (share, row) in enumerate(zip(shares, rows[::-1])):
        axes.text(share + 0.02, place, f"{float(row['gflops']):.0f}", va="center", fontsize=8, zorder=3,
                  bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5})
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xlim(0, 1.15 * max(shares))
    axes.set_xlabel("share of the multiply-add peak (numbers: GFLOP/s)")
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    plt.close(figure)


def growth(rows, path):
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4))
    for pixels, label in ((28, "28 x 28 x 1"), (32, "32 x 32 x 3")):
        part = [row for row in rows if row["series"] == "base" and int(row["pixels"]) == pixels]
        left.loglog([int(row["base"]) for row in part], [1e3 * float(row["step_seconds"]) / int(row["batch"]) for row in part],
                    "o-", label=label)
    part = [row for row in rows if row["series"] == "base" and int(row["pixels"]) == 28]
    bases = [int(row["base"]) for row in part]
    last = 1e3 * float(part[-1]["step_seconds"]) / int(part[-1]["batch"])
    left.loglog(bases, [last * (base / bases[-1]) ** 2 for base in bases], "k:", label="square of the channels")
    left.set_xticks(bases, map(str, bases))
    left.set_xlabel("base channels")
    left.set_ylabel("training, ms for a picture")
    left.legend(fontsize=8)
    part = [row for row in rows if row["series"] == "batch"]
    right.semilogx([int(row["batch"]) for row in part], [int(row["batch"]) / float(row["step_seconds"]) for row in part], "o-")
    right.set_xticks([int(row["batch"]) for row in part], [row["batch"] for row in part])
    right.set_xlabel("batch, base 16")
    right.set_ylabel("training, pictures a second")
    right.set_ylim(0)
    for axes in (left, right):
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    plt.close(figure)


def sizes(rows, path):
    """Operations of `bench sizes` under the two roofs: what the arithmetic units and the memory allow."""
    figure, axes = plt.subplots(figsize=(8, 4.4))
    peak = statistics.median(float(row["peak"]) for row in rows)
    copy = float(rows[0]["copy"])
    intensities = [0.5, peak / copy, 2000]
    axes.loglog(intensities, [min(peak, copy * x) for x in intensities], "k-", linewidth=1)
    axes.text(2000, 1.06 * peak, f"{peak:.0f} GFLOP/s", ha="right", fontsize=8)
    axes.text(0.52, 1.15 * 0.52 * copy, f"{copy:.0f} GB/s", rotation=36, rotation_mode="anchor", fontsize=8)
    rows = [row for row in rows if not row["name"].endswith(("Winograd", "windows"))]  # a table of the page shows those
    for label, begin, marker in (("linear", "linear", "o"), ("attention", "attention", "s"), ("3 x 3 convolution", "3x3", "^"),
                                 ("group norm and SiLU", "group", "v"), ("layer norm", "layer", "D"), ("RMS norm", "RMS", "x")):
        part = [row for row in rows if row["name"].startswith(begin)]
        axes.plot([float(row["flops"]) / float(row["bytes"]) for row in part], [float(row["forward_gflops"]) for row in part], marker,
                  markersize=5, label=label)
    axes.set_xlabel("operations for each byte that must be read or written")
    axes.set_ylabel("GFLOP/s")
    axes.legend(fontsize=8, loc="lower right")
    axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    plt.close(figure)


def main():
    tables = Path(sys.argv[1])
    figures = Path(sys.argv[2]) if len(sys.argv) > 2 else tables
    for name, draw in (("versions", versions), ("growth", growth), ("sizes", sizes)):
        if (tables / f"{name}.csv").is_file():
            draw(read(tables / f"{name}.csv"), figures / f"{name}.png")
            print(f"plot: {figures / name}.png")


if __name__ == "__main__":
    main()
