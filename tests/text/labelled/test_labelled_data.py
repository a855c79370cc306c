"""Labelled sentences from files, folders, data sets and labels by segment."""

import gzip
import json

import pytest
import zstandard
from transformers.utils import logging

from ofa_transformers.text.labelled.examples import Examples
from ofa_transformers.text.labelled.files import read_labelled_datasets, read_labelled_files


ENTITIES = "Anna B-PER\nPeter I-PER\nwent O\n\nBerlin B-LOC\n"
WORDS, TAGS = [["Anna", "Peter", "went"], ["Berlin"]], [["B-PER", "I-PER", "O"], ["B-LOC"]]
CONLLU = """# sent_id = 1
# a remark
1-2\tvámonos\t_\t_\t_\t_\t_\t_\t_\t_
1\tvamos\tir\tVERB\t_\t_\t0\troot\t_\t_
2\tnos\tnosotros\tPRON\t_\t_\t1\tobj\t_\t_
2.1\tnada\tnada\tPRON\t_\t_\t_\t_\t_\t_

1\t#\t#\tSYM\t_\t_\t0\troot\t_\t_
"""


def read_one(path, text, kind="tagging", **options):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_labelled_files([path], kind, **options).get("swa", "train")


@pytest.fixture
def warnings(monkeypatch):
    """What the reader warned of."""
    found = []
    for module in ("files", "entities"):
        logger = logging.get_logger(f"ofa_transformers.text.labelled.{module}")
        monkeypatch.setattr(logger, "warning", found.append)
    return found


@pytest.mark.parametrize(
    "pack", [bytes, gzip.compress, zstandard.ZstdCompressor().compress], ids=["plain", "gz", "zst"]
)
def test_reads_columns_plain_and_packed(tmp_path, pack):
    examples = read_one(tmp_path / "swa.train.conll", pack(ENTITIES.encode()))
    assert (examples.inputs, examples.labels, examples.lines) == (WORDS, TAGS, [[1, 2, 3], [5]])
    assert examples.data.startswith("swa.train.conll (sha256 ")


def test_columns_may_be_tabs_with_spaces_in_words_and_more_than_two(tmp_path):
    text = "-DOCSTART- -X- O O\n\n# id 7 domain=en\n12 000\tCD\tx\tO\nLagos\tNNP\tx\tB-LOC\n"
    examples = read_one(tmp_path / "swa.train.conll", text)
    assert (examples.inputs, examples.labels) == ([["12 000", "Lagos"]], [["O", "B-LOC"]])


def test_wikiann_prefixes_go_only_where_all_words_have_one(tmp_path):
    prefixed = read_one(tmp_path / "swa.train.tsv", "sw:Anna\tB-PER\nsw::\tO\n")
    assert prefixed.inputs == [["Anna", ":"]]
    some = read_one(tmp_path / "swa.train.tsv", "sw:Anna\tB-PER\nwent\tO\n")
    assert some.inputs == [["sw:Anna", "went"]]


def test_reads_words_of_conllu(tmp_path):
    examples = read_one(tmp_path / "swa-ud-train.conllu", CONLLU)
    assert (examples.inputs, examples.labels) == ([["vamos", "nos"], ["#"]], [["VERB", "PRON"], ["SYM"]])
    assert examples.lines == [[4, 5], [8]]


def test_other_schemes_become_iob2(tmp_path):
    iobes = "Anna B-PER\nPeter E-PER\nBerlin S-LOC\nsaw O\n"
    iob1 = "Anna I-PER\nPeter I-PER\nsaw O\nMary I-PER\nAnna B-PER\n"
    bilou = iobes.replace("E-", "L-").replace("S-", "U-")
    for text in (iobes, bilou):
        assert read_one(tmp_path / "swa.train.conll", text).labels == [["B-PER", "I-PER", "B-LOC", "O"]]
    assert read_one(tmp_path / "swa.train.conll", iob1).labels == [["B-PER", "I-PER", "O", "B-PER", "B-PER"]]


