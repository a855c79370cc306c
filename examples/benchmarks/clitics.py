"""Whether an apostrophe ends a word in French and Italian: word vectors by three rules, judged on translations.

    python examples/benchmarks/clitics.py BIBLES/{eng,fra,ita,spa,deu,rus}*.tsv.gz --dictionary wiktionary.tsv.gz \
        --segments dev.tsv --exclude held_out.txt

Texts are `id<TAB>text` files whose names begin with the language. French and Italian are cut
- whole: at Unicode's word boundaries alone (l'été is one word);
- clitics: after a list of articles, pronouns and the like that lose their vowel, too (l été, but aujourd'hui);
- apostrophe: at every apostrophe.

For each rule and seed: the queries of the dictionary whose translation comes first (by CSLS, among all words of the other
language), as a number and as a share of the dictionary's words, and top-1 retrieval of segments between each of the two
and English, the mean of both directions.
"""

import argparse
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import regex
import transformers

from ofa_transformers import WordVectors
from ofa_transformers.text.segmentation import WordSplitter, normalized
from ofa_transformers.text.segments import read_segments, texts_by_language
from ofa_transformers.vectors import Dictionary
from ofa_transformers.vectors.evaluation import lexicon_induction, segment_retrieval


LANGUAGES = ("fra", "ita")
CLITIC = regex.compile(
    r"(?i)(?:[cdjlmnst]|qu|jusqu|lorsqu|puisqu|quoiqu|quelqu|presqu|entr|[dns]?(?:all|ell|ull)|dall|dell|nell|sull|coll|un"
    r"|quest|quell|bell|sant|tutt|anch|senz|com|gl|v|ch)['\u2019](?=\p{L})"
)
SPLITTER = WordSplitter()


def whole(text: str, language: str) -> list[str]:
    return SPLITTER(text)


def clitics(text: str, language: str) -> list[str]:
    words = []
    for word in SPLITTER(text):
        while (found := CLITIC.match(word)) is not None:
            words.append(word[: found.end() - 1])
            word = word[found.end() :]
        words.append(word)
    return words


def apostrophe(text: str, language: str) -> list[str]:
    return SPLITTER(text, language)


def cut(path: Path, language: str, rule: Callable[[str, str], list[str]]) -> Iterator[tuple[str, str]]:
    """(id, text) with a space between words."""
    for key, text in read_segments(path):
        yield key, " ".join((rule if language in LANGUAGES else whole)(normalized(text), language))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", nargs="+", type=Path, help="English, French and Italian among them")
    parser.add_argument("--dictionary", nargs="+", required=True, type=Path)
    parser.add_argument("--segments", required=True, type=Path, help="ids to judge by, one a line up to the first tab")
    parser.add_argument("--exclude", required=True, type=Path, help="ids to keep out of training, those among them")
    parser.add_argument("--dim", type=int, default=200, help="(default: %(default)s)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    args = parser.parse_args()
    transformers.logging.disable_progress_bar()

    sources = texts_by_language(args.texts)
    dictionary = Dictionary.load(args.dictionary).select(["eng", *LANGUAGES])
    for rule in (whole, clitics, apostrophe):
        texts = {
            language: list(itertools.chain.from_iterable(cut(path, language, rule) for path in paths))
            for language, paths in sources.items()
        }
        judged = {language: texts[language] for language in ("eng", *LANGUAGES)}
        for seed in args.seeds:
            vectors = WordVectors.from_parallel(
                texts, dim=args.dim, exclude=args.exclude, tokenize=str.split, seed=seed, alignment_weight=0
            )
            pairs = [(language, "eng") for language in LANGUAGES]
            lexicon = lexicon_induction(vectors, dictionary, pairs=pairs, max_words=None)
            retrieval = segment_retrieval(vectors, judged, segments=args.segments, tokenize=str.split)
            for found, verses in zip(lexicon.rows, retrieval.rows):
                first = round(found.csls_top1 * found.judged)
                print(
                    f"{rule.__name__}, seed {seed}, {found.source}: {first:,} of {found.judged:,} queries first, "
                    f"{first / found.entries:.2%} of {found.entries:,}; segments "
                    f"{(verses.to_top1 + verses.from_top1) / 2:.1%}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
