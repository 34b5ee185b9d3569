#!/usr/bin/env python3
"""Proves that the exercises can be handed out and graded.

usage: prove.py [--chapters 01,04]    all of them, or what concerns these (and the grader itself, with exercises of chapter 1)

- The book's own solutions pass every test, with the public seeds and sizes and with others.
- Each exercise, left open alone, fails a test of its own; no test program of an earlier chapter changes.
- With all of them open at once, each still fails its own tests: an untouched handout scores 0.
- A crash, an endless loop, an early exit, a printed "passed" and their like cost their part, and no other; warnings cost nothing.
- For every exercise an answer that students give, and that is wrong, does not get all points.
- The handout compiles without warnings, with every compiler that is here, and its tests say what is open; graded as it is, it
  has no points, and with the book's answers filled in, all, also by the student's own check.
"""
import argparse
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from grade import check_reference, counted_cases, grade, total
from handout import replace_bodies, stub, write_handout
from regions import Fault, chapter_folders, chosen_chapters, exercises, has_exercises, in_one_line
from upload import Submission
from workshop import ROOT, Workshop
from wrong import WRONG

COMPILERS = {"g++": ["build", "-DCMAKE_BUILD_TYPE=Release"],  # as a student builds, and where make check looks
             "clang++": ["build-clang++", "-DCMAKE_BUILD_TYPE=Debug", "-DCMAKE_CXX_FLAGS_DEBUG=-O1"]}  # compiled fast, and fast enough


def say(text, begun=time.monotonic()):
    print(f"prove: {time.monotonic() - begun:5.0f} s  {text}", flush=True)


def prove_one_by_one(workshop, numbers):
    """Returns the tests that notice each exercise."""
    cases, built = {}, 0
    for number in numbers:
        region, _ = workshop.exercises[number]
        earlier = [workshop.program(c) for c in range(1, region.chapter)]
        if region.chapter != built:  # the earlier chapters as they are in the book
            workshop.place({})
            if failure := workshop.build([p.name for p in earlier] or ["test_01"]):
                raise Fault(f"the book does not compile:\n{failure}")
            before, built = [p.stat().st_mtime_ns for p in earlier], region.chapter
        cases[number] = counted_cases(workshop, number, 0)
        if failure := workshop.build([p.name for p in earlier] or ["test_01"]):
            raise Fault(f"exercise {number}, left open, breaks an earlier chapter:\n{failure}")
        if before != [p.stat().st_mtime_ns for p in earlier]:
            raise Fault(f"exercise {number}: leaving it open changes the tests of an earlier chapter")
    return cases


def prove_all_open(workshop, cases):
    regions = {n: workshop.exercises[n][0] for n in cases}
    workshop.place({n: stub(region) for n, region in regions.items()})
    chapters = sorted({region.chapter for region in regions.values()})
    if failure := workshop.build([f"test_{c:02}" for c in chapters]):
        raise Fault(f"with all exercises open the tests do not compile:\n{failure}")
    for number, region in regions.items():
        for case in cases[number]:
            if workshop.test(region.chapter, case) is None:
                raise Fault(f"with all exercises open, {number} still gets points for: {case}")


WITH_WARNINGS = [  # a body of exercise 1.5 that is right
    "    double abar = alpha_bar[t];",
    "    const std::vector<float> narrowed{abar};",
    "    unsigned unused = t;",
    "    return std::log(abar) - std::log1p(-abar);",
]
TRICKS = {  # bodies of exercise 1.5, each worth nothing
    "crash": ["    std::abort();"],
    "endless loop": ["    for (volatile int i = 0;; ++i) {}"],
    "early exit": ["    std::exit(0);"],
    "printed verdict": ['    std::puts("[doctest] Status: SUCCESS! passed");', "    return 0;"],
    "endless output": ['    for (;;) std::puts("passed");'],
    "public values": ["    return t == 500 ? 0.0 : t < 500 ? 1.0 : -1.0;"],
    "no C++": ["    the log of the ratio"],
}


def prove_wrong_answers(workshop, cases):
    """The grader's table of common wrong answers: each must lose points."""
    missing = sorted(set(workshop.exercises) ^ set(WRONG))
    if missing:
        raise Fault(f"course/wrong.py: {', '.join(missing)}: expected one entry for each exercise")
    for number in cases:
        region, _ = workshop.exercises[number]
        for change in WRONG[number]:
            old, new = change
            body = "\n".join(region.body)
            if body.count(old) < 1:
                raise Fault(f"course/wrong.py: {number}: the solution has no {old!r}")
            workshop.place({number: body.replace(old, new).split("\n")})
            if failure := workshop.build([f"test_{region.chapter:02}"]):
                raise Fault(f"course/wrong.py: {number} with {new!r} does not compile:\n{failure}")
            if all(workshop.test(region.chapter, case, 1) is None for case in cases[number]):
                raise Fault(f"exercise {number} has full points with {new!r} in place of {old!r}")


class Handed:
    """Like a submission: one body for 1.5, the book's for 1.6."""

    def __init__(self, workshop, body):
        region = workshop.exercises["1.6"][0]
        self.bodies, self.faults = {"1.5": body, "1.6": list(region.body)}, {}
        self.headers = {workshop.exercises["1.5"][0].path: ["#include <cstdlib>", "#include <cstdio>"]}


