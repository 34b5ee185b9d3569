#!/usr/bin/env python3
"""Writes a student's tree: the book up to a chapter, with that chapter's exercises open.

usage: handout.py --chapter 03|all --out DIR

The tree builds with the same two commands as the book's. Every solution is replaced by a line that fails with the exercise's
number and hint; the checks at the end make sure that no solution is left anywhere in it.
"""
import argparse
import json
import re
import shutil
import subprocess
from pathlib import Path

from regions import CODE, Fault, chosen_chapter, exercises, in_one_line

ROOT = Path(__file__).resolve().parent.parent
LEFT_OUT = ("course/README.md", "course/grade.py", "course/gradescope.py", "course/handout.py", "course/museum", "course/prove.py",
            "course/regions_test.py", "course/rotation.py", "course/rotation_test.py", "course/student_test.py", "course/upload.py",
            "course/museum.py", "course/grade_test.py", "course/gradescope_test.py", "course/workshop.py", "course/wrong.py", ".ci/", "bench/", "docs/equations.md", "tools/equations.cpp",
            "tests/src/lessons_test.cpp", "tools/cuda.cu", "scripts/gpu.sh", "scripts/peers.sh", "tests/fuzz", "scripts/fuzz.sh")
FOR_A_GPU = re.compile(r"chapters/.*(\.cu|/GPU\.md)")  # they compute once more what is open
FOR_TEACHERS = ("handout", "grade", "prove", "museum", "bench", "gpu", "peers", "fuzz")  # targets of the Makefile
INCLUDE = '#include "tensor/check.hpp"'
EXERCISES = """## The exercises

Some functions are open: between `// >>> exercise 3.2 ...` and `// <<<` stands a line that fails and says so. Write the body in its place; the lesson has the derivation, and at
its end what is given and what is asked, the points and the tests. What counts is what stands between the marks, and `#include <...>` of the standard library; leave the marks as they
are, put helpers between them (a lambda will do), and do without preprocessor lines. Everything else may stay as it is. Hand in the whole folder, without `build` and `out`.

    make next                  # the first exercise that is still open, with its place
    make hint EX=3.2           # MORE=1: with the equations that it needs, and their places
    make check EX=3.2          # builds, and runs its tests; WATCH=1 does so again at every save

Until the last one is written `make test` fails, and says where.

"""


def files_of(tree, which="-c"):
    """The files of the repository: -c those that belong to it, -co also new ones that git does not ignore."""
    done = subprocess.run(["git", "ls-files", which, "--exclude-standard"], cwd=tree, capture_output=True, text=True)
    if done.returncode != 0:
        raise Fault(f"{tree}: {done.stderr.strip()} (handing out and grading need the git repository)")
    return [name for name in done.stdout.split("\n") if name and (tree / name).is_file()]


def stub(region):
    """The lines that stand where the solution was."""
    indent = re.match(r"\s*", next(line for line in region.body if line.strip()))[0]
    return [f'{indent}fail("exercise {region.id} is not solved yet: ", {json.dumps(region.hint, ensure_ascii=False)});']


def replace_bodies(text, regions, body_of):
    """The text of a file with the bodies of some of its regions replaced."""
    lines = text.splitlines()
    for region in sorted(regions, key=lambda r: -r.first):
        lines[region.first + 1 : region.last] = body_of(region)
    if regions and INCLUDE not in lines and any("fail(" in line for r in regions for line in body_of(r)):
        last = max(i for i, line in enumerate(lines) if line.startswith("#include"))
        lines.insert(last + 1, INCLUDE)
    return "\n".join(lines) + "\n"


