"""Which of the text classes of Transformers `factorize_model` takes, and what is in the way of the others.

    python tests/architectures/any_model.py [NAME...]

Each is factorized as a tiny random model, and saved and loaded as a pair. The exit code is 1 where that fails otherwise
than by an error that says what is in the way.
"""

import collections
import sys
import tempfile
from pathlib import Path


HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parents[1])]

import tiny  # noqa: E402
import torch  # noqa: E402
from permuted import SPECIAL_IDS, fill  # noqa: E402
from transformers.utils import logging  # noqa: E402

from ofa_transformers import factorize_model, load_factorized  # noqa: E402


SIZE = 8


def outcome(name: str) -> tuple[str, str]:
    """Whether a class is "taken", "refused", "not built" or "faulty", and why."""
    try:
        model = fill(tiny.make_model(name, tiny.make_config(name, **SPECIAL_IDS))).eval()
    except Exception as error:
        return "not built", str(error)
    try:
        factorize_model(model, SIZE)
        with tempfile.TemporaryDirectory() as folder:
            model.save_pretrained(folder)
            tables = [one.get_input_embeddings() for one in (model, load_factorized(folder))]
        same = all(
            torch.equal(*(part(table) for table in tables))
            for part in (lambda t: t.weight, lambda t: t.primitives.weight)
        )
        return ("taken", "") if same else ("faulty", "other factors after loading")
    except ValueError as error:
        return "refused", str(error)
    except Exception as error:
        return "faulty", f"{type(error).__name__}: {error}"


def main(names: list[str]) -> int:
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    counts: collections.Counter[str] = collections.Counter()
    for name in names or sorted(tiny.registered_classes()):
        what, why = outcome(name)
        counts[what] += 1
        if what != "taken":
            print(f"{name}: {what}: {' '.join(why.split())[:300]}", flush=True)
    print(", ".join(f"{number} {what}" for what, number in counts.most_common()))
    return int(counts["faulty"] > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
