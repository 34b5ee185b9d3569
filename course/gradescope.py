#!/usr/bin/env python3
"""Gradescope's autograder: grades one upload and always leaves a results.json, with the reason in it if it could not.

usage: gradescope.py --prepare --chapter 3       in setup.sh: compiles the book, which would take an upload too long
       gradescope.py --chapter 3                 in run_autograder

What else is given, such as --reference 3.1 or --variant 5, is for grade.py. It must be the same in both places.
"""
import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from grade import write_json
from regions import in_one_line

GRADER = [sys.executable, str(Path(__file__).resolve().parent / "grade.py")]
STOPPED = ("Grading was stopped from outside before it was done: it took too long, or the machine had no memory or disk left. "
           "Please hand in again, and if this is shown once more, tell your teacher.")
FAILED = "The grader failed, and this may be no fault of yours. Please tell your teacher."
SECONDS_TO_STOP = 20


def failure(reason):
    return {"score": 0, "output": reason}


def run_grader(grader, submission, seconds, folder):
    """The results of one upload, with the reason for what is missing in them."""
    process = subprocess.Popen([*grader, "--one", "--dir", submission, "--out", folder], stderr=subprocess.PIPE, text=True, errors="replace")
    reason = ""
    try:
        said = process.communicate(timeout=seconds)[1]
    except subprocess.TimeoutExpired:
        process.terminate()  # it ends what it has started
        try:
            said = process.communicate(timeout=SECONDS_TO_STOP)[1]
        except subprocess.TimeoutExpired:
            process.kill()
            said = process.communicate()[1]
        reason = (f"Grading took more than {seconds} s and was stopped; parts that it did not reach say so. A loop that does not end "
                  "takes a minute of each of its tests.")
    print(said, file=sys.stderr, end="")
    kept = Path(folder) / submission.resolve().name / "results.json"
    results = json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else failure("")
    if not reason and process.returncode != 0:
        lines = [line.strip() for line in said.splitlines() if line.strip()] or ["it said nothing"]
        why = next((line for line in lines if line.startswith("grade")), lines[-1])  # of a traceback, the last
        if process.returncode < 0:
            why = f"ended by {signal.Signals(-process.returncode).name}"
        reason = f"{FAILED} ({why})"
    results["output"] = "\n".join(filter(None, [reason, results.get("output")]))
    return results


def autograde(submission, results, seconds, options, grader=tuple(GRADER)):
    """Grades an upload; whatever happens on the way, there is a file results.json."""
    results.mkdir(parents=True, exist_ok=True)
    path = results / "results.json"
    write_json(path, failure(STOPPED))  # until there is a better one
    try:
        with tempfile.TemporaryDirectory() as folder:
            found = run_grader([*grader, *options], submission, seconds, folder)
    except Exception as why:
        found = failure(f"{FAILED} ({type(why).__name__}: {why})")
    write_json(path, found)
    print(found["output"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--prepare", action="store_true", help="only compile the book and find out which tests count")
    parser.add_argument("--submission", type=Path, default="/autograder/submission")
    parser.add_argument("--results", type=Path, default="/autograder/results", help="a folder")
    parser.add_argument("--seconds", type=int, default=540, help="less than Gradescope waits, which is 600 unless you set it")
    options, others = parser.parse_known_args()
    if options.prepare:
        if platform.machine() == "x86_64":  # uploads are graded on other machines than this one
            os.environ["DIFFUSION_ARCH"] = "x86-64-v3"
        sys.exit(subprocess.run([*GRADER, "--prepare", *others]).returncode)
    sys.stdout.reconfigure(errors="replace")
    autograde(options.submission, options.results, options.seconds, others)


if __name__ == "__main__":
    in_one_line("gradescope", main)
