"""The figures of lesson 7: most are the program's own pictures; the curves and the sheets with captions are drawn here."""

import csv
import json
import textwrap
from pathlib import Path

import matplotlib.pyplot as plt

FIGURES = ["reconstructions.png", "latents.png", "prior.png", "walks.png", "progress.png", "pixels.png", "sweep.png", "collapse.png", "scale.png",
           "scenes.png", "emoji.png", "words.png"]


def numbers(folder):
    """What a run printed: name -> value."""
    return {entry["name"]: entry["value"] for entry in json.loads((folder / "run.json").read_text())["numbers"]}


def sheet(folder, path, columns=4):
    """Pictures with their captions below them."""
    with open(folder / "captions.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    figure, axes = plt.subplots(-(-len(rows) // columns), columns, figsize=(2.4 * columns, 2.9 * -(-len(rows) // columns)))
    for place in axes.flat:
        place.axis("off")
    for place, row in zip(axes.flat, rows):
        place.imshow(plt.imread(folder / row["file"]), interpolation="nearest")
        place.set_title(textwrap.fill(row["caption"], 34), y=-0.09, va="top", fontsize=8)
    figure.subplots_adjust(left=0.01, right=0.99, top=0.99, bottom=0.12, wspace=0.08, hspace=0.5)
    figure.savefig(path, dpi=100)
    plt.close(figure)


def stack(paths, labels, path):
    """Pictures one below the other, each with a label on its left."""
    pictures = [plt.imread(p) for p in paths]
    heights = [picture.shape[0] for picture in pictures]
    width = pictures[0].shape[1]
    figure, axes = plt.subplots(len(pictures), 1, figsize=(width / 100 + 1.2, sum(heights) / 100 + 0.1), height_ratios=heights, squeeze=False)
    for place, picture, label in zip(axes.flat, pictures, labels):
        place.imshow(picture, interpolation="nearest", aspect="auto")
        place.set_xticks([])
        place.set_yticks([])
        place.set_ylabel(label, rotation=0, ha="right", va="center", fontsize=9)
        for side in place.spines.values():
            side.set_visible(False)
    figure.subplots_adjust(left=1.2 / (width / 100 + 1.2), right=1, top=1, bottom=0, hspace=0.02)
    figure.savefig(path, dpi=100)
    plt.close(figure)


def sweep(folders, path):
    """What the KL's weight keeps."""
    weights = [float(folder.name) for folder in folders]
    found = [numbers(folder) for folder in folders]
    figure, (psnr, kl, given_up) = plt.subplots(1, 3, figsize=(11, 3.4))
    psnr.semilogx(weights, [of["PSNR"] for of in found], "o-")
    psnr.set_title("PSNR, dB")
    kl.loglog(weights, [of["KL"] for of in found], "o-")
    kl.set_title("KL, nats a picture")
    given_up.semilogx(weights, [of["given up"] for of in found], "o-")
    given_up.set_title("numbers given up, of 256")
    for axes in (psnr, kl, given_up):
        axes.set_xlabel("weight of the KL, $w$")
        axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    plt.close(figure)


def plot(out_dir, figure_dir):
    """Draws what the runs of figures.sh left. Returns {file: caption}."""
    out, figures = Path(out_dir), Path(figure_dir)
    captions = {}
    for kind in ("scenes", "emoji", "words"):
        folder = out / f"canvases_{kind}" / "canvases"
        if folder.is_dir():
            sheet(folder, figures / f"{kind}.png")
            captions[f"{kind}.png"] = f"Canvases with their captions: {kind}."
    finished = lambda folder: (folder / "run.json").is_file() and "PSNR" in numbers(folder)
    runs = sorted(filter(finished, out.glob("sweep/*")), key=lambda folder: float(folder.name))
    if runs:
        sweep(runs, figures / "sweep.png")
        captions["sweep.png"] = "The weight of the KL against what is kept."
        last = [folder / "vqvae" / "progress_8.png" for folder in runs]
        stack(last, [f"w = {folder.name}" for folder in runs], figures / "collapse.png")
        captions["collapse.png"] = "Reconstructions under rising weights of the KL, at equal training."
    both = [out / "progress_8.png", out / "pixels" / "progress_8.png"]
    if all(path.is_file() for path in both):
        stack(both, ["latents", "pixels"], figures / "pixels.png")
        captions["pixels.png"] = "Diffusion of latents and of pixels after equal times of training."
    scales = sorted((folder for folder in out.glob("scale/*") if (folder / "progress.png").is_file()), key=lambda f: float(f.name))
    if scales:
        last = [folder / "progress_8.png" for folder in scales]
        stack(last, [f"factor x {folder.name}" for folder in scales], figures / "scale.png")
        captions["scale.png"] = "Diffusion of latents with a wrong scaling factor, at equal training."
    return captions
