#!/usr/bin/env python3
"""What is taken from a student's tree, whatever is in it. (prove.py tries the grader itself.)"""
import os
import tempfile
import unittest
from pathlib import Path
from types import SimpleNamespace

from grade import Submission, root_of
from regions import HEADER, equations_in, why_not

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
        for line in ("#include <cmath>", "#include <omp.h>", "#include <Eigen/Dense>", "#include <cmath>  // sqrt", "#include <vector> "):
            self.assertTrue(HEADER.match(line))
        for line in ("#include <../posterior.cpp>", "#include </tmp/evil.hpp>", "#include <doctest/doctest.h>", '#include "a.hpp"'):
            self.assertFalse(HEADER.match(line))


class Trees(unittest.TestCase):
    def test_bytes_that_are_no_text(self):
        taken = submitted(both(b"    return 1;  // f\xfcr\n"))
        self.assertEqual((len(taken.bodies), taken.faults), (2, {}))
        self.assertEqual(taken.headers[FILE], ["#include <cmath>"])

    def test_a_spoiled_part_costs_only_itself(self):
        for first in (b"", b"}\n", b'// >>> exercise 3.9 points=1 hint="c"\n'):
            self.assertIn("3.2", submitted(both(first)).bodies)
        self.assertIn("3.1", submitted(both(b"}\n")).faults)
        without = submitted(both(b"    return 1;\n").replace(b"// >>> exercise 3.1", b"// exercise 3.1"))
        self.assertIn("are gone", without.faults["3.1"])
        self.assertIn("3.2", without.bodies)

    def test_links_and_missing_files(self):
        with tempfile.TemporaryDirectory() as folder:
            tree, other = Path(folder) / "student", Path(folder) / "secret.cpp"
            (tree / FILE).parent.mkdir(parents=True)
            other.write_bytes(both(b"    return 1;\n"))
            workshop = SimpleNamespace(exercises={"3.1": (SimpleNamespace(path=FILE), None)})
            self.assertIn("is not there", Submission(tree, workshop, ["3.1"]).faults["3.1"])
            os.symlink(other, tree / FILE)
            self.assertIn("is a link", Submission(tree, workshop, ["3.1"]).faults["3.1"])

    def test_an_archive_unpacked_too_deep(self):
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "ada" / "handout" / "chapters").mkdir(parents=True)
            self.assertEqual(root_of(Path(folder) / "ada").name, "handout")


class Names(unittest.TestCase):
    def test_ranges_of_equations(self):
        self.assertEqual(equations_in("(3.11) to (3.13): all"), {"(3.11)", "(3.12)", "(3.13)"})
        self.assertEqual(equations_in("(1.3) = (1.4): one"), {"(1.3)", "(1.4)"})


if __name__ == "__main__":
    unittest.main()
