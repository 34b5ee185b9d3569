#!/usr/bin/env python3
"""Grades what students wrote between the marks.

usage: grade.py --dir DIR [--one] [--chapter 03] [--reference 3.1,3.2] [--variant 1] [--out FOLDER]
       grade.py --prepare [--chapter 03] ...     only compiles the book and finds out which tests count

DIR is a student's tree, or a folder of such trees, one for each student; with --one it is one student's, whatever it holds.
Only the lines between the marks are taken from it, and system headers; everything else, the tests first of all, is the
teacher's. Each part is judged alone, in a build where all other parts are the reference's, so that one mistake costs one part.
A part is worth its points times the share of its tests that pass; its tests are those named in the lesson's table that fail
when the part is left open, with seeds, sizes and numbers that are not the public ones (tests/support/varied.hpp).
"""
import argparse
import csv
import hashlib
import json
import os
import re
import signal
import sys
import tempfile
from pathlib import Path

from handout import stub
from regions import Fault, chosen_chapter, exercises, in_one_line
from upload import Submission, of_no_student
from workshop import BUILD_SECONDS, ROOT, Workshop, sandbox

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


def not_graded(workshop, number, cases, reason="not graded"):
    """A part's result, where there is none."""
    region, task = workshop.exercises[number]
    return {"id": number, "task": task.text, "score": 0, "max": region.points,
            "tests": [{"name": case, "passed": False, "reason": reason} for case in cases[number]]}


def gradescope(parts, notes):
    """Gradescope's format of a result."""
    return {"score": total(parts)[0], "output": "\n".join(notes),
            "tests": [{"number": p["id"], "name": p["task"], "score": p["score"], "max_score": p["max"],
                       "output": "\n".join(f"{'passed' if t['passed'] else t['reason']}: {t['name']}" for t in p["tests"])}
                      for p in parts]}


