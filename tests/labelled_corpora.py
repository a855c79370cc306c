"""Small labelled corpora that a tiny model can learn, and tiny models to learn them, for tests of fine-tuning."""

from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast


TOPICS = {"Faith": ["believe", "trust"], "Sin": ["steal", "lie"], "Violence": ["sword", "blood"]}
NAMES = {"PER": ["Anna", "Peter", "Mary"], "LOC": ["Berlin", "Nairobi", "Lagos"]}
FILLERS = ["the", "a", "of", "and", "they", "went", "saw", "in", "on", "day"]
PARTS = {"DET": ["the", "a"], "NOUN": ["day", "sword", "blood"], "VERB": ["went", "saw", "steal"], "ADP": ["of", "in"]}
_SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def topic_lines(count: int, seed: int, prefix: str = "") -> list[tuple[str, str]]:
    """(text, label): fillers, and one word that tells the topic. The prefix makes another language of the fillers."""
    generator = np.random.default_rng(seed)
    lines = []
    for number in range(count):
        label = list(TOPICS)[number % len(TOPICS)]
        words = [prefix + word for word in generator.choice(FILLERS, size=5)]
        words.insert(int(generator.integers(6)), str(generator.choice(TOPICS[label])))
        lines.append((" ".join(words), label))
    return lines


def entity_sentences(count: int, seed: int, prefix: str = "") -> list[list[tuple[str, str]]]:
    """(word, IOB2 tag) of sentences with an entity of one or two words."""
    generator = np.random.default_rng(seed)
    sentences = []
    for number in range(count):
        kind = list(NAMES)[number % len(NAMES)]
        names = generator.choice(NAMES[kind], size=1 + number % 2)
        entity = [(str(name), f"{'I' if place else 'B'}-{kind}") for place, name in enumerate(names)]
        before, after = ([(prefix + str(word), "O") for word in generator.choice(FILLERS, size=3)] for _ in range(2))
        sentences.append([*before, *entity, *after])
    return sentences


def part_of_speech_sentences(count: int, seed: int) -> list[list[tuple[str, str]]]:
    """(word, UPOS)."""
    generator = np.random.default_rng(seed)
    kinds = [[str(kind) for kind in generator.choice(list(PARTS), size=6)] for _ in range(count)]
    return [[(str(generator.choice(PARTS[kind])), kind) for kind in sentence] for sentence in kinds]


def write_columns(path: Path, sentences: list[list[tuple[str, str]]], separator: str = " ") -> Path:
    path.write_text("\n\n".join("\n".join(map(separator.join, sentence)) for sentence in sentences) + "\n", "utf-8")
    return path


def write_topics(path: Path, lines: list[tuple[str, str]]) -> Path:
    path.write_text("text\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in lines), "utf-8")
    return path


def save_subject(folder: Path, seed: int = 0, **changes: int) -> str:
    """A BERT for masked language modelling of one layer, which knows the words of all corpora as tokens."""
    groups = (*TOPICS.values(), *NAMES.values(), *PARTS.values(), FILLERS)
    words = dict.fromkeys(word for group in groups for word in group)
    tokenizer = Tokenizer(
        models.WordLevel({token: number for number, token in enumerate([*_SPECIALS, *words])}, unk_token="[UNK]")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, cls_token="[CLS]", sep_token="[SEP]", pad_token="[PAD]", unk_token="[UNK]",
        mask_token="[MASK]", model_max_length=32,
    ).save_pretrained(folder)  # fmt: skip
    torch.manual_seed(seed)
    sizes = {
        "vocab_size": len(_SPECIALS) + len(words),
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": 32,
        "hidden_dropout_prob": 0.0,
        "initializer_range": 0.2,
    }
    BertForMaskedLM(BertConfig(**{**sizes, **changes})).save_pretrained(folder)
    return str(folder)