def without_quotes(text, regions, shared=frozenset()):
    """A lesson without the code blocks that show a solution. Lines that are `shared` show nothing."""
    secret = {line.strip() for region in regions for line in region.body if len(line.strip()) > 8} - shared
    kept, block = [], None
    for line in text.splitlines():
        if block is None:
            if line == "```cpp":
                block = [line]
            else:
                kept.append(line)
            continue
        block.append(line)
        if line == "```":
            shown = [r for r in regions if any(l.strip() in {b.strip() for b in r.body} & secret for l in block)]
            kept += [f"*(The code is yours to write: exercise {', '.join(r.id for r in shown)}.)*"] if shown else block
            block = None
    return "\n".join(kept) + "\n"


def lines_around(tree, of_file):
    """The lines of these files that stand around their open regions."""
    found = set()
    for path, regions in of_file.items():
        inside = {i for r in regions for i in range(r.first, r.last)}
        found |= {line.strip() for i, line in enumerate((tree / path).read_text().splitlines()) if i not in inside}
    return found


def without_gpu(text):
    """A lesson without what it says of its pages and files for a GPU: a section, rows of a table, sentences."""
    text = re.sub(r"^## \d+\.\d+ On a GPU\n(?:(?!## ).*\n)*", "", text, flags=re.MULTILINE)
    text = re.sub(r"^\|.*\.cu\).*\n", "", text, flags=re.MULTILINE)
    return re.sub(r"[^.\n]*\]\([./\w]*GPU\.md[^)\n]*\)[^.\n]*\.", "", text)


def leaks(out, regions, kept_files):
    """Lines of solutions that stand somewhere in the handout, although they stand nowhere else in the book's code."""
    elsewhere = "\n".join(kept_files.values())
    secret = {}
    for region in regions:
        for line in region.body:
            code = re.sub(r"\s*//.*", "", line).strip()
            loop = re.fullmatch(r"for \([^;]*; [^;]*; [^;]*\)( \{)?", code)  # that alone gives nothing away
            name = re.fullmatch(r"(const )?\w+ \w+ =", code)  # nor does that, without the line after it
            if len(code) > 12 and re.search(r"\w{2}", code) and not loop and not name and code not in elsewhere:
                secret[code] = region.id
    for file in sorted(out.rglob("*")):
        if file.is_file():
            text = file.read_text(errors="ignore")
            for code, number in secret.items():
                if code in text:
                    yield f"{file.relative_to(out)}: holds a line of exercise {number}'s solution: {code}"


def solving_notebooks(tree, opened):
    """The notebooks that solve an open exercise in Python: those of its chapter, and those that name one of its equations."""
    chapters = {f"{region.chapter:02}" for region, _ in opened.values()}
    equations = {equation for _, task in opened.values() for equation in task.tests}
    found = []
    for name in files_of(tree):
        if name.startswith("notebooks/") and name.endswith(".ipynb"):
            if Path(name).name[:2] in chapters or any(e in (tree / name).read_text() for e in equations):
                found.append(name)
    return tuple(found)


def unused_kernels(tree, names):
    """The files of src/kernels that none of the other files includes, not even by way of another kernel: they compute, fast, what later
    chapters teach, and with it much of what is open in earlier ones."""
    kernels = {name for name in names if name.startswith("src/kernels/")}

    def included(files):
        return {stem for name in files if Path(name).suffix in CODE
                for stem in re.findall(r'#include "kernels/(\w+)\.hpp"', (tree / name).read_text())}

    used, new = set(), included(set(names) - kernels)
    while new:
        used |= new
        new = included(name for name in kernels if Path(name).stem in new) - used
    return {name for name in kernels if Path(name).stem not in used}


def needs_later(tree, name, last):
    """Whether a tool, in a file or a folder, includes what a later chapter teaches."""
    if not name.startswith("tools/"):
        return False
    folder = (tree / name).parent
    sources = [tree / name] if folder == tree / "tools" else sorted(folder.iterdir())
    return any(int(n) > last for source in sources for n in re.findall(r'#include "(\d\d)_', source.read_text()))


