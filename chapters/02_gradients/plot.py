"""The loss curves of chapter 2, from the table that 02_gradients wrote. Run by scripts/plot.py."""

import csv
from pathlib import Path

import matplotlib.pyplot as plt

FIGURES = ["fit.png", "loss.png"]


def plot(out_dir, figure_dir):
    """Reads loss.csv in out_dir and writes loss.png to figure_dir. Returns {file: caption}."""
    with open(Path(out_dir) / "loss.csv", newline="") as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    figure, axes = plt.subplots(figsize=(6, 3.4))
    for name, label in (("descent", "gradient descent (2.15)"), ("adam", "Adam (2.16)-(2.18)")):
        axes.semilogy([row["step"] for row in rows], [row[name] for row in rows], label=label)
    axes.set_xlabel("step")
    axes.set_ylabel("mean squared error, smoothed")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(Path(figure_dir) / "loss.png", dpi=110)
    plt.close(figure)
    return {"loss.png": "Loss on fresh points: the same network, start and data, two ways to use the gradient."}
