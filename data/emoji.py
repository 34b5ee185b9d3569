#!/usr/bin/env python3
"""Unpacks a font's emoji as pictures, each with its English name. data/emoji.sh calls this.

usage: emoji.py FOLDER [FONT [ANNOTATIONS]]

FOLDER gets CODE.png for every emoji of one character that has a name, and captions.csv: file, caption (the name), keywords. The
pictures are the font's own bytes. A folder that this program filled is replaced; one that holds anything else is refused.
"""
import csv
import re
import shutil
import sys
import tempfile
import xml.etree.ElementTree
from pathlib import Path

FONT = "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf"
ANNOTATIONS = "/usr/share/unicode/cldr/common/annotations/en.xml"
COLUMNS = ["file", "caption", "keywords"]


def names_of(path):
    """Character -> (name, keywords)."""
    names, keywords = {}, {}
    for entry in xml.etree.ElementTree.parse(path).getroot().iter("annotation"):
        (names if entry.get("type") == "tts" else keywords)[entry.get("cp")] = entry.text
    return {character: (name, keywords.get(character, "")) for character, name in names.items()}


def pictures_of(path):
    """Character -> the bytes of its PNG."""
    from fontTools.ttLib import TTFont

    font = TTFont(path)
    strike = font["CBDT"].strikeData[0]  # the font has one size
    return {chr(code): strike[glyph].imageData for code, glyph in font.getBestCmap().items() if glyph in strike}


def is_ours(folder):
    """Whether a folder holds what this program writes, and nothing else."""
    table = folder / "captions.csv"
    return (table.is_file() and table.read_text(encoding="utf-8").startswith(",".join(COLUMNS) + "\n")
            and all(path == table or re.fullmatch(r"[0-9a-f]{5}\.png", path.name) for path in folder.iterdir()))


def unpack(folder, font, annotations):
    names, pictures = names_of(annotations), pictures_of(font)
    with open(folder / "captions.csv", "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        shown = sorted(character for character in names.keys() & pictures.keys())
        for character in shown:
            name = f"{ord(character):05x}.png"
            (folder / name).write_bytes(pictures[character])
            table.writerow([name, *names[character]])
    return len(shown)


def main():
    if not 2 <= len(sys.argv) <= 4 or sys.argv[1].startswith("-"):
        sys.exit(__doc__.split("\n\n")[1])
    folder, font, annotations = (Path(p) for p in [*sys.argv[1:], *[FONT, ANNOTATIONS][len(sys.argv) - 2:]])
    for path in (font, annotations):
        if not path.is_file():
            sys.exit(f"emoji: {path}: is not there")
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        sys.exit(f"emoji: {folder}: is no folder")
    if folder.exists() and any(folder.iterdir()) and not is_ours(folder):
        sys.exit(f"emoji: {folder}: holds other files, expected a folder of its own")
    folder.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(prefix=".emoji-", dir=folder.parent))
    try:
        count = unpack(new, font, annotations)
        new.chmod(0o755)
        if folder.exists():
            folder.rename(old := new.with_name(new.name + "-old"))
            new.rename(folder)
            shutil.rmtree(old)
        else:
            new.rename(folder)
    except Exception as error:  # a font or a table of another kind
        sys.exit(f"emoji: {font} and {annotations}: cannot be unpacked: {type(error).__name__}: {error}")
    finally:
        shutil.rmtree(new, ignore_errors=True)
    print(f"emoji: {count} pictures and captions.csv in {folder}")


if __name__ == "__main__":
    main()
