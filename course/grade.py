#!/usr/bin/env python3
"""Grades what students wrote between the marks.

usage: grade.py --dir DIR [--chapter 03] [--reference 3.1,3.2] [--variant 1] [--out FOLDER]

DIR is a student's tree, or a folder of such trees, one for each student. Only the lines between the marks are taken from it,
and system headers; everything else, the tests first of all, is the teacher's. Each part is judged alone, in a build where all
other parts are the reference's, so that one mistake costs one part. A part is worth its points times the share of its tests
that pass; its tests are those named in the lesson's table that fail when the part is left open, with seeds, sizes and numbers
that are not the public ones (tests/support/varied.hpp).
"""
import argparse
import csv
import hashlib
import itertools
import json
import re
import sys
import tempfile
from pathlib import Path

from handout import stub
from regions import HEADER, Fault, why_not
from workshop import BUILD_SECONDS, Workshop, sandbox

MOST_BYTES = 1 << 20  # of a student's file


def read_submitted(tree, path):
    """The lines of a student's file, whatever is in it."""
    file = tree / path
    if file.is_symlink() or not file.resolve().is_relative_to(tree.resolve()):
        raise Fault(f"{path}: is a link")
    if not file.is_file() or file.stat().st_size > MOST_BYTES:
        raise Fault(f"{path}: is not there, or is too large")
    return file.read_text(errors="replace").splitlines()


class Submission:
    """A student's bodies, and what is wrong with them before anything is compiled: a mistake in one costs that one."""

    def __init__(self, tree, workshop, numbers):
        self.bodies, self.headers, self.faults = {}, {}, {}
        for path in {workshop.exercises[n][0].path for n in numbers}:
            wanted = [n for n in numbers if workshop.exercises[n][0].path == path]
            try:
                lines = read_submitted(tree, path)
            except (Fault, OSError) as fault:
                self.faults.update(dict.fromkeys(wanted, str(fault)))
                continue
            self.headers[path] = [match[1] for line in lines if (match := HEADER.match(line))]
            for number in wanted:
                starts = [i for i, line in enumerate(lines) if line.strip().startswith(f"// >>> exercise {number} ")]
                if len(starts) != 1:
                    self.faults[number] = f"{path}: the marks of exercise {number} are gone, or there twice"
                    continue
                body = list(itertools.takewhile(lambda l: not l.strip().startswith(("// <<<", "// >>>")), lines[starts[0] + 1 :]))
                if reason := why_not(body):
                    self.faults[number] = reason
                else:
                    self.bodies[number] = body


def check_reference(workshop, numbers, variant):
    """Fails unless the book's own solutions pass every test of these exercises."""
    workshop.place({})
    if failure := workshop.build(sorted({f"test_{workshop.exercises[n][0].chapter:02}" for n in numbers})):
        raise Fault(f"the reference does not compile:\n{failure}")
    cases = {(workshop.exercises[number][0].chapter, case) for number in numbers for case in workshop.cases_of(number)}
    for chapter, case in sorted(cases):  # many serve several exercises
        if reason := workshop.test(chapter, case, variant):
            raise Fault(f"the reference fails with variant {variant}: {case}: {reason}")


def counted_cases(workshop, number, variant):
    """The tests that notice when this exercise is left open. At least one must."""
    region, task = workshop.exercises[number]
    workshop.place({number: stub(region)})
    if failure := workshop.build([f"test_{region.chapter:02}"]):
        raise Fault(f"exercise {number}, left open, does not compile:\n{failure}")
    cases = [case for case in workshop.cases_of(number) if workshop.test(region.chapter, case, variant) is not None]
    if not cases:
        raise Fault(f"exercise {number}, left open, fails no test of {', '.join(task.tests)}")
    return cases


def load_cases(workshop, numbers, variant):
    """counted_cases of all, from a file that belongs to this state of the tree."""
    workshop.place({})
    state = hashlib.sha256(repr((variant, {n: task.tests for n, (_, task) in workshop.exercises.items()})).encode())
    for file in sorted(workshop.source.rglob("*")):
        if file.is_file():
            state.update(str(file.relative_to(workshop.source)).encode() + file.read_bytes())
    path = workshop.folder / "cases.json"
    kept = json.loads(path.read_text()) if path.is_file() else {}
    cases = kept["cases"] if kept.get("state") == state.hexdigest() else {}
    missing = [n for n in numbers if n not in cases]
    if missing:
        print(f"grade: looking which tests notice {len(missing)} open exercises (once for this state of the book)", flush=True)
        check_reference(workshop, missing, variant)
    for number in missing:
        cases[number] = counted_cases(workshop, number, variant)
        path.write_text(json.dumps({"state": state.hexdigest(), "cases": cases}, indent=2) + "\n")
    return cases


