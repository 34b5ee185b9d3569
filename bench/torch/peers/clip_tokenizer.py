"""CLIP's tokenizer: ids of prompts, by the library's and by our rules. Ours are compared in `make test`."""
import json
import random
import string

from transformers import CLIPTokenizer

WORDS = ("a photo of the quick brown fox's you're they'll isn't I'd we've 12 1999 B2B night-time rock'n'roll (red) seven, eight... left! "
         "<3 e-mail x_y #tag @me $5 50% don't O'Reilly's THE Red SEVEN").split()
MERGES = ("r e", "re d</w>", "s e", "v e", "se ve", "seve n</w>", "l e", "f t</w>", "le ft</w>", "o f</w>", "t h", "th e</w>", "' s</w>",
          "' t</w>", ". .", ".. .</w>", "' r", "'r e</w>")


def prompts():
    """Words that people write, and any printable characters."""
    draw = random.Random(1)
    for i in range(400):
        if i % 2:
            yield " ".join(draw.choice(WORDS) for _ in range(draw.randint(0, 12)))
        else:
            yield "".join(draw.choice(string.printable) for _ in range(draw.randint(0, 40)))


def vocabulary():
    """The ids that follow from the merges: bytes, bytes that end a word, merges, marks."""
    own = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in own]
    symbols = [chr(byte) for byte in own] + [chr(256 + i) for i in range(len(others))]
    symbols += [symbol + "</w>" for symbol in symbols] + ["".join(pair.split()) for pair in MERGES]
    return {symbol: i for i, symbol in enumerate(symbols + ["<|startoftext|>", "<|endoftext|>"])}


def write(folder):
    """A folder that the library and ours open, and cases.json: prompts with the library's ids."""
    (folder / "merges.txt").write_text("\n".join(("#version: 0.2", *MERGES)) + "\n")
    (folder / "vocab.json").write_text(json.dumps(vocabulary()))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "CLIPTokenizer", "bos_token": "<|startoftext|>",
                                                              "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}))
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    (folder / "cases.json").write_text(json.dumps([[text, tokenizer(text)["input_ids"]] for text in prompts()]))