def test_a_few_tags_out_of_scheme_are_tolerated_and_many_are_not(tmp_path, warnings):
    regular = "Anna B-PER\nPeter I-PER\n\n" * 40
    examples = read_one(tmp_path / "swa.train.conll", regular + "Berlin I-LOC\n")
    assert examples.labels[-1] == ["B-LOC"]
    assert "1 tags break IOB2, as 'I-LOC' in line 121" in warnings[0]
    with pytest.raises(ValueError, match=r"mixes the schemes IOB2 and IOB1: .*3 tags of 43 .*'I-LOC' in line 121"):
        read_one(tmp_path / "swa.train.conll", regular + "Berlin I-LOC\n\n" * 3)
    with pytest.raises(ValueError, match=r"mixes the schemes IOB2 and IOBES: .*'S-LOC' in line 121"):
        read_one(tmp_path / "swa.train.conll", regular + "Berlin S-LOC\n\n" * 3)
    with pytest.raises(ValueError, match=r"mixes the tags of IOBES \(E-, S-\) and BILOU"):
        read_one(tmp_path / "swa.train.conll", "Berlin S-LOC\nLagos U-LOC\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Anna B-PER\nPeter\n", r"line 2: expected a word and its tag, but found 'Peter'"),
        ("Anna\n", r"line 1: expected a word and its tag"),
        ("a x O\nb O\n", r"line 2: expected 3 columns, as in the first line"),
        ("Anna\tB-PER\n\tO\n", r"line 2: expected a word and its tag"),
        ("Anna B-PER\nwent X\n", r"line 2: .*these are entities, but 'X' is neither O"),
        (CONLLU.replace("# a remark\n", "").replace("SYM", "_"), r"line 7: the word '#' has no UPOS"),
        (CONLLU.replace("# a remark\n", "").replace("2.1", "2+1"), r"line 5: '2\+1' is no ID of CoNLL-U"),
        ("\n\n", r"swa\.train\.conll has no labelled sentence"),
        (b"Anna B-PER\n\xff O\n", r"line 2: not valid UTF-8"),
    ],
)
def test_malformed_columns_are_named(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        read_one(tmp_path / "swa.train.conll", text)


def test_reads_json_lines_of_words(tmp_path):
    path = tmp_path / "swa.train.jsonl"
    rows = "".join(json.dumps({"tokens": words, "ner_tags": tags}) + "\n" for words, tags in zip(WORDS, TAGS))
    examples = read_one(path, rows)
    assert (examples.inputs, examples.labels) == (WORDS, TAGS)
    with pytest.raises(ValueError, match="line 1: 3 words, but 1 tags; each needs one"):
        read_one(path, json.dumps({"tokens": WORDS[0], "tags": TAGS[1]}))
    with pytest.raises(ValueError, match="line 1: expected a list of words in 'tokens', found 'Anna'"):
        read_one(path, json.dumps({"tokens": "Anna", "tags": TAGS[1]}))
    with pytest.raises(ValueError, match=r"has no column upos; name one of tokens, tags with label_column"):
        read_one(path, json.dumps({"tokens": [], "tags": []}), label_column="upos")
    with pytest.raises(ValueError, match=r"has several of ner_tags, upos.*with label_column"):
        read_one(path, json.dumps({"tokens": ["a"], "ner_tags": ["O"], "upos": ["X"]}))
    with pytest.raises(ValueError, match="line 1: not valid JSON"):
        read_one(path, "{")


def test_reads_tables_of_texts(tmp_path):
    expected = (['say "so"', "it, was"], ["Sin", "Faith"])
    texts = {
        "swa.train.tsv": 'text\tlabel\nsay "so"\tSin\nit, was\tFaith\n',
        "swa_train.tsv": 'b.1\tSin\tsay "so"\nb.2\tFaith\tit, was\n',
        "swa.train.csv": 'sentence,label,other\n"say ""so""",Sin,1\n"it, was",Faith,2\n',
        "swa.train.jsonl": '{"text": "say \\"so\\"", "labels": "Sin"}\n{"text": "it, was", "labels": "Faith"}\n',
    }
    for name, text in texts.items():
        examples = read_one(tmp_path / name, text, "classification")
        assert (examples.inputs, examples.labels) == expected
    named = read_one(
        tmp_path / "swa.train.tsv", "verse\ttopic\nx\t3\n", "classification", text_column="verse", label_column="topic"
    )
    assert named.labels == ["3"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("swa.train.tsv", "x\tSin\n", "line 1: the first line must name the columns, 'text' and 'label'"),
        ("swa.train.tsv", "text\tlabel\nx\n", "line 2: 1 columns, but there should be 2: text, label"),
        ("swa.train.tsv", "text\tlabel\nx\tSin\n\t\nx\t \n", r"line 4: ' ' in 'label' is no label"),
        ("swa.train.csv", "text,label\n,Sin\n", "line 2: expected text in 'text', but found ''"),
        ("swa.train.tsv", "text\tlabel\n", "has no labelled sentence"),
        ("swa.train.jsonl", "[1]\n", "line 1: expected an object with text and label"),
        ("swa.train.jsonl", '{"text": "x", "label": null}\n', "line 1: None in 'label' is no label"),
    ],
)
def test_malformed_tables_are_named(tmp_path, name, text, message):
    with pytest.raises(ValueError, match=message):
        read_one(tmp_path / name, text, "classification")


