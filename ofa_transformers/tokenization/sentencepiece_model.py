"""A SentencePiece model as a fast tokenizer, proven against sentencepiece itself."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import import_protobuf
from transformers.tokenization_utils_base import generate_merges

from ..utils.reading import reading
from .sample_text import sample_text


_MARK = "▁"

# Types of pieces in sentencepiece_model.proto.
_CONTROL, _USER_DEFINED = 3, 4

# What pieces are called that have a role in masked and other models.
_ROLES = {
    "mask_token": ("<mask>", "[MASK]"),
    "cls_token": ("<cls>", "[CLS]"),
    "sep_token": ("<sep>", "[SEP]"),
    "pad_token": ("<pad>", "[PAD]"),
}


def load_sentencepiece(path: str | os.PathLike) -> PreTrainedTokenizerFast:
    """The tokenizer of a bare SentencePiece file (Unigram or BPE), with its ids.

    Roles are those that the file states, and those of pieces called `<mask>`, `[CLS]` and the like. Nothing goes around
    a text.

    Raises:
        FileNotFoundError: it is no file.
        ImportError: protobuf is missing.
        ValueError: no SentencePiece model; one of words or characters; one that cuts a sample of its pieces in another way
            once converted.
    """
    path = Path(path)
    try:
        proto = import_protobuf().ModelProto()
    except ImportError as error:
        raise ImportError(
            f"{path}: a SentencePiece file needs protobuf: pip install 'ofa-transformers[sentencepiece]'"
        ) from error
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not a file; name a SentencePiece model, or a folder with a tokenizer.")
    try:
        data = path.read_bytes()
        proto.ParseFromString(data)
        processor = sentencepiece.SentencePieceProcessor(model_proto=data)
    except OSError:
        raise
    except Exception as error:  # protobuf's and sentencepiece's own
        raise ValueError(f"{path} is no SentencePiece model ({' '.join(str(error).split())}).") from error
    if not proto.pieces:
        raise ValueError(f"{path} is no SentencePiece model: it has no pieces.")
    with reading(f"{path} is a damaged SentencePiece model; download it again", path):
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=_backend(proto, path), **_roles(proto))
        tokenizer.name_or_path = str(path)
        _check(tokenizer, processor, path)
    return tokenizer


def bare_sentencepiece(name: str | os.PathLike) -> Path | None:
    """The file `.model` that a name stands for: its own, or the only one of a folder without any tokenizer's settings.

    What AutoTokenizer makes of such a folder has no mark before the first word (Transformers 5.23).
    """
    path = Path(name)
    if path.is_dir() and not any(
        (path / file).exists() for file in ("tokenizer.json", "tokenizer_config.json", "config.json")
    ):
        found = list(path.glob("*.model"))
        path = found[0] if len(found) == 1 else path
    return path if path.suffix == ".model" and path.is_file() else None


def _backend(proto: Any, path: Path) -> Tokenizer:
    trained, rules = proto.trainer_spec, proto.normalizer_spec
    pieces = [(piece.piece, piece.score) for piece in proto.pieces]
    if trained.model_type == trained.UNIGRAM:
        model = models.Unigram(pieces, unk_id=trained.unk_id, byte_fallback=trained.byte_fallback)
    elif trained.model_type == trained.BPE:
        vocabulary = {piece: index for index, (piece, _) in enumerate(pieces)}
        model = models.BPE(
            vocabulary,
            generate_merges(vocabulary, dict(pieces)),
            unk_token=pieces[trained.unk_id][0],
            fuse_unk=True,
            byte_fallback=trained.byte_fallback,
        )
    else:
        raise ValueError(f"{path} is a SentencePiece model of words or characters; Unigram and BPE can be used.")
    backend = Tokenizer(model)
    steps = [normalizers.Precompiled(rules.precompiled_charsmap)] if rules.precompiled_charsmap else []
    prefix = "always" if rules.add_dummy_prefix else "never"
    split = trained.split_by_whitespace
    if rules.remove_extra_whitespaces:
        steps += [normalizers.Replace(Regex(" {2,}"), " "), normalizers.Strip()]
        backend.pre_tokenizer = pre_tokenizers.Metaspace(_MARK, prepend_scheme=prefix, split=split)
    else:  # as Llama 2's: Metaspace gives no mark to a text that begins with a space, and cuts runs of spaces
        steps += [normalizers.Prepend(_MARK)] if rules.add_dummy_prefix else []
        steps += [normalizers.Replace(" ", _MARK)]
    backend.normalizer = normalizers.Sequence(steps)
    if trained.byte_fallback:
        steps = [decoders.Replace(_MARK, " "), decoders.ByteFallback(), decoders.Fuse()]
        steps += [decoders.Strip(" ", 1, 0)] if rules.add_dummy_prefix else []
        backend.decoder = decoders.Sequence(steps)
    else:
        backend.decoder = decoders.Metaspace(_MARK, prepend_scheme=prefix, split=split)
    for piece in proto.pieces:
        if piece.type in (_CONTROL, _USER_DEFINED):
            token = AddedToken(piece.piece, normalized=False, special=piece.type == _CONTROL)
            (backend.add_special_tokens if token.special else backend.add_tokens)([token])
    return backend


def _roles(proto: Any) -> dict[str, str]:
    pieces = [piece.piece for piece in proto.pieces]
    trained = proto.trainer_spec
    stated = {"bos": trained.bos_id, "eos": trained.eos_id, "unk": trained.unk_id, "pad": trained.pad_id}
    roles = {f"{role}_token": pieces[index] for role, index in stated.items() if 0 <= index < len(pieces)}
    for role, names in _ROLES.items():
        found = next((name for name in names if name in pieces), None)
        if found is not None:
            roles.setdefault(role, found)
    return roles


def _check(tokenizer: PreTrainedTokenizerFast, processor: sentencepiece.SentencePieceProcessor, path: Path) -> None:
    special = [token.casefold() for token in tokenizer.get_added_vocab()]  # letters to sentencepiece, in a text
    for line in sample_text(tokenizer):
        # "\r\n" is one character to the normaliser of tokenizers, and two to sentencepiece's.
        if "\r" in line or any(token in line.casefold() for token in special):
            continue
        ids, expected = tokenizer(line, add_special_tokens=False)["input_ids"], processor.encode(line)
        if ids != expected:
            cuts = [" ".join(tokenizer.convert_ids_to_tokens(cut[:12])) for cut in (ids, expected)]
            raise ValueError(
                f"{path}: as a fast tokenizer it would cut {line[:40]!r} into {cuts[0]} and not into {cuts[1]}. Convert it "
                "with the tools of the model that it belongs to, and name the folder with tokenizer.json."
            )
