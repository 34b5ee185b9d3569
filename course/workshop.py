"""A copy of the book in a folder of its own, where exercises and faults are put in, built and tested."""
import fcntl
import os
import re
import resource
import secrets
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from handout import files_of, replace_bodies
from regions import SECONDS, Fault, cases_in, equations_in, exercises, in_english, pattern_of

ROOT = Path(__file__).resolve().parent.parent
MEGABYTES = 8192  # for one test
BUILD_SECONDS = 300  # for what one exercise changes; the whole book may take longer
KEPT_OUTPUT = 1 << 20  # bytes of what a test prints


def copy_if_changed(source, target):
    """Keeps the time of a file that stays the same, so that it is not compiled again."""
    write_if_changed(target, source.read_bytes())
    shutil.copymode(source, target)


def write_if_changed(target, content):
    if not target.is_file() or target.read_bytes() != content:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


class Workshop:
    """The book's tree in a folder of its own, where parts are exchanged, built and tested."""

    def __init__(self, tree=ROOT, folder=ROOT / "build-grade"):
        self.tree, self.folder = tree, folder
        self.exercises = exercises(tree)
        self.source, self.build_folder = folder / "tree", folder / "build"
        folder.mkdir(exist_ok=True)
        self.lock = open(folder / "lock", "w")  # held as long as this process lives
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Fault(f"{folder}: another grade, prove or museum is at work there") from None
        wanted = {n for n in files_of(tree, "-co") if n.startswith(("chapters/", "src/", "tests/", "cmake/", "CMake"))
                  and not n.endswith((".png", ".md", ".gif"))}
        files_with_parts = {str(region.path) for region, _ in self.exercises.values()}
        for name in wanted - files_with_parts:
            copy_if_changed(tree / name, self.source / name)
        for old in self.source.rglob("*"):
            if old.is_file() and str(old.relative_to(self.source)) not in wanted:
                old.unlink()
        self.cases = {}  # of each test program

    def place(self, bodies, headers=None):
        """Puts these bodies, by exercise, into the tree; the reference's where there is none."""
        of_file = {}
        for region, _ in self.exercises.values():
            of_file.setdefault(region.path, []).append(region)
        for path, regions in of_file.items():
            text = replace_bodies((self.tree / path).read_text(), regions,
                                  lambda r: bodies[r.id] if r.id in bodies else list(r.body))
            more = "".join(f"{line}\n" for line in (headers or {}).get(path, ()) if line not in text)
            if more:
                at = text.index("#include")
                text = text[:at] + more + text[at:]
            write_if_changed(self.source / path, text.encode())

    def patch(self, patch):
        """Changes the tree as a patch file says, or tells why it does not fit; take_back undoes it."""
        outside = {**os.environ, "GIT_CEILING_DIRECTORIES": str(self.source.parent)}  # it is no part of the book's repository
        done = subprocess.run(["git", "apply", patch.resolve()], cwd=self.source, capture_output=True, text=True, env=outside)
        return None if done.returncode == 0 else done.stderr.strip()

    def take_back(self, paths):
        for path in paths:
            copy_if_changed(self.tree / path, self.source / path)

    def build(self, targets, seconds=3600):
        """Compiles these programs; returns what the compiler said if it failed or took too long."""
        if not (self.build_folder / "CMakeCache.txt").is_file():
            self.run(["cmake", "-S", self.source, "-B", self.build_folder, "-DCMAKE_BUILD_TYPE=Release",
                      "-DDIFFUSION_WERROR=OFF", "-DDIFFUSION_CUDA=OFF", f"-DDIFFUSION_ARCH={os.environ.get('DIFFUSION_ARCH', 'native')}"])
        command = ["cmake", "--build", self.build_folder, "--parallel", str(os.cpu_count() or 1), "--target", *targets]
        with tempfile.TemporaryFile("w+", errors="replace") as log:
            process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True, env=in_english())
            if not ends_within(seconds, process):
                return f"error: compiling took more than {seconds} s"
            log.seek(0)
            return None if process.returncode == 0 else log.read()

    def run(self, command):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise Fault(f"{command[0]} failed:\n{done.stdout}{done.stderr}")
        return done.stdout

    def program(self, chapter):
        return self.build_folder / "tests" / f"test_{chapter:02}"

    def all_cases(self, chapter):
        """The names of a chapter's tests, but those of its program and the slow ones."""
        program = self.program(chapter)
        if program not in self.cases:
            self.cases[program] = cases_in(program)
        return self.cases[program]

    def cases_of(self, number):
        """The tests of an exercise, as the lesson's table names them."""
        region, task = self.exercises[number]
        return [name for name in self.all_cases(region.chapter) if equations_in(name) & set(task.tests)]

    def test(self, chapter, case, variant=0, output=None):
        """Runs one test in a process of its own; returns None if it passes, or why it does not. What it prints is added to
        the list `output`."""
        program = self.program(chapter)
        with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as said:
            verdict, key = Path(folder) / "verdict", secrets.token_hex(16)
            environment = {"PATH": os.environ["PATH"], "HOME": folder, "TMPDIR": folder, "OMP_WAIT_POLICY": "passive",
                           "DIFFUSION_VERDICT": "stdin", "DIFFUSION_VARIANT": str(variant)}
            command = [*sandbox(folder), str(program), pattern_of(case), "--no-path-filenames=true"]
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=said, stderr=subprocess.STDOUT, env=environment,
                                       cwd=folder, start_new_session=True, preexec_fn=limit)
            try:
                process.stdin.write(f"{verdict}:{key}\n".encode())
                process.stdin.close()
            except BrokenPipeError:
                pass  # it ended at once
            if not ends_within(SECONDS, process):
                return f"took more than {SECONDS} s"
            said.seek(0)
            printed = said.read(KEPT_OUTPUT).decode(errors="replace")
            if output is not None:
                output.append(printed)
            written = b""
            if verdict.is_file() and not verdict.is_symlink():
                with open(verdict, "rb") as file:
                    written = file.read(64)
            if process.returncode == 0 and written == f"{key} passed\n".encode():
                return None
            if written == f"{key} failed\n".encode() or process.returncode > 0:
                return first_complaint(printed) if written else "ended before the test did"
            if process.returncode < 0:
                name = signal.Signals(-process.returncode).name
                return f"crashed ({name}): {first_complaint(printed)}"
            return "ended before the test did"