def write_json(path, content):
    """Writes a file that is the old one or the new one, whatever happens. Names of files may have bytes that are no text."""
    new = path.with_name(f"{path.name}.tmp")
    new.write_bytes((json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode(errors="replace"))
    os.replace(new, path)


def grade_student(workshop, folder, numbers, cases, variant, own):
    """Grades one student's folder, whatever is in it, and writes the results into the folder `own` after each part: what was
    graded before something went wrong is kept. Returns the parts, and whether all were graded."""
    own.mkdir(parents=True, exist_ok=True)
    parts, notes, wrong = [], [], None

    def write():
        rest = [not_graded(workshop, n, cases, wrong or "not graded") for n in numbers[len(parts):]]
        score, most = total(parts + rest)
        write_json(own / "grade.json", {"score": score, "max": most, "notes": notes, "parts": parts + rest})
        write_json(own / "results.json", gradescope(parts + rest, notes))
        return parts + rest

    try:
        submission = Submission(folder, workshop, numbers)
        notes += submission.notes
        for number in numbers:
            write()
            parts += grade(workshop, submission, [number], cases, variant)
    except Exception as why:  # a student's tree must not stop the others' grading
        wrong = f"not graded: the grader failed: {type(why).__name__}: {why}"
        notes.append(f"The grader failed, and this may be no fault of yours: {type(why).__name__}: {why}")
    return write(), notes, wrong is None


def total(parts):
    return round(sum(p["score"] for p in parts), 2), sum(p["max"] for p in parts)


def print_table(name, parts, notes):
    print("\n".join(["", name, *(f"  {note}" for note in notes)]))
    for p in parts:
        reasons = {t["reason"] for t in p["tests"] if not t["passed"]}
        print(f"  {p['id']:5} {p['score']:5g} of {p['max']}  {p['task'][:50]:50}  {'; '.join(sorted(reasons))[:160]}")
    print("  sum   {:5g} of {}".format(*total(parts)), flush=True)


def chosen_numbers(known, options):
    """The exercises that count."""
    left_out = set(filter(None, options.reference.split(",")))
    if unknown := left_out - set(known):
        raise Fault(f"--reference {','.join(sorted(unknown))}: expected some of {','.join(known)}")
    chapter = chosen_chapter(ROOT, options.chapter)
    numbers = [n for n, (r, _) in known.items() if n not in left_out and chapter in (None, r.chapter)]
    if not numbers:
        raise Fault(f"--chapter {options.chapter} --reference {options.reference}: leaves nothing to grade")
    return numbers


def students_in(folder, one):
    """The folders to grade: this one, or those in it."""
    if not folder.is_dir():
        raise Fault(f"--dir {folder}: {'is a file' if folder.exists() else 'is not there'}, expected a student's folder, or a folder of them")
    if one or (folder / "chapters").is_dir():
        return [folder]
    entries = sorted(p for p in folder.iterdir() if p.name != "grades" and not of_no_student(p.name))
    students = [p for p in entries if p.is_dir()]
    files = ", ".join(p.name for p in entries if not p.is_dir())
    if not students:
        raise Fault(f"--dir {folder}: neither it nor a folder in it holds a folder chapters; it holds {files or 'nothing'} "
                    "(--one: it is one student's, whatever it holds)")
    if files:
        print(f"grade: not graded, for they are no folders: {files}")
    return students


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--dir", type=Path, help="a student's tree, or a folder of them")
    what.add_argument("--prepare", action="store_true", help="only compile the book and find out which tests count")
    parser.add_argument("--one", action="store_true", help="--dir is one student's, whatever it holds")
    parser.add_argument("--chapter", default="all", help="two digits (otherwise all)")
    parser.add_argument("--reference", default="", help="parts that are not graded: 3.1,3.2")
    parser.add_argument("--variant", default="1", help="of the tests' seeds and sizes, 1 to 7; 0: the public ones")
    parser.add_argument("--out", type=Path, help="where results go (otherwise grades/ beside --dir)")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("grade: was told to stop"))  # and ends what it has started
    sys.stdout.reconfigure(errors="replace")  # names of folders may have bytes that are no text
    sys.stderr.reconfigure(errors="replace")
    if not re.fullmatch("[0-7]", options.variant):
        raise Fault(f"--variant {options.variant}: expected 0 to 7")
    variant = int(options.variant)
    students = [] if options.prepare else students_in(options.dir, options.one)
    if options.out and options.out.exists() and not options.out.is_dir():
        raise Fault(f"--out {options.out}: is a file, expected a folder")
    numbers = chosen_numbers(exercises(ROOT), options)
    workshop = Workshop()
    if not sandbox(tempfile.gettempdir()):
        print("grade: bubblewrap is not here: tests run with limits of time and memory, but may read and write files")
    cases = load_cases(workshop, numbers, variant)
    if students:
        out = options.out or options.dir.resolve().parent / "grades"
        failed = grade_all(workshop, students, numbers, cases, variant, out)
        print(f"\nresults are in {out}")
        if failed:
            raise Fault(f"could not grade all parts of {', '.join(failed)}")
    workshop.place({})


def grade_all(workshop, students, numbers, cases, variant, out):
    """Grades the students' folders one by one; returns the names of those where the grader failed."""
    out.mkdir(parents=True, exist_ok=True)
    failed = []
    with open(out / "grades.csv", "w", newline="", encoding="utf-8", errors="replace") as file:
        table = csv.writer(file)
        table.writerow(["student", "score", "max", *numbers])
        for student in students:
            name = student.resolve().name
            parts, notes, complete = grade_student(workshop, student, numbers, cases, variant, out / name)
            failed += [] if complete else [name]
            print_table(name, parts, notes)
            table.writerow([name, *total(parts), *(p["score"] for p in parts)])
            file.flush()  # if something stops the rest, this is kept
    return failed


if __name__ == "__main__":
    in_one_line("grade", main)
