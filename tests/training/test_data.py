"""Text by language, the schedule, samples by position, masks."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TEXT
from tokenizers import Tokenizer, processors
from transformers import PreTrainedTokenizerFast


pytest.importorskip("datasets")

from ofa_transformers.scoring.framing import decoder_prefix
from ofa_transformers.training import (
    CausalCollator,
    Encoder,
    LanguageSchedule,
    MaskingCollator,
    Share,
    TrainingData,
    find_text,
)
from ofa_transformers.training.masking import IGNORED, MAX_WORD_TOKENS, word_marks, word_starts

from .workspace import SIZES, make_workspace


LENGTH, GLOBAL_BATCH = 24, 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    make_workspace(folder, ())
    return folder


def make_data(
    folder: Path, tokenizer, streaming: bool, packed: bool = True, workers: int = 0, **options
) -> TrainingData:
    texts = find_text([folder / "train"])
    schedule = LanguageSchedule({name: text.characters() for name, text in texts.items()}, seed=5)
    collate = MaskingCollator(tokenizer, seed=5, **options)
    encoder = Encoder(tokenizer, LENGTH, packed)
    loader = {"num_workers": workers}
    return TrainingData(texts, encoder, collate, schedule, streaming, str(folder / "cache"), loader_options=loader)


def read(data: TrainingData, size: int, count: int = 1, start: int = 0, stop: int = 400, streams=None) -> dict:
    """position -> its inputs and labels, over all ranks; and the streams' states by position."""
    found, states = {}, {}
    for rank in range(count):
        share = Share(size, rank, count)
        batches = data.batches(share, start, stop, streams)
        given = 0
        for batch, positions in zip(batches, share.batches(start, stop)):
            given += 1
            if rank == 0:
                states[positions.stop] = json.loads(json.dumps(batches.streams))
            for row, position in enumerate(positions):
                kept = batch["attention_mask"][row].bool()
                assert position not in found
                found[position] = (batch["input_ids"][row][kept].tolist(), batch["labels"][row][kept].tolist())
        assert len(batches) == given
    assert sorted(found) == list(range(start, stop))
    return found, states


