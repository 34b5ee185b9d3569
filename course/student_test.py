#!/usr/bin/env python3
"""What a student sees: one line for what is wrong, warnings that are no errors, values and equations before a test's text."""
import contextlib
import io
import json
import os
import subprocess
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import student
from handout import write_handout
from workshop import ROOT

FAKE = """#!/bin/sh
echo "[ 50%] Building CXX object q_sample.cpp.o"
for i in 1 2; do echo "$ROOT/chapters/a.cpp:3:7: warning: conversion from 'double' to 'float' [-Wfloat-conversion]"; done
[ -z "$BREAK" ] || { echo "a.o: in function f: a.cpp:(.text+0x1): undefined reference to 'g'"; echo "$ROOT/a.cpp:1:2: error: no"; exit 1; }
"""
PRINTED = """tests/a_test.cpp:7: ERROR: CHECK( f(x) == 2 ) is NOT correct!
  values: CHECK( 1 == 2 )
"""


def said(function, *arguments):
    """What a function prints, and what it returns."""
    with contextlib.redirect_stdout(io.StringIO()) as output:
        result = function(*arguments)
    return output.getvalue(), result


class Loop(unittest.TestCase):
    def test_the_build(self):
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "cmake").write_text(FAKE)
            (Path(folder) / "cmake").chmod(0o755)
            (Path(folder) / "CMakeCache.txt").write_text("")
            warning = "chapters/a.cpp:3:7: warning: conversion from 'double' to 'float' [-Wfloat-conversion]\n"
            with mock.patch.dict(os.environ, PATH=f"{folder}:{os.environ['PATH']}", ROOT=str(ROOT)), \
                    mock.patch.object(student, "BUILD", Path(folder)):
                self.assertEqual(said(student.compile_program, "test_01"), (f"building test_01\n{warning}", True))
                os.environ["BREAK"] = "1"  # in the patched environment
                output, worked = said(student.compile_program, "test_01")
            self.assertFalse(worked)
            self.assertEqual(output, "building test_01\na.o: in function f: a.cpp:(.text+0x1): undefined reference to 'g'\n"
                                     f"a.cpp:1:2: error: no\n{warning}")

    def test_a_failure(self):
        output, _ = said(student.explain, "(1.2) a step", PRINTED)
        lines = output.split("\n")
        self.assertEqual(lines[0], "FAILED: (1.2) a step")
        self.assertRegex(lines[1], r"^  \(1.2\)  chapters/01_forward_noising/README.md:\d+  x_t = .*varepsilon_t")
        self.assertEqual(lines[2:5], ["  check:  CHECK( f(x) == 2 )", "  values: CHECK( 1 == 2 )", PRINTED.split("\n")[0]])

    def test_headers_that_are_not_taken(self):
        lines = ["#include <cmath>", "#include <bits/stdc++.h>", '#include "a.hpp"', "#include<vector>"]
        self.assertEqual(list(student.not_taken(lines, "a.cpp")),
                         ["a.cpp:2: is left out when graded: #include <bits/stdc++.h> (expected a header of the standard library)"])

    def test_many_lines(self):
        self.assertEqual(student.shorten(list("abc"), 2), ["a", "b", "... and 1 more"])
        self.assertEqual(student.shorten(list("ab"), 2), ["a", "b"])


class Handout(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.tree = Path(folder.name) / "handout"
        write_handout(ROOT, 1, cls.tree)
        cls.file = cls.tree / "chapters" / "01_forward_noising" / "q_sample.cpp"
        cls.good = cls.file.read_bytes()

    def ask(self, *arguments, content=None):
        self.file.write_bytes(content or self.good)
        done = subprocess.run([self.tree / "course" / "student.py", *arguments], capture_output=True, text=True)
        return done.stdout, done.stderr

    def test_hints(self):
        output, _ = self.ask("hint", "1.1")
        self.assertIn("more: make hint EX=1.1 MORE=1", output)
        output, _ = self.ask("hint", "1.1", "--more")
        self.assertRegex(output, r"\(1.1\)  chapters/01_forward_noising/README.md:\d+  q\(x_t .*\n  \(1.2\) ")

    def test_files_that_are_saved_in_other_ways(self):
        for content in (b"\xef\xbb\xbf" + self.good, self.good.replace(b"\n", b"\r\n"), self.good + b"// f\xfcr\n"):
            self.assertIn("1.1  1 point", self.ask("next", content=content)[0])
        for content, reason in ((self.good.decode().encode("utf-16"), ":1: is UTF-16, expected UTF-8"),
                                (self.good.replace(b"// >>> exercise 1.3", b"//>>> exercise 1.3"), "', expected // >>> exercise 1.3 points="),
                                (self.good.replace(b"// <<<", b"", 1), "an exercise begins inside exercise 1.1 of line ")):
            for command in (["next"], ["check", "1.1"], ["hint", "1.1"]):
                _, wrong = self.ask(*command, content=content)
                self.assertRegex(wrong, r"^course: chapters/01_forward_noising/q_sample.cpp:\d+: .*\n$")
                self.assertIn(reason, wrong)

    def test_arguments(self):
        for arguments in (("hint", "9.9"), ("check", "1"), ("check", "../x")):
            self.assertIn(f"course: exercise {arguments[1]}: expected one of 1.1, 1.2", self.ask(*arguments)[1])

    def test_warnings_are_errors_in_the_book_only(self):
        for tree, errors in ((self.tree, False), (ROOT, True)):
            with tempfile.TemporaryDirectory() as build:
                subprocess.run(["cmake", "-S", tree, "-B", build, "-DDIFFUSION_PROGRAMS=OFF"], check=True, capture_output=True)
                commands = json.loads((Path(build) / "compile_commands.json").read_text())
            ours = [c["command"] for c in commands if "/chapters/" in c["file"]]
            self.assertTrue(ours and all(("-Wconversion" in c) and ("-Werror" in c) == errors for c in ours), tree)


if __name__ == "__main__":
    unittest.main()
