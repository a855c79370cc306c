"""How large the result of an initialisation is, from that of its source."""

from dataclasses import dataclass

from transformers import PreTrainedModel

from ..models.embeddings import ModelEmbeddings
from ..models.positions import added_positions


@dataclass(frozen=True)
class Sizes:
    """Numbers of parameters of source and result, and of these the embeddings'; `disk` is bytes of the result's weights."""

    parameters: tuple[int, int]
    embedding_parameters: tuple[int, int]
    disk: int


def sizes_of(
    model: PreTrainedModel,
    embeddings: ModelEmbeddings,
    target_tokens: int,
    embedding_size: int | None,
    pad_ids: tuple[int | None, int | None] = (None, None),
) -> Sizes:
    """The sizes of a dense source and of what is made of it.

    Args:
        model, embeddings: the source, which may lie on the meta device.
        target_tokens: V_t.
        embedding_size: D', or None.
        pad_ids: the model's, before and after.
    """
    rows, hidden_size = embeddings.rows, embeddings.hidden_size
    matrices = 1 if embeddings.output is None else 2
    size = hidden_size if embedding_size is None else embedding_size
    # The sum of the tables' widths: RemBERT's two have different ones.
    width = hidden_size + (0 if embeddings.output is None else embeddings.output.shape[1])
    old = rows * width
    new = target_tokens * width if embedding_size is None else matrices * target_tokens * size + size * width
    before = model.num_parameters()
    bias = 0 if embeddings.bias is None else target_tokens - len(embeddings.bias)
    parameters = {id(parameter) for parameter in model.parameters()}
    others = sum(one.tensor.numel() for one in embeddings.others if id(one.tensor) in parameters)
    # Ofa* heads have no second bias.
    second_bias = embedding_size is not None and embeddings.bias is not None
    others = -others if second_bias else others // rows * (target_tokens - rows)
    after = before - old + new + bias + others + added_positions(model, *pad_ids)
    return Sizes((before, after), (old, new), after * model.dtype.itemsize)