def test_names_of_files_tell_language_and_split(tmp_path, warnings):
    names = {
        "swa.train.conll.gz": ("swa", "train"),
        "en_ewt-ud-dev.conllu": ("en_ewt", "dev"),
        "deu_Latn_test.txt": ("deu_Latn", "test"),
        "train-zh-min-nan.tsv": ("zh-min-nan", "train"),
        "yor/validation": ("yor", "dev"),
        "yor/test.txt": ("yor", "test"),
    }
    for name in (*names, "LICENSE", "README.md", ".hidden.train.txt", "notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(ENTITIES)
    data = read_labelled_files([tmp_path], "tagging")
    assert {(language, split) for language in data.languages for split in data.examples[language]} == set(
        names.values()
    )
    assert "passed over notes.txt" in warnings[0] and "LICENSE" not in warnings[0]
    only = read_labelled_files([tmp_path], "tagging", languages=["yor"])
    assert only.languages == ["yor"]
    with pytest.raises(ValueError, match=r"has no file of hau, ibo; it has deu_Latn, en_ewt, swa, yor, zh-min-nan"):
        read_labelled_files([tmp_path], "tagging", languages=["hau", "yor", "ibo"])
    with pytest.raises(ValueError, match="doesn't tell language and split"):
        read_labelled_files([tmp_path / "notes.txt"], "tagging")
    with pytest.raises(FileNotFoundError, match="nowhere are not there"):
        read_labelled_files([tmp_path / "nowhere"], "tagging")
    (tmp_path / "swa-train.txt").write_text(ENTITIES)
    with pytest.raises(ValueError, match="are both train of 'swa'"):
        read_labelled_files([tmp_path], "tagging")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"No file in .*empty has a name that tells"):
        read_labelled_files([tmp_path / "empty"], "tagging")


def test_files_by_language_and_split(tmp_path):
    (tmp_path / "a").write_text(ENTITIES)
    data = read_labelled_files({"swa": {"test": tmp_path / "a"}}, "tagging")
    assert data.get("swa", "test").inputs == WORDS
    with pytest.raises(ValueError, match="has no 'dev' split of 'swa', but test"):
        data.get("swa", "dev")
    with pytest.raises(ValueError, match="has no language 'deu', but swa"):
        data.get("deu", "test")
    with pytest.raises(FileNotFoundError, match="b are not there"):
        read_labelled_files({"swa": {"test": tmp_path / "b"}}, "tagging")


