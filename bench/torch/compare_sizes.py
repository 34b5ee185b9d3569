#!/usr/bin/env python3
"""Times the rows of `bench sizes` and of time_sizes.py in turn and prints how many times faster ours are.

usage: compare_sizes.py BENCH [--threads 2] [--rounds 1]        BENCH is build/bin/bench

Forward times are the best of the rounds: whatever else runs on the machine only adds time. Backward ones are differences of two times, and the
median is taken.
"""
import argparse
import csv
import io
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path


def rows_of(text):
    return {row["name"]: (float(row["forward_ms"]), float(row["back_ms"])) for row in csv.DictReader(io.StringIO(text))}


def ours(bench, threads):
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([bench, "sizes", "--threads", str(threads), "--out", folder], check=True, stdout=subprocess.DEVNULL)
        return rows_of((Path(folder) / "sizes.csv").read_text())


def twin(threads):
    script = Path(__file__).resolve().parent / "time_sizes.py"
    return rows_of(subprocess.run([sys.executable, script, "--threads", str(threads)], check=True, capture_output=True, text=True).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bench")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    rounds = [(ours(options.bench, options.threads), twin(options.threads)) for _ in range(options.rounds)]
    print(f"{'milliseconds':40}{'ours':>10}{'PyTorch':>10}{'times':>7}{'back':>10}{'PyTorch':>10}{'times':>7}")
    for name in [name for name in rounds[0][0] if name in rounds[0][1]]:  # PyTorch has one way for each
        columns = [of(side[which][name][part] for side in rounds) for part, of in enumerate((min, statistics.median)) for which in (0, 1)]
        cells = "".join(f"{mine:10.3f}{theirs:10.3f}{theirs / mine:7.2f}" for mine, theirs in (columns[:2], columns[2:]) if mine > 0)
        print(f"{name:40}{cells}")


if __name__ == "__main__":
    main()
