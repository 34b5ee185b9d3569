"""Exercises in the tree: marked regions of code, and the lessons' tables that describe them.

    // >>> exercise 3.1 points=3 hint="multiply the precision (3.3) and the mean by v"
    ... the solution ...
    // <<<
"""
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

START = re.compile(r'^\s*// >>> exercise (\d+\.\d+) points=([1-9]\d*) hint="([^"]+)"\s*$')
BEGIN = re.compile(r"\s*// >>> exercise (\d+\.\d+)(?: |$)")
END = re.compile(r"\s*// <<<")
# What a mark looks like, also where an editor or a slip has changed it.
LIKE_A_MARK = re.compile(r"\s*/[/*]+\s*(>>>|<<<|>>\s*exercise|<<\s*$|.*\bexercise\s+\d+\.\d+\s+points\s*=)", re.IGNORECASE)
CODE = {".cpp", ".hpp", ".cu"}
SECONDS = 60  # for one test of an exercise
ROW = re.compile(r"^\| (\d+\.\d+) \| (\d+) \| `([^`]+)` \| (.+?) \| ((?:\(\d+\.\d+\)(?:, )?)+) \|$")
# What may be taken from a student: the libraries' own.
HEADER = re.compile(r"\s*#\s*include\s*<([a-z_0-9]+|omp\.h|Eigen/[A-Z]\w+)>\s*(//.*|/\*.*\*/\s*)?$")


class Fault(Exception):
    """Something wrong in the tree; the text names the place."""


def in_english():
    """The environment for a compiler whose messages are read by a program."""
    return {**os.environ, "LC_ALL": "C"}


def in_one_line(name, main):
    """Runs a program's main function; what is wrong with its arguments, its tree or the disk becomes one line."""
    try:
        main()
    except (Fault, OSError) as fault:
        sys.exit(f"{name}: {fault}")
    except KeyboardInterrupt:
        sys.exit(130)


@dataclass(frozen=True)
class Region:
    """One exercise's solution: lines first + 1 .. last - 1 of a file, between the marks."""

    id: str
    points: int
    hint: str
    path: Path  # relative to the tree
    first: int  # the line of the opening mark, from 0
    last: int  # the line of the closing mark
    body: tuple

    @property
    def chapter(self):
        return int(self.id.split(".")[0])

    @property
    def order(self):
        return tuple(int(n) for n in self.id.split("."))


@dataclass(frozen=True)
class Task:
    """A row of a lesson's table of exercises."""

    id: str
    points: int
    where: str
    text: str
    tests: tuple  # equations in the names of its tests: "(3.3)"
    place: str  # file and line of the row


def chapter_folders(tree):
    if not (tree / "chapters").is_dir():
        raise Fault(f"{tree / 'chapters'}: is no folder, expected the chapters")
    return sorted(p for p in (tree / "chapters").iterdir() if re.match(r"\d\d_", p.name))


def has_exercises(folder):
    """Whether there is anything to prove of a chapter."""
    return re.search(r"^## [0-9.]+ Exercises$", (folder / "README.md").read_text(), re.MULTILINE) is not None


def known_chapter(tree, word, option, expected):
    """The number of a chapter that is there."""
    known = [int(folder.name[:2]) for folder in chapter_folders(tree)]
    if not re.fullmatch(r"\d{1,2}", word) or int(word) not in known:
        raise Fault(f"{option}: expected {expected} {','.join(f'{c:02}' for c in known)}")
    return int(word)


def chosen_chapters(tree, text):
    """The numbers in "01,04"; those of all chapters if there is no text."""
    words = text.split(",") if text else [folder.name[:2] for folder in chapter_folders(tree)]
    return sorted({known_chapter(tree, word, f"--chapters {text}", "some of") for word in words})


def chosen_chapter(tree, text):
    """The number in "03", or None for "all"."""
    return None if text == "all" else known_chapter(tree, text, f"--chapter {text}", "all, or one of")


