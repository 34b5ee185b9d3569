#!/usr/bin/env python3
"""Marks that are wrong are told with file and line; the book's own marks and tables agree."""
import re
import subprocess
import tempfile
import unittest
from pathlib import Path

from handout import FOR_A_GPU, replace_bodies, stub, without_gpu, without_quotes, write_handout
from museum import exhibits, printed_symptoms
from regions import Fault, exercises, find_regions, regions_of
from workshop import ROOT
from wrong import WRONG

START = '// >>> exercise 3.1 points=2 hint="think"\n'
ROW = "| 3.1 | 2 | `a.cpp` | what to do | (3.4), (3.5) |\n"


class Marks(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.tree = Path(folder.name)
        self.chapter = self.tree / "chapters" / "03_reverse"
        self.chapter.mkdir(parents=True)

    def write(self, code, lesson=ROW, file="a.cpp"):
        (self.chapter / file).write_text(code)
        (self.chapter / "README.md").write_text(lesson)

    def complaint(self, code, lesson=ROW):
        self.write(code, lesson)
        with self.assertRaises(Fault) as caught:
            exercises(self.tree)
        return str(caught.exception)

    def test_a_region_and_its_row(self):
        self.write(f"int f() {{\n    {START}    return 7;\n    // <<<\n}}\n")
        region, task = exercises(self.tree)["3.1"]
        self.assertEqual((region.points, region.hint, region.body), (2, "think", ("    return 7;",)))
        self.assertEqual((task.text, task.tests), ("what to do", ("(3.4)", "(3.5)")))

    def test_wrong_marks(self):
        one = f"{START}x();\n// <<<\n"
        self.assertIn("a.cpp:3: an exercise begins inside", self.complaint(f"{START}x();\n{START}y();\n// <<<\n"))
        self.assertIn("a.cpp:1: exercise 3.1 is empty", self.complaint(f"{START}// nothing\n\n// <<<\n"))
        self.assertIn("a.cpp:1: exercise 3.1 has no end", self.complaint(f"{START}x();\n"))
        self.assertIn("a.cpp:1: no exercise begins", self.complaint("// <<<\n"))
        self.assertIn("a.cpp:1: found '// >>> exercise 3.1 hint=x', expected // >>> exercise", self.complaint("// >>> exercise 3.1 hint=x\nx();\n// <<<\n"))
        self.assertIn("a.cpp:4: exercise 3.1 is also at", self.complaint(one + one))
        self.assertIn("a.cpp:1: exercise 4.1 is not of chapter 03", self.complaint(one.replace("3.1", "4.1")))
        self.assertIn("a.cpp:1: found '//>>> exercise 3.1 points", self.complaint(one.replace("// >>>", "//>>>")))
        self.assertIn("a.cpp:3: found '//<<<', expected // <<<", self.complaint(one.replace("// <<<", "//<<<")))
        (self.tree / "src").mkdir()
        (self.tree / "src" / "b.cpp").write_text(one)
        self.assertIn("b.cpp:1: exercises belong in a chapter's folder", self.complaint(one))

    def test_a_file_that_is_no_text(self):
        self.write("")
        (self.chapter / "a.cpp").write_text(f"{START}x();\n// <<<\n", encoding="utf-16")
        with self.assertRaisesRegex(Fault, "^chapters/03_reverse/a.cpp:1: is UTF-16, expected UTF-8"):
            exercises(self.tree)

    def test_marks_and_table_agree(self):
        one = f"{START}x();\n// <<<\n"
        self.assertIn("is not in the lesson's table", self.complaint(one, ""))
        self.assertIn("README.md:1: no code is marked", self.complaint("", ROW))
        self.assertIn("README.md:2: exercise 3.1 is also at chapters/03_reverse/README.md:1", self.complaint(one, ROW + ROW))
        self.assertIn("README.md:1: exercise 4.1 is not of chapter 03", self.complaint(one, ROW.replace("3.1", "4.1")))
        self.assertIn("a.cpp:1: the mark of exercise 3.1 says 2 points in a.cpp, chapters/03_reverse/README.md:1 says 3",
                      self.complaint(one, ROW.replace("| 2 |", "| 3 |")))

    def test_a_handout_has_stubs_and_no_quotes(self):
        code = f"#include <cmath>\nint f() {{\n    {START}    return std::lround(7.0);\n    // <<<\n}}\n"
        self.write(code)
        region = regions_of(self.tree, "chapters/03_reverse/a.cpp")[0]
        opened = replace_bodies(code, [region], stub)
        self.assertIn('    fail("exercise 3.1 is not solved yet: ", "think");', opened)
        self.assertIn('#include <cmath>\n#include "tensor/check.hpp"', opened)
        self.assertNotIn("lround", opened)
        lesson = without_quotes("a\n```cpp\nreturn std::lround(7.0);\n```\nb\n```cpp\nint x;\n```\n", [region])
        self.assertNotIn("lround", lesson)
        self.assertIn("exercise 3.1", lesson)
        self.assertIn("int x;", lesson)

    def test_a_handout_has_nothing_for_a_gpu(self):
        for name, left_out in (("chapters/02_gradients/adamw.cu", True), ("chapters/02_gradients/GPU.md", True), ("chapters/02_gradients/README.md", False),
                               ("chapters/02_gradients/product.hpp", False), ("tests/src/executor_test.cu", False)):
            self.assertEqual(bool(FOR_A_GPU.fullmatch(name)), left_out, name)
        lesson = "| [a.cpp](a.cpp) | this |\n| [a.cu](a.cu) | that |\nOne. [A page](GPU.md) has it. Two.\n\n## 2.21 On a GPU\n\nThere.\n\n## 2.22 Open\n"
        self.assertEqual(without_gpu(lesson), "| [a.cpp](a.cpp) | this |\nOne. Two.\n\n## 2.22 Open\n")

    def test_the_museum_fits(self):
        for patch in sorted((ROOT / "course" / "museum").glob("*.patch")):
            done = subprocess.run(["git", "apply", "--check", patch], cwd=ROOT, capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, f"{patch.name} no longer fits (make museum): {done.stderr}")

    def test_the_museum_quotes_the_tests(self):
        def squeezed(text):
            return "".join(text.split())

        tests = "".join(squeezed(path.read_text()) for path in sorted((ROOT / "tests").glob("**/*.[chi]pp")))
        for number, symptom in printed_symptoms((ROOT / "course" / "museum" / "README.md").read_text()).items():
            check = symptom.split("\n")[0]
            if check.startswith("CHECK"):
                self.assertTrue(squeezed(check) in tests, f"exhibit {number}: no test has {check} (course/museum.py --write renews the page)")

    def test_exhibits_fail_tests_that_exist(self):
        for exhibit in exhibits():
            name = exhibit.test.split("<")[0]  # of a template, for one type
            tests = "".join(path.read_text() for path in (ROOT / "tests").glob(f"{exhibit.chapter:02}_*_test.cpp"))
            names = re.sub(r'"\s+"', "", tests)  # a long name is written in pieces
            self.assertEqual(names.count(f'"{name}"'), 1, f"{exhibit.path.name}: Test: {exhibit.test}")

    def test_wrong_answers_change_the_solutions(self):
        solutions = exercises(ROOT)
        for number, answers in WRONG.items():
            body = "\n".join(solutions[number][0].body)
            for right, wrong in answers:
                self.assertTrue(right in body and right != wrong, f"course/wrong.py: {number}: the solution has no {right!r}")

    def test_handouts_hold_no_solution(self):
        for chapter in (None, *range(1, 1 + max(region.chapter for region in find_regions(ROOT).values()))):
            write_handout(ROOT, chapter, self.tree / f"handout_{chapter}")  # fails if one does
        kernels = [{p.name for p in (self.tree / f"handout_{c}" / "src" / "kernels").iterdir()} for c in (2, 4)]
        self.assertIn("gemm.cpp", kernels[0])
        self.assertNotIn("group_norm.cpp", kernels[0])  # it has exercise 2.1's slope
        self.assertIn("group_norm.cpp", kernels[1])

    def test_the_book(self):
        self.assertGreater(len(exercises(ROOT)), 30)
        chapters = [region.chapter for region in find_regions(ROOT).values()]
        for chapter in range(1, max(chapters) + 1):
            self.assertGreaterEqual(chapters.count(chapter), 5, f"exercises of chapter {chapter}")


class Arguments(unittest.TestCase):
    def test_what_is_wrong_in_one_line(self):
        none, file = "/no/such/folder", ROOT / "Makefile"
        for command, reason in ((f"handout --chapter 0 --out {none}", "handout: --chapter 0: expected all, or one of 01,02"),
                                (f"handout --chapter 99 --out {none}", "handout: --chapter 99: expected all, or one of 01,02"),
                                (f"handout --chapter x --out {none}", "handout: --chapter x: expected all, or one of 01,02"),
                                (f"handout --out {file}", f"handout: {file}: is a file, expected a folder that is new or empty"),
                                (f"handout --out {file}/x", "handout: [Errno 20] Not a directory"),
                                (f"handout --out {ROOT}", f"handout: {ROOT}: is not empty, expected a folder that is new or empty"),
                                (f"grade --dir {none}", f"grade: --dir {none}: is not there, expected a student's folder"),
                                (f"grade --dir {file}", f"grade: --dir {file}: is a file, expected a student's folder"),
                                (f"grade --dir {ROOT}/docs", f"grade: --dir {ROOT}/docs: neither it nor a folder in it holds a folder chapters"),
                                (f"grade --dir {ROOT} --out {file}", f"grade: --out {file}: is a file, expected a folder"),
                                (f"grade --dir {ROOT} --variant -1", "grade: --variant -1: expected 0 to 7"),
                                (f"grade --dir {ROOT} --variant 8", "grade: --variant 8: expected 0 to 7"),
                                (f"grade --dir {ROOT} --chapter 99", "grade: --chapter 99: expected all, or one of 01,02"),
                                (f"grade --dir {ROOT} --reference 1.1,9.9", "grade: --reference 9.9: expected some of 1.1,1.2"),
                                ("prove --chapters 99", "prove: --chapters 99: expected some of 01,02"),
                                ("museum --chapters 1,x", "museum: --chapters 1,x: expected some of 01,02"),
                                ("museum --show 99", "museum: --show 99: expected one of 01, 02"),
                                ("museum --show 01 --chapters 06", "museum: --show 01: expected one of 22, 23"),
                                (f"museum --pictures {none}", f"museum: --pictures {none}: is not there"),
                                ("museum --write --show 01", "museum: --write renews the page, and does not take --show"),
                                (f"rotation {none}", f"rotation: {none}/chapters: is no folder")):
            program, *arguments = command.split()
            done = subprocess.run([ROOT / "course" / f"{program}.py", *arguments], capture_output=True, text=True)
            self.assertEqual((done.returncode, done.stdout), (1, ""), command)
            self.assertTrue(done.stderr.startswith(reason) and done.stderr.count("\n") == 1, f"{command}: {done.stderr}")


if __name__ == "__main__":
    unittest.main()
