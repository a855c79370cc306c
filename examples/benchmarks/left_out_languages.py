"""How far a dictionary brings languages that the parallel text lacks: retrieval of segments by their words' vectors.

    python examples/benchmarks/left_out_languages.py texts/*.tsv.gz --dictionary wiktionary.tsv.gz --rename swa=swh \
        --leave-out swh est --segments test.tsv --exclude held_out.txt

Texts are `id<TAB>text` files whose names begin with the language. For each language left out, top-1 retrieval from and
to the pivot language, in per cent, with vectors from
- parallel text: all languages, it too;
- dictionary added: the parallel text of the others, and `WordVectors.from_dictionaries` on top of it;
- dictionary alone: the graph of translations.
"""

import argparse
import time
from pathlib import Path

from ofa_transformers import WordVectors
from ofa_transformers.text.segments import texts_by_language
from ofa_transformers.vectors import Dictionary
from ofa_transformers.vectors.evaluation import segment_retrieval


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", nargs="+", type=Path)
    parser.add_argument("--dictionary", nargs="+", required=True, type=Path)
    parser.add_argument("--rename", nargs="*", default=[], metavar="OLD=NEW", help="languages of the dictionary")
    parser.add_argument("--leave-out", nargs="+", required=True, metavar="LANGUAGE")
    parser.add_argument("--segments", required=True, type=Path, help="ids to judge by, one a line up to the first tab")
    parser.add_argument(
        "--exclude", required=True, type=Path, help="ids to keep out of training, the segments among them"
    )
    parser.add_argument("--pivot", default="eng")
    parser.add_argument("--dim", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    texts = texts_by_language(args.texts)
    dictionary = Dictionary.load(args.dictionary).renamed(dict(pair.split("=") for pair in args.rename))
    dictionary = dictionary.select(texts)
    others = {language: parts for language, parts in texts.items() if language not in args.leave_out}
    options = {"dim": args.dim, "exclude": args.exclude, "seed": args.seed, "alignment_weight": 0}
    judged = {language: texts[language] for language in (args.pivot, *args.leave_out)}

    def parallel() -> WordVectors:
        return WordVectors.from_parallel(texts, **options)

    def added() -> WordVectors:
        return WordVectors.from_dictionaries(dictionary, WordVectors.from_parallel(others, **options))

    def alone() -> WordVectors:
        return WordVectors.from_dictionaries(dictionary, dim=args.dim, seed=args.seed)

    for name, build in (("parallel text", parallel), ("dictionary added", added), ("dictionary alone", alone)):
        start = time.perf_counter()
        vectors = build()
        print(f"\n{name}: {vectors!r}, {time.perf_counter() - start:.0f} s")
        print(segment_retrieval(vectors, judged, pivot=args.pivot, segments=args.segments), flush=True)


if __name__ == "__main__":
    main()