def read_code(file, name):
    """The lines of a source file, as a compiler sees them: whatever ends a line, and whatever bytes stand in a comment. `name` is
    what a message calls it."""
    data = file.read_bytes()
    if b"\0" in data:
        line = data[: data.index(b"\0")].count(b"\n") + 1
        kind = "is UTF-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) or data[:64].count(0) > 16 else "has a zero byte"
        raise Fault(f"{name}:{line}: {kind}, expected UTF-8 (your editor's \"save with encoding\")")
    return re.split(r"\r\n|\r|\n", data.decode("utf-8-sig", "replace"))


def misspelt(line, name, number, exercise, ends=False):
    expected = "// <<<" if ends else f'// >>> exercise {exercise or "3.1"} points=2 hint="..."'
    return f"{name}:{number + 1}: found {line.strip()[:60]!r}, expected {expected}"


def marks_in(lines, name):
    """What stands between marks, as (exercise, line of the opening mark, line of the closing one), from 0; and what is wrong with the
    marks, as (exercise, or None where no one can tell, and a text with file and line)."""
    found, faults, opened = [], [], None
    for number, line in enumerate(lines):
        like = LIKE_A_MARK.match(line)
        if like is None:
            continue
        place, ends = f"{name}:{number + 1}", like[1].startswith("<")
        named = re.search(r"exercise\s*(\d+\.\d+)", line, re.IGNORECASE)
        exercise = (opened[0] if opened else None) if ends else named and named[1]
        if not (END if ends else BEGIN).match(line):
            faults.append((exercise, misspelt(line, name, number, exercise, ends)))
        if not ends:
            if opened:
                faults.append((opened[0], f"{place}: an exercise begins inside exercise {opened[0]} of line {opened[1] + 1}"))
            opened = exercise, number
        elif opened is None:
            faults.append((None, f"{place}: no exercise begins before this end, // <<<"))
        else:
            if not any(text.strip() and not text.strip().startswith("//") for text in lines[opened[1] + 1 : number]):
                faults.append((opened[0], f"{name}:{opened[1] + 1}: exercise {opened[0]} is empty"))
            found.append((*opened, number))
            opened = None
    if opened:
        faults.append((opened[0], f"{name}:{opened[1] + 1}: exercise {opened[0]} has no end, // <<<"))
    return found, faults


def regions_of(tree, path):
    """The regions of one file, in order."""
    lines = read_code(tree / path, path)
    marked, faults = marks_in(lines, path)
    if faults:
        raise Fault(faults[0][1])
    found = []
    for exercise, first, last in marked:
        match = START.match(lines[first])
        if match is None:
            raise Fault(misspelt(lines[first], path, first, exercise))
        found.append(Region(match[1], int(match[2]), match[3], Path(path), first, last, tuple(lines[first + 1 : last])))
    return found


def find_regions(tree):
    """All regions of a tree by number, in the exercises' order."""
    found = {}
    for name in ("src", "tests", "tools", "bench"):
        for file in sorted((tree / name).rglob("*")):
            if file.suffix in CODE:
                for region in regions_of(tree, file.relative_to(tree)):
                    raise Fault(f"{region.path}:{region.first + 1}: exercises belong in a chapter's folder")
    for folder in chapter_folders(tree):
        for file in sorted(folder.rglob("*")):
            if file.suffix not in CODE:
                continue
            for region in regions_of(tree, file.relative_to(tree)):
                place = f"{region.path}:{region.first + 1}"
                if region.id in found:
                    other = found[region.id]
                    raise Fault(f"{place}: exercise {region.id} is also at {other.path}:{other.first + 1}")
                if region.chapter != int(folder.name[:2]):
                    raise Fault(f"{place}: exercise {region.id} is not of chapter {folder.name[:2]}")
                found[region.id] = region
    return dict(sorted(found.items(), key=lambda item: item[1].order))


def find_tasks(tree):
    """What the lessons' tables say of their exercises: | 3.1 | 3 | `posterior.cpp` | text | (3.4) |."""
    tasks = {}
    for folder in chapter_folders(tree):
        lesson = folder / "README.md"
        for number, line in enumerate(lesson.read_text().splitlines()):
            if match := ROW.match(line):
                place = f"{lesson.relative_to(tree)}:{number + 1}"
                if match[1] in tasks:
                    raise Fault(f"{place}: exercise {match[1]} is also at {tasks[match[1]].place}")
                if int(match[1].split(".")[0]) != int(folder.name[:2]):
                    raise Fault(f"{place}: exercise {match[1]} is not of chapter {folder.name[:2]}")
                tests = tuple(re.findall(r"\(\d+\.\d+\)", match[5]))
                tasks[match[1]] = Task(match[1], int(match[2]), match[3], match[4], tests, place)
    return tasks


