"""Fixtures for all tests. Nothing here or in any test uses the network."""

import copy
import functools
import gc
import json
import os
from collections.abc import Iterator
from pathlib import Path


os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read when huggingface_hub is imported

import numpy as np
import pytest
import typer.main
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import PreTrainedTokenizerFast
from transformers.utils import logging

from ofa_transformers import WordVectors


# Typer makes the whole command anew for each run of an app, which takes longer than most runs.
typer.main.get_command = functools.cache(typer.main.get_command)

REPOSITORY = Path(__file__).resolve().parent.parent
GOLDENS = Path(__file__).resolve().parent / "goldens"

TEXT = [
    "the small house stands by the old river, and the river runs to the sea.",
    "The house of my mother is small; the houses of the town are old and big.",
    "we walk to the town and we talk with our mother about bread and water!",
    "das kleine Haus steht am alten Fluss, und der Fluss läuft zum Meer.",
    "Die Häuser der Stadt sind groß; das Haus meiner Mutter ist klein.",
    "wir gehen in die Stadt und sprechen mit unserer Mutter über Brot und Wasser.",
    "nyumba ndogo iko karibu na mto wa zamani, na mto unaenda baharini.",
    "tunatembea mjini na kuongea na mama yetu kuhusu mkate na maji.",
    "маленький дом стоит у старой реки, и река течёт к морю.",
    "мы идём в город и говорим с нашей матерью о хлебе и воде.",
    "小房子在老河边，河流向大海。我们走到城里，和母亲谈面包和水。",
] * 3


def word_tokenizer(*words: str) -> PreTrainedTokenizerFast:
    """Whole words as tokens."""
    vocabulary = {token: index for index, token in enumerate(["<unk>", *(f"▁{word}" for word in words)])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")


def build_unigram(vocab_size: int = 260) -> PreTrainedTokenizerFast:
    """SentencePiece Unigram as in XLM-R: specials first, the mask at the end."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Replace(Regex(" {2,}"), " ")
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    specials = ["<s>", "<pad>", "</s>", "<unk>"]
    trainer = trainers.UnigramTrainer(
        vocab_size=vocab_size, special_tokens=specials, unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", cls_token="<s>", eos_token="</s>", sep_token="</s>",
        pad_token="<pad>", unk_token="<unk>", mask_token="<mask>",
    )  # fmt: skip


def build_byte_bpe(vocab_size: int = 420) -> PreTrainedTokenizerFast:
    """Byte-level BPE as in RoBERTa."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    specials = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=specials, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    tokenizer.train_from_iterator(TEXT, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", cls_token="<s>", eos_token="</s>", sep_token="</s>",
        pad_token="<pad>", unk_token="<unk>", mask_token="<mask>",
    )  # fmt: skip


def build_wordpiece(vocab_size: int = 260) -> PreTrainedTokenizerFast:
    """WordPiece as in BERT, cased."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=vocab_size, special_tokens=specials, show_progress=False)
    tokenizer.train_from_iterator(TEXT, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, cls_token="[CLS]", sep_token="[SEP]", pad_token="[PAD]", unk_token="[UNK]",
        mask_token="[MASK]",
    )  # fmt: skip


def build_sentencepiece_bpe(vocab_size: int = 460) -> PreTrainedTokenizerFast:
    """SentencePiece BPE with byte fallback as in Llama 2: no Metaspace, no pad, no mask."""
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trained = Tokenizer(models.BPE(unk_token="<unk>"))
    trained.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    trained.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    latin = [line for line in TEXT if line.isascii()]  # so that other scripts need the byte pieces
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, special_tokens=pieces, show_progress=False)
    trained.train_from_iterator(latin, trainer)
    vocabulary = trained.get_vocab()
    merges = [tuple(merge) for merge in json.loads(trained.to_str())["model"]["merges"]]
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = trained.normalizer
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


TOKENIZER_BUILDERS = {
    "unigram": build_unigram,
    "byte_bpe": build_byte_bpe,
    "wordpiece": build_wordpiece,
    "sentencepiece_bpe": build_sentencepiece_bpe,
}


@pytest.fixture(scope="session")
def built_tokenizers() -> dict[str, PreTrainedTokenizerFast]:
    """One small tokenizer of each kind, by name, from which each test file gets its copies."""
    return {name: build() for name, build in TOKENIZER_BUILDERS.items()}


@pytest.fixture(scope="module")
def tiny_tokenizers(built_tokenizers) -> dict[str, PreTrainedTokenizerFast]:
    """One small tokenizer of each kind, by name, shared by the tests of one file."""
    return copy.deepcopy(built_tokenizers)


@pytest.fixture(autouse=True)
def process_as_before() -> Iterator[None]:
    """What a command in this process sets for the whole process doesn't outlive its test."""
    environment, verbosity = dict(os.environ), logging.get_verbosity()
    yield
    logging.set_verbosity(verbosity)
    for name in os.environ.keys() - environment.keys():
        del os.environ[name]
    os.environ.update(environment)


@pytest.fixture(params=list(TOKENIZER_BUILDERS))
def tiny_tokenizer(request, tiny_tokenizers) -> PreTrainedTokenizerFast:
    """A small tokenizer, once for each kind."""
    return tiny_tokenizers[request.param]


@pytest.fixture(scope="module")
def word_vectors() -> WordVectors:
    """Vectors of the words of the tokenizers' text, of three languages; random, but the same for every test."""
    generator = np.random.default_rng(0)
    words, languages = [], []
    for line, language in (
        (0, "eng"),
        (1, "eng"),
        (2, "eng"),
        (3, "deu"),
        (4, "deu"),
        (5, "deu"),
        (8, "rus"),
        (9, "rus"),
    ):
        for word in TEXT[line].strip(".").replace(",", "").replace(";", "").split():
            if (language, f"${word}$") not in zip(languages, words):
                words.append(f"${word}$")
                languages.append(language)
    return WordVectors(words, np.array(languages), generator.normal(size=(len(words), 12)).astype(np.float32))


@pytest.fixture(scope="module")
def pretraining_folder(tmp_path_factory) -> Iterator[Path]:
    """A folder with a tiny model and text of three languages, in which encoded text is kept, too."""
    pytest.importorskip("datasets")
    from training.workspace import make_workspace

    folder = tmp_path_factory.mktemp("pretraining")
    make_workspace(folder, ("dropout",))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("datasets.config.HF_DATASETS_CACHE", str(folder / "cache"))
        yield folder


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder `shared` beside the clone, with data and goldens too large for the repository."""
    path = REPOSITORY.parent / "shared"
    if not path.is_dir():
        pytest.skip(f"{path} is not there: the large goldens and the data are not part of the repository")
    return path


def pytest_collection_finish() -> None:
    """What is imported stays: a third of a second for each `gc.collect` of Trainer's and of Transformers' tests."""
    gc.collect()
    gc.freeze()


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Long bytes go by their length: compressed ones hold the time, and test ids must not differ among workers."""
    return f"{len(val)}-bytes" if isinstance(val, bytes) and len(val) > 20 else None
