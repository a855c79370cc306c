"""Adapted models where people use models: each row of docs/compatibility.md, on tiny models, offline."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import build_byte_bpe
from safetensors.torch import load_file
from tiny_models import make_config
from tokenizers import Tokenizer
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForMaskedLM, pipeline

import ofa_transformers as ofa
from ofa_transformers.evaluation import evaluate_retrieval
from ofa_transformers.scoring.causal_lm import score_causal_lm
from ofa_transformers.text.parallel import ParallelText


TEXTS = [
    "das Haus am Fluss", "die Mutter und das Kind", "der Fluss ist alt", "ein altes Haus", "das Kind am Fluss",
    "die alte Mutter", "der Tag und die Nacht", "ein Tag am Haus",
]  # fmt: skip


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """A factorized masked LM of XLM-R's style with its tokenizer."""
    folder, tokenizer = tmp_path_factory.mktemp("encoder"), build_byte_bpe()
    torch.manual_seed(0)
    config = make_config("xlm-roberta", vocab_size=len(tokenizer), max_position_embeddings=80)
    ofa.OfaForMaskedLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def decoder(tmp_path_factory):
    """A factorized Llama with a tokenizer whose text begins with the bos token."""
    from tokenizers import processors

    folder, tokenizer = tmp_path_factory.mktemp("decoder"), build_byte_bpe()
    begin = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 0)])
    tokenizer.backend_tokenizer.post_processor = begin
    tokenizer.model_max_length = 64
    torch.manual_seed(0)
    ofa.OfaLlamaForCausalLM(make_config("llama", vocab_size=len(tokenizer))).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_sentence_transformers_loads_trains_and_saves(encoder, tmp_path):
    st = pytest.importorskip(
        "sentence_transformers", reason="not installed: pip install 'ofa-transformers[sentence-transformers]'"
    )
    from datasets import Dataset
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    body = Transformer(str(encoder))
    model = st.SentenceTransformer(modules=[body, Pooling(32, pooling_mode="cls")], device="cpu")
    before = model.encode(TEXTS)
    pairs = Dataset.from_dict({"anchor": TEXTS, "positive": TEXTS[::-1]})
    arguments = st.SentenceTransformerTrainingArguments(
        str(tmp_path / "run"), max_steps=2, report_to="none", use_cpu=True, learning_rate=1e-2
    )
    loss = MultipleNegativesRankingLoss(model)
    st.SentenceTransformerTrainer(model, arguments, train_dataset=pairs, loss=loss).train()
    after = model.encode(TEXTS)
    assert np.abs(after - before).max() > 1e-3
    model.save(str(tmp_path / "saved"))
    again = st.SentenceTransformer(str(tmp_path / "saved"), device="cpu")
    np.testing.assert_allclose(again.encode(TEXTS), after, atol=1e-5)
    assert again[1].pooling_mode == "cls"
    assert isinstance(AutoModel.from_pretrained(tmp_path / "saved"), ofa.OfaModel)


def test_mteb_finds_what_ofa_evaluate_finds(encoder, tmp_path):
    """Its bitext task on local data, offline."""
    mteb = pytest.importorskip("mteb", reason="not installed: pip install mteb")
    st = pytest.importorskip("sentence_transformers", reason="not installed: pip install sentence-transformers")
    from datasets import Dataset, DatasetDict
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    english = [text[::-1] for text in TEXTS]

    class Local(mteb.AbsTask if not hasattr(mteb, "abstasks") else mteb.abstasks.AbsTaskBitextMining):
        metadata = mteb.TaskMetadata(
            name="LocalBitext", description="Local verses", dataset={"path": "local", "revision": "1"},
            reference=None, type="BitextMining", category="t2t", modalities=["text"], eval_splits=["test"],
            eval_langs=["deu-Latn", "eng-Latn"], main_score="accuracy", date=None, domains=None, task_subtypes=None,
            license=None, annotations_creators=None, dialect=None, sample_creation=None, bibtex_citation="",
        )  # fmt: skip

        def load_data(self, **kwargs):
            self.dataset = DatasetDict({"test": Dataset.from_dict({"sentence1": TEXTS, "sentence2": english})})
            self.data_loaded = True

    body = Transformer(str(encoder))
    model = st.SentenceTransformer(modules=[body, Pooling(32, pooling_mode="mean")], device="cpu")
    found = mteb.evaluate(model, [Local()], cache=None)
    accuracy = found.task_results[0].scores["test"][0]["accuracy"]
    vectors = model.encode(TEXTS), model.encode(english)
    queries, candidates = (torch.nn.functional.normalize(torch.tensor(side), dim=1) for side in vectors)
    expected = ((queries @ candidates.T).argmax(1) == torch.arange(len(TEXTS))).double().mean().item()
    assert accuracy == pytest.approx(expected)
    # `ofa evaluate` reads the pooling that lies with the model.
    model.save(str(tmp_path))
    text = ParallelText("deu", TEXTS, english, "local")
    ours = evaluate_retrieval([tmp_path], [text], center=False, top=[1], device="cpu")
    assert next(item.value for item in ours if item.metric == "top-1 to English") == pytest.approx(accuracy)


