#!/usr/bin/env python3
"""Times our UNet and its PyTorch twin in turn and prints the ratios.

usage: compare.py BENCH [--base 32,16] [--multipliers 1,2,2] [--batch 64] [--pixels 28] [--channels 1] [--threads N] [--rounds 3]
                  [--no-compile] [--out out/bench]

BENCH is build/bin/bench. In each round ours runs first, then the twin in each of its modes: eager with channels first,
eager with channels last, and torch.compile with both. Figures are medians over the rounds. Both sides train with Adam.
"""
import argparse
import csv
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
FIELDS = ("training", "call", "draw_batch", "memory_mib")


def ours(bench, arguments):
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([bench, "network", *arguments, "--out", folder], check=True, stdout=subprocess.DEVNULL)
        with open(Path(folder) / "network.csv", newline="") as file:
            row = next(csv.DictReader(file))
    return {"ours": {field: float(row[field]) for field in FIELDS}}


def twin(arguments, form, compiled):
    command = [sys.executable, str(HERE / "time_unet.py"), *arguments, "--format", form, "--draw"] + (["--compile"] if compiled else [])
    run = subprocess.run(command, capture_output=True, text=True)
    found = re.search(r"(PyTorch \S+),.*training (\S+)/s, forward (\S+)/s, 50 steps (\S+) s, memory (\S+) MiB", run.stdout)
    if run.returncode != 0 or found is None:
        print(f"  {form}{', compiled' if compiled else ''}: failed: {run.stderr.strip().splitlines()[-1:]}")
        return {}
    name = f"{found[1]} {'compiled' if compiled else 'eager'}, {form}"
    return {name: dict(zip(FIELDS, map(float, found.groups()[1:])))}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bench")
    parser.add_argument("--base", default="32,16")
    parser.add_argument("--multipliers", default="1,2,2")
    for name, default in dict(batch=64, threads=0, rounds=3, pixels=28, channels=1).items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out: it takes minutes")
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    options = parser.parse_args()
    threads = options.threads or len(__import__("os").sched_getaffinity(0))
    modes = [(form, compiled) for compiled in ([False] if options.no_compile else [False, True])
             for form in ("channels-first", "channels-last")]
    options.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for base in map(int, options.base.split(",")):
        seen = {}
        for _ in range(options.rounds):
            arguments = ["--base", str(base), "--multipliers", options.multipliers, "--threads", str(threads)]
            for name in ("batch", "pixels", "channels"):
                arguments += [f"--{name}", str(getattr(options, name))]
            results = ours(options.bench, arguments)
            for form, compiled in modes:
                results |= twin(arguments, form, compiled)
            for name, values in results.items():
                seen.setdefault(name, []).append(values)
        medians = {name: {field: statistics.median(v[field] for v in runs) for field in FIELDS} for name, runs in seen.items()}
        mine = medians["ours"]
        print(f"\nbase {base}, batch {options.batch}, {threads} threads, medians of {options.rounds}")
        print(f"{'':46}{'training/s':>11}{'ratio':>7}{'forward/s':>11}{'ratio':>7}{'50 steps, s':>13}{'ratio':>7}{'MiB':>7}{'ratio':>7}")
        for name, values in medians.items():
            # How many times faster ours is; and its share of the memory.
            ratios = [mine["training"] / values["training"], mine["call"] / values["call"], values["draw_batch"] / mine["draw_batch"],
                      mine["memory_mib"] / values["memory_mib"]]
            print(f"{name:46}{values['training']:11.0f}{ratios[0]:7.2f}{values['call']:11.0f}{ratios[1]:7.2f}"
                  f"{values['draw_batch']:13.2f}{ratios[2]:7.2f}{values['memory_mib']:7.0f}{ratios[3]:7.2f}")
            rows.append([base, options.batch, threads, name.replace(",", ";"), *(values[field] for field in FIELDS), *ratios])
    with open(options.out / "twin.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["base", "batch", "threads", "program", *FIELDS, *(f"{field}_ratio" for field in FIELDS)])
        writer.writerows(rows)


if __name__ == "__main__":
    main()
