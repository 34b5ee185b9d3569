"""Names of a UNet's parameters in our files, and in a network whose levels are flat lists of modules.

Ours (also those of check_unet.py)      flat
time1, time2                            t1, t2
in                                      inp
down.I.blockB.*                         down.2I.B.*
down.I.resample                         down.(2I+1).0
middle.block1, middle.block2            m1, m2
middle.attention.norm, .qkv, .out       ma.n, ma.qkv, ma.o
up.I.blockB.*                           up.(L-1-I).B.*      L levels, listed from the coarsest
up.I.resample                           up.(L-1-I).3
out.norm, out.conv                      no, out
in a block: norm1 conv1 time norm2 conv2 skip    n1 c1 t n2 c2 skip

Shapes and values are the same; weights have PyTorch's layouts. Our t runs from 1 to T.
"""
import re

BLOCK = {"norm1": "n1", "conv1": "c1", "time": "t", "norm2": "n2", "conv2": "c2", "skip": "skip"}
WHOLE = {
    "time1": "t1",
    "time2": "t2",
    "in": "inp",
    "middle.attention.norm": "ma.n",
    "middle.attention.qkv": "ma.qkv",
    "middle.attention.out": "ma.o",
    "out.norm": "no",
    "out.conv": "out",
}


def to_flat(name, levels):
    """The flat name of one of our parameters: to_flat("down.1.block0.conv1.weight", 3) is "down.2.0.c1.weight"."""
    layer, kind = name.rsplit(".", 1)
    if layer in WHOLE:
        return f"{WHOLE[layer]}.{kind}"
    match = re.fullmatch(r"(down|up|middle)\.(?:(\d+)\.)?(?:block(\d)\.(\w+)|resample)", layer)
    if match is None:
        raise KeyError(f"no parameter of a UNet: {name}")
    way, level, block, part = match.groups()
    if way == "middle":
        return f"m{block}.{BLOCK[part]}.{kind}"
    if way == "down":
        place = f"{2 * int(level)}.{block}" if block else f"{2 * int(level) + 1}.0"
    else:
        place = f"{levels - 1 - int(level)}.{block or 3}"
    return f"{way}.{place}" + (f".{BLOCK[part]}.{kind}" if block else f".{kind}")