def test_lm_eval_gives_our_perplexity(decoder):
    pytest.importorskip("lm_eval", reason="not installed: pip install lm-eval")
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    # By default it also predicts the bos token that the tokenizer writes, from another one before it.
    model = HFLM(pretrained=str(decoder), device="cpu", dtype="float32", batch_size=1, add_bos_token=False)
    requests = [Instance("loglikelihood_rolling", {}, (text,), number) for number, text in enumerate(TEXTS)]
    theirs = [-score for score in model.loglikelihood_rolling(requests, disable_tqdm=True)]
    ours = score_causal_lm(model.model, model.tokenizer, TEXTS)
    np.testing.assert_allclose([score.nats for score in ours], theirs, rtol=1e-4)


def test_trl_fine_tunes_an_adapted_decoder(decoder, tmp_path):
    """SFTTrainer multiplies with the head's weight itself: it is shown the product of the two factors."""
    trl = pytest.importorskip("trl", reason="not installed: pip install trl")
    from datasets import Dataset
    from transformers import AutoTokenizer

    losses, tables = {}, {}
    for kind in ("dense", "factorized"):
        model = AutoModelForCausalLM.from_pretrained(decoder)
        if kind == "dense":
            model = model.to_dense()
        else:
            head = model.get_output_embeddings()
            # fmt: off
            model.get_output_embeddings = lambda head=head: SimpleNamespace(weight=head.primitives(head.weight), bias=head.bias)
            # fmt: on
        arguments = trl.SFTConfig(
            str(tmp_path / kind), max_steps=2, report_to="none", use_cpu=True, max_length=32, learning_rate=1e-2,
            bf16=False, gradient_checkpointing=False, logging_steps=1,
        )  # fmt: skip
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        texts, tokenizer = Dataset.from_dict({"text": TEXTS}), AutoTokenizer.from_pretrained(decoder)
        trainer = trl.SFTTrainer(model, args=arguments, train_dataset=texts, processing_class=tokenizer)
        trainer.train()
        trainer.save_model(str(tmp_path / "saved" / kind))
        again = AutoModelForCausalLM.from_pretrained(tmp_path / "saved" / kind)
        assert type(again).__name__ == ("LlamaForCausalLM" if kind == "dense" else "OfaLlamaForCausalLM")
        after = again.state_dict()
        assert set(after) == set(before) and not any(torch.equal(after[name], before[name]) for name in before)
        losses[kind] = [row["loss"] for row in trainer.state.log_history if "loss" in row]
        tables[kind] = again.get_input_embeddings()
    assert losses["factorized"][0] == pytest.approx(losses["dense"][0], rel=1e-4)
    assert losses["factorized"][1] < losses["factorized"][0]
    assert tables["factorized"].weight.shape[1] < tables["dense"].weight.shape[1]