def prove_grader(workshop):
    numbers = ["1.5", "1.6"]
    cases = {number: counted_cases(workshop, number, 1) for number in numbers}
    right = {"the right answers": list(workshop.exercises["1.5"][0].body), "a right answer with warnings": WITH_WARNINGS}
    for name, body in {**right, **TRICKS}.items():
        first, second = grade(workshop, Handed(workshop, body), numbers, cases, 1)
        if first["score"] != (first["max"] if name in right else 0) or second["score"] != second["max"]:
            raise Fault(f"the grader gives {first['score']} and {second['score']} points for: {name}")


def compile_handout(out, targets):
    """Compiles with every compiler that is here, and returns the folder of the first one's build."""
    built = []
    for compiler, (build, *kind) in COMPILERS.items():
        if shutil.which(compiler) is None:
            if os.environ.get("CI"):
                raise Fault(f"{compiler} is not here")
            say(f"NOT tried, for it is not here: {compiler}")
            continue
        configure = ["cmake", "-S", out, "-B", out / build, f"-DCMAKE_CXX_COMPILER={compiler}", *kind, "-DDIFFUSION_WERROR=ON",
                     "-DDIFFUSION_CUDA=OFF"]
        for command in (configure, ["cmake", "--build", out / build, "--parallel", str(os.cpu_count() or 1), *targets]):
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode != 0:
                raise Fault(f"the handout does not compile with {compiler}:\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
        built.append(out / build)
        say(f"the handout compiles without warnings: {compiler}")
    if not built:
        raise Fault(f"there is no {' and no '.join(COMPILERS)} here")
    return built[0]


def prove_handout(workshop, chapters):
    programs = {int(folder.name[:2]): folder.name for folder in chapter_folders(workshop.tree) if has_exercises(folder)}
    targets = []  # everything
    if chapters != list(programs):
        targets = ["--target", *(name for c in chapters for name in (f"test_{c:02}", programs[c]))]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "handout"
        write_handout(workshop.tree, None, out)
        build = compile_handout(out, targets)
        hints = [region.hint for region, _ in workshop.exercises.values()]  # an earlier chapter's may be met first
        for chapter in chapters:
            program = build / "tests" / f"test_{chapter:02}"
            done = subprocess.run([program, "--test-suite-exclude=*cli*,*judge*,*slow*"], capture_output=True, text=True, cwd=folder)
            if done.returncode != 1 or "[doctest] test cases:" not in done.stdout:
                raise Fault(f"the handout's tests of chapter {chapter} do not run to their end (exit code {done.returncode})")
            if not any(f"is not solved yet: {hint}" in done.stdout for hint in hints):
                raise Fault(f"the handout's tests of chapter {chapter} name no open exercise")
        say("its tests run to their end and name open exercises, with their hints")
        # Two chapters suffice: the first, and one whose tests name ranges of equations.
        prove_way_of_a_student(workshop, out, {1, 3} & set(chapters) or {chapters[0]})


def prove_way_of_a_student(workshop, handout, chapters):
    """Some chapters of a handout: graded as it is, then with the answers."""
    numbers = [n for n, (r, _) in workshop.exercises.items() if r.chapter in chapters]
    cases = {number: counted_cases(workshop, number, 1) for number in numbers}
    score, most = total(grade(workshop, Submission(handout, workshop, numbers), numbers, cases, 1))
    if score != 0:
        raise Fault(f"a handout that nobody touched has {score} points")
    of_file = {}
    for number, (region, _) in exercises(handout).items():
        of_file.setdefault(region.path, []).append(region)
    for path, regions in of_file.items():
        text = (handout / path).read_text()
        (handout / path).write_text(replace_bodies(text, regions, lambda r: list(workshop.exercises[r.id][0].body)))
    score, most = total(grade(workshop, Submission(handout, workshop, numbers), numbers, cases, 1))
    if score != most:
        raise Fault(f"a handout with the book's answers has {score} points of {most}")
    for number in numbers:
        done = subprocess.run([handout / "course" / "student.py", "check", number], capture_output=True, text=True)
        if done.returncode != 0:
            raise Fault(f"make check EX={number} refuses the book's answer:\n{done.stdout}{done.stderr}")
    say("a handout has no points, with the book's answers all; make check agrees")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--chapters", help="01,04 (otherwise all)")
    options = parser.parse_args()
    there = [int(folder.name[:2]) for folder in chapter_folders(ROOT) if has_exercises(folder)]
    chapters = [chapter for chapter in chosen_chapters(ROOT, options.chapters) if chapter in there]
    if not chapters:
        raise Fault(f"--chapters {options.chapters}: has no exercises")
    workshop = Workshop()
    numbers = [n for n, (region, _) in workshop.exercises.items() if region.chapter in chapters]
    for variant in range(8):
        check_reference(workshop, numbers, variant)
    say(f"the reference passes all tests of {len(numbers)} exercises, with eight sets of seeds and sizes")
    cases = prove_one_by_one(workshop, numbers)
    say("each exercise, left open alone, fails its own tests and changes no earlier chapter's")
    prove_all_open(workshop, cases)
    say("open all at once, they have no points")
    prove_wrong_answers(workshop, cases)
    say(f"{sum(len(WRONG[n]) for n in numbers)} wrong answers, at least one for each exercise, lose points")
    prove_grader(workshop)
    say(f"{', '.join(TRICKS)}: each costs its part, and no other")
    workshop.place({})
    prove_handout(workshop, chapters)


if __name__ == "__main__":
    in_one_line("prove", main)
