"""Curves of chapter 1, drawn from the tables that 01_forward_noising wrote. Run by scripts/plot.py."""

import csv
from pathlib import Path

import matplotlib.pyplot as plt

# What the lesson shows; all but the first two are drawn here.
FIGURES = ["filmstrip.png", "mistakes.png", "schedules.png", "log_snr.png", "variance.png", "histogram.png"]

SCHEDULES = {"linear": "linear", "scaled_linear": "scaled linear", "cosine": "cosine", "sigmoid": "sigmoid"}
MIXTURES = {
    "right": "right: (1.2), (1.4)",
    "no_root_in_jump": "jump without its root",
    "no_root_in_step": "step without its root",
    "no_shrinking": "no shrinking",
    "exploding": "variance exploding (1.7)",
}


def read(path):
    """A CSV file as {column: list of numbers}."""
    with open(path, newline="") as file:
        header, *rows = csv.reader(file)
    return {name: [float(row[i]) for row in rows] for i, name in enumerate(header)}


def save(figure, path):
    for axes in figure.axes:
        axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def plot(out_dir, figure_dir):
    """Reads the tables in out_dir and writes the curves to figure_dir. Returns {file: caption}."""
    out_dir, figure_dir = Path(out_dir), Path(figure_dir)
    table = read(out_dir / "schedules.csv")

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8))
    for name, label in SCHEDULES.items():
        left.plot(table["t"], table[name + "_abar"], label=label)
        right.plot(table["t"], table[name + "_beta"], label=label)
    left.set(xlabel="t", ylabel=r"$\bar\alpha_t$", title="share of signal power left")
    right.set(xlabel="t", ylabel=r"$\beta_t$", title="variance that step t adds", yscale="log")
    left.legend()
    save(figure, figure_dir / "schedules.png")

    figure, axes = plt.subplots(figsize=(7, 4.2))
    for name, label in SCHEDULES.items():
        axes.plot(table["t"], table[name + "_log_snr"], label=label)
    axes.axhline(0, color="grey", linewidth=0.8)
    axes.set(xlabel="t", ylabel=r"$\log\,\mathrm{SNR}(t)$, nats", title="signal and noise are equal at 0")
    axes.legend()
    save(figure, figure_dir / "log_snr.png")

    table = read(out_dir / "variance.csv")
    figure, axes = plt.subplots(figsize=(7, 4.2))
    for name, label in MIXTURES.items():
        axes.plot(table["t"], table[name], label=label)
    axes.set(xlabel="t", ylabel=r"variance of $x_t$", yscale="log", title="a pixel with variance 1, linear schedule")
    axes.legend()
    save(figure, figure_dir / "variance.png")

    table = read(out_dir / "histogram.csv")
    times = sorted(set(table["t"]))
    figure, panels = plt.subplots(1, len(times), figsize=(12, 3.2), sharex=True)
    for axes, t in zip(panels, times):
        rows = [i for i, value in enumerate(table["t"]) if value == t]
        x, chain, jump, exact = ([table[name][i] for i in rows] for name in ("x", "chain", "jump", "exact"))
        axes.bar(x, chain, width=x[1] - x[0], color="tab:blue", alpha=0.35, label="chain (1.2)")
        axes.plot(x, jump, ".", color="tab:orange", markersize=4, label="one jump (1.4)")
        axes.plot(x, exact, color="black", linewidth=1, label="exact (1.4)")
        axes.set(xlabel=r"$x_t$", title=f"t = {t:.0f}")
    panels[0].legend(fontsize=8)
    save(figure, figure_dir / "histogram.png")

    return {
        "schedules.png": "The four schedules: what is left of the signal, and what each step adds.",
        "log_snr.png": "Signal-to-noise ratio over time.",
        "variance.png": "Only the right process keeps the variance of a unit-variance pixel.",
        "histogram.png": "A white pixel after t chained steps, after one jump, and in theory.",
    }
