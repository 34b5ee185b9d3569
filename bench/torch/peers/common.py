"""What the comparisons of all classes share: settings, random weights, folders, and a table of differences."""
import dataclasses
import inspect
import json
import math
import shutil
import subprocess
import zlib
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

BOUND = 1e-4  # of the largest difference / the largest value


@dataclasses.dataclass
class Setting:
    """One setting of a class: what its folder says, and how the folder is written."""

    name: str
    config: dict
    dtype: torch.dtype = torch.float32  # of the weights in the file
    rename: dict = dataclasses.field(default_factory=dict)  # parts of the tensors' names in the file; not with shard
    minimal: bool = False  # config.json without what is the class's default
    shard: str = ""  # the most bytes of a file ("20KB"); none: one file
    variant: str = ""  # what the files' names say besides: "fp16"
    inputs: dict = dataclasses.field(default_factory=dict)  # what the class's inputs() is told
    stored: bool = False  # small, and kept in tests/data/peers
    odd: bool = False  # may be refused, in a line that names the key; a wrong answer is a failure all the same


@dataclasses.dataclass
class Peer:
    """A class of theirs. make(config) gives the module, load(folder, **options) opens a folder; inputs(module, **options) and
    run(module, inputs) have dictionaries of tensors, as `module` has in its files."""

    name: str
    settings: list
    make: callable
    load: callable
    inputs: callable
    run: callable
    either: bool = False  # any one of the inputs will do


def numbers(*seed):
    return np.random.default_rng([zlib.crc32(part.encode()) if isinstance(part, str) else part for part in seed])


def normal(*shape, seed):
    return torch.from_numpy(numbers(*seed).standard_normal(shape)).float()


def randomise(module):
    """Every tensor from its own name's numbers and at its own scale, so that two that change places are seen; norms and
    biases away from 1 and 0."""
    with torch.no_grad():
        for path, part in module.named_modules():
            for kind, tensor in part.named_parameters(recurse=False):
                random = numbers(f"{path}.{kind}")
                scale, z = random.uniform(0.7, 1.4), random.standard_normal(tuple(tensor.shape))
                if isinstance(part, torch.nn.Embedding):
                    value = scale * z
                elif tensor.ndim > 1:
                    value = scale * z / math.sqrt(tensor[0].numel())
                else:
                    value = scale + 0.2 * z if kind == "weight" else 0.3 * scale * z
                tensor.copy_(torch.as_tensor(value))
    return module


def write_folder(peer, setting, folder):
    """The setting with random weights, as their save_pretrained writes it."""
    module = randomise(peer.make(setting.config)).to(setting.dtype)
    module.save_pretrained(folder, **({"max_shard_size": setting.shard} if setting.shard else {}), **variant_of(setting))
    if setting.rename:
        for file in folder.glob("*.safetensors"):
            tensors = {renamed(name, setting.rename): tensor for name, tensor in load_file(file).items()}
            save_file(tensors, file, metadata={"format": "pt"})
    if setting.minimal:
        defaults = inspect.signature(type(module).__init__).parameters
        kept = {key: value for key, value in json.loads((folder / "config.json").read_text()).items()
                if key not in defaults or value != json.loads(json.dumps(defaults[key].default))}
        (folder / "config.json").write_text(json.dumps(kept))


def variant_of(setting):
    return {"variant": setting.variant} if setting.variant else {}


def renamed(name, parts):
    for old, new in parts.items():
        name = name.replace(old, new)
    return name


def reference(peer, folder, inputs, **options):
    """Theirs, in double: what is compared is our rounding alone."""
    module = peer.load(folder, **options).double().eval()
    with torch.no_grad():
        return {name: tensor.float().contiguous() for name, tensor in peer.run(module, inputs).items()}


class Refused(Exception):
    """Our program said no; the message is its line."""


def call(*command):
    """One of our programs; what it prints."""
    run = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if run.returncode == 1:
        raise Refused(run.stderr.strip())
    if run.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: exit {run.returncode}: {run.stderr.strip()}")
    return run.stdout


def ours(bin, folder, inputs, scratch):
    """What `module` makes of a folder."""
    scratch.mkdir(parents=True, exist_ok=True)
    save_file(inputs, scratch / "in.safetensors")
    call(bin / "module", "--model", folder, "--inputs", scratch / "in.safetensors", "--out", scratch / "out.safetensors")
    return load_file(scratch / "out.safetensors")


def difference(mine, theirs):
    """The largest difference / the largest value, over all that both give; infinite if they give different things."""
    if set(mine) != set(theirs) or any(mine[name].shape != theirs[name].shape for name in theirs):
        return math.inf
    return max(relative(mine[name], theirs[name]) for name in theirs)


def relative(mine, theirs):
    mine, theirs = torch.as_tensor(mine).double(), torch.as_tensor(theirs).double()
    error = ((mine - theirs).abs().max() / theirs.abs().max()).item()
    return error if math.isfinite(error) else math.inf


class Table:
    """The results, printed as they come."""

    def __init__(self):
        self.failed = self.passed = 0
        print(f"{'class':22}{'setting':50}{'direction':18}{'difference':>11}{'bound':>9}")

    def row(self, name, setting, direction, error, bound=BOUND):
        self.tell(name, setting, direction, f"{error:11.1e}{bound:9.0e}", error <= bound)

    def tell(self, name, setting, direction, what, good):
        self.passed, self.failed = self.passed + good, self.failed + (not good)
        print(f"{name:22}{setting:50}{direction:18}{what}  {'ok' if good else 'FAILED'}", flush=True)

    def refusal(self, name, setting, words, attempt):
        """`attempt` must end in one line that has all of the words in it."""
        try:
            attempt()
            said, good = "was not refused", False
        except Refused as line:
            said = str(line)
            good = said.count("\n") == 0 and all(word in said for word in words)
        self.tell(name, setting, "refused", " " + (said if not good else said.splitlines()[0][-120:]), good)


def emptied(folder):
    shutil.rmtree(folder, ignore_errors=True)
    Path(folder).mkdir(parents=True)
    return Path(folder)
