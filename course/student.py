#!/usr/bin/env python3
"""A student's loop: what comes next, a hint, a check, and a check at every save.

usage: student.py next | hint 3.2 [--more] | check 3.2 [--watch]
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from regions import (CODE, HEADER, SECONDS, Fault, cases_in, chapter_folders, equations_in, exercises, failed_check, in_english,
                     in_one_line, pattern_of, read_code, why_not)

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"


def is_open(region):
    return any("is not solved yet" in line for line in region.body)


def describe(region, task):
    state = "open" if is_open(region) else "written"
    return f"{region.id}  {region.points} point{'s' if region.points > 1 else ''}  {region.path}:{region.first + 1}  {task.text}  [{state}]"


def complaints(said, kind):
    """What a compiler complained of, one line each, with file and line, each once. A linker names no line."""
    found = [line.replace(f"{ROOT}/", "").strip() for line in said.splitlines() if re.search(kind, line)]
    return list(dict.fromkeys(found))


def shorten(lines, most):
    return lines[:most] + ([f"... and {len(lines) - most} more"] if len(lines) > most else [])


def compile_program(name):
    """Compiles a test program and shows how far it is; returns whether that worked."""
    if not (BUILD / "CMakeCache.txt").is_file():
        done = subprocess.run(["cmake", "--preset", "release"], cwd=ROOT, capture_output=True, text=True, errors="replace")
        if done.returncode != 0:
            raise Fault(f"cmake failed (make setup looks for what is missing):\n{done.stdout}{done.stderr}")
    command = ["cmake", "--build", BUILD, "--parallel", str(os.cpu_count() or 1), "--target", name]
    width, said, shown = shutil.get_terminal_size().columns - 1, [], False
    in_place = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", env=in_english()) as process:
        for line in process.stdout:
            said.append(line)
            if re.match(r"\[\s*\d+[%/].*\b(Building|Linking)\b", line):
                if in_place:
                    print(f"\r{line.strip()[:width]:{width}}", end="", flush=True)
                elif not shown:
                    print(f"building {name}", flush=True)
                shown = True
    if in_place and shown:
        print(f"\r{'':{width}}\r", end="", flush=True)
    worked, said = process.returncode == 0, "".join(said)
    if not worked:
        errors = complaints(said, r"error: |undefined reference|multiple definition")
        print("\n".join(shorten(errors, 5)) or said)
    print("".join(f"{line}\n" for line in shorten(complaints(said, r": warning: "), 5)), end="")
    return worked


def formulas(equations):
    """Where the lessons have these equations, and what they say."""
    for folder in chapter_folders(ROOT):
        lesson = folder / "README.md"
        for number, line in enumerate(lesson.read_text(encoding="utf-8", errors="replace").splitlines() if lesson.is_file() else ()):
            tagged = re.search(r"\\tag\{(\d+\.\d+)\}", line)
            if tagged and f"({tagged[1]})" in equations:
                formula = line.replace(tagged[0], "").replace("$$", "").strip()
                yield f"({tagged[1]})  {lesson.relative_to(ROOT)}:{number + 1}  {formula}"


def explain(case, printed):
    """A failure: the equation and the values that disagree, and then all that the test printed."""
    print(f"FAILED: {case}")
    for formula in formulas(equations_in(case)):
        print(f"  {formula}")
    for name, text in zip(("check", "values"), failed_check(printed)):
        print(f"  {name + ':':8}{text.replace(f'{ROOT}/', '')}")
    print(printed.replace(f"{ROOT}/", ""))


def not_taken(lines, name):
    """What a grader leaves out of what a student may have added: headers that are not the standard library's."""
    for number, line in enumerate(lines):
        if re.match(r"\s*#\s*include\s*<", line) and not HEADER.match(line):
            yield f"{name}:{number + 1}: is left out when graded: {line.strip()} (expected a header of the standard library)"


def check(number):
    """Builds and runs the tests of one exercise; returns whether they pass. A test that stops at another open exercise can say
    nothing yet."""
    try:
        region, task = exercises(ROOT)[number]
    except Fault as fault:  # a save may have spoiled a mark
        print(f"course: {fault}")
        return False
    if reason := why_not(region.body):
        print(f"{region.path}:{region.first + 1}: this could not be graded: {reason}")
        return False
    print("".join(f"{line}\n" for line in not_taken(read_code(ROOT / region.path, region.path), region.path)), end="")
    name = f"test_{region.chapter:02}"
    if not compile_program(name):
        return False
    program, passed, failed = BUILD / "tests" / name, 0, 0
    cases = [case for case in cases_in(program) if equations_in(case) & set(task.tests)]
    for case in cases:
        try:
            done = subprocess.run([program, pattern_of(case)], cwd=ROOT, capture_output=True, text=True, errors="replace", timeout=SECONDS)
        except subprocess.TimeoutExpired:
            failed += 1
            print(f"FAILED: {case}\n  took more than {SECONDS} s: does a loop not end?")
            continue
        others = set(re.findall(r"exercise (\d+\.\d+) is not solved yet", done.stdout)) - {region.id}
        if done.returncode == 0:
            passed += 1
            print(f"passed: {case}")
        elif others:
            print(f"waits for exercise {', '.join(sorted(others))}: {case}")
        else:
            failed += 1
            explain(case, done.stdout + done.stderr)
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
    parser.add_argument("--more", action="store_true", help="hint: the equations too, with their places in the lessons")
    parser.add_argument("--watch", action="store_true", help="check: again whenever a file is saved")
    options = parser.parse_args()
    known = exercises(ROOT)
    still_open = [number for number, (region, _) in known.items() if is_open(region)]
    if options.command == "next":
        print(describe(*known[still_open[0]]) if still_open else "every exercise is written; make test says whether it is right")
        return
    if options.exercise is None and not still_open:
        raise Fault(f"every exercise is written: expected the number of one, {', '.join(known)}")
    number = options.exercise or still_open[0]
    if number not in known:
        raise Fault(f"exercise {number}: expected one of {', '.join(known)}")
    region, task = known[number]
    if options.command == "hint":
        print(f"{describe(region, task)}\n  hint: {region.hint}\n  tests: {', '.join(task.tests)}")
        if options.more:
            needed = equations_in(region.hint) | set(task.tests)
            print("\n".join(f"  {line}" for line in formulas(needed)))
        else:
            print(f"  more: make hint EX={number} MORE=1")
        return
    seen = changed()
    right = check(number)
    while options.watch:
        print("waiting for a change (Ctrl-C ends)", flush=True)
        while changed() == seen:
            time.sleep(0.5)
        seen = changed()  # a save during the check counts
        right = check(number)
    sys.exit(0 if right else 1)


if __name__ == "__main__":
    in_one_line("course", main)
