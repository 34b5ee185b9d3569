#!/usr/bin/env python3
"""Grades what students wrote between the marks.

usage: grade.py --dir DIR [--chapter 03] [--reference 3.1,3.2] [--out FOLDER]

DIR is a student's tree, or a folder of such trees, one for each student. Only the lines between the marks are taken from it,
and system headers; everything else, the tests first of all, is the teacher's. Each part is judged alone, in a build where all
other parts are the reference's, so that one mistake costs one part. A part is worth its points times the share of its tests
that pass; its tests are those named in the lesson's table that fail when the part is left open.
"""
import argparse
import csv
import hashlib
import json
import os
import re
import resource
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from handout import replace_bodies, stub
from regions import CODE, Fault, exercises, regions_of

ROOT = Path(__file__).resolve().parent.parent
SECONDS, MEGABYTES = 60, 8192  # for one test
BUILD_SECONDS = 1200


def copy_if_changed(source, target):
    """Keeps the time of a file that stays the same, so that it is not compiled again."""
    write_if_changed(target, source.read_bytes())
    shutil.copymode(source, target)


def write_if_changed(target, content):
    if not target.is_file() or target.read_bytes() != content:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


class Workshop:
    """The teacher's tree in a folder of its own, where parts are exchanged, built and tested."""

    def __init__(self, tree, folder):
        self.tree, self.folder = tree, folder
        self.exercises = exercises(tree)
        self.source, self.build_folder = folder / "tree", folder / "build"
        names = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=tree, capture_output=True, text=True,
                               check=True).stdout.split("\n")
        wanted = {n for n in filter(None, names) if n.startswith(("chapters/", "src/", "tests/", "cmake/", "CMake"))
                  and not n.endswith((".png", ".md", ".gif")) and (tree / n).is_file()}
        files_with_parts = {str(region.path) for region, _ in self.exercises.values()}
        for name in wanted - files_with_parts:
            copy_if_changed(tree / name, self.source / name)
        for old in self.source.rglob("*"):
            if old.is_file() and str(old.relative_to(self.source)) not in wanted:
                old.unlink()
        self.cases = {}  # of each test program

    def place(self, bodies, headers=None):
        """Puts these bodies, by exercise, into the tree; the reference's where there is none."""
        of_file = {}
        for region, _ in self.exercises.values():
            of_file.setdefault(region.path, []).append(region)
        for path, regions in of_file.items():
            text = replace_bodies((self.tree / path).read_text(), regions,
                                  lambda r: bodies[r.id] if r.id in bodies else list(r.body))
            more = "".join(f"{line}\n" for line in (headers or {}).get(path, ()) if line not in text)
            if more:
                at = text.index("#include")
                text = text[:at] + more + text[at:]
            write_if_changed(self.source / path, text.encode())

    def build(self, chapters):
        """Compiles the tests of these chapters; returns what the compiler said if it failed."""
        targets = [f"test_{c:02}" for c in chapters]
        if not (self.build_folder / "CMakeCache.txt").is_file():
            self.run(["cmake", "-S", self.source, "-B", self.build_folder, "-DCMAKE_BUILD_TYPE=Release",
                      "-DDIFFUSION_WERROR=OFF"])
        command = ["cmake", "--build", self.build_folder, "--parallel", str(os.cpu_count() or 1), "--target", *targets]
        done = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_SECONDS)
        return None if done.returncode == 0 else done.stdout + done.stderr

    def run(self, command):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise Fault(f"{command[0]} failed:\n{done.stdout}{done.stderr}")
        return done.stdout

    def cases_of(self, number):
        """The names of the tests of an exercise, as the lesson's table names them."""
        region, task = self.exercises[number]
        program = self.build_folder / "tests" / f"test_{region.chapter:02}"
        if program not in self.cases:
            listing = self.run([program, "--list-test-cases", "--reporters=xml"])
            names = re.findall(r'<TestCase name="([^"]*)" testsuite="([^"]*)"', listing)
            self.cases[program] = [unescape(name) for name, suite in names if not re.search(r"\b(cli|slow)\b", suite)]
        return [name for name in self.cases[program] if any(equation in name for equation in task.tests)]

    def test(self, number, case):
        """Runs one test in a process of its own; returns None if it passes, or why it does not."""
        program = self.build_folder / "tests" / f"test_{self.exercises[number][0].chapter:02}"
        with tempfile.TemporaryDirectory() as folder:
            verdict, key = Path(folder) / "verdict", secrets.token_hex(16)
            pattern = re.sub(r"[,*?\\]", "?", case)
            environment = {"PATH": os.environ["PATH"], "HOME": folder, "TMPDIR": folder, "DIFFUSION_VERDICT": f"{verdict}:{key}",
                           "OMP_WAIT_POLICY": "passive"}
            command = [*sandbox(folder), str(program), f"--test-case={pattern}"]
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                       errors="replace", env=environment, cwd=folder, start_new_session=True, preexec_fn=limit)
            try:
                output, _ = process.communicate(timeout=SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
                return f"took more than {SECONDS} s"
            written = verdict.read_text() if verdict.is_file() else ""
            if process.returncode == 0 and written == f"{key} passed\n":
                return None
            if written == f"{key} failed\n" or process.returncode > 0:
                return first_complaint(output) if written else "ended before the test did"
            if process.returncode < 0:
                name = signal.Signals(-process.returncode).name
                return f"crashed ({name}): {first_complaint(output)}"
            return "ended before the test did"


def unescape(text):
    for code, sign in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&apos;", "'"), ("&amp;", "&")):
        text = text.replace(code, sign)
    return text


def first_complaint(output):
    for line in output.splitlines():
        if match := re.search(r"exercise \d+\.\d+ is not solved yet.*|.*\bERROR: .*", line):
            return re.sub(r"^.*/tests/", "tests/", match[0]).strip()
    return "failed"


def limit():
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS * (os.cpu_count() or 1), SECONDS * (os.cpu_count() or 1)))
    resource.setrlimit(resource.RLIMIT_AS, (MEGABYTES << 20, MEGABYTES << 20))
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 << 20, 64 << 20))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def sandbox(folder):
    """bubblewrap, where it is installed and works: the file system is read-only but for `folder`, there is no network."""
    if sandbox.works is None:
        probe = ["bwrap", "--ro-bind", "/", "/", "--unshare-all", "true"]
        sandbox.works = shutil.which("bwrap") is not None and subprocess.run(probe, capture_output=True).returncode == 0
    if not sandbox.works:
        return []
    return ["bwrap", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--bind", folder, folder, "--unshare-all",
            "--die-with-parent", "--new-session"]


