#!/usr/bin/env python3
"""Chooses the chapters whose exercises and exhibits continuous integration proves: to prove all takes too long for every change.

usage: rotation.py [TREE]           prints 02,04 (for --chapters of prove.py and museum.py), and to stderr why
       rotation.py --format [TREE]  prints the kind of file whose reader is fuzzed (for scripts/fuzz.sh): each in its turn

- Of the chapters that the commits of the last day (before the newest commit) changed, their tests and exhibits among them, the one
  that was changed last.
- One of the others, which changes with every commit and every day. So it is for what belongs to no chapter (src, cmake, course).
- All, where git knows no history: in a copy without it, and in a clone that is too shallow to show a day.

The choice depends on the newest commit alone.
"""
import re
import subprocess
import sys
from pathlib import Path

from regions import Fault, chapter_folders, has_exercises, in_one_line

ROOT = Path(__file__).resolve().parent.parent
DAY, MOST = 24 * 60 * 60, 1


def git(tree, *arguments):
    done = subprocess.run(["git", *arguments], cwd=tree, capture_output=True, text=True)
    if done.returncode != 0:
        raise Fault(done.stderr.strip())
    return done.stdout


def chapter_of(tree, name):
    """The chapter that a file belongs to, or None: its code, lesson, tests and exhibits, but not pictures."""
    if match := re.match(r"(?:chapters|tests)/(\d\d)_.*(?<!\.png)(?<!\.gif)$", name):
        return match[1]
    if re.match(r"course/museum/.*\.patch$", name) and (tree / name).is_file():
        return (re.search(r"^Test: (\d\d) ", (tree / name).read_text(), re.MULTILINE) or [None, None])[1]
    return None


def changed_chapters(tree):
    """The chapters that the last day's commits changed, the latest first; None if git cannot tell."""
    try:
        newest = int(git(tree, "log", "-1", "--format=%ct"))
        lines = git(tree, "-c", "core.quotePath=off", "log", "--format=commit %ct %P", "--name-only").splitlines()
    except Fault:
        return None
    found = []
    for line in lines:
        if match := re.match(r"commit (\d+) ?(.*)$", line):
            if newest - int(match[1]) >= DAY:
                return found
            if not match[2]:  # the first commit that git has: where the book began, or where a shallow clone ends
                return None
        elif (chapter := chapter_of(tree, line)) and chapter not in found:
            found.append(chapter)
    return None


def turn_of(tree):
    """A number that changes with every commit and every day."""
    return int(git(tree, "rev-list", "--count", "HEAD")) + int(git(tree, "log", "-1", "--format=%ct")) // DAY


def choose_format(tree):
    """The format that is fuzzed; the first one where there is no git."""
    formats = sorted(path.stem for path in (tree / "tests/fuzz").glob("*.cpp"))
    try:
        return formats[turn_of(tree) % len(formats)]
    except Fault:
        return formats[0]


def choose(tree):
    """The chapters, in order, and why."""
    every = [folder.name[:2] for folder in chapter_folders(tree) if has_exercises(folder)]
    changed = changed_chapters(tree)
    if changed is None:
        return every, "git shows less than a day: all chapters"
    changed = [chapter for chapter in changed if chapter in every]
    chosen, left_out = changed[:MOST], changed[MOST:]
    why = [f"changed within a day: {', '.join(chosen) or 'no chapter'}"]
    if left_out:
        why.append(f"changed as well, and left for make prove: {', '.join(left_out)}")
    others = [chapter for chapter in every if chapter not in chosen]
    if others:
        chosen.append(others[turn_of(tree) % len(others)])
        why.append(f"in turn: {chosen[-1]} of {', '.join(others)}")
    return sorted(chosen), "; ".join(why)


def main():
    arguments = sys.argv[1:]
    wants_format = arguments[:1] == ["--format"]
    if wants_format:
        arguments.pop(0)
    tree = Path(arguments[0]).resolve() if arguments else ROOT
    if wants_format:
        print(choose_format(tree))
        return
    chosen, why = choose(tree)
    print(f"rotation: {why}", file=sys.stderr)
    print(",".join(chosen))


if __name__ == "__main__":
    in_one_line("rotation", main)
