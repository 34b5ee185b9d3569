#!/usr/bin/env python3
"""Whatever is uploaded and whatever happens, there is a results.json with the reason in it.

usage: gradescope_test.py            with programs in place of the grader
       gradescope_test.py --real     with the grader, which compiles the book first
"""
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
import zipfile
from pathlib import Path
from unittest import mock

import gradescope
from gradescope import GRADER, STOPPED, autograde, failure
from handout import replace_bodies, write_handout
from regions import exercises
from workshop import ROOT

REAL = "--real" in sys.argv
KEEP = """import json, pathlib, sys
own = pathlib.Path(sys.argv[sys.argv.index("--out") + 1]) / "submission"
own.mkdir()
(own / "results.json").write_text(json.dumps({"score": 3, "output": "a note", "tests": []}))
"""


class Uploads(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder, self.begun = Path(folder.name), time.monotonic()
        self.submission = self.folder / "submission"
        self.submission.mkdir()
        self.file = self.folder / "results" / "results.json"

    def check_format(self, results):
        """What Gradescope asks for: numbers and texts of the right kinds."""
        self.assertTrue(results["score"] >= 0)
        self.assertIsInstance(results["output"], str)
        for test in results.get("tests", []):
            self.assertTrue(0 <= test["score"] <= test["max_score"])
            self.assertTrue(all(isinstance(test[key], str) for key in ("number", "name", "output")))
        return results

    def graded(self, *options, grader=tuple(GRADER), seconds=1200):
        autograde(self.submission, self.file.parent, seconds, options, grader)
        return self.check_format(json.loads(self.file.read_text(encoding="utf-8")))


@unittest.skipIf(REAL, "--real")
class Failures(Uploads):
    def with_grader(self, code, seconds=60):
        return self.graded(grader=(sys.executable, "-c", code), seconds=seconds)

    def test_the_grader_fails(self):
        for code, reason in (("raise RuntimeError('a, b')", "RuntimeError: a, b"), ("import sys; sys.exit('grade: no git')", "(grade: no git)"),
                             ("import os; os.kill(os.getpid(), 9)", "ended by SIGKILL"), ("import sys; sys.exit(3)", "it said nothing"),
                             ("import os, sys; sys.stderr.buffer.write(b'\\xff'); os._exit(1)", "\ufffd")):
            results = self.with_grader(code)
            self.assertIn(reason, results["output"])
            self.assertIn("no fault of yours", results["output"])
            self.assertEqual(results["score"], 0)
        self.assertIn("FileNotFoundError", self.graded(grader=("/no/such/grader",))["output"])

    def test_what_was_graded_is_kept(self):
        self.assertEqual(self.with_grader(KEEP), {"score": 3, "output": "a note", "tests": []})
        failed = self.with_grader(KEEP + "sys.exit('grade: no disk')")
        self.assertEqual(failed["score"], 3)
        self.assertRegex(failed["output"], r"(?s)no disk.*a note")
        late = self.with_grader(KEEP + "import time; time.sleep(60)", seconds=1)
        self.assertEqual(late["score"], 3)
        self.assertRegex(late["output"], r"(?s)more than 1 s.*a note")

    def test_a_grader_that_does_not_listen(self):
        with mock.patch.object(gradescope, "SECONDS_TO_STOP", 1):
            late = self.with_grader(KEEP + "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(20); print('slept')", seconds=1)
        self.assertIn("more than 1 s", late["output"])
        self.assertLess(time.monotonic() - self.begun, 15)

    def test_a_result_that_is_cut_off(self):
        results = self.with_grader(KEEP + "(own / 'results.json').write_text('{')")
        self.assertIn("JSONDecodeError", results["output"])

    def test_a_machine_that_stops(self):
        reader = f"import shutil, sys; shutil.copy({str(self.file)!r}, {str(self.folder / 'then')!r})"
        self.with_grader(reader)
        self.assertEqual(json.loads((self.folder / "then").read_text()), failure(STOPPED))

    def test_wrong_options(self):
        for options, reason in ((["--chapter", "77"], "--chapter 77: expected all, or one of 01"), (["--variant", "-1"], "expected 0 to 7"),
                                (["--colour"], "unrecognized arguments")):
            self.assertIn(reason, self.graded(*options)["output"])
        self.submission.rmdir()
        self.assertIn("is not there", self.graded()["output"])


@unittest.skipUnless(REAL, "takes minutes: --real")
class Real(Uploads):
    @classmethod
    def setUpClass(cls):
        """A handout of chapter 1 with the answers to 1.1 and 1.2."""
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.handout = Path(folder.name) / "handout"
        write_handout(ROOT, 1, cls.handout)
        solved = exercises(ROOT)
        for number in ("1.1", "1.2"):
            region, _ = exercises(cls.handout)[number]
            file = cls.handout / region.path
            file.write_text(replace_bodies(file.read_text(), [region], lambda r: list(solved[r.id][0].body)))
        subprocess.run([*GRADER, "--prepare", "--chapter", "1"], check=True)

    def test_the_guides_recipe(self):
        guide = (ROOT / "course" / "README.md").read_text()
        recipe = guide[guide.index("`run_autograder` grades") :].split("\n\n")[1]
        prepare = re.search(r"course/gradescope.py --prepare (.*)", guide)[1]
        self.assertTrue(recipe.endswith(prepare), "setup.sh prepares what run_autograder grades")
        recipe = recipe.replace("/autograder/book", str(ROOT)).replace(
            "gradescope.py", f"gradescope.py --submission '{self.submission}' --results '{self.file.parent}'").replace("--chapter 3", "--chapter 1")
        (self.submission / "notes.txt").write_text("?")
        subprocess.run(["bash", "-c", recipe], check=True)
        self.assertIn("Handed in: notes.txt.", self.check_format(json.loads(self.file.read_text()))["output"])

    def points(self, seconds=1200):
        results = self.graded("--chapter", "1", seconds=seconds)
        return {test["number"]: test["score"] for test in results["tests"]}, results

    def test_shapes(self):
        sources = sorted((self.handout / "chapters" / "01_forward_noising").glob("*.[ch]pp"))
        for shape in ("tree", "deep", "bare"):
            shutil.rmtree(self.submission)
            if shape == "bare":
                self.submission.mkdir()
                for source in sources:
                    shutil.copy(source, self.submission)
            else:
                shutil.copytree(self.handout, self.submission / ("my work" if shape == "deep" else ""))
            scores, results = self.points()
            self.assertEqual((scores["1.1"], scores["1.2"], scores["1.3"]), (1, 2, 0), shape)
            self.assertIn("is not solved yet", results["tests"][2]["output"])
            note = {"tree": "", "deep": "The folder chapters was found in my work.", "bare": "chain.cpp was taken for chapters/"}[shape]
            self.assertTrue(results["output"].startswith(note), results["output"])

    def test_nothing_to_grade(self):
        with zipfile.ZipFile(self.submission / "handout.zip", "w") as archive:
            archive.write(self.handout / "README.md", "README.md")
        (self.submission / "q_sample (1).cpp").write_text("int x;\n")
        scores, results = self.points()
        self.assertEqual(set(scores.values()), {0})
        self.assertIn("Handed in: handout.zip (an archive: unpack it), q_sample (1).cpp.", results["output"])
        for file in self.submission.iterdir():
            file.unlink()
        self.assertIn("Handed in: no file.", self.points()[1]["output"])

    def test_an_endless_loop_and_little_time(self):
        shutil.copytree(self.handout, self.submission, dirs_exist_ok=True)
        region = exercises(self.handout)["1.2"][0]
        file = self.submission / region.path
        file.write_text(replace_bodies(file.read_text(), [region], lambda r: ["    for (volatile int i = 0;; ++i) {}"]))
        scores, results = self.points(seconds=90)
        self.assertEqual((scores["1.1"], scores["1.2"]), (1, 0))
        self.assertIn("Grading took more than 90 s", results["output"])
        self.assertIn("not graded", results["tests"][-1]["output"])


if __name__ == "__main__":
    unittest.main(argv=[argument for argument in sys.argv if argument != "--real"])