@pytest.mark.parametrize("part", ["modules", "tokens"])
def test_peft_trains_embeddings_beside_lora(encoder, part, tmp_path):
    peft = pytest.importorskip("peft", reason="not installed: pip install 'ofa-transformers[peft]'")
    model = AutoModelForMaskedLM.from_pretrained(encoder)
    rows = [100, 101]
    options = (
        {"modules_to_save": ["word_embeddings"]} if part == "modules" else {"trainable_token_indices": {"word_embeddings": rows}}
    )  # fmt: skip
    wrapped = peft.get_peft_model(model, peft.LoraConfig(target_modules=["query", "value"], r=2, **options))
    ids = torch.tensor([[0, 100, 101, 102, 2]])
    optimizer = torch.optim.SGD((p for p in wrapped.parameters() if p.requires_grad), lr=1.0)
    wrapped(input_ids=ids, labels=ids).loss.backward()
    optimizer.step()
    expected = wrapped.eval()(input_ids=ids).logits
    wrapped.save_pretrained(tmp_path)
    again = peft.PeftModel.from_pretrained(AutoModelForMaskedLM.from_pretrained(encoder), tmp_path).eval()
    torch.testing.assert_close(again(input_ids=ids).logits, expected, atol=1e-5, rtol=1e-4)
    base = AutoModelForMaskedLM.from_pretrained(encoder).eval()
    assert not torch.allclose(base(input_ids=ids).logits, expected, atol=1e-4)


def test_pipelines_generate(decoder):
    generated = pipeline("text-generation", model=str(decoder), device="cpu")("das Haus", max_new_tokens=3)
    assert generated[0]["generated_text"].startswith("das Haus")


# What text-embeddings-inference 1.7.2 reads of config.json for BERT, RoBERTa, XLM-R and CamemBERT, and doesn't do without
# (backends/candle/src/models/bert.rs, router/src/lib.rs).
_TEI_NUMBERS = (
    "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_dropout_prob",
    "max_position_embeddings", "type_vocab_size", "initializer_range", "layer_norm_eps", "pad_token_id",
)  # fmt: skip


def test_exports_for_servers_load_without_the_package_they_lack(decoder, encoder, tmp_path):
    """What vLLM and text-embeddings-inference read of a checkpoint: a stock class, its settings, its tensors."""
    for auto, folder, stock in (
        (AutoModelForCausalLM, decoder, "LlamaForCausalLM"),
        (AutoModel, encoder, "XLMRobertaModel"),
    ):
        model = auto.from_pretrained(folder).eval()
        dense = model.to_dense().eval()
        assert type(dense).__name__ == stock and "embedding_size" not in dense.config.to_dict()
        assert type(dense).__module__.startswith("transformers.")
        ids = torch.tensor([[0, 100, 101, 102, 2]])
        torch.testing.assert_close(dense(ids)[0], model(ids)[0], atol=1e-4, rtol=1e-3)
        dense.save_pretrained(tmp_path / stock)
        config = json.loads((tmp_path / stock / "config.json").read_text())
        assert config["architectures"] == [stock] and "auto_map" not in config
        tensors = load_file(tmp_path / stock / "model.safetensors")
        assert not [name for name in tensors if "primitives" in name]
        size = (config["vocab_size"], config["hidden_size"])
        if stock == "XLMRobertaModel":
            assert config["model_type"] == "xlm-roberta" and isinstance(config["hidden_act"], str)
            assert all(isinstance(config[name], (int, float)) for name in _TEI_NUMBERS)
            assert config.get("position_embedding_type", "absolute") == "absolute"
            rows = {
                "word": size[0],
                "position": config["max_position_embeddings"],
                "token_type": config["type_vocab_size"],
            }
            for name, number in rows.items():
                assert tensors[f"embeddings.{name}_embeddings.weight"].shape == (number, size[1])
            last = f"encoder.layer.{config['num_hidden_layers'] - 1}"
            assert tensors[f"{last}.output.dense.weight"].shape == (size[1], config["intermediate_size"])
            Tokenizer.from_file(str(folder / "tokenizer.json"))
        else:
            # vLLM's Transformers backend makes a table of (vocab_size, embedding_size or else hidden_size), and ties the
            # head to it or reads `lm_head.weight`, where config.json says which.
            assert tensors["model.embed_tokens.weight"].shape == size
            assert config["tie_word_embeddings"] is ("lm_head.weight" not in tensors)


def test_a_factorized_checkpoint_names_no_class_that_servers_know(decoder, encoder):
    """So that they refuse it, rather than take the coordinates for embeddings."""
    for folder in (decoder, encoder):
        config = json.loads((folder / "config.json").read_text())
        assert config["model_type"].startswith("ofa") and config["architectures"][0].startswith("Ofa")
        assert config["auto_map"]["AutoConfig"].startswith("configuration_ofa.")
