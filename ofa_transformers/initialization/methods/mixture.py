"""Several methods at once: the weighted mean of their rows."""

from collections.abc import Mapping

import numpy as np
import scipy.sparse

from ..mapping import TokenKind, TokenMapping
from .inputs import MethodInputs
from .registry import find_method, register_method


_PARTS = {"ofa": 0.7, "fvt": 0.3}


@register_method(
    "mixture",
    published="this package's replication study",
    built_on=lambda settings: {name: {} for name in settings.get("parts") or _PARTS},
)
def mixture(inputs: MethodInputs, *, parts: Mapping[str, float] | None = None) -> TokenMapping:
    """New rows are weighted means of those of several methods, by default 0.7 of `ofa` and 0.3 of `fvt`.

    A token that only some of the methods compose takes their rows alone; copied tokens are the first method's.
    """
    parts = dict(parts or _PARTS)
    if not parts or any(not weight > 0 for weight in parts.values()) or "mixture" in parts:
        raise ValueError(f"parts is {parts}, but must name methods, other than 'mixture', with weights above 0.")
    made = {name: find_method(name).function(inputs) for name in parts}
    first = made[next(iter(parts))]
    composes = {name: mapping.kinds == TokenKind.COMPOSED for name, mapping in made.items()}
    total = sum(weight * composes[name] for name, weight in parts.items())
    weights = scipy.sparse.csr_array(inputs.shape, dtype=np.float32)
    for name, weight in parts.items():
        share = np.where(composes[name], weight / np.where(total > 0, total, 1), 0).astype(np.float32)
        weights = weights + scipy.sparse.diags_array(share) @ made[name].weights
    copied = np.isin(first.kinds, (TokenKind.COPIED, TokenKind.SPECIAL))
    return inputs.mapping(weights.tocsr(), copied=copied, settings={"parts": parts})
