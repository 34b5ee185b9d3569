"""The score fields of chapter 3, from the table that 03_reverse_process wrote. Run by scripts/plot.py."""

import csv
from pathlib import Path

import matplotlib.pyplot as plt

FIGURES = ["flow.png", "memory.png", "fields.png"]
SHAPES = ["moons", "swiss roll", "eight Gaussians", "rings"]


def plot(out_dir, figure_dir):
    """Reads fields.csv in out_dir and writes fields.png to figure_dir. Returns {file: caption}."""
    with open(Path(out_dir) / "fields.csv", newline="") as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    figure, axes = plt.subplots(2, 4, figsize=(12, 6))
    for column, shape in enumerate(SHAPES):
        for line, t in enumerate((100, 40)):
            here = [row for row in rows if row["shape"] == column and row["t"] == t]
            for kind, colour in (("exact", "tab:blue"), ("learned", "tab:orange")):
                axes[line][column].quiver(
                    *([row[name] for row in here] for name in ("x", "y", f"{kind}_x", f"{kind}_y")),
                    color=colour, alpha=0.7, label=kind, angles="xy",
                )
            axes[line][column].set_title(f"{shape}, t = {t}")
            axes[line][column].set_aspect("equal")
    axes[0][0].legend(loc="upper left", fontsize=8)
    figure.tight_layout()
    figure.savefig(Path(figure_dir) / "fields.png", dpi=90)
    plt.close(figure)
    return {"fields.png": "The score, exact and learned, of the four shapes at two times."}
