"""Initialisations that compose nothing: overlapping tokens are copied, the others drawn, or all alike."""

import scipy.sparse

from ..mapping import TokenMapping
from .inputs import MethodInputs
from .registry import register_method


def _overlap_only(inputs: MethodInputs) -> TokenMapping:
    return inputs.mapping(scipy.sparse.csr_array(inputs.shape, dtype="float32"))


@register_method("random", published="the usual baseline")
def random(inputs: MethodInputs) -> TokenMapping:
    """New rows are drawn with the mean and standard deviation that each column has over the source's rows."""
    return _overlap_only(inputs)


@register_method("mean", fallback="mean", published="the usual baseline")
def mean(inputs: MethodInputs) -> TokenMapping:
    """New rows are all the mean of the source's rows."""
    return _overlap_only(inputs)


@register_method(
    "resize", fallback="multivariate_normal", published="Transformers' resize_token_embeddings(mean_resizing=True)"
)
def resize(inputs: MethodInputs) -> TokenMapping:
    """New rows are drawn from a normal distribution with the source's mean and 1e-9 of its covariance."""
    return _overlap_only(inputs)
