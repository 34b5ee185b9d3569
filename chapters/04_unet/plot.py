"""The loss curves of chapter 4, from the tables that 04_unet wrote. Run by scripts/plot.py."""

import csv
import shutil
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt

FIGURES = ["samples.png", "quick.png", "progress.png", "loss.png", "denoising.gif", "versions.png", "growth.png", "sizes.png"]


def read(path):
    with open(path, newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def plot(out_dir, figure_dir):
    """Reads train.csv and loss_by_t.csv in out_dir and writes loss.png to figure_dir. Returns {file: caption}."""
    steps = read(Path(out_dir) / "train.csv")
    quick = Path(out_dir).parent / "04_unet_quick" / "samples.png"  # made by make figures
    if quick.is_file():
        shutil.copyfile(quick, Path(figure_dir) / "quick.png")
    tables = Path(out_dir).parent / "bench"  # made by make figures, too
    if (tables / "versions.csv").is_file() and (tables / "growth.csv").is_file():
        script = Path(__file__).resolve().parent.parent.parent / "bench" / "plot.py"
        subprocess.run([sys.executable, str(script), str(tables), str(figure_dir)], check=True)
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6))
    window = max(1, len(steps) // 200)
    places, means = [], []
    for begin in range(0, len(steps) - window + 1, window):
        part = steps[begin : begin + window]
        places.append(part[-1]["images"] / 1000)
        means.append(sum(row["loss"] for row in part) / window)
    left.plot(places, means)
    left.set_xlabel("pictures seen, thousands")
    left.set_ylabel(f"loss, mean of {window} steps")
    left.set_yscale("log")
    left.grid(alpha=0.3, which="both")
    bins = read(Path(out_dir) / "loss_by_t.csv")
    right.bar(
        [(row["first_t"] + row["last_t"]) / 2 for row in bins],
        [row["loss"] for row in bins],
        width=0.9 * (bins[0]["last_t"] - bins[0]["first_t"]),
    )
    right.set_xlabel("t")
    right.set_ylabel("mean squared error")
    right.grid(alpha=0.3, axis="y")
    figure.tight_layout()
    figure.savefig(Path(figure_dir) / "loss.png", dpi=100)
    plt.close(figure)
    return {"loss.png": "Left: the loss while training. Right: where in time the error is, at the end."}