def ends_within(seconds, process):
    """Waits for a process; ends it and all that it started if it takes longer, or if this program is to stop."""
    try:
        process.wait(seconds)
        return True
    except BaseException as why:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if isinstance(why, subprocess.TimeoutExpired):
            return False
        raise


def first_complaint(printed):
    for line in printed.splitlines():
        if match := re.search(r"exercise \d+\.\d+ is not solved yet.*|.*\bERROR: .*", line):
            return re.sub(r"^.*/tests/", "tests/", match[0]).strip()
    return "failed"


def limit():
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS * (os.cpu_count() or 1), SECONDS * (os.cpu_count() or 1)))
    resource.setrlimit(resource.RLIMIT_AS, (MEGABYTES << 20, MEGABYTES << 20))
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 << 20, 64 << 20))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def sandbox(folder):
    """bubblewrap, where it is installed and works: the file system is read-only but for `folder`, there is no network."""
    if sandbox.works is None:
        probe = ["bwrap", "--ro-bind", "/", "/", "--unshare-all", "true"]
        sandbox.works = shutil.which("bwrap") is not None and subprocess.run(probe, capture_output=True).returncode == 0
    if not sandbox.works:
        return []
    return ["bwrap", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--bind", folder, folder, "--unshare-all",
            "--die-with-parent", "--new-session"]


sandbox.works = None