def write_handout(tree, chapter, out):
    """`chapter` is a number, or None for all."""
    if out.exists() and not out.is_dir():
        raise Fault(f"{out}: is a file, expected a folder that is new or empty")
    if out.exists() and any(out.iterdir()):
        raise Fault(f"{out}: is not empty, expected a folder that is new or empty")
    all_exercises = exercises(tree)
    last = chapter or max(r.chapter for r, _ in all_exercises.values())
    opened = {n: (r, t) for n, (r, t) in all_exercises.items() if chapter in (None, r.chapter)}
    if not opened:
        raise Fault(f"chapter {chapter} has no exercises")
    of_file = {}
    for region, _ in opened.values():
        of_file.setdefault(region.path, []).append(region)
    later = re.compile(r"(chapters|tests|notebooks)/(\d\d)_")
    notebooks = solving_notebooks(tree, opened)
    has_notebooks = any(n.startswith("notebooks/") and n not in notebooks and int(later.match(n)[2]) <= last for n in files_of(tree))
    solved = [r for r, _ in opened.values()]
    shared = lines_around(tree, of_file)
    kept_files = {}
    wanted = [name for name in files_of(tree) if not name.startswith(LEFT_OUT + notebooks) and not FOR_A_GPU.fullmatch(name)
              and not ((match := later.match(name)) and int(match[2]) > last) and not needs_later(tree, name, last)]
    left_out = unused_kernels(tree, wanted)
    for name in wanted:
        match = later.match(name)
        if name in left_out:
            continue
        target = out / name
        target.parent.mkdir(parents=True, exist_ok=True)
        path = Path(name)
        if path in of_file:
            text = replace_bodies((tree / name).read_text(), of_file[path], stub)
            target.write_text(text)
        elif name == "Makefile":
            targets = FOR_TEACHERS + (() if has_notebooks else ("notebooks",))
            text = re.sub(rf"^({'|'.join(targets)}):.*\n(\t.*\n)*", "", (tree / name).read_text(), flags=re.MULTILINE)
            target.write_text(text)
        elif name == "README.md":  # without the rows of folders that are not here
            row = re.compile(rf"\| `(course|bench{'' if has_notebooks else '|notebooks'})/`|\| \[(\d\d) ")
            kept = [line for line in (tree / name).read_text().splitlines()
                    if not (m := row.match(line)) or (m[2] and int(m[2]) <= last)]
            text = "\n".join(kept).replace(", [where each equation is computed and tested](docs/equations.md)", "") + "\n"
            text = re.sub(r"^With an NVIDIA GPU (?:.*\n)*?(?=`--help`)", "", text, flags=re.MULTILINE)
            target.write_text(text.replace("## The chapters\n", EXERCISES + "## The chapters\n"))
        elif path.suffix == ".md" and match:
            text = without_gpu(without_quotes((tree / name).read_text(), solved, shared))
            for notebook in notebooks:  # a sentence that names one that is not here
                text = re.sub(rf"[^.\n]*\]\([./]*{re.escape(notebook)}\)[^.\n]*\.(?:[^\S\n])?", "", text)
            target.write_text(text)
            continue
        else:
            shutil.copyfile(tree / name, target)
        shutil.copymode(tree / name, target)
        if path.suffix in CODE and match and match[1] == "chapters":
            kept_files[name] = target.read_text()
    (out / "handout.json").write_text(json.dumps(
        {n: {"points": r.points, "where": str(r.path), "task": t.text, "tests": t.tests, "hint": r.hint}
         for n, (r, t) in opened.items()}, indent=2, ensure_ascii=False) + "\n")
    found = list(leaks(out, solved, kept_files))
    if found:
        shutil.rmtree(out)
        raise Fault("the handout would hold solutions:\n  " + "\n  ".join(found))
    return opened


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--chapter", default="all", help="two digits, or all")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    opened = write_handout(ROOT, chosen_chapter(ROOT, options.chapter), options.out)
    points = sum(region.points for region, _ in opened.values())
    print(f"handout: {len(opened)} exercises, {points} points: {options.out}")


if __name__ == "__main__":
    in_one_line("handout", main)
