"""A tiny masked-LM training job, the same for every way of running it.

Text and masks are fixed, every sequence has the same number of labels, and nothing is dropped out. The loss of a batch
is then the mean of its parts' losses, however the batch is divided among processes.
"""

import torch
from torch.utils.data import Dataset
from transformers import PreTrainedModel, set_seed

from ofa_transformers import OfaConfig, OfaForMaskedLM


VOCAB_SIZE = 120
SEQUENCE_LENGTH = 12
NUM_LABELS = 4
GLOBAL_BATCH_SIZE = 8
LEARNING_RATE = 5e-3


def make_config(tied: bool = True, dropout: float = 0.0, **kwargs: object) -> OfaConfig:
    return OfaConfig(
        vocab_size=VOCAB_SIZE,
        hidden_size=32,
        embedding_size=8,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=SEQUENCE_LENGTH + 4,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        tie_word_embeddings=tied,
        initializer_range=0.1,
        **kwargs,
    )


def make_model(tied: bool = True, dropout: float = 0.0, **kwargs: object) -> PreTrainedModel:
    set_seed(7)
    return OfaForMaskedLM(make_config(tied, dropout, **kwargs))


class MaskedSequences(Dataset):
    """`size` sequences that count upwards from a random start, `NUM_LABELS` of their tokens masked.

    Only the first `distinct` differ, those after them repeat these.
    """

    def __init__(self, size: int, seed: int = 0, distinct: int | None = None):
        generator = torch.Generator().manual_seed(seed)
        self.size, size = size, min(size, distinct or size)
        mask_token = VOCAB_SIZE - 1
        start = torch.randint(4, VOCAB_SIZE - SEQUENCE_LENGTH - 1, (size, 1), generator=generator)
        tokens = start + torch.arange(SEQUENCE_LENGTH)
        masked = torch.rand(size, SEQUENCE_LENGTH, generator=generator).topk(NUM_LABELS, dim=1).indices
        self.labels = torch.full_like(tokens, -100).scatter(1, masked, tokens.gather(1, masked))
        self.input_ids = tokens.scatter(1, masked, mask_token)

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        index %= len(self.input_ids)
        ids = self.input_ids[index]
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": self.labels[index]}


def assert_tied(model: PreTrainedModel) -> None:
    """The input embeddings and the output projection share both factors, as objects and not only as values."""
    embeddings, projection = model.get_input_embeddings(), model.get_output_embeddings()
    assert projection.weight is embeddings.weight
    assert projection.primitives.weight is embeddings.primitives.weight
