#!/usr/bin/env python3
"""A student's loop: what comes next, a hint, a check, and a check at every save.

usage: student.py next | hint 3.2 | check 3.2 [--watch]
"""
import argparse
import os
import re
import subprocess
import sys
import time
from pathlib import Path

from regions import CODE, Fault, cases_in, equations_in, exercises, pattern_of, why_not

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"


def is_open(region):
    return any("is not solved yet" in line for line in region.body)


def describe(region, task):
    state = "open" if is_open(region) else "written"
    return f"{region.id}  {region.points} point{'s' if region.points > 1 else ''}  {region.path}:{region.first + 1}  {task.text}  [{state}]"


def check(region, task):
    """Builds and runs the tests of one exercise; returns whether they pass. A test that stops at another open exercise can say
    nothing yet."""
    if reason := why_not(region.body):
        print(f"{region.path}:{region.first + 1}: this could not be graded: {reason}")
        return False
    name = f"test_{region.chapter:02}"
    if not (BUILD / "CMakeCache.txt").is_file():
        done = subprocess.run(["cmake", "--preset", "release"], cwd=ROOT, capture_output=True, text=True)
        if done.returncode != 0:
            raise Fault(f"cmake failed (make setup looks for what is missing):\n{done.stdout}{done.stderr}")
    built = subprocess.run(["cmake", "--build", BUILD, "--parallel", str(os.cpu_count() or 1), "--target", name], capture_output=True, text=True)
    if built.returncode != 0:
        errors = re.findall(r"^.*error: .*$", built.stdout + built.stderr, re.MULTILINE)
        print("\n".join(line.replace(f"{ROOT}/", "") for line in errors[:5]) or built.stdout + built.stderr)
        return False
    program, passed, failed = BUILD / "tests" / name, 0, 0
    cases = [case for case in cases_in(program) if equations_in(case) & set(task.tests)]
    for case in cases:
        done = subprocess.run([program, pattern_of(case)], cwd=ROOT, capture_output=True, text=True, errors="replace")
        others = set(re.findall(r"exercise (\d+\.\d+) is not solved yet", done.stdout)) - {region.id}
        if done.returncode == 0:
            passed += 1
            print(f"passed: {case}")
        elif others:
            print(f"waits for exercise {', '.join(sorted(others))}: {case}")
        else:
            failed += 1
            print(f"FAILED: {case}\n{done.stdout.replace(f'{ROOT}/', '')}{done.stderr}")
    print(f"exercise {region.id}: {passed} of {len(cases)} tests pass, {failed} fail")
    return failed == 0 and passed > 0


def changed():
    """The newest time of a source file."""
    times = []
    for file in (ROOT / "chapters").rglob("*"):
        try:
            if file.suffix in CODE:
                times.append(file.stat().st_mtime)
        except FileNotFoundError:
            pass  # an editor is just replacing it
    return max(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("command", choices=["next", "hint", "check"])
    parser.add_argument("exercise", nargs="?", help="such as 3.2 (check: otherwise the first open one)")
    parser.add_argument("--watch", action="store_true", help="check: again whenever a file is saved")
    options = parser.parse_args()
    try:
        known = exercises(ROOT)
        still_open = [number for number, (region, _) in known.items() if is_open(region)]
        if options.command == "next":
            print(describe(*known[still_open[0]]) if still_open else "every exercise is written; make test says whether it is right")
            return
        number = options.exercise or (still_open[0] if still_open else None)
        if number not in known:
            raise Fault(f"exercise {number}: expected one of {', '.join(known)}")
        region, task = known[number]
        if options.command == "hint":
            print(f"{describe(region, task)}\n  hint: {region.hint}\n  tests: {', '.join(task.tests)}")
            return
        seen = changed()
        right = check(region, task)
        while options.watch:
            print("waiting for a change (Ctrl-C ends)", flush=True)
            while changed() == seen:
                time.sleep(0.5)
            seen = changed()  # a save during the check counts
            right = check(region, task)
        sys.exit(0 if right else 1)
    except Fault as fault:
        sys.exit(f"course: {fault}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
