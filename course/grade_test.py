#!/usr/bin/env python3
"""What is taken from a student's tree, whatever is in it. (prove.py tries the grader itself.)"""
import json
import os
import signal
import subprocess
import tempfile
import time
import unittest
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

from grade import grade_student, students_in
from regions import HEADER, Fault, equations_in, why_not
from upload import Submission
from workshop import ends_within

FILE = Path("chapters/03_reverse/a.cpp")


def submitted(text, numbers=("3.1", "3.2")):
    """A Submission made of one file with these bytes."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder)
        (tree / FILE).parent.mkdir(parents=True)
        (tree / FILE).write_bytes(text)
        workshop = SimpleNamespace(exercises={n: (SimpleNamespace(path=FILE), None) for n in numbers})
        return Submission(tree, workshop, list(numbers))


def both(first, second=b"    return 2;\n"):
    return (b'#include <cmath>\nint f() {\n// >>> exercise 3.1 points=1 hint="a"\n' + first +
            b'// <<<\n}\nint g() {\n// >>> exercise 3.2 points=1 hint="b"\n' + second + b"// <<<\n}\n")


class Bodies(unittest.TestCase):
    def test_honest_code_is_taken(self):
        for body in ("int n = 1'000; char c = 'x';", "/* if (x) { */ return 1;", '// }', 'const char* s = "} // {";',
                     "#pragma omp simd\nfor (int i = 0; i < n; ++i) { d[i] += 1; }", r"char q = '\'';"):
            self.assertIsNone(why_not(body.split("\n")), body)

    def test_what_leaves_the_function_is_refused(self):
        for body in ("} int evil; int h() {", "int a = 1'0; } int evil = 7; void g() { int b = 1'0;", "#define CHECK(x)", "%:define CHECK(x)",
                     "/**/#define CHECK(x)", "/* no end", 'auto s = R"(})";', "if (x) {", "%> int evil; void g() <%", "x = 1; \\", "// \\\n{\nreturn 0; }\nint evil;\nint h() {\n// \\\n}",
                     "%\\\n:define CHECK(x)", "struct S { __attribute__((constructor, used)) static void f() {} };",
                     "struct S { [[gnu::constructor]] static void f() {} };", 'asm("int3");', '_Pragma("once")'):
            self.assertIsNotNone(why_not(body.split("\n")), body)

    def test_headers_of_the_library_only(self):
        for line in ("#include <cmath>", "#include <omp.h>", "#include <Eigen/Dense>", "#include <cmath>  // sqrt", "#include <vector> ", "#include<cmath>",
                     " # include <cmath> /* sqrt */"):
            self.assertTrue(HEADER.match(line))
        for line in ("#include <../posterior.cpp>", "#include </tmp/evil.hpp>", "#include <doctest/doctest.h>", '#include "a.hpp"'):
            self.assertFalse(HEADER.match(line))


class Marks(unittest.TestCase):
    def fault(self, old, new, number="3.1"):
        """What is wrong with an exercise after a change of the good file, which must not cost the other one."""
        taken = submitted(both(b"    return 1;\n").replace(old, new, 1))
        self.assertIn("3.2" if number == "3.1" else "3.1", taken.bodies)
        return taken.faults[number]

    def test_bytes_that_are_no_text(self):
        taken = submitted(both(b"    return 1;  // f\xfcr\n"))
        self.assertEqual((len(taken.bodies), taken.faults), (2, {}))
        self.assertEqual(taken.headers[FILE], ["#include <cmath>"])

    def test_a_spoiled_part_costs_only_itself(self):
        for first in (b"", b"}\n", b'// >>> exercise 3.9 points=1 hint="c"\n'):
            self.assertIn("3.2", submitted(both(first)).bodies)
        self.assertIn("a.cpp:3: exercise 3.1: the braces", submitted(both(b"}\n")).faults["3.1"])
        self.assertIn("a.cpp:3: exercise 3.1 is empty", submitted(both(b"")).faults["3.1"])

    def test_ways_to_save_a_file(self):
        good = both(b"    return 1;\n")
        for same in (b"\xef\xbb\xbf" + good, good.replace(b"\n", b"\r\n"), good.replace(b"\n", b"\r"), good.replace(b"// >>>", b"\t// >>>"),
                     good.replace(b' points=1 hint="a"', b"")):
            taken = submitted(same)
            self.assertEqual((taken.bodies, taken.faults, taken.notes), ({"3.1": ["    return 1;"], "3.2": ["    return 2;"]}, {}, []))
            self.assertEqual(taken.headers[FILE], ["#include <cmath>"])
        self.assertEqual(submitted(good.replace(b"#include <", b" # include<")).headers[FILE], ["#include <cmath>"])
        form_feed = submitted(both("    return 1;  // a\fb\u2028c\n".encode()))
        self.assertEqual(len(form_feed.bodies["3.1"]), 1)
        for name in ("utf-16", "utf-16-le", "utf-16-be"):
            taken = submitted(good.decode().encode(name))
            self.assertEqual(taken.faults["3.1"].split(" (")[0], f"{FILE}:1: is UTF-16, expected UTF-8")
        self.assertIn(f"{FILE}:4: has a zero byte", submitted(good.replace(b"return 1", b"return \0")).faults["3.2"])

    def test_marks_that_were_changed(self):
        for mark in (b"//>>> exercise 3.1", b"// >>> Exercise 3.1", b"//\t>>> exercise 3.1", b"// >>>  exercise 3.1", b"/// >>> exercise 3.1",
                     b"// >>> exercise\t3.1", b"// >> exercise 3.1", b"// >>>exercise 3.1", b"/* >>> exercise 3.1", b"// exercise 3.1", b"// Exercise 3.1"):
            self.assertRegex(self.fault(b"// >>> exercise 3.1", mark), r"^chapters/03_reverse/a.cpp:3: found .*, expected // >>> exercise 3.1 ")
        self.assertIn("a.cpp:5: found '//<<<', expected // <<<", self.fault(b"// <<<", b"//<<<"))
        self.assertIn("a.cpp:7: an exercise begins inside exercise 3.1 of line 3", self.fault(b"// <<<\n", b""))
        twice = submitted(both(b"    return 1;\n").replace(b" 3.2 ", b" 3.1 "))
        self.assertIn("a.cpp:8: exercise 3.1 is also at line 3", twice.faults["3.1"])
        gone = self.fault(b'// >>> exercise 3.1 points=1 hint="a"\n', b"")
        self.assertIn("a.cpp:4: no exercise begins before this end, // <<<; the mark // >>> exercise 3.1 is gone", gone)
        self.assertIn("a.cpp: the mark // >>> exercise 3.1 is gone", submitted(b"int x;\n").faults["3.1"])


class Trees(unittest.TestCase):
    """Shapes of what is handed in."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name) / "ada"
        self.folder.mkdir()
        self.workshop = SimpleNamespace(exercises={n: (SimpleNamespace(path=FILE, points=2), SimpleNamespace(text="f")) for n in ("3.1", "3.2")})

    def put(self, *names, content=both(b"    return 1;\n")):
        for name in names:
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_bytes(content)

    def taken(self):
        return Submission(self.folder, self.workshop, ["3.1", "3.2"])

    def test_where_a_file_may_lie(self):
        for name, note in ((str(FILE), None), (f"handout/{FILE}", "The folder chapters was found in handout."),
                           (f"a/b c/d/{FILE}", "The folder chapters was found in a/b c/d."), ("a.cpp", f"a.cpp was taken for {FILE}."),
                           ("x/A.CPP", f"x/A.CPP was taken for {FILE}."), ("03_reverse/a.cpp", f"03_reverse/a.cpp was taken for {FILE}."),
                           ("chapters\\03_reverse\\a.cpp", None)):
            self.put(name, f"__MACOSX/{FILE}", "._a.cpp", f".history/{FILE}")
            taken = self.taken()
            self.assertEqual((len(taken.bodies), taken.notes), (2, [note] if note else []), name)
            (self.folder / name).unlink()

    def test_the_outermost_tree_counts(self):
        self.put(str(FILE), "a.cpp")
        self.put(f"old/{FILE}", content=b"")
        self.assertEqual(len(self.taken().bodies), 2)

    def test_what_cannot_be_told_apart(self):
        self.put("one/a.cpp", "two/a.cpp")
        self.assertIn(f"{FILE}: could be one/a.cpp or two/a.cpp", self.taken().faults["3.1"])
        self.put(f"one/{FILE}", f"two/{FILE}")
        self.assertIn(f"could be one/{FILE} or two/{FILE}", self.taken().faults["3.1"])

    def test_what_is_not_there(self):
        self.assertIn("handed in: no file", self.taken().faults["3.1"])
        self.put("handout.ZIP", "a (1).cpp", *(f"x/{n}.txt" for n in range(9)))
        taken = self.taken()
        self.assertIn(f"{FILE}: is not there; handed in: a (1).cpp, handout.ZIP (an archive: unpack it), x/0.txt,", taken.faults["3.1"])
        self.assertIn(" and 3 more", taken.faults["3.1"])
        self.assertIn(f"Expected: the folder of the handout, with {FILE}. Handed in: a (1).cpp,", taken.notes[0])
        (self.folder / FILE).mkdir(parents=True)
        self.assertIn("is not there", self.taken().faults["3.1"])
        self.put("y/a.cpp", content=b"//" * (1 << 20))
        self.assertIn("y/a.cpp: has 2097152 bytes, expected at most 1048576", self.taken().faults["3.1"])

    def test_links(self):
        self.put("secret/a.cpp")
        (self.folder / FILE).parent.mkdir(parents=True)
        os.symlink(self.folder / "secret" / "a.cpp", self.folder / FILE)
        self.assertIn(f"{FILE}: is a link, expected the file itself", self.taken().faults["3.1"])
        (self.folder / FILE).unlink()
        (self.folder / FILE).parent.rmdir()
        (self.folder / "chapters").rmdir()
        (self.folder / "secret").rename(self.folder.parent / "03_reverse")
        os.symlink(self.folder.parent, self.folder / "chapters")  # and so a ring
        self.assertIn("chapters: is a link, expected the folder itself", self.taken().faults["3.1"])

    def test_folders_in_folders(self):
        self.addCleanup(subprocess.run, ["rm", "-rf", self.folder], check=True)  # deeper than Python removes
        at = os.open(self.folder, os.O_RDONLY)
        for _ in range(1500):  # a path longer than a call takes
            os.mkdir("d", dir_fd=at)
            at, before = os.open("d", os.O_RDONLY, dir_fd=at), at
            os.close(before)
        os.close(at)
        self.put(str(FILE))
        self.assertEqual(len(self.taken().bodies), 2)

    def test_names_that_are_no_text(self):
        self.put(os.fsdecode(b"pr\xfcfung/a.txt"), os.fsdecode(b"L\xf6sung.zip"))
        cases = {"3.1": ["t"], "3.2": ["t"]}
        parts, _, complete = grade_student(self.workshop, self.folder, ["3.1", "3.2"], cases, 1, self.folder.parent / "own")
        results = json.loads((self.folder.parent / "own" / "results.json").read_text(encoding="utf-8"))
        self.assertTrue(complete)
        self.assertIn("L?sung.zip (an archive: unpack it)", results["output"])
        self.assertEqual(([t["score"] for t in results["tests"]], results["score"], len(parts)), ([0, 0], 0, 2))

    def test_a_grader_that_fails_keeps_what_it_has(self):
        def build(*_):
            built.append(1)
            if len(built) == 2:
                raise OSError(28, "No space left on device")

        built = []
        self.put(str(FILE))
        for number, (region, task) in self.workshop.exercises.items():
            region.chapter = 3
        self.workshop.place, self.workshop.build, self.workshop.test = (lambda *_: None), build, (lambda *_: None)
        cases, own = {"3.1": ["t"], "3.2": ["t"]}, self.folder.parent / "own"
        parts, notes, complete = grade_student(self.workshop, self.folder, ["3.1", "3.2"], cases, 1, own)
        results = json.loads((own / "results.json").read_text())
        self.assertFalse(complete)
        self.assertEqual([t["score"] for t in results["tests"]], [2, 0])
        self.assertIn("No space left on device", results["output"])
        self.assertIn("not graded: the grader failed: OSError", results["tests"][1]["output"])

    def test_one_student_or_many(self):
        with self.assertRaisesRegex(Fault, "holds nothing"):
            students_in(self.folder, False)
        self.put("a.cpp", ".DS_Store")
        self.assertEqual(students_in(self.folder, True), [self.folder])
        with self.assertRaisesRegex(Fault, "it holds a.cpp .--one"):
            students_in(self.folder, False)
        self.assertEqual(students_in(self.folder.parent, False), [self.folder])
        for wrong in (self.folder / "a.cpp", self.folder / "b"):
            with self.assertRaisesRegex(Fault, "expected a student's folder"):
                students_in(wrong, False)


class Processes(unittest.TestCase):
    def test_what_was_started_ends(self):
        with tempfile.TemporaryDirectory() as folder:
            for stop in (None, KeyboardInterrupt):
                mark = Path(folder) / f"{stop}"
                process = subprocess.Popen(["sh", "-c", f"(sleep 1; touch '{mark}') & wait"], start_new_session=True)
                if stop is None:
                    self.assertFalse(ends_within(0.2, process))
                else:  # this program is told to stop
                    with mock.patch.object(process, "wait", side_effect=[stop, None]), self.assertRaises(stop):
                        ends_within(60, process)
                    process.wait()
                self.assertEqual(process.returncode, -signal.SIGKILL)
            time.sleep(1.2)
            self.assertEqual(os.listdir(folder), [])


class Names(unittest.TestCase):
    def test_ranges_of_equations(self):
        self.assertEqual(equations_in("(3.11) to (3.13): all"), {"(3.11)", "(3.12)", "(3.13)"})
        self.assertEqual(equations_in("(1.3) = (1.4): one"), {"(1.3)", "(1.4)"})


if __name__ == "__main__":
    unittest.main()