sandbox.works = None


def why_not(body):
    """What in a student's lines cannot be graded: they must stay inside the function that they are part of."""
    depth, text = 0, re.sub(r'//.*|"(\\.|[^"\\])*"|\'(\\.|[^\'\\])+\'', "", "\n".join(body))
    for line in body:
        if re.match(r"\s*#(?!\s*pragma\s+omp\s)", line):
            return f"preprocessor lines are not allowed: {line.strip()}"
    for sign in text:
        depth += {"{": 1, "}": -1}.get(sign, 0)
        if depth < 0:
            break
    return None if depth == 0 else "the braces do not match"


class Submission:
    """A student's bodies, and what is wrong with them before anything is compiled."""

    def __init__(self, tree, workshop, numbers):
        self.bodies, self.headers, self.faults = {}, {}, {}
        for path in {workshop.exercises[n][0].path for n in numbers}:
            wanted = [n for n in numbers if workshop.exercises[n][0].path == path]
            try:
                found = {r.id: r for r in regions_of(tree, path)}
                lines = (tree / path).read_text(errors="replace").splitlines()
                self.headers[path] = [line for line in lines if re.match(r"#include <[\w./]+>$", line)]
            except (Fault, OSError) as fault:
                for number in wanted:
                    self.faults[number] = str(fault)
                continue
            for number in wanted:
                if number not in found:
                    self.faults[number] = f"{path}: the marks of exercise {number} are gone"
                elif reason := why_not(found[number].body):
                    self.faults[number] = reason
                else:
                    self.bodies[number] = list(found[number].body)


