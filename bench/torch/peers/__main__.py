#!/usr/bin/env python3
"""Holds our modules against diffusers and transformers, both ways, on the same folders and inputs.

usage: peers BIN_DIR [--scratch FOLDER] [--only WORD]      BIN_DIR: build/bin
       peers --write FOLDER                               writes what `make test` compares with: tests/data/peers

Prints a table of differences and exits 1 if one is above its bound.
"""
import argparse
import sys
import tempfile
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

warnings.filterwarnings("ignore")
import diffusers
import torch
import transformers
from safetensors.torch import load_file, save_file

import autoencoder_kl
import autoencoder_tiny
import encoders
import pipelines
import clip_tokenizer
import unet2d
import unet2d_condition
from common import Refused, Table, call, difference, emptied, ours, reference, variant_of, write_folder

PEERS = [unet2d.PEER, autoencoder_kl.PEER, autoencoder_tiny.PEER, unet2d_condition.PEER, *encoders.PEERS]  # one for each class
STORED = Path(__file__).resolve().parents[3] / "tests/data/peers"


def write_question(peer, setting, folder):
    """A setting's folder, with inputs."""
    write_folder(peer, setting, folder)
    given = peer.inputs(peer.load(folder, **variant_of(setting)), **setting.inputs)
    save_file(given, folder / "in.safetensors")
    return given


def write(peer, setting, folder):
    """The same, with results."""
    given = write_question(peer, setting, folder)
    save_file(reference(peer, folder, given, **variant_of(setting)), folder / "out.safetensors")


def write_stored(folder):
    for peer in PEERS:
        for setting in peer.settings:
            if setting.stored:
                write(peer, setting, emptied(folder / peer.name / setting.name))
    clip_tokenizer.write(emptied(folder / "CLIPTokenizer" / "small"))


def check_stored(table, scratch):
    """What `make test` compares with is what these scripts write."""
    write_stored(scratch)
    for peer in PEERS:
        for setting in peer.settings:
            if not setting.stored:
                continue
            here, there = scratch / peer.name / setting.name, STORED / peer.name / setting.name
            names = {file.name for file in here.iterdir()} | {file.name for file in there.glob("*")}
            same = all((here / name).exists() and (there / name).exists() for name in names) and all(
                (here / name).read_bytes() == (there / name).read_bytes() for name in names - {"out.safetensors"})
            error = difference(*(load_file(place / "out.safetensors") for place in (there, here))) if same else float("inf")
            table.row(peer.name, setting.name, "as stored", error, 1e-6)
    here, there = (folder / "CLIPTokenizer" / "small" / "cases.json" for folder in (scratch, STORED))
    table.tell("CLIPTokenizer", "small", "as stored", " ids", here.read_text() == there.read_text())


def check_class(bin, table, peer, scratch, only):
    for setting in peer.settings:
        if only not in f"{peer.name} {setting.name}":
            continue
        folder = emptied(scratch / "folder")
        given = write_question(peer, setting, folder)
        try:
            mine = ours(bin, folder, given, scratch)
        except Refused as line:
            good = setting.odd and "\n" not in str(line) and setting.name.split()[0] in str(line)
            table.tell(peer.name, setting.name, "theirs -> ours", f" refused: {line}", good)
            continue
        theirs = reference(peer, folder, given, **variant_of(setting))
        table.row(peer.name, setting.name, "theirs -> ours", difference(mine, theirs))
        written = emptied(scratch / "written")  # by us, and opened there
        call(bin / "module", "--model", folder, "--save", written)
        table.row(peer.name, setting.name, "ours -> theirs", difference(reference(peer, written, given), theirs))


def check_refusals(bin, table, peer, scratch):
    """What does not fit is refused in a line that names it."""
    good = scratch / "good"
    write(peer, peer.settings[0], emptied(good))
    given = load_file(good / "in.safetensors")
    weights = next(good.glob("*model*.safetensors"))
    tensors = load_file(weights)
    first, other = sorted(given)[0], max(tensors, key=lambda name: tensors[name].ndim)
    run = lambda folder, inputs: lambda: ours(bin, folder, inputs, scratch)
    without = lambda all, name: {other: tensor for other, tensor in all.items() if other != name}
    missing = max(given) if peer.either else first
    fewer = {"nonsense": torch.zeros(2)} if peer.either else without(given, first)
    for what, inputs, word in (("an input is missing", fewer, missing),
                               ("an input too many", given | {"nonsense": torch.zeros(2)}, "nonsense"),
                               ("an input of another shape", given | {first: given[first][None].contiguous()}, first)):
        table.refusal(peer.name, what, [word], run(good, inputs))
    for what, changed, word in (("a tensor is missing", without(tensors, other), other),
                                ("a tensor too many", tensors | {"nonsense": torch.zeros(2)}, "nonsense"),
                                ("a tensor of another shape", tensors | {other: tensors[other][None].contiguous()}, other)):
        save_file(changed, weights, metadata={"format": "pt"})
        table.refusal(peer.name, what, [word], run(good, given))
    for what, text in (("a pointer of Git LFS", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"),
                       ("a web page", "<!DOCTYPE html>\n<html><body>not found</body></html>\n")):
        weights.write_text(text)
        table.refusal(peer.name, what, [str(weights)], run(good, given))
    weights.unlink()
    torch.save(tensors, weights.with_suffix(".bin"))
    table.refusal(peer.name, "a pickle", [weights.with_suffix(".bin").name], run(good, given))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bin", type=Path, nargs="?")
    parser.add_argument("--scratch", type=Path, help="where folders are written; kept (none: a temporary folder)")
    parser.add_argument("--only", default="", help="only settings that have this in their class or name, and no drawings")
    parser.add_argument("--write", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()
    if options.write:
        write_stored(options.write)
        return
    if options.bin is None:
        parser.error("BIN_DIR is missing")
    print(f"PyTorch {torch.__version__}, diffusers {diffusers.__version__}, transformers {transformers.__version__}")
    table = Table()
    with tempfile.TemporaryDirectory() as temporary:
        scratch = options.scratch or Path(temporary)
        for peer in PEERS:
            check_class(options.bin, table, peer, scratch, options.only)
        if not options.only:
            for peer in PEERS:
                check_refusals(options.bin, table, peer, scratch)
            pipelines.check(options.bin, table, scratch)
            check_stored(table, scratch)
    print(f"peers: {table.passed} passed, {table.failed} failed")
    sys.exit(1 if table.failed else 0)


if __name__ == "__main__":
    main()
