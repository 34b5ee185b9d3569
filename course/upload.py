"""What a student handed in, in whatever shape it comes: which of its files is which, and what stands between their marks."""
import os
import re
from pathlib import Path

from regions import HEADER, Fault, marks_in, read_code, why_not

MOST_BYTES = 1 << 20  # of a file
MOST_SHOWN = 8  # names
MOST_DEEP = 20  # folders in folders
ARCHIVES = {".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".zst"}


def parts_of(path):
    """The names in a path. Some programs for Windows put a whole path, with backslashes, into a file's name."""
    return tuple(re.split(r"[/\\]", str(path).casefold()))


def of_no_student(name):
    """What systems and editors add: .git, .history, .DS_Store, ._a.cpp, __MACOSX."""
    return name.startswith(".") or name == "__MACOSX"


class Upload:
    """The files of a folder, also where an archive has been unpacked too deep, or where only some files were handed in."""

    def __init__(self, folder):
        self.folder, self.files, self.links = folder, [], []
        for at, folders, names in os.walk(folder):  # follows no links
            deep = len(Path(at).relative_to(folder).parts) >= MOST_DEEP
            folders[:] = [] if deep else sorted(name for name in folders if not of_no_student(name))
            for path in (Path(at) / name for name in folders + sorted(names) if not of_no_student(name)):
                if path.is_symlink():
                    self.links.append(path.relative_to(folder))
                elif path.is_file():
                    self.files.append(path.relative_to(folder))

    def holds(self):
        """In words, what was handed in."""
        shown = [f"{path} (an archive: unpack it)" if path.suffix.lower() in ARCHIVES else str(path)
                 for path in sorted(self.files, key=lambda path: (len(path.parts), path))]
        shown += [f"{path} (a link)" for path in self.links]
        more = f" and {len(shown) - MOST_SHOWN} more" if len(shown) > MOST_SHOWN else ""
        return ", ".join(shown[:MOST_SHOWN]) + more if shown else "no file"

    def find(self, wanted):
        """The file that is meant by chapters/03_x/a.cpp: it may lie deeper, or without its folders, if there is only one."""
        parts = parts_of(wanted)
        for count in range(len(parts), 0, -1):  # of the names that agree, from the last one on
            fits = [path for path in self.files + self.links if parts_of(path)[-count:] == parts[-count:]]
            if count == len(parts) and fits:  # of whole trees, the outermost
                least = min(len(parts_of(path)) for path in fits)
                fits = [path for path in fits if len(parts_of(path)) == least]
            if len(fits) > 1:
                raise Fault(f"{wanted}: could be {' or '.join(str(path) for path in fits[:3])}; expected one of them")
            if fits:
                break
        links = [path for path in self.links if path in fits or (not fits and parts_of(path)[-1] in parts)]
        if links:
            raise Fault(f"{links[0]}: is a link, expected the {'file' if fits else 'folder'} itself")
        if not fits:
            raise Fault(f"{wanted}: is not there; handed in: {self.holds()}")
        return fits[0]

    def read(self, path):
        """The lines of a file, whatever is in it."""
        size = (self.folder / path).stat().st_size
        if size > MOST_BYTES:
            raise Fault(f"{path}: has {size} bytes, expected at most {MOST_BYTES}")
        return read_code(self.folder / path, path)


class Submission:
    """A student's bodies, and what is wrong with them before anything is compiled: a mistake in one costs that one."""

    def __init__(self, folder, workshop, numbers):
        self.bodies, self.headers, self.faults, self.notes = {}, {}, {}, []
        upload, paths = Upload(folder), sorted({workshop.exercises[n][0].path for n in numbers})
        for path in paths:
            wanted = [n for n in numbers if workshop.exercises[n][0].path == path]
            try:
                found = upload.find(path)
                lines = upload.read(found)
            except (Fault, OSError) as fault:
                self.faults.update(dict.fromkeys(wanted, str(fault)))
                continue
            self.note(path, found)
            self.headers[path] = [f"#include <{match[1]}>" for line in lines if (match := HEADER.match(line))]
            self.take(lines, found, wanted)
        if not self.headers:
            self.notes = [f"Nothing here can be graded. Expected: the folder of the handout, with {', '.join(map(str, paths))}. "
                          f"Handed in: {upload.holds()}."]

    def note(self, path, found):
        """Tells where a file was that is not where the handout has it."""
        if parts_of(found)[-len(path.parts):] != parts_of(path):
            self.notes.append(f"{found} was taken for {path}.")
        elif found != path:
            text = f"The folder chapters was found in {str(found)[: -len(str(path)) - 1]}."
            self.notes += [text] if found.parts[-len(path.parts):] == path.parts and text not in self.notes else []

    def take(self, lines, name, wanted):
        """The bodies of a file, or why there is none."""
        marked, faults = marks_in(lines, name)
        for number in wanted:
            regions = [(first, last) for exercise, first, last in marked if exercise == number]
            wrong = [text for exercise, text in faults if exercise == number]
            if len(regions) > 1:
                wrong.append(f"{name}:{regions[1][0] + 1}: exercise {number} is also at line {regions[0][0] + 1}")
            if not regions and not wrong:
                near = [f"{text};" for exercise, text in faults if exercise is None] or [f"{name}:"]
                wrong.append(f"{near[0]} the mark // >>> exercise {number} is gone")
            body = lines[regions[0][0] + 1 : regions[0][1]] if regions else []
            if not wrong and (reason := why_not(body)):
                wrong.append(f"{name}:{regions[0][0] + 1}: exercise {number}: {reason}")
            if wrong:
                self.faults[number] = wrong[0]
            else:
                self.bodies[number] = body
