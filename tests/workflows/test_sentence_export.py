"""Masked language models as sentence encoders."""

import numpy as np
import pytest
import torch
from conftest import build_unigram
from sentence_encoders import make_sentence_encoder
from tiny_models import HIDDEN_SIZE, make_model
from transformers import CONFIG_MAPPING, AutoModel, AutoModelForMaskedLM
from typer.testing import CliRunner

import ofa_transformers as ofa
from ofa_transformers.cli import app
from ofa_transformers.evaluation import embed_texts
from ofa_transformers.evaluation.subjects import load_encoder
from ofa_transformers.models.sentence_modules import SentenceModules
from ofa_transformers.report import card_of_folder
from ofa_transformers.scoring.sentences import hidden_states_at
from ofa_transformers.utils.hub import PLACEHOLDER
from ofa_transformers.workflows.export.sentences import first_layers, sentence_encoder


SIZES = {
    "vocab_size": 120,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "pad_token_id": 1,
}
DISTILBERT = {"vocab_size": 120, "dim": 32, "n_layers": 3, "n_heads": 4, "hidden_dim": 48, "pad_token_id": 1}
DEBERTA = {**SIZES, "relative_attention": True, "position_buckets": 4, "pos_att_type": "p2c|c2p"}
MODERNBERT = {**SIZES, "bos_token_id": 0, "eos_token_id": 2, "cls_token_id": 0, "sep_token_id": 2}
TEXTS = ["the small house", "wir gehen in die Stadt", "bread and water and the old river"]


@pytest.mark.parametrize(
    ("family", "fields"),
    [
        *((name, SIZES) for name in ("bert", "roberta", "xlm-roberta", "electra", "mpnet", "rembert", "roformer")),
        ("albert", {**SIZES, "embedding_size": 16}),
        ("distilbert", DISTILBERT),
        ("deberta-v2", DEBERTA),
    ],
)
def test_the_lower_layers_give_the_states_that_the_whole_model_has_there(family, fields):
    torch.manual_seed(0)
    model = AutoModelForMaskedLM.from_config(CONFIG_MAPPING[family](**fields)).eval()
    ids = torch.randint(5, 120, (3, 9))
    attention = torch.ones_like(ids)
    attention[1, 5:] = 0
    encoder = first_layers(model.base_model, 2)
    assert encoder.config.num_hidden_layers == 2 and model.config.num_hidden_layers == 3
    with torch.no_grad(), hidden_states_at(model.base_model, 2, 3) as states:
        wanted, found = states(ids, attention), encoder(input_ids=ids, attention_mask=attention).last_hidden_state
    torch.testing.assert_close(found, wanted)
    for weight in encoder.parameters():  # a copy: training one leaves the other alone
        weight.data.zero_()
    assert model.get_input_embeddings().weight.abs().sum() > 0


def test_a_norm_after_the_last_layer_follows_the_layer_that_is_last_now():
    torch.manual_seed(0)
    model = AutoModelForMaskedLM.from_config(CONFIG_MAPPING["modernbert"](**MODERNBERT)).eval()
    ids = torch.randint(5, 120, (3, 9))
    encoder = first_layers(model.base_model, 2)
    assert len(encoder.config.layer_types) == 2
    with torch.no_grad(), hidden_states_at(model.base_model, 2, 3) as states:
        wanted = model.base_model.final_norm(states(ids, torch.ones_like(ids)))
        torch.testing.assert_close(encoder(input_ids=ids).last_hidden_state, wanted)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder, tokenizer = tmp_path_factory.mktemp("checkpoint"), build_unigram()
    sizes = {"vocab_size": len(tokenizer), "num_hidden_layers": 3}
    make_model("xlm-roberta", **sizes).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    for language, words in (("eng", "the house and the river"), ("deu", "das haus und der fluss")):
        lines = [" ".join(words.split()[n % 5 :]) + f" {n}\n" for n in range(40)]
        (folder / f"{language}.txt").write_text("".join(lines))
    return folder


def export(*arguments) -> str:
    result = CliRunner().invoke(app, ["export", *map(str, arguments), "--format", "sentence-transformers"])
    assert result.exit_code == 0, result.output
    return result.output


