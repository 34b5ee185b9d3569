#!/usr/bin/env python3
"""The bug museum: published mistakes as patches to this book's code, each with the test that catches it.

usage: museum.py                        every patch must fit, and its test must fail with it
       museum.py --chapters 01,04       those of some chapters
       museum.py --show 07              one exhibit: its story, and what its test prints
       museum.py --pictures FOLDER      draws the exhibits' pictures with a model of chapter 4, right above wrong
       museum.py --write                writes museum/README.md anew (without an option it must be up to date); with --chapters
                                        the symptoms of the others stay as they are
"""
import argparse
import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from regions import Fault, chosen_chapters, failed_check, in_one_line
from workshop import ROOT, Workshop

MUSEUM = ROOT / "course" / "museum"
HEAD = """# The bug museum

Mistakes that were really made, some of them in code that many people use. Each was seen where its links say. Here it is done once more, to this book's code, as a patch; and a test of this book fails with it. The measure of a
test is what it catches.

    make museum                # applies every patch, one at a time: its test must fail
    make museum BUG=07         # one exhibit: its story, and what the test prints

What the tests print with each patch stands under *Symptom*. Pictures show the same digits twice: above as they should be, below with the patch
(`course/museum.py --pictures out/04_unet`; that folder is the model of `04_unet --preset standard`).
"""


@dataclass
class Exhibit:
    path: Path
    title: str
    seen: list
    chapter: int
    test: str
    picture: str  # a command, or nothing
    story: str
    diff: str

    @property
    def number(self):
        return self.path.name[:2]

    @property
    def files(self):
        return re.findall(r"^--- a/(\S+)", self.diff, re.MULTILINE)

    @property
    def figure(self):
        return MUSEUM / "figures" / f"{self.path.stem}.png"


def read_exhibit(path):
    head, found, diff = path.read_text().partition("\n--- a/")
    lines = head.split("\n")
    empty = lines.index("") if "" in lines else len(lines)
    fields = [line.partition(": ") for line in lines[:empty]]
    of = {}
    for key, _, value in fields:
        of.setdefault(key, []).append(value)
    test = re.match(r"(\d\d) (.+)$", of.get("Test", [""])[0])
    if not found or not test or set(of) - {"Title", "Seen", "Test", "Picture"} or not {"Title", "Seen"} <= set(of):
        raise Fault(f"{path}: expected lines Title, Seen, Test (and Picture), an empty line, the story and a diff")
    return Exhibit(path, of["Title"][0], of["Seen"], int(test[1]), test[2], of.get("Picture", [""])[0],
                   "\n".join(lines[empty:]).strip(), f"--- a/{diff}")


def exhibits():
    return [read_exhibit(path) for path in sorted(MUSEUM.glob("*.patch"))]


def build_with(workshop, exhibit, targets):
    """Puts the mistake in and compiles; whoever calls takes it back."""
    if reason := workshop.patch(exhibit.path):
        raise Fault(f"{exhibit.path.name}: no longer fits: {reason}")
    if failure := workshop.build(targets):
        raise Fault(f"{exhibit.path.name}: does not compile:\n{failure}")


def run_test(workshop, exhibit):
    """What the exhibit's test prints, without the frame; nothing if it passes."""
    cases = [case for case in workshop.all_cases(exhibit.chapter) if case == exhibit.test]
    if len(cases) != 1:
        raise Fault(f"{exhibit.path.name}: chapter {exhibit.chapter} has {len(cases)} tests of the name {exhibit.test}")
    output = []
    reason = workshop.test(exhibit.chapter, exhibit.test, output=output)
    return "" if reason is None else "".join(output) or reason


def visit(workshop, wanted, show):
    """Applies exhibits one at a time; returns their symptoms. Fails if one is not caught."""
    symptoms = {}
    for exhibit in wanted:
        if run_test(workshop, exhibit):
            raise Fault(f"{exhibit.path.name}: its test fails without it, too: {exhibit.test}")
    for exhibit in wanted:
        try:
            build_with(workshop, exhibit, [f"test_{exhibit.chapter:02}"])
            printed = run_test(workshop, exhibit)
        finally:
            workshop.take_back(exhibit.files)
        if not printed:
            raise Fault(f"{exhibit.path.name}: survives its test, {exhibit.test}")
        symptoms[exhibit.number] = "\n".join(failed_check(printed))
        if show:
            print(f"{exhibit.number}  {exhibit.title}\n\n{exhibit.story}\n\n{exhibit.diff}\n{printed}")
        else:
            print(f"museum: {exhibit.number} caught  {exhibit.title}", flush=True)
    return symptoms


