"""Exercises in the tree: marked regions of code, and the lessons' tables that describe them.

    // >>> exercise 3.1 points=3 hint="multiply the precision (3.3) and the mean by v"
    ... the solution ...
    // <<<
"""
import re
from dataclasses import dataclass
from pathlib import Path

START = re.compile(r'^\s*// >>> exercise (\d+\.\d+) points=([1-9]\d*) hint="([^"]+)"\s*$')
CODE = {".cpp", ".hpp", ".cu"}


class Fault(Exception):
    """Something wrong in the tree; the text names the place."""


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


def chapter_folders(tree):
    return sorted(p for p in (tree / "chapters").iterdir() if re.match(r"\d\d_", p.name))


def regions_of(tree, path):
    """The regions of one file, in order."""
    lines = (tree / path).read_text().splitlines()
    found, opened = [], None
    for number, line in enumerate(lines):
        place = f"{path}:{number + 1}"
        if line.strip().startswith("// >>>"):
            if opened is not None:
                raise Fault(f"{place}: an exercise begins inside exercise {opened[1][1]} of line {opened[0] + 1}")
            match = START.match(line)
            if match is None:
                raise Fault(f'{place}: expected // >>> exercise 3.1 points=2 hint="..."')
            opened = number, match
        elif line.strip().startswith("// <<<"):
            if opened is None:
                raise Fault(f"{place}: no exercise begins before this end")
            first, match = opened
            body = tuple(lines[first + 1 : number])
            if not any(text.strip() and not text.strip().startswith("//") for text in body):
                raise Fault(f"{path}:{first + 1}: exercise {match[1]} is empty")
            found.append(Region(match[1], int(match[2]), match[3], Path(path), first, number, body))
            opened = None
    if opened is not None:
        raise Fault(f"{path}:{opened[0] + 1}: exercise {opened[1][1]} has no end, // <<<")
    return found


def find_regions(tree):
    """All regions of a tree by number, in the exercises' order."""
    found = {}
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
    row = re.compile(r"^\| (\d+\.\d+) \| (\d+) \| `([^`]+)` \| (.+?) \| ((?:\(\d+\.\d+\)(?:, )?)+) \|$")
    tasks = {}
    for folder in chapter_folders(tree):
        for line in (folder / "README.md").read_text().splitlines():
            if match := row.match(line):
                tests = tuple(re.findall(r"\(\d+\.\d+\)", match[5]))
                tasks[match[1]] = Task(match[1], int(match[2]), match[3], match[4], tests)
    return tasks


def exercises(tree):
    """Pairs of region and task by number. Fails unless marks and tables say the same."""
    regions, tasks = find_regions(tree), find_tasks(tree)
    for number in sorted(set(regions) | set(tasks)):
        if number not in tasks:
            region = regions[number]
            raise Fault(f"{region.path}:{region.first + 1}: exercise {number} is not in the lesson's table")
        if number not in regions:
            raise Fault(f"the lesson's table has exercise {number}, which no code is marked as")
        region, task = regions[number], tasks[number]
        if (region.points, region.path.name) != (task.points, task.where):
            raise Fault(
                f"exercise {number}: the mark says {region.points} points in {region.path.name}, "
                f"the lesson's table {task.points} in {task.where}"
            )
    return {number: (regions[number], tasks[number]) for number in regions}