def test_a_factorized_masked_lm_becomes_a_folder_that_sentence_transformers_loads(checkpoint, text, tmp_path):
    said = export(checkpoint, "--text", text, "-o", tmp_path / "encoder")
    assert "the lower 2 of 3 layers" in said and "what tells 2 languages apart" in said
    subject = load_encoder(str(tmp_path / "encoder"), device="cpu")
    assert not isinstance(subject.model, ofa.OfaModel) and subject.model.config.num_hidden_layers == 2
    found = embed_texts(subject.model, subject.tokenizer, TEXTS, modules=subject.modules)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(3))
    # The mean of the whole model's states there, less one direction.
    whole = ofa.OfaForMaskedLM.from_pretrained(checkpoint).eval()
    modules = SentenceModules.of_means(HIDDEN_SIZE, 62)
    means = embed_texts(whole, subject.tokenizer, TEXTS, layer=2, modules=modules.only_pooling())
    plain = embed_texts(subject.model, subject.tokenizer, TEXTS, modules=subject.modules.only_pooling())
    torch.testing.assert_close(plain, means, atol=1e-5, rtol=1e-4)
    means = [
        embed_texts(
            whole, subject.tokenizer, (text / f"{code}.txt").read_text().splitlines(), layer=2, modules=modules
        )
        for code in ("eng", "deu")
    ]
    assert (means[0].mean(0) - means[1].mean(0)).norm() > 1e-3
    gap = [
        embed_texts(
            subject.model,
            subject.tokenizer,
            (text / f"{code}.txt").read_text().splitlines(),
            modules=subject.modules.without_normalization(),
        ).mean(0)
        for code in ("eng", "deu")
    ]
    torch.testing.assert_close(gap[0], gap[1], atol=1e-5, rtol=1e-4)
    st = pytest.importorskip(
        "sentence_transformers", reason="not installed: pip install 'ofa-transformers[sentence-transformers]'"
    )
    loaded = st.SentenceTransformer(str(tmp_path / "encoder"), device="cpu")
    np.testing.assert_allclose(loaded.encode(TEXTS), found.numpy(), atol=1e-5)
    assert loaded.max_seq_length == 62
    # And as the card says that a push of the folder makes.
    card = card_of_folder(tmp_path / "encoder")
    assert (card.data.library_name, card.data.pipeline_tag) == ("sentence-transformers", "sentence-similarity")
    names: dict = {}
    block = card.text.partition("```python\n")[2].partition("```")[0]
    exec(block.replace(PLACEHOLDER, str(tmp_path / "encoder")), names)
    assert names["vectors"].shape == (2, HIDDEN_SIZE)


def test_without_text_nothing_is_taken_out_and_a_layer_may_be_chosen(checkpoint, tmp_path):
    said = export(checkpoint, "--layer", 3, "-o", tmp_path / "encoder")
    assert "the lower 3 of 3 layers" in said and "Note: Sentence vectors keep what tells languages apart" in said
    assert not SentenceModules.read(tmp_path / "encoder").has_projection
    assert AutoModel.from_pretrained(tmp_path / "encoder").config.num_hidden_layers == 3


def test_what_is_no_masked_lm_is_refused_before_its_weights_are_read(checkpoint, tmp_path):
    def error_of(*arguments) -> str:
        result = CliRunner().invoke(app, ["export", *map(str, arguments), "-o", str(tmp_path / "out")])
        assert result.exit_code == 1 and not (tmp_path / "out").exists()
        return result.output

    form = ("--format", "sentence-transformers")
    make_sentence_encoder(tmp_path / "encoder", build_unigram(), "xlm-roberta-base")
    assert "is a sentence encoder already; leave --format out" in error_of(tmp_path / "encoder", *form)
    make_model("gpt2").config.save_pretrained(tmp_path / "decoder")
    assert "not of ofa-gpt2" in error_of(tmp_path / "decoder", *form)
    assert "layer=4, but the model has layers 1 to 3" in error_of(checkpoint, *form, "--layer", 4)
    assert "--layer is of --format sentence-transformers, not of safetensors" in error_of(checkpoint, "--layer", 2)


def test_weights_that_hang_on_the_number_of_layers_are_refused():
    config = CONFIG_MAPPING["esm"](**SIZES, position_embedding_type="rotary", mask_token_id=4)
    model = AutoModelForMaskedLM.from_config(config)
    with pytest.raises(ValueError, match="EsmModel can't be cut to 2 layers"):
        sentence_encoder(model, build_unigram())
