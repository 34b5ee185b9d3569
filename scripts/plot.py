#!/usr/bin/env python3
"""Draws every chapter's curves from the tables that its program wrote.

    python3 scripts/plot.py out             # curves go beside the tables, and into the gallery's list
    python3 scripts/plot.py out --figures   # and the pictures that a lesson shows into chapters/*/figures/

A chapter takes part with a file chapters/NN_name/plot.py that has

    plot(out_dir, figure_dir)   reads out_dir, writes pictures to figure_dir, may return {file: caption}
    FIGURES                     names of the pictures that its lesson shows, drawn here or by the program

Chapters whose run folder is missing are left out, with a line that says so. Needs matplotlib.
"""

import argparse
import importlib.util
import json
import os
import shutil
import sys
from pathlib import Path

sys.dont_write_bytecode = True  # a chapter folder holds sources only
CHAPTERS = Path(__file__).resolve().parent.parent / "chapters"


def load(path):
    spec = importlib.util.spec_from_file_location("plot_" + path.parent.name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def register(run_json, captions):
    """Adds pictures to the run's list, from which the gallery is made; a known one gets the new caption."""
    run = json.loads(run_json.read_text())
    pictures = {picture["file"]: picture for picture in run.setdefault("pictures", [])}
    for file, caption in captions.items():
        if file in pictures:
            pictures[file]["caption"] = caption
        else:
            run["pictures"].append({"file": file, "caption": caption})
    temporary = run_json.with_suffix(".tmp")
    temporary.write_text(json.dumps(run, indent=2, sort_keys=True) + "\n")
    os.replace(temporary, run_json)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="the folder that holds the runs: out/01_forward_noising, ...")
    parser.add_argument("--figures", action="store_true", help="also copy the lessons' pictures into the chapters")
    options = parser.parse_args()
    if not options.out.is_dir():
        sys.exit(f"plot: {options.out} is not a folder; run the chapters first")
    try:
        import matplotlib
    except ImportError:
        sys.exit("plot: needs matplotlib (Debian and Ubuntu: python3-matplotlib; elsewhere: pip install matplotlib)")
    matplotlib.use("Agg")

    failed = False
    for path in sorted(CHAPTERS.glob("*/plot.py")):
        chapter = path.parent
        run = options.out / chapter.name
        if not run.is_dir():
            print(f"{chapter.name}: no {run}, left out")
            continue
        try:
            module = load(path)
            captions = module.plot(run, run) or {}
            if captions and (run / "run.json").is_file():
                register(run / "run.json", captions)
            names = getattr(module, "FIGURES", list(captions)) if options.figures else []
            for name in names:
                (chapter / "figures").mkdir(exist_ok=True)
                shutil.copyfile(run / name, chapter / "figures" / name)
            print(f"{chapter.name}: {len(captions)} pictures drawn" + (f", {len(names)} copied" if names else ""))
        except (OSError, KeyError, ValueError) as error:
            print(f"{chapter.name}: {type(error).__name__}: {error}", file=sys.stderr)
            failed = True
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