@pytest.mark.parametrize("streaming", [False, True], ids=["stored", "streamed"])
@pytest.mark.parametrize("packed", [False, True], ids=["lines", "packed"])
def test_samples_depend_on_the_position_only(folder, tiny_tokenizers, streaming: bool, packed: bool):
    """Not on the size of batches, the processes, the workers, or where a run resumed."""
    data = make_data(folder, tiny_tokenizers["unigram"], streaming, packed)
    whole, states = read(data, GLOBAL_BATCH)
    assert read(data, GLOBAL_BATCH // 2, 2)[0] == whole
    assert read(data, GLOBAL_BATCH // 4, 4)[0] == whole
    with_workers = make_data(folder, tiny_tokenizers["unigram"], streaming, packed, workers=2)
    assert read(with_workers, GLOBAL_BATCH // 2, 2)[0] == whole
    start = 17 * GLOBAL_BATCH
    rest = {position: sample for position, sample in whole.items() if position >= start}
    assert read(data, 2, 4, start)[0] == rest  # read again from the beginning
    # From a state that the first of several processes saved, before the others' part of the global batch.
    state = states[start]
    assert (state is not None) == streaming
    assert read(data, 4, 2, start, streams=states[start])[0] == rest


@pytest.mark.parametrize("streaming", [False, True], ids=["stored", "streamed"])
def test_every_sample_once_in_each_pass(folder, tiny_tokenizers, streaming: bool):
    tokenizer = tiny_tokenizers["unigram"]
    data = make_data(folder, tokenizer, streaming, packed=False)
    texts = find_text([folder / "train"])
    passes: dict[int, list] = {}
    for position, (ids, labels) in read(data, GLOBAL_BATCH, stop=1600)[0].items():
        language, _ = data.schedule[position]
        passes.setdefault(language, []).append(tuple(np.where(np.array(labels) == IGNORED, ids, labels)))
    for language, name in enumerate(data.schedule.languages):
        expected = sorted(map(tuple, data.encoder(list(texts[name].lines()))))
        size = len(expected)
        drawn = passes[language]
        assert len(drawn) > size
        first, second = drawn[:size], drawn[size : 2 * size]
        assert sorted(first) == expected
        assert first != expected and second != first[: len(second)]  # in an order of its own each time
        if len(second) == size:
            assert sorted(second) == expected


def test_special_tokens_in_running_text_are_text(tiny_tokenizer):
    """A page about HTML or about masked LMs ends no sequence and masks nothing."""
    special = {i for i in tiny_tokenizer.all_special_ids if i != tiny_tokenizer.unk_token_id}
    names = [name for name in tiny_tokenizer.all_special_tokens if name != tiny_tokenizer.unk_token]
    lines = [f"the house {name} of my mother" for name in names]
    encoder = Encoder(tiny_tokenizer, 64, packed=False)
    plain = Encoder(tiny_tokenizer, 64, packed=False)(["the house of my mother"])[0]
    for sample in encoder(lines):
        content = sample[len(encoder.prefix) : len(sample) - len(encoder.suffix)]
        assert not special & set(content.tolist()) and len(sample) > len(plain)
    if tiny_tokenizer.mask_token is not None:
        assert tiny_tokenizer.mask_token_id in tiny_tokenizer(lines[-1])["input_ids"] or names[-1] != "<mask>"


def test_what_a_tokenizer_was_asked_for_before_does_not_matter(tiny_tokenizers):
    tokenizer = tiny_tokenizers["unigram"]
    before = Encoder(tokenizer, 64).identity
    tokenizer(["a b", "c"], truncation=True, max_length=5, padding=True)
    assert Encoder(tokenizer, 64).identity == before != Encoder(tokenizer, 32).identity


def test_encoding_drops_nothing(tiny_tokenizer):
    lines = [*TEXT[:11], "", "a"]
    plain = tiny_tokenizer(lines, add_special_tokens=False)["input_ids"]
    for packed in (True, False):
        encoder = Encoder(tiny_tokenizer, 16, packed)
        samples = encoder(lines)
        assert max(map(len, samples)) == 16
        ends = len(encoder.suffix)
        content = [i for sample in samples for i in sample[len(encoder.prefix) : len(sample) - ends].tolist()]
        if packed:
            assert all(len(sample) == 16 for sample in samples[:-1])
            separator = encoder.separator
            joined = [i for ids in plain if ids for i in (*ids, *separator)]
            assert content == joined[: len(joined) - len(separator)]
        else:
            assert content == [i for ids in plain for i in ids]
        assert samples[0][: len(encoder.prefix)].tolist() == encoder.prefix
    with pytest.raises(ValueError, match="no room for text"):
        Encoder(tiny_tokenizer, 0)


@pytest.mark.parametrize("packed", [False, True], ids=["lines", "packed"])
@pytest.mark.parametrize("bos", [False, True], ids=["eos only", "bos"])
def test_a_decoders_samples_begin_and_end_as_its_scores_do(tiny_tokenizers, packed: bool, bos: bool):
    """Without a template: bos, or else eos, before each sample, from which scores predict the first token; eos after lines."""
    backend = Tokenizer.from_str(tiny_tokenizers["byte_bpe"].backend_tokenizer.to_str())
    backend.post_processor = processors.TemplateProcessing("$A", None, [])
    names = {"eos_token": "</s>", "pad_token": "<pad>"} | ({"bos_token": "<s>"} if bos else {})
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, **names)
    first = tokenizer.bos_token_id if bos else tokenizer.eos_token_id
    lines = ["the old river", "", "the small house stands by the river", "a"]
    samples = [sample.tolist() for sample in Encoder(tokenizer, 8, packed, causal=True)(lines)]
    assert all(sample[0] == first and len(sample) <= 8 for sample in samples)
    texts = [tokenizer(line)["input_ids"] for line in lines if line]
    content = [token for sample in samples for token in sample[1:]]
    assert content == [token for text in texts for token in (*text, tokenizer.eos_token_id)]
    if not packed:
        assert samples[-1] == [first, *texts[-1], tokenizer.eos_token_id]
    assert decoder_prefix(tokenizer) == [first]
    # What a template puts there stays, and an encoder's samples are as they were.
    llama = Tokenizer.from_str(backend.to_str())
    llama.post_processor = processors.TemplateProcessing("<s> $A", None, [("<s>", 0)])
    templated = PreTrainedTokenizerFast(tokenizer_object=llama, bos_token="<s>", eos_token="</s>", pad_token="<pad>")
    assert Encoder(templated, 8, packed, causal=True)(lines)[-1].tolist()[0] == 0
    assert Encoder(tokenizer, 8, packed)(["a"])[0].tolist() == texts[-1]


def test_schedule_has_the_shares():
    sizes = {"a": 1000, "b": 100_000, "c": 10_000_000}
    schedule = LanguageSchedule(sizes, 0.3, seed=1)
    weights = np.array([1000**0.3, 100_000**0.3, 10_000_000**0.3])
    np.testing.assert_allclose(schedule.shares, weights / weights.sum())
    languages, numbers = zip(*(schedule[i] for i in range(3 * schedule.BLOCK)))
    drawn = np.bincount(languages) / len(languages)
    np.testing.assert_allclose(drawn, schedule.shares, atol=0.01)
    for language in range(3):  # each language's draws are counted without gaps
        own = [number for drawn, number in zip(languages, numbers) if drawn == language]
        assert own == list(range(len(own)))
    again = LanguageSchedule(sizes, 0.3, seed=1)
    assert [again[i] for i in (40_000, 5, 17_000)] == [schedule[i] for i in (40_000, 5, 17_000)]
    assert [LanguageSchedule(sizes, 0.3, seed=2)[i][0] for i in range(50)] != list(languages[:50])
    with pytest.raises(ValueError, match="No text for: b"):
        LanguageSchedule({"a": 1, "b": 0})
    with pytest.raises(ValueError, match="alpha"):
        LanguageSchedule({"a": 1}, 2)


def samples_of(tokenizer, count: int = 400) -> list[dict]:
    encoded = Encoder(tokenizer, LENGTH)(TEXT * 30)
    return [{"input_ids": encoded[i % len(encoded)], "position": i} for i in range(count)]


@pytest.mark.parametrize("kind", ["unigram", "byte_bpe", "wordpiece"])
def test_masking_is_berts(tiny_tokenizers, kind: str):
    tokenizer = tiny_tokenizers[kind]
    samples = samples_of(tokenizer)
    batch = MaskingCollator(tokenizer, seed=1)(samples)
    chosen = batch["labels"] != IGNORED
    original = torch.where(chosen, batch["labels"], batch["input_ids"])
    for row, sample in enumerate(samples):
        assert original[row, : len(sample["input_ids"])].tolist() == sample["input_ids"].tolist()
    special = torch.isin(original, torch.tensor(tokenizer.all_special_ids))
    assert not (chosen & special).any()
    share = chosen.sum() / (~special).sum()
    assert 0.13 < share < 0.17
    masked = (batch["input_ids"] == tokenizer.mask_token_id)[chosen].float().mean()
    kept = (batch["input_ids"] == original)[chosen].float().mean()
    assert 0.76 < masked < 0.84 and 0.07 < kept < 0.13
    assert torch.equal(batch["input_ids"][~chosen], original[~chosen])


def test_masks_differ_by_position_and_seed(tiny_tokenizers):
    tokenizer = tiny_tokenizers["unigram"]
    sample = samples_of(tokenizer, 1)[0]
    collate = MaskingCollator(tokenizer, seed=1)
    drawn = [collate([{**sample, "position": i}])["labels"] for i in (0, 1, 0)]
    assert torch.equal(drawn[0], drawn[2]) and not torch.equal(drawn[0], drawn[1])
    assert not torch.equal(MaskingCollator(tokenizer, seed=2)([sample])["labels"], drawn[0])


def test_each_sample_has_a_label(tiny_tokenizers):
    tokenizer = tiny_tokenizers["unigram"]
    short = np.array(tokenizer("a")["input_ids"])
    batch = MaskingCollator(tokenizer)([{"input_ids": short, "position": i} for i in range(200)])
    assert ((batch["labels"] != IGNORED).sum(1) >= 1).all()


@pytest.mark.parametrize("kind", ["unigram", "byte_bpe", "wordpiece"])
def test_whole_words(tiny_tokenizers, kind: str):
    """The words by the vocabulary are those by the tokenizer's word ids, in text with spaces."""
    tokenizer = tiny_tokenizers[kind]
    collate = MaskingCollator(tokenizer, seed=1, whole_words=True)
    line = "the houses of our mothers tunatembea karibu na mto"
    encoding = tokenizer(line)
    ids = np.array([encoding["input_ids"]])
    starts = word_starts(ids, collate.special, *word_marks(tokenizer))[0]
    words = encoding.word_ids()
    assert starts.tolist() == [i == 0 or words[i] is None or words[i] != words[i - 1] for i in range(len(words))]
    names = {word for word in words if word is not None and words.count(word) <= MAX_WORD_TOKENS}
    assert sum(words.count(word) for word in names) > len(names) + 3
    whole = 0
    for position in range(300):
        batch = collate([{"input_ids": ids[0], "position": position}])
        chosen = (batch["labels"] != IGNORED)[0].tolist()
        for word in names:
            parts = {chosen[i] for i, other in enumerate(words) if other == word}
            assert len(parts) == 1
            whole += parts == {True}
    assert 0.1 < whole / 300 / len(names) < 0.25


def test_text_without_spaces_is_masked_by_token(tiny_tokenizers):
    tokenizer = tiny_tokenizers["unigram"]
    collate = MaskingCollator(tokenizer, seed=1, whole_words=True)
    ids = np.array(tokenizer("小房子在老河边河流向大海我们走到城里和母亲谈面包")["input_ids"])
    assert len(ids) > 12
    shares = [(collate([{"input_ids": ids, "position": i}])["labels"] != IGNORED).float().mean() for i in range(100)]
    assert max(shares) < 0.6


def test_causal_labels(tiny_tokenizer):
    samples = [{"input_ids": np.arange(3, 3 + n), "position": 0} for n in (4, 2)]
    batch = CausalCollator(tiny_tokenizer, pad_to_multiple_of=8)(samples)
    assert batch["input_ids"].shape == (2, 8)
    assert batch["labels"].tolist() == [[3, 4, 5, 6, *[IGNORED] * 4], [3, 4, *[IGNORED] * 6]]
    assert batch["attention_mask"].sum(1).tolist() == [4, 2]


def test_collator_needs_a_mask_token(tiny_tokenizers):
    with pytest.raises(ValueError, match="no mask token"):
        MaskingCollator(tiny_tokenizers["sentencepiece_bpe"])
    with pytest.raises(ValueError, match="between 0 and 1"):
        MaskingCollator(tiny_tokenizers["unigram"], probability=1.5)


def test_find_text(tmp_path):
    import pyarrow
    import pyarrow.parquet

    (tmp_path / "deu_Latn.txt").write_text("eins\n\nzwei\n")
    with gzip.open(tmp_path / "deu_Latn-more.tsv.gz", "wt") as file:
        file.write("id\tdrei\n")
    (tmp_path / "swh").mkdir()
    pyarrow.parquet.write_table(pyarrow.table({"body": ["moja\nmbili", None, "tatu"]}), tmp_path / "swh" / "1.parquet")
    (tmp_path / "README.md").write_text("no text")
    (tmp_path / "x.jsonl").write_text('{"body": "un"}\n')
    with pytest.raises(ValueError, match="does not begin with a language"):
        find_text([tmp_path], column="body")
    (tmp_path / "x.jsonl").rename(tmp_path / "fra.jsonl")
    with pytest.raises(ValueError, match=r"1.parquet has no column 'text', but body"):
        find_text([tmp_path])
    texts = find_text([tmp_path], column="body")
    assert list(texts) == ["deu_Latn", "fra", "swh"]
    assert list(texts["deu_Latn"].lines()) == ["drei", "eins", "zwei"]
    assert list(texts["swh"].lines()) == ["moja", "mbili", "tatu"]
    assert list(texts["fra"].lines()) == ["un"]
    assert list(find_text([f"xyz={tmp_path / 'deu_Latn.txt'}"])["xyz"].lines()) == ["eins", "zwei"]


def test_data_sets(tmp_path):
    """A data set in a folder loads like one of the Hub."""
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(
        pyarrow.table({"text": ["moja\n\nmbili", "tatu"], "id": [1, 2]}), tmp_path / "a.parquet"
    )
    found = find_text(datasets=[f"swh={tmp_path}"])["swh"]
    assert list(found.lines()) == ["moja", "mbili", "tatu"]
    with pytest.raises(ValueError, match=r"doesn't say how many rows .* sampling_sizes"):
        found.characters()
    with pytest.raises(ValueError, match="holds int64, not text"):
        find_text([f"swh={tmp_path / 'a.parquet'}"], column="id")


def test_size_is_estimated_from_the_begin(tmp_path):
    line = "eine Zeile mit Umlauten äöü und einer Nummer "
    text = "".join(f"{line}{i * 7919 % 100_000}\n" for i in range(120_000))
    (tmp_path / "deu.txt").write_text(text, encoding="utf-8")
    with gzip.open(tmp_path / "eng.txt.gz", "wt", encoding="utf-8") as file:
        file.write(text)
    for language, text_found in find_text([tmp_path]).items():
        assert text_found.characters() == pytest.approx(len(text), rel=0.1), language
    assert find_text([make_small(tmp_path)])["swh"].characters() == 8


def make_small(folder: Path) -> Path:
    (folder / "swh.txt").write_text("moja äöü\n\n")
    return folder / "swh.txt"


def test_missing_and_empty_text(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"deu.txt is not a file"):
        find_text([tmp_path / "deu.txt"])
    (tmp_path / "deu.txt").write_text("")
    with pytest.raises(ValueError, match=r"deu.txt is empty"):
        find_text([tmp_path / "deu.txt"])
    (tmp_path / "deu.txt").write_text("\n \n")
    with pytest.raises(ValueError, match=r"deu has no text: .*deu.txt"):
        find_text([tmp_path / "deu.txt"])["deu"].characters()
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty has no text: files must end in"):
        find_text([tmp_path / "empty"])
    with pytest.raises(ValueError, match="name files or folders"):
        find_text()
    with pytest.raises(ValueError, match="write LANGUAGE=ID"):
        find_text(datasets=["wikimedia/wikipedia"])


def test_unreadable_text_names_file_and_line(tmp_path, tiny_tokenizers):
    (tmp_path / "deu.txt").write_bytes(b"gut\n" * 5 + b"\xff\xfe\n")
    texts = find_text([tmp_path / "deu.txt"])
    data = TrainingData(
        texts,
        Encoder(tiny_tokenizers["unigram"], LENGTH),
        MaskingCollator(tiny_tokenizers["unigram"]),
        LanguageSchedule({"deu": 1}),
        cache_dir=str(tmp_path / "cache"),
    )
    with pytest.raises(ValueError, match=r"deu.txt, line 6: not valid UTF-8"):
        data.prepare()


def test_changed_text_is_encoded_anew(tmp_path, tiny_tokenizers):
    file = tmp_path / "deu.txt"
    for text in ("eins zwei", "drei vier fünf"):
        file.write_text(text)
        data = make_data_of(file, tmp_path, tiny_tokenizers["unigram"])
        ids = tiny_tokenizers["unigram"](text)["input_ids"]
        batch = next(iter(data.batches(Share(1), 0, 1)))
        assert torch.where(batch["labels"] == IGNORED, batch["input_ids"], batch["labels"])[0].tolist() == ids


def make_data_of(file: Path, folder: Path, tokenizer) -> TrainingData:
    collate = MaskingCollator(tokenizer)
    schedule = LanguageSchedule({"deu": 1})
    return TrainingData(find_text([file]), Encoder(tokenizer, LENGTH), collate, schedule, cache_dir=str(folder / "c"))


def test_workspace_is_uneven():
    assert max(SIZES.values()) > 4 * min(SIZES.values())


def test_size_counts_text_not_markup(tmp_path):
    """Escapes, ids and fields weigh nothing, so that languages get the share of their text."""
    lines = ["起初神创造天地" * 5] * 40
    (tmp_path / "cmn.jsonl").write_text("".join(json.dumps({"id": "x" * 99, "text": line}) + "\n" for line in lines))
    (tmp_path / "deu.tsv").write_text("".join(f"kapitel-und-vers-{i}\t{line}\n" for i, line in enumerate(lines)))
    (tmp_path / "eng.txt").write_text("\n".join(lines))
    for text in find_text([tmp_path]).values():
        assert text.characters() == 40 * 35


def test_text_after_blank_rows_is_text(tmp_path):
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(
        pyarrow.table({"text": [""] * 1500 + ["moja", None, "mbili"]}), tmp_path / "swh.parquet"
    )
    found = find_text([tmp_path])["swh"]
    assert found.characters() == 9 and list(found.lines()) == ["moja", "mbili"]