def test_labels_outside_the_known_ones_are_named(tmp_path):
    examples = read_one(tmp_path / "swa.train.conll", ENTITIES)
    with pytest.raises(
        ValueError, match=r"swa\.train\.conll, line 5: the label 'B-LOC' is not one of x, which has O, B-PER"
    ):
        examples.check_labels(["O", "B-PER", "I-PER"], "x")


def test_sentences_and_labels_must_be_as_many():
    with pytest.raises(ValueError, match="2 sentences, but 1 labels"):
        Examples(["a", "b"], ["x"], "here", [1])
    with pytest.raises(ValueError, match="here, line 3: 2 words, but 1 tags"):
        Examples([["a", "b"]], [["O"]], "here", [[3]])


def test_data_sets_keep_the_names_of_their_classes(tmp_path):
    from datasets import ClassLabel, Dataset, Features, List, Value

    names = ClassLabel(names=["O", "B-PER", "I-PER", "B-LOC", "I-LOC"])
    tags = [[names.str2int(tag) for tag in sentence] for sentence in TAGS]
    features = Features({"tokens": List(Value("string")), "ner_tags": List(names)})
    (tmp_path / "ner").mkdir()
    for split in ("train", "validation"):
        rows = Dataset.from_dict({"tokens": WORDS, "ner_tags": tags}, features=features)
        rows.to_parquet(tmp_path / "ner" / f"{split}.parquet")
    data = read_labelled_datasets([f"swa={tmp_path / 'ner'}"], "tagging")
    assert data.name == "ner" and sorted(data.examples["swa"]) == ["dev", "train"]
    assert (data.get("swa", "dev").inputs, data.get("swa", "dev").labels) == (WORDS, TAGS)
    with pytest.raises(ValueError, match="'ner' has no language; write LANGUAGE=ID"):
        read_labelled_datasets(["ner"], "tagging")
    with pytest.raises(ValueError, match="two data sets of 'swa'"):
        read_labelled_datasets([f"swa={tmp_path / 'ner'}"] * 2, "tagging")


def test_reads_the_real_data(shared):
    ud = read_labelled_files([shared / "data/ud"], "tagging")
    assert len(ud.get("en_ewt", "dev")) == 2001 and len(ud.get("uk_iu", "test").label_set()) == 17
    swahili = read_labelled_files([shared / "data/masakhaner"], "tagging", languages=["swa"]).get("swa", "dev")
    assert len(swahili) == 300 and "B-LOC" in swahili.label_set()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("deu.train.csv", 'text,label\n"' + "x" * 140_000 + '",a\n', "line 2: not valid CSV .field larger than"),
        ("deu.train.csv", "text,label\na\rb,c\n", "line 2: not valid CSV .new-line character"),
        ("deu.train.csv", "text,label\ra,b\rc,d\r", "no line breaks but carriage returns"),
        ("deu.train.jsonl", "[" * 100_000, "line 1: JSON that is nested too deeply"),
        ("deu.train.parquet", "PAR1nothingPAR1", "damaged or not a Parquet file"),
    ],
)
def test_what_the_formats_cannot_hold_is_one_line(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content.encode())
    with pytest.raises(ValueError, match=message) as error:
        read_labelled_files([tmp_path / name], "classification")
    assert str(tmp_path / name) in str(error.value) and "\n" not in str(error.value)


def test_a_field_of_tsv_may_be_long(tmp_path):
    (tmp_path / "deu.train.tsv").write_text("text\tlabel\n" + "x" * 140_000 + '\ta\n"b\tc\n')
    examples = read_labelled_files([tmp_path / "deu.train.tsv"], "classification").examples["deu"]["train"]
    assert [len(text) for text in examples.inputs] == [140_000, 2]
