"""The curves of chapter 5, from the tables that 05_measuring wrote. Run by scripts/plot.py."""

import csv
from pathlib import Path

import matplotlib.pyplot as plt

FIGURES = ["faults.png", "bias.png", "unsure.png", "neighbours.png", "distances.png"]


def read(path):
    with open(path, newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def plot(out_dir, figure_dir):
    """Reads bias.csv and distances.csv in out_dir and draws them in figure_dir. Returns {file: caption}."""
    captions = {}
    bias = read(Path(out_dir) / "bias.csv")
    figure, axes = plt.subplots(figsize=(6, 3.8))
    count = [row["n"] for row in bias]
    axes.plot(count, [row["real"] for row in bias], "o", label="real test pictures")
    axes.plot(count, [row["formula"] for row in bias], "k:", label="(5.8)")
    axes.plot(count, [row["spoiled"] for row in bias], "s-", label="one in ten spoiled")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("pictures")
    axes.set_ylabel("Fréchet distance to the training pictures")
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    figure.tight_layout()
    figure.savefig(Path(figure_dir) / "bias.png", dpi=100)
    plt.close(figure)
    captions["bias.png"] = "The Fréchet distance falls as 1/n, down to what really differs."

    path = Path(out_dir) / "distances.csv"
    if path.is_file():
        rows = read(path)
        figure, axes = plt.subplots(figsize=(6, 3.4))
        bins = [i / 50 for i in range(46)]
        for kind, label in ((0, "test pictures"), (1, "samples")):
            axes.hist(
                [row["distance"] for row in rows if row["sample"] == kind],
                bins=bins,
                density=True,
                histtype="step",
                label=label,
            )
        axes.set_xlabel("distance to the nearest training picture, RMS per pixel")
        axes.set_ylabel("density")
        axes.grid(alpha=0.3)
        axes.legend()
        figure.tight_layout()
        figure.savefig(Path(figure_dir) / "distances.png", dpi=100)
        plt.close(figure)
        captions["distances.png"] = "How far samples and unseen real digits are from the training pictures."
    return captions