def readme(all_exhibits, symptoms):
    parts = [HEAD]
    for e in all_exhibits:
        links = ", ".join(f"[{re.sub(r'https://(?:github.com/)?', '', url)}]({url})" for url in e.seen)
        parts.append(f"## {e.number} {e.title}\n\n{e.story}\n\n*Seen in* {links}. *Caught by* `{e.test}` (chapter {e.chapter}).\n")
        if e.figure.is_file():
            parts.append(f"![Above, digits as they should be; below, with this mistake](figures/{e.figure.name})\n")
        parts.append(f"*Symptom:*\n\n```\n{symptoms[e.number]}\n```\n\n```diff\n{e.diff.rstrip()}\n```\n")
    return "\n".join(parts)


def printed_symptoms(page):
    """Number -> symptom, as a page says."""
    return dict(re.findall(r"^## (\d\d) .*?\*Symptom:\*\n\n```\n(.*?)\n```$", page, re.MULTILINE | re.DOTALL))


def draw(workshop, model, folder, command):
    """Runs an exhibit's command; returns the picture that it wrote."""
    program, job, *rest = command.replace("MODEL", str(model)).split()
    done = subprocess.run([workshop.build_folder / "bin" / program, job, *rest, "--out", folder], capture_output=True, text=True)
    if done.returncode != 0:
        raise Fault(f"{command}: {done.stderr}")
    return next(folder.glob("*.png"))


def pictures(workshop, all_exhibits, model):
    try:
        from PIL import Image  # only here
    except ImportError:
        raise Fault("--pictures needs Python's Pillow (python3-pil), which is not here") from None

    with tempfile.TemporaryDirectory() as temporary:
        for exhibit in (e for e in all_exhibits if e.picture):
            rows = []
            for wrong in (False, True):
                try:
                    if wrong:
                        build_with(workshop, exhibit, [exhibit.picture.split()[0]])
                    elif failure := workshop.build([exhibit.picture.split()[0]]):
                        raise Fault(failure)
                    rows.append(Image.open(draw(workshop, model, Path(temporary) / f"{exhibit.number}{wrong}", exhibit.picture)))
                finally:
                    workshop.take_back(exhibit.files)
            size = (max(r.width for r in rows), sum(r.height for r in rows) + 8)
            both = Image.new("L", size, 255)
            both.paste(rows[0], (0, 0))
            both.paste(rows[1], (0, rows[0].height + 8))
            exhibit.figure.parent.mkdir(exist_ok=True)
            both.save(exhibit.figure)
            print(f"museum: {exhibit.figure.relative_to(ROOT)}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--chapters", help="01,04 (otherwise all)")
    parser.add_argument("--show", metavar="NUMBER")
    parser.add_argument("--pictures", metavar="FOLDER", type=Path)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    if options.write and options.show:
        raise Fault("--write renews the page, and does not take --show")
    all_exhibits = exhibits()
    chapters = chosen_chapters(ROOT, options.chapters)
    wanted = [e for e in all_exhibits if options.show in (None, e.number) and e.chapter in chapters]
    if options.show and not wanted:
        raise Fault(f"--show {options.show}: expected one of {', '.join(e.number for e in all_exhibits if e.chapter in chapters)}")
    if not wanted:
        raise Fault(f"--chapters {options.chapters}: has no exhibits")
    if options.pictures and not options.pictures.exists():
        raise Fault(f"--pictures {options.pictures}: is not there, expected the folder of a model of chapter 4")
    workshop = Workshop()
    workshop.place({})
    if options.pictures:
        pictures(workshop, all_exhibits, options.pictures.resolve())
        return
    if failure := workshop.build(sorted({f"test_{e.chapter:02}" for e in wanted})):
        raise Fault(f"the book does not compile:\n{failure}")
    symptoms = visit(workshop, wanted, options.show is not None)
    if options.show:
        return
    page = MUSEUM / "README.md"
    if options.write:
        page.write_text(readme(all_exhibits, printed_symptoms(page.read_text()) | symptoms))
    written = page.read_text()
    # The last digits of a symptom are another machine's right.
    kept = printed_symptoms(written)
    same = all(kept.get(n, "").split("\n")[0] == s.split("\n")[0] for n, s in symptoms.items())
    if not same or set(kept) != {e.number for e in all_exhibits} or written != readme(all_exhibits, kept):
        raise Fault("museum/README.md is not what the patches say; course/museum.py --write renews it")
    print(f"museum: {len(symptoms)} mistakes, every one is caught")


if __name__ == "__main__":
    in_one_line("museum", main)
