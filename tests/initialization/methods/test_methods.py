"""Every method fills M from what it needs; what it needs and doesn't get is named."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from adapted_models import make_source
from conftest import TEXT, word_tokenizer
from transformers import AutoModelForMaskedLM

from ofa_transformers import OfaInitializer
from ofa_transformers.initialization.methods import Donor, MethodInputs, find_method, methods, register_method
from ofa_transformers.initialization.settings import InitializationSettings
from ofa_transformers.mapping import TokenKind
from ofa_transformers.report import OfaReport


def make_inputs(tiny_tokenizers, word_vectors, source="wordpiece", target="unigram", **options) -> MethodInputs:
    tokenizer = tiny_tokenizers[source]
    generator = torch.Generator().manual_seed(3)
    return MethodInputs(
        tokenizer,
        tiny_tokenizers[target],
        len(tokenizer),
        embeddings=torch.randn(len(tokenizer), 12, generator=generator),
        word_vectors=word_vectors,
        target_text=TEXT,
        parallel_text=list(zip(TEXT[:2], TEXT[3:5])) * 4,
        donor=Donor(tiny_tokenizers[target], torch.randn(len(tiny_tokenizers[target]), 16, generator=generator)),
        settings=InitializationSettings(source_languages=["eng"], **options),
    )


def build(inputs, name, settings):
    return find_method(name).function(replace(inputs, settings=replace(inputs.settings, method=name)), **settings)


SETTINGS = {
    "omp": {"atoms": 4},
    "fitted": {"steps": 2},
    "trained-mapping": {"steps": 2},
    "focus": {"min_count": 1, "dimension": 8},
}


@pytest.mark.parametrize("target", ["unigram", "byte_bpe", "wordpiece"])
@pytest.mark.parametrize("name", methods())
def test_every_method_makes_a_sound_mapping(name, target, tiny_tokenizers, word_vectors):
    if name == "focus":
        pytest.importorskip("gensim")
    inputs = make_inputs(tiny_tokenizers, word_vectors, target=target)
    mapping = build(inputs, name, SETTINGS.get(name, {}))
    assert mapping.shape == inputs.shape
    assert mapping.settings["method"] == name
    assert mapping.weights.has_canonical_format or mapping.weights.has_sorted_indices
    sizes = np.diff(mapping.weights.indptr)
    assert (sizes[np.isin(mapping.kinds, (TokenKind.COPIED, TokenKind.SPECIAL))] == 1).all()
    assert (sizes[mapping.kinds == TokenKind.COMPOSED] >= 1).all()
    assert (sizes[mapping.kinds == TokenKind.FALLBACK] == 0).all()
    assert np.isfinite(mapping.weights.data).all()
    if name != "omp":  # whose coefficients are those of least squares
        sums = np.asarray(mapping.weights.sum(axis=1)).ravel()[mapping.kinds != TokenKind.FALLBACK]
        np.testing.assert_allclose(sums, 1, atol=1e-5)
    roles = inputs.target.roles
    assert all(mapping.kinds[roles[role]] == TokenKind.SPECIAL for role in ("unk", "pad", "mask"))
    rows = mapping.apply(inputs.embeddings, find_method(name).fallback)
    assert torch.isfinite(rows).all() and rows.shape == (inputs.shape[0], 12)
    again = build(make_inputs(tiny_tokenizers, word_vectors, target=target), name, SETTINGS.get(name, {}))
    assert (again.weights != mapping.weights).nnz == 0
    explained = mapping.explain(int(np.flatnonzero(mapping.kinds != TokenKind.SPECIAL)[20]))
    assert explained.reason


@pytest.mark.parametrize("name", [name for name, method in methods().items() if not method.needs])
def test_methods_that_need_no_vectors_do_without(name, tiny_tokenizers):
    inputs = MethodInputs(tiny_tokenizers["wordpiece"], tiny_tokenizers["unigram"], len(tiny_tokenizers["wordpiece"]))
    if name == "mixture":
        return  # needs what its parts need
    mapping = build(inputs, name, {})
    assert set(mapping.languages) == {""}


def test_what_is_missing_is_named_before_any_work():
    with pytest.raises(ValueError, match=r"method='omp' needs donor \(another model"):
        find_method("omp").check({"word_vectors"}, {})
    with pytest.raises(ValueError, match=r"'focus' needs target_text .* or word_vectors"):
        find_method("focus").check(set(), {})
    find_method("focus").check({"word_vectors"}, {"dimension": 8})
    with pytest.raises(ValueError, match="method='ofa' needs word_vectors"):  # what a method is built on needs
        find_method("mixture").check(set(), {})
    find_method("mixture").check(set(), {"parts": {"fvt": 1, "random": 1}})
    with pytest.raises(ValueError, match="has no setting colour; it has atoms"):
        find_method("omp").check({"donor"}, {"colour": 1})
    with pytest.raises(ValueError, match="method is 'magic', but must be one of"):
        find_method("magic")


def test_registration_refuses_what_is_wrong():
    with pytest.raises(ValueError, match="registered already"):
        register_method("fvt")(lambda inputs: None)
    with pytest.raises(ValueError, match="can't be a method's name"):
        register_method("no name")(lambda inputs: None)
    with pytest.raises(ValueError, match="needs has tea"):
        register_method("thirsty", needs=("tea",))(lambda inputs: None)
    with pytest.raises(ValueError, match="need defaults"):
        register_method("demanding")(lambda inputs, much: None)


def test_an_entry_point_of_another_package_is_a_method(monkeypatch, tiny_tokenizers):
    from ofa_transformers.initialization.methods import registry

    class Entry:
        name = "theirs"

        def load(self):
            return lambda inputs: find_method("random").function(inputs)

    monkeypatch.setattr(registry, "entry_points", lambda group: [Entry()] if group == registry.ENTRY_POINTS else [])
    monkeypatch.setattr(registry, "_METHODS", dict(registry._METHODS))
    assert "theirs" in methods()


def test_fvt_is_the_mean_of_the_pieces():
    source, target = word_tokenizer("ab", "c"), word_tokenizer("ab c", "ab")
    inputs = MethodInputs(source, target, len(source))
    mapping = build(inputs, "fvt", {})
    new = inputs.target.ids["▁ab c"]
    row = mapping.weights[[new]].toarray()[0]
    assert row[inputs.source.ids["▁ab"]] == row[inputs.source.ids["▁c"]] == 0.5


def test_sparsemax_is_the_projection_onto_the_simplex():
    from ofa_transformers.initialization.methods.focus import sparsemax

    scores = torch.rand(7, 900, generator=torch.Generator().manual_seed(0)) * 2 - 1
    scores[0] = 0.5  # all weights alike: the support is everything
    weights, index = sparsemax(scores)
    dense = torch.zeros(7, 900).scatter_(1, index, weights)
    for row, z in zip(dense.double(), scores.double()):
        ordered = z.sort(descending=True).values
        size = max(k for k in range(1, 901) if 1 + k * ordered[k - 1] > ordered[:k].sum())
        threshold = (ordered[:size].sum() - 1) / size
        torch.testing.assert_close(row, (z - threshold).clamp(min=0), atol=1e-6, rtol=0)
        assert abs(row.sum() - 1) < 1e-5


def test_sparse_codes_are_those_of_plain_matching_pursuit():
    from ofa_transformers.initialization.methods.omp import sparse_codes

    generator = torch.Generator().manual_seed(1)
    points, targets = torch.randn(40, 10, generator=generator), torch.randn(6, 10, generator=generator)
    indices, coefficients = sparse_codes(targets, points, 5)
    for target, index, found in zip(targets.double(), indices, coefficients):
        chosen: list[int] = []
        left = target
        for _ in range(5):
            products = (points.double() @ left).abs()
            products[chosen] = -1
            chosen.append(int(products.argmax()))
            solution = torch.linalg.lstsq(points[chosen].double().T, target[:, None]).solution[:, 0]
            left = target - points[chosen].double().T @ solution
        assert index.tolist() == chosen
        torch.testing.assert_close(found.double(), solution, atol=1e-4, rtol=1e-4)


def test_alignment_finds_a_cipher():
    words = [f"w{i}" for i in range(12)]
    source, target = word_tokenizer(*words), word_tokenizer(*(word.upper() + "x" for word in words))
    generator = np.random.default_rng(0)
    lines = [[words[i] for i in generator.choice(12, 4, replace=False)] for _ in range(60)]
    pairs = [(" ".join(line), " ".join(word.upper() + "x" for word in reversed(line))) for line in lines]
    inputs = MethodInputs(source, target, len(source), parallel_text=pairs)
    mapping = build(inputs, "alignment", {})
    for word in words:
        row = mapping.weights[[inputs.target.ids[f"▁{word.upper()}x"]]].toarray()[0]
        assert row.argmax() == inputs.source.ids[f"▁{word}"] and row.max() > 0.9


def test_resize_draws_near_the_mean(tiny_tokenizers):
    inputs = MethodInputs(tiny_tokenizers["wordpiece"], tiny_tokenizers["unigram"], len(tiny_tokenizers["wordpiece"]))
    rows = torch.randn(inputs.num_source_rows, 6, generator=torch.Generator().manual_seed(0)) * 3 + 1
    mapping = build(inputs, "resize", {})
    made = mapping.apply(rows, "multivariate_normal")[mapping.kinds == TokenKind.FALLBACK]
    torch.testing.assert_close(made.mean(0), rows.mean(0), atol=1e-3, rtol=0)
    assert 0 < made.std(0).max() < 1e-3
    share = np.cov(made.numpy().T) / (1e-9 * np.cov(rows.numpy().T))
    assert 0.7 < np.diag(share).mean() < 1.4


# ------------------------------------------------------------------------------------------------ through the initializer

NEEDED = {
    "target_text": TEXT,
    "parallel_text": list(zip(TEXT[:2], TEXT[3:5])) * 4,
}


def test_a_donor_whose_weights_are_no_numbers_is_named(tiny_tokenizers, tmp_path):
    donor = make_source("bert", tiny_tokenizers["wordpiece"])
    with torch.no_grad():
        donor.get_input_embeddings().weight[7, 3] = math.nan
    donor.save_pretrained(tmp_path / "donor")
    tiny_tokenizers["wordpiece"].save_pretrained(tmp_path / "donor")
    source = make_source("xlm-roberta", tiny_tokenizers["unigram"])
    for given, name in (
        (tmp_path / "donor", "/donor'"),
        ((donor, tiny_tokenizers["wordpiece"]), "'BertForMaskedLM'"),
    ):
        with pytest.raises(ValueError, match=f"donor: .*word_embeddings.* of '?.*{name} has NaN or infinite values"):
            OfaInitializer.from_pretrained(
                source,
                source_tokenizer=tiny_tokenizers["unigram"],
                target_tokenizer=tiny_tokenizers["wordpiece"],
                method="omp",
                donor=given,
            )


@pytest.mark.parametrize("embedding_size", [None, 8])
@pytest.mark.parametrize("name", methods())
def test_every_method_makes_a_checkpoint_that_loads(name, embedding_size, tiny_tokenizers, word_vectors, tmp_path):
    if name == "focus":
        pytest.importorskip("gensim")
    source = make_source("xlm-roberta", tiny_tokenizers["unigram"])
    donor = make_source("bert", tiny_tokenizers["wordpiece"])
    needs = {need for entry in find_method(name).needs for need in ([entry] if isinstance(entry, str) else entry[:1])}
    given = {need: NEEDED[need] for need in needs & set(NEEDED)}
    given |= {"donor": (donor, tiny_tokenizers["wordpiece"])} if "donor" in needs else {}
    given |= {"word_vectors": word_vectors} if needs & {"word_vectors"} or name in ("mixture", "fitted") else {}
    adapted = OfaInitializer.from_pretrained(
        source,
        source_tokenizer=tiny_tokenizers["unigram"],
        target_tokenizer=tiny_tokenizers["wordpiece"],
        method=name,
        method_settings=SETTINGS.get(name, {}),
        embedding_size=embedding_size,
        **given,
    )
    assert adapted.report.settings["method"] == name
    assert adapted.report.settings["fallback"] == find_method(name).fallback
    adapted.save_pretrained(tmp_path / "out")
    again = AutoModelForMaskedLM.from_pretrained(tmp_path / "out")
    ids = torch.tensor([tiny_tokenizers["wordpiece"](TEXT[0])["input_ids"]])
    with torch.no_grad():
        torch.testing.assert_close(again.eval()(ids).logits, adapted.model.eval()(ids).logits)
    settings = InitializationSettings.from_report(OfaReport.load(tmp_path / "out"))
    assert settings.method == name and settings.method_settings == SETTINGS.get(name)


def test_the_initializer_names_what_a_method_lacks(tiny_tokenizers, word_vectors):
    source = make_source("bert", tiny_tokenizers["wordpiece"])
    options = {"source_tokenizer": tiny_tokenizers["wordpiece"], "target_tokenizer": tiny_tokenizers["unigram"]}
    with pytest.raises(ValueError, match="method='ofa' needs word_vectors"):
        OfaInitializer.from_pretrained(source, **options)
    with pytest.raises(ValueError, match="method='alignment' needs parallel_text"):
        OfaInitializer.from_pretrained(source, **options, word_vectors=word_vectors, method="alignment")
    with pytest.raises(ValueError, match="item 0 is 'a line'"):
        OfaInitializer.from_pretrained(source, **options, method="alignment", parallel_text=["a line"])
    with pytest.raises(ValueError, match="authors_compatible=True gives what the published OFA gives"):
        OfaInitializer.from_pretrained(source, **options, method="fvt", authors_compatible=True)
    with pytest.raises(ValueError, match=r"language_offset=0\.2 needs word vectors"):
        OfaInitializer.from_pretrained(source, **options, method="fvt", language_offset=0.2)


def test_the_report_of_a_method_without_cosines_holds_numbers_only(tiny_tokenizers, tmp_path):
    source = make_source("bert", tiny_tokenizers["wordpiece"])
    adapted = OfaInitializer.from_pretrained(
        source,
        source_tokenizer=tiny_tokenizers["wordpiece"],
        target_tokenizer=tiny_tokenizers["unigram"],
        method="fvt",
    )
    adapted.save_pretrained(tmp_path / "out")
    assert "NaN" not in (tmp_path / "out" / "ofa_report.json").read_text(encoding="utf-8")