def grade(workshop, submission, numbers, cases, variant):
    """The parts' results: {"id", "score", "max", "tests": [{"name", "passed", "reason"}]}."""
    parts = []
    for number in numbers:
        region, task = workshop.exercises[number]
        reason = submission.faults.get(number)
        results = {}
        if reason is None:
            headers = {region.path: submission.headers.get(region.path, ())}  # those of other files are other parts' matter
            for more in (headers, {}):  # a header that is not to be found must not cost the parts that do without it
                workshop.place({number: submission.bodies[number]}, more)
                failure = workshop.build([f"test_{region.chapter:02}"], BUILD_SECONDS)
                if failure is None or not headers[region.path] or "fatal error" not in failure:
                    break
            if failure:
                errors = re.findall(r"error: .*", failure)
                reason = f"does not compile: {errors[0] if errors else 'see the build'}"
        for case in cases[number]:
            results[case] = reason or workshop.test(region.chapter, case, variant)
        passed = sum(why is None for why in results.values())
        parts.append({"id": number, "task": task.text, "score": round(region.points * passed / len(results), 2),
                      "max": region.points,
                      "tests": [{"name": case, "passed": why is None, "reason": why} for case, why in results.items()]})
    return parts


def gradescope(parts):
    return {"tests": [{"number": p["id"], "name": p["task"], "score": p["score"], "max_score": p["max"],
                       "output": "\n".join(f"{'passed' if t['passed'] else t['reason']}: {t['name']}" for t in p["tests"])}
                      for p in parts]}


def total(parts):
    return round(sum(p["score"] for p in parts), 2), sum(p["max"] for p in parts)


def print_table(name, parts):
    print(f"\n{name}")
    for p in parts:
        reasons = {t["reason"] for t in p["tests"] if not t["passed"]}
        print(f"  {p['id']:5} {p['score']:5g} of {p['max']}  {p['task'][:50]:50}  {'; '.join(sorted(reasons))[:120]}")
    print("  sum   {:5g} of {}".format(*total(parts)))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--dir", type=Path, required=True, help="a student's tree, or a folder of them")
    parser.add_argument("--chapter", type=int, help="two digits (otherwise all)")
    parser.add_argument("--reference", default="", help="parts that are not graded: 3.1,3.2")
    parser.add_argument("--variant", type=int, default=1, help="of the tests' seeds and sizes; 0: the public ones")
    parser.add_argument("--out", type=Path, help="where results go (otherwise grades/ beside --dir)")
    options = parser.parse_args()
    try:
        workshop = Workshop()
        left_out = set(filter(None, options.reference.split(",")))
        if unknown := left_out - set(workshop.exercises):
            raise Fault(f"--reference {','.join(sorted(unknown))}: there is no such exercise")
        numbers = [n for n, (r, _) in workshop.exercises.items()
                   if n not in left_out and (options.chapter is None or r.chapter == options.chapter)]
        if not numbers:
            raise Fault(f"chapter {options.chapter} has nothing to grade")
        if not options.dir.is_dir():
            raise Fault(f"{options.dir}: is not a folder")
        many = not (options.dir / "chapters").is_dir()
        students = sorted(p for p in options.dir.iterdir() if p.is_dir() and p.name != "grades") if many else [options.dir]
        if not students:
            raise Fault(f"{options.dir}: neither it nor a folder in it holds a folder chapters")
        if not sandbox(tempfile.gettempdir()):
            print("grade: bubblewrap is not here: tests run with limits of time and memory, but may read and write files")
        cases = load_cases(workshop, numbers, options.variant)
        out = options.out or options.dir.resolve().parent / "grades"
        out.mkdir(parents=True, exist_ok=True)
        with open(out / "grades.csv", "w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["student", "score", "max", *numbers])
            for student in students:
                parts = grade(workshop, Submission(root_of(student), workshop, numbers), numbers, cases, options.variant)
                score, most = total(parts)
                own = out / student.resolve().name
                own.mkdir(exist_ok=True)
                (own / "grade.json").write_text(json.dumps({"score": score, "max": most, "parts": parts}, indent=2) + "\n")
                (own / "results.json").write_text(json.dumps(gradescope(parts), indent=2) + "\n")
                print_table(student.name, parts)
                table.writerow([student.name, score, most, *(p["score"] for p in parts)])
                file.flush()  # if something stops the rest, this is kept
        print(f"\nresults are in {out}")
        workshop.place({})
    except Fault as fault:
        sys.exit(f"grade: {fault}")


def root_of(student):
    """The folder that holds `chapters`: an archive may have been unpacked one or two levels too deep."""
    for depth in ("", "*", "*/*"):
        for folder in sorted(student.glob(depth) if depth else [student]):
            if (folder / "chapters").is_dir():
                return folder
    return student  # then every file of it is missing


if __name__ == "__main__":
    main()
