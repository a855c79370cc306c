"""What the proof of a tokenizer adds to saving it, at a vocabulary of 401,000 Unigram tokens.

    python examples/benchmarks/saved_tokenizer.py
    python examples/benchmarks/saved_tokenizer.py --tokenizer XLM_R --words BIBLES/*.tsv.gz

The tokens are made up: random letters of five scripts with falling scores; or they are those of a Unigram tokenizer and
the most frequent words of a text that it hasn't. Each repetition writes the tokenizer as Transformers does, and then with
the proof that AutoTokenizer reads it back; and beside that, has AutoTokenizer read the whole, and lets it go.
"""

import argparse
import collections
import json
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from ofa_transformers.text.corpus import TextFile
from ofa_transformers.tokenization import save_tokenizer, saving
from ofa_transformers.tokenization.backend import with_backend


ALPHABETS = ("abcdefghijklmnopqrstuvwxyz", "абвгдежзийклмнопрстуфхцчшщыьэюя", "αβγδεζηθικλμνξοπρστυφχψω", "कखगघचछजझटठडढ",
             "აბგდევზთიკლმნოპჟრსტუფქღყშჩცძწჭხჯჰ")  # fmt: skip
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]


def make_tokenizer(size: int) -> PreTrainedTokenizerFast:
    """A Unigram tokenizer of `size` tokens, the same each time."""
    draw = random.Random(0)
    pieces = dict.fromkeys([*SPECIAL, "▁", *(letter for alphabet in ALPHABETS for letter in alphabet)])
    while len(pieces) < size - 1:
        letters = "".join(draw.choices(draw.choice(ALPHABETS), k=draw.randint(2, 9)))
        pieces[f"▁{letters}" if draw.random() < 0.6 else letters] = None
    scored = [(piece, 0.0 if piece in SPECIAL else -5 - number / size) for number, piece in enumerate(pieces)]
    tokenizer = Tokenizer(models.Unigram(scored, unk_id=3))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", pad_token="<pad>", eos_token="</s>", unk_token="<unk>",
        mask_token="<mask>",
    )  # fmt: skip


def with_words(name: str, texts: list[Path], size: int) -> PreTrainedTokenizerFast:
    """A Unigram tokenizer and words of the texts, `size` tokens in all."""
    tokenizer = AutoTokenizer.from_pretrained(name)
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    pieces = state["model"]["vocab"]
    known, counts = {piece for piece, _ in pieces}, collections.Counter()
    for path in texts:
        for line in TextFile(path):
            counts.update(line.split())
    new = [f"▁{word}" for word, _ in counts.most_common() if f"▁{word}" not in known][: size - len(tokenizer)]
    pieces += [[word, -12 - number / size] for number, word in enumerate(new)]
    ids = {piece: number for number, (piece, _) in enumerate(pieces)}
    for token in state["added_tokens"]:
        token["id"] = ids.setdefault(token["content"], len(ids))
    return with_backend(tokenizer, Tokenizer.from_str(json.dumps(state, ensure_ascii=False)))


def timed(save: Callable[[Path], object]) -> tuple[float, float]:
    """(wall, CPU) seconds."""
    with tempfile.TemporaryDirectory() as folder:
        wall, cpu = time.perf_counter(), time.process_time()
        save(Path(folder))
        return time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=401_000, help="(default: %(default)s)")
    parser.add_argument("--tokenizer", metavar="FOLDER", help="a Unigram tokenizer to add words to; default: made up")
    parser.add_argument("--words", nargs="+", type=Path, default=[], metavar="TEXT", help="text with the words")
    parser.add_argument("--repeat", type=int, default=3, help="(default: %(default)s)")
    args = parser.parse_args()
    transformers.logging.set_verbosity_error()
    if args.tokenizer is None:
        tokenizer = make_tokenizer(args.tokens)
    else:
        tokenizer = with_words(args.tokenizer, args.words, args.tokens)
    for number in range(args.repeat):
        saving._proven.clear()  # as in a new process
        ways = {
            "stock": tokenizer.save_pretrained,
            "with the proof": lambda folder: save_tokenizer(tokenizer, folder),
            "the same files again": lambda folder: save_tokenizer(tokenizer, folder),
            "stock, and read by AutoTokenizer": lambda folder: (
                tokenizer.save_pretrained(folder) and AutoTokenizer.from_pretrained(folder) and None
            ),
        }
        for name, save in ways.items():
            wall, cpu = timed(save)
            print(f"{number + 1}: {len(tokenizer):,} tokens, {name}: {wall:.2f} s, CPU {cpu:.2f} s", flush=True)


if __name__ == "__main__":
    main()
