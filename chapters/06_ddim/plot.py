"""The curves of chapter 6, from the tables that 06_ddim wrote. Run by scripts/plot.py."""

import csv
import json
from pathlib import Path

import matplotlib.pyplot as plt

FIGURES = ["orders.png", "quality.png", "interpolation.png", "inversion.png", "inpainting.png", "edit.png"]
LABELS = {"ddpm": "DDPM", "ddim": "DDIM", "euler": "Euler", "heun": "Heun", "dpmpp2m": "DPM-Solver++(2M)"}


def read(path):
    with open(path, newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def plot(out_dir, figure_dir):
    """Reads orders.csv and quality.csv in out_dir and draws them in figure_dir. Returns {file: caption}."""
    captions = {}
    names = json.loads((Path(out_dir) / "run.json").read_text())["settings"]["samplers"]
    labels = [LABELS.get(name, name) for name in names]
    rows = read(Path(out_dir) / "orders.csv")
    figure, axes = plt.subplots(figsize=(5.5, 3.8))
    for k, name in enumerate(labels):
        mine = [row for row in rows if row["sampler"] == k]
        if not mine:  # one that draws fresh noise has no order
            continue
        axes.loglog([row["steps"] for row in mine], [row["error"] for row in mine], "o-", label=name)
    axes.set_xticks([16, 32, 64, 128, 256], ["16", "32", "64", "128", "256"])
    axes.minorticks_off()
    axes.set_xlabel("steps")
    axes.set_ylabel("largest error")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(Path(figure_dir) / "orders.png", dpi=100)
    plt.close(figure)
    captions["orders.png"] = "Error against steps on Gaussian data, where the answer is known."

    path = Path(out_dir) / "quality.csv"
    if path.is_file():
        rows = read(path)
        figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4))
        for k, name in enumerate(labels):
            mine = sorted((row for row in rows if row["sampler"] == k), key=lambda row: row["calls"])
            calls = [1.04 ** (k - 2) * row["calls"] for row in mine]  # side by side where they would cover each other
            for axes, scale, value, low, high in [
                (left, 1, "frechet", "low", "high"),
                (right, 100, "sure", "sure_low", "sure_high"),
            ]:
                below = [scale * max(0.0, row[value] - row[low]) for row in mine]  # a share of 0 ends at 1e-18, by rounding
                above = [scale * max(0.0, row[high] - row[value]) for row in mine]
                values = [scale * row[value] for row in mine]
                axes.errorbar(calls, values, yerr=[below, above], fmt="o-", ms=4, capsize=2, label=name)
        left.axhline(rows[0]["floor"], color="k", linestyle=":", label="real test pictures")
        for axes in (left, right):
            axes.set_xscale("log")
            axes.set_xlabel("calls of the network for a picture")
            axes.grid(alpha=0.3)
        left.set_yscale("log")
        left.set_ylim(bottom=min(row["frechet"] for row in rows) / 4)  # intervals may end at 0
        left.set_ylabel("Fréchet distance")
        right.set_ylabel("judge is sure, %")
        left.legend(fontsize=8)
        figure.tight_layout()
        figure.savefig(Path(figure_dir) / "quality.png", dpi=100)
        plt.close(figure)
        captions["quality.png"] = "Quality against the number of calls, for each sampler."
    return captions
