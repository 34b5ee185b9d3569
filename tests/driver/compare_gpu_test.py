#!/usr/bin/env python3
"""usage: compare_gpu_test.py SOURCE_DIR

bench/torch/compare_gpu.py with a stand-in for PyTorch, and for our program one that fails a check and then prints times: the
table must be printed all the same, and the exit code be 1."""
import contextlib
import importlib
import io
import os
import stat
import sys
import tempfile
import types
from unittest import mock

TIMES = "  a step of 64 digits, base 32, TF32   2.500 ms"


def table_and_end(program_prints, code):
    with tempfile.TemporaryDirectory() as folder:
        program = os.path.join(folder, "cuda")
        with open(program, "w") as file:
            file.write(f"#!/bin/sh\ncat <<'END'\n{program_prints}\nEND\nexit {code}\n")
        os.chmod(program, os.stat(program).st_mode | stat.S_IXUSR)
        told = io.StringIO()
        with contextlib.redirect_stdout(told), mock.patch.object(sys, "argv", ["compare_gpu.py", program, "--rounds", "1"]):
            try:
                compare_gpu.main()
            except SystemExit as end:
                return told.getvalue(), str(end.code)
        return told.getvalue(), ""


torch = mock.MagicMock(__version__="0")
sys.modules.update({"torch": torch, "torch.nn": torch, "torch.nn.functional": torch, "unet": types.SimpleNamespace(UNet=None)})
sys.path.insert(0, os.path.join(sys.argv[1], "bench", "torch"))
compare_gpu = importlib.import_module("compare_gpu")
compare_gpu.twin = lambda *arguments: 5.0

table, end = table_and_end("a GPU\n  losses   1  allowed 0.1  WRONG\n" + TIMES, 1)
assert "2.50         5.00   2.00" in table, table
assert "WRONG" in end, end
table, end = table_and_end("a GPU\n" + TIMES, 0)
assert "2.00" in table and end == "", (table, end)
