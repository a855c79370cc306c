"""FVT (Gee et al., 2022, "Fast Vocabulary Transfer"): a new token is the mean of the source's pieces of it."""

import itertools

import numpy as np

from ..mapping import TokenMapping
from .inputs import MethodInputs, rows_of_entries
from .registry import register_method


@register_method("fvt", published="Gee et al., 2022")
def fvt(inputs: MethodInputs) -> TokenMapping:
    """New rows are means of the rows of the pieces that the source's tokenizer cuts the token into."""
    new = np.flatnonzero((inputs.matches.source_ids < 0) & inputs.target.exists & ~inputs.target.special)
    rows, columns = source_pieces(inputs, new)
    counts = np.bincount(rows, minlength=inputs.shape[0])
    return inputs.mapping(rows_of_entries(rows, columns, 1 / counts[rows], inputs.shape))


def source_pieces(inputs: MethodInputs, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(target id, source id) of each piece that the source's tokenizer cuts `tokens` into; unk and the like left out.

    Bytes that are no whole character are left out, too.
    """
    forms = [(inputs.target.forms[index] or b"").decode("utf-8", "ignore").strip() for index in tokens.tolist()]
    encodings = inputs.source.encoder.encode_batch_fast(forms, add_special_tokens=False)
    ids = [encoding.ids for encoding in encodings]
    columns = np.fromiter(itertools.chain.from_iterable(ids), dtype=np.int64)
    rows = np.repeat(tokens, np.fromiter(map(len, ids), dtype=np.int64, count=len(ids)))
    usable = ~inputs.source.special
    usable[inputs.num_source_rows :] = False
    return rows[usable[columns]], columns[usable[columns]]
