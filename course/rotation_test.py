#!/usr/bin/env python3
"""The choice of chapters for continuous integration, in small repositories with dated commits."""
import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

from regions import Fault, chosen_chapters
from rotation import DAY, choose, choose_format

NOON = 20_000 * DAY + DAY // 2


class Rotation(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.tree = Path(folder.name) / "book"
        for number in range(1, 7):
            (self.tree / "chapters" / f"{number:02}_x").mkdir(parents=True)
            (self.tree / "chapters" / f"{number:02}_x" / "README.md").write_text("## 1.2 Exercises\n")
        self.git("init", "--quiet")
        self.commit(NOON - 3 * DAY, "README.md")

    def git(self, *arguments, time=NOON):
        of = {**os.environ, "GIT_COMMITTER_DATE": f"@{time} +0000", "GIT_AUTHOR_DATE": f"@{time} +0000", "GIT_CONFIG_GLOBAL": os.devnull}
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments], cwd=self.tree, env=of, check=True, capture_output=True)

    def commit(self, time, *names, text=""):
        for name in names:
            (self.tree / name).parent.mkdir(parents=True, exist_ok=True)
            (self.tree / name).write_text(f"{text}{time}\n")
        self.git("add", "--all", time=time)
        self.git("commit", "--quiet", "--message=x", time=time)

    def test_what_a_day_changed_and_one_more(self):
        self.commit(NOON - 2 * DAY, "chapters/01_x/a.cpp")  # too long ago
        self.commit(NOON - 3600, "chapters/02_x/a.cpp", "src/tensor/a.cpp", "chapters/06_x/figures/a.png")
        self.commit(NOON, "tests/04_test.cpp")
        chosen, why = choose(self.tree)
        self.assertIn("changed within a day: 04; changed as well, and left for make prove: 02; in turn: ", why)
        self.assertTrue("04" in chosen and len(chosen) == 2, chosen)
        self.assertEqual(chosen, sorted(chosen))
        self.assertEqual((chosen, why), choose(self.tree))

    def test_a_chapter_without_exercises_has_nothing_to_prove(self):
        (self.tree / "chapters/03_x/README.md").write_text("a lesson\n")
        for number in range(12):
            self.commit(NOON + number, "chapters/03_x/a.cpp")
            self.assertNotIn("03", choose(self.tree)[0])

    def test_an_exhibit_belongs_to_its_chapter(self):
        self.commit(NOON, "course/museum/07_x.patch", text="Title: x\nTest: 05 (5.1) a test\n")
        self.assertIn("changed within a day: 05;", choose(self.tree)[1])

    def test_what_is_shared_takes_its_turn(self):
        seen = set()
        for minute in range(6):
            self.commit(NOON + 60 * minute, "src/tensor/a.cpp")
            chosen, why = choose(self.tree)
            self.assertIn("changed within a day: no chapter;", why)
            seen.update(chosen)
        self.assertEqual(seen, {f"{n:02}" for n in range(1, 7)})

    def test_formats_take_turns(self):
        seen = set()
        for minute in range(3):
            self.commit(NOON + 60 * minute, "tests/fuzz/csv.cpp", "tests/fuzz/idx.cpp", "tests/fuzz/npy.cpp")
            seen.add(choose_format(self.tree))
        self.assertEqual(seen, {"csv", "idx", "npy"})
        shutil.rmtree(self.tree / ".git")
        self.assertEqual(choose_format(self.tree), "csv")

    def test_no_more_than_one_and_the_last_first(self):
        for number in (5, 1, 2, 3, 6):
            self.commit(NOON + number, f"chapters/{number:02}_x/a.cpp")
            self.commit(NOON + number + 1, "docs/a.md")
        chosen, why = choose(self.tree)
        self.assertIn("changed within a day: 06; changed as well, and left for make prove: ", why)
        self.assertEqual(len(chosen), 2)

    def test_all_where_there_is_no_history(self):
        every = [f"{n:02}" for n in range(1, 7)]
        self.commit(NOON - 3600, "chapters/02_x/a.cpp")
        self.commit(NOON, "chapters/02_x/a.cpp")
        self.assertNotEqual(choose(self.tree)[0], every)
        shallow = self.tree.parent / "shallow"
        self.git("clone", "--quiet", "--depth=2", f"file://{self.tree}", str(shallow))
        self.assertEqual(choose(shallow)[0], every)
        shutil.rmtree(shallow / ".git")
        self.assertEqual(choose(shallow)[0], every)
        self.commit(NOON + 2 * DAY, "chapters/02_x/a.cpp")
        deeper = self.tree.parent / "deeper"  # two commits, and a day between them
        self.git("clone", "--quiet", "--depth=2", f"file://{self.tree}", str(deeper))
        self.assertIn("changed within a day: 02;", choose(deeper)[1])

    def test_options(self):
        self.assertEqual(chosen_chapters(self.tree, None), [1, 2, 3, 4, 5, 6])
        self.assertEqual(chosen_chapters(self.tree, "04,1"), [1, 4])
        for wrong in ("07", "1,", "1-3", "all"):
            with self.assertRaises(Fault):
                chosen_chapters(self.tree, wrong)


if __name__ == "__main__":
    unittest.main()
