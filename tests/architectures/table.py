"""All architectures, as the table in docs/architectures.md.

    python tests/architectures/table.py [JOBS]

Fails where a class is neither proven nor refused with a reason.
"""

import multiprocessing
import sys
from pathlib import Path


sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import transformers
from architectures.examine import examine
from architectures.tiny import registered_classes


PAGE = Path(__file__).resolve().parents[2] / "docs" / "architectures.md"
ABOUT = """# Architectures

Every class that Transformers {version} registers with a masked, causal or sequence-to-sequence language-modelling head is tried at full size with a tiny random model: its vocabulary in another order and size, its special tokens at other ids, embeddings tied and untied. **Proven** is a class whose copied tokens then give the same hidden states and logits as before, in memory and after saving and loading; those that factorize also with `to_dense`. **Refused** is one whose vocabulary can't be taken out, with an error before the long work. `make architectures` makes this table.

What you adapt is proven as well: after the model is put together, source and result are run on a small batch of copied tokens, and must agree before anything is written; and what is written is loaded key by key. The report says so under `proof`. What the table doesn't have, such as a class with code of its own, is found in the same way: the model is built without weights for a larger vocabulary, and whatever then has another shape is mapped, or named in an error.

| class | result | note |
| --- | --- | --- |
"""


def try_class(name: str) -> tuple[str, str]:
    """Its row, or the fault."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        return examine(name).row(), ""
    except Exception as error:  # whatever it is, it is a fault
        return "", f"{name}: {type(error).__name__}: {error}"


def main(jobs: int) -> int:
    rows, faults = [], 0
    with multiprocessing.get_context("spawn").Pool(jobs, maxtasksperchild=100) as pool:
        for row, fault in pool.imap(try_class, registered_classes()):
            rows.append(row)
            if fault:
                faults += 1
                print(fault, flush=True)
    if faults:
        return 1
    PAGE.write_text(ABOUT.format(version=transformers.__version__) + "\n".join(rows) + "\n", encoding="utf-8")
    print(f"{len(rows)} classes, {sum('| proven' in row for row in rows)} proven: {PAGE}")
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 2))