def exercises(tree):
    """Pairs of region and task by number. Fails unless marks and tables say the same."""
    regions, tasks = find_regions(tree), find_tasks(tree)
    for number in sorted(set(regions) | set(tasks)):
        if number not in tasks:
            region = regions[number]
            raise Fault(f"{region.path}:{region.first + 1}: exercise {number} is not in the lesson's table")
        if number not in regions:
            raise Fault(f"{tasks[number].place}: no code is marked as exercise {number}")
        region, task = regions[number], tasks[number]
        if (region.points, region.path.name) != (task.points, task.where):
            raise Fault(
                f"{region.path}:{region.first + 1}: the mark of exercise {number} says {region.points} points in "
                f"{region.path.name}, {task.place} says {task.points} in {task.where}"
            )
    return {number: (regions[number], tasks[number]) for number in regions}


def equations_in(name):
    """The equations that a test's name names: (3.4), (3.5); (3.11) to (3.15)."""
    found = set(re.findall(r"\(\d+\.\d+\)", name))
    for chapter, first, last in re.findall(r"\((\d+)\.(\d+)\) to \(\1\.(\d+)\)", name):
        found |= {f"({chapter}.{n})" for n in range(int(first), int(last) + 1)}
    return found


def cases_in(program):
    """The names of a test program's tests, but those of the chapter's own program and the slow ones."""
    done = subprocess.run([program, "--list-test-cases", "--reporters=xml"], capture_output=True, text=True)
    if done.returncode != 0:
        raise Fault(f"{program} failed:\n{done.stdout}{done.stderr}")
    names = re.findall(r'<TestCase name="([^"]*)" testsuite="([^"]*)"', done.stdout)
    return [unescape(name) for name, suite in names if not re.search(r"\b(cli|judge|slow)\b", suite)]


def pattern_of(case):
    """A filter for doctest that this test's name passes."""
    return "--test-case=" + re.sub(r"[,*?\\]", "?", case)


def failed_check(printed):
    """What a test that failed printed of its first failed check: the check, and its numbers if it has some."""
    if match := re.search(r"ERROR: (.*?) is NOT correct!\n\s+values: (.*)", printed):
        return match.groups()
    match = re.search(r"(ERROR: .*(?:\n  .*)*)", printed)
    return (match[1] if match else printed.strip(),)


def unescape(text):
    for code, sign in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&apos;", "'"), ("&amp;", "&")):
        text = text.replace(code, sign)
    return text


def why_not(body):
    """What in a student's lines cannot be graded: they must stay inside the function that they are part of."""
    text = "\n".join(body)
    if re.search(r'R"[^()\\ ]{0,16}\(', text):
        return "raw strings are not allowed"
    if any(line.rstrip().endswith("\\") for line in body):
        return "a line that ends in a backslash is not allowed"
    # Without comments, strings and characters (but 1'000 is a number).
    bare = re.sub(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|(?<![0-9A-Za-z_])\'(?:\\.|[^\'\\\n])+\'', " ", text, flags=re.DOTALL)
    if "/*" in bare:
        return "a comment has no end"
    if re.search(r"#|%:", re.sub(r"^\s*#\s*pragma\s+omp\s[^\n]*", "", bare, flags=re.MULTILINE)):
        return "preprocessor lines are not allowed"
    if word := re.search(r"\b_*(asm|attribute)_*\b|\bgnu\s*::|\b_Pragma\b", bare):
        return f"{word[0]} is not allowed"  # with them code can run before main does
    depth = 0
    for sign in re.findall(r"[{}]|<%|%>", bare):
        depth += 1 if sign in ("{", "<%") else -1
        if depth < 0:
            break
    return None if depth == 0 else "the braces do not match"