def counted_cases(workshop, number, cache):
    """The tests that notice when this exercise is left open. Found once, and kept until the tree changes."""
    if number not in cache:
        region, _ = workshop.exercises[number]
        workshop.place({number: stub(region)})
        if failure := workshop.build([region.chapter]):
            raise Fault(f"exercise {number}, left open, does not compile:\n{failure}")
        cache[number] = [case for case in workshop.cases_of(number) if workshop.test(number, case) is not None]
        if not cache[number]:
            raise Fault(f"exercise {number}, left open, fails no test of {', '.join(workshop.exercises[number][1].tests)}")
    return cache[number]


def grade(workshop, submission, numbers, cases):
    """The parts' results: {"id", "score", "max", "tests": [{"name", "passed", "reason"}]}."""
    parts = []
    for number in numbers:
        region, task = workshop.exercises[number]
        reason = submission.faults.get(number)
        results = {}
        if reason is None:
            workshop.place({number: submission.bodies[number]}, submission.headers)
            try:
                failure = workshop.build([region.chapter])
            except subprocess.TimeoutExpired:
                failure = "error: compiling takes too long"
            if failure:
                errors = re.findall(r"error: .*", failure)
                reason = f"does not compile: {errors[0] if errors else 'see the build'}"
        for case in cases[number]:
            results[case] = reason or workshop.test(number, case)
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
    parser.add_argument("--chapter", help="two digits (otherwise all)")
    parser.add_argument("--reference", default="", help="parts that are not graded: 3.1,3.2")
    parser.add_argument("--out", type=Path, help="where results go (otherwise into --dir)")
    options = parser.parse_args()
    try:
        workshop = Workshop(ROOT, ROOT / "build-grade")
        left_out = set(filter(None, options.reference.split(",")))
        if unknown := left_out - set(workshop.exercises):
            raise Fault(f"--reference {','.join(sorted(unknown))}: there is no such exercise")
        numbers = [n for n, (r, _) in workshop.exercises.items()
                   if n not in left_out and (options.chapter is None or r.chapter == int(options.chapter))]
        if not numbers:
            raise Fault(f"chapter {options.chapter} has nothing to grade")
        if not options.dir.is_dir():
            raise Fault(f"{options.dir}: is not a folder")
        many = not (options.dir / "chapters").is_dir()
        students = sorted(p for p in options.dir.iterdir() if (p / "chapters").is_dir()) if many else [options.dir]
        if not students:
            raise Fault(f"{options.dir}: neither it nor a folder in it holds a folder chapters")
        if not sandbox(tempfile.gettempdir()):
            print("grade: bubblewrap is not here: tests run with limits of time and memory, but may read and write files")
        workshop.place({})
        if failure := workshop.build(sorted({workshop.exercises[n][0].chapter for n in numbers})):
            raise Fault(f"the reference does not compile:\n{failure}")
        cases = load_cases(workshop, numbers)
        rows = []
        for student in students:
            parts = grade(workshop, Submission(student, workshop, numbers), numbers, cases)
            out = (options.out or options.dir) / (student.name if many else "")
            out.mkdir(parents=True, exist_ok=True)
            score, most = total(parts)
            (out / "grade.json").write_text(json.dumps({"score": score, "max": most, "parts": parts}, indent=2) + "\n")
            (out / "results.json").write_text(json.dumps(gradescope(parts), indent=2) + "\n")
            print_table(student.name, parts)
            rows.append([student.name, score, most, *(p["score"] for p in parts)])
        if many:
            with open((options.out or options.dir) / "grades.csv", "w", newline="") as file:
                csv.writer(file).writerows([["student", "score", "max", *numbers], *rows])
        workshop.place({})
    except Fault as fault:
        sys.exit(f"grade: {fault}")


def load_cases(workshop, numbers):
    """counted_cases of all, from a file that belongs to this state of the tree."""
    state = hashlib.sha256()
    for file in sorted(workshop.source.rglob("*")):
        if file.is_file():
            state.update(str(file.relative_to(workshop.source)).encode() + file.read_bytes())
    path = workshop.folder / "cases.json"
    kept = json.loads(path.read_text()) if path.is_file() else {}
    cache = kept["cases"] if kept.get("state") == state.hexdigest() else {}
    for number in numbers:
        counted_cases(workshop, number, cache)
        path.write_text(json.dumps({"state": state.hexdigest(), "cases": cache}, indent=2) + "\n")
    return cache


if __name__ == "__main__":
    main()
