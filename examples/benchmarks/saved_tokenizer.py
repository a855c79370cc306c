"""What the proof of a tokenizer adds to saving it, at a vocabulary of 401,000 Unigram tokens.

    python examples/benchmarks/saved_tokenizer.py

The tokens are made up: random letters of five scripts with falling scores. Each repetition writes the tokenizer as
Transformers does, and then with the proof that AutoTokenizer reads it back.
"""

import argparse
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from ofa_transformers.tokenization import save_tokenizer, saving


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


def timed(save: Callable[[Path], object]) -> tuple[float, float]:
    """(wall, CPU) seconds."""
    with tempfile.TemporaryDirectory() as folder:
        wall, cpu = time.perf_counter(), time.process_time()
        save(Path(folder))
        return time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=401_000, help="(default: %(default)s)")
    parser.add_argument("--repeat", type=int, default=3, help="(default: %(default)s)")
    args = parser.parse_args()
    transformers.logging.set_verbosity_error()
    tokenizer = make_tokenizer(args.tokens)
    for number in range(args.repeat):
        saving._proven.clear()  # as in a new process
        plain, first, again = (
            timed(save)
            for save in (tokenizer.save_pretrained, *[lambda folder: save_tokenizer(tokenizer, folder)] * 2)
        )
        for name, (wall, cpu) in (("stock", plain), ("with the proof", first), ("the same files again", again)):
            print(f"{number + 1}: {len(tokenizer):,} tokens, {name}: {wall:.2f} s, CPU {cpu:.2f} s")


if __name__ == "__main__":
    main()
