"""Pushing and loading with the Hub's own client, against a Hub on the loopback interface."""

import os
import textwrap
from pathlib import Path
from typing import Any

import fresh_process
import pytest
import torch
from huggingface_hub import ModelCard
from local_hub import TOKEN, LocalHub, local_hub
from safetensors.torch import load as load_safetensors


class Worker:
    """A process whose environment decides where the Hub is."""

    def __init__(self, environment: dict[str, str], folder: Path, hidden: str | None = None) -> None:
        self.pipe, other = fresh_process.CONTEXT.Pipe()
        given = {**os.environ, **environment}
        self.process = fresh_process.start_function(fresh_process.serve, other, given, folder / "said", hidden)
        other.close()

    def answer(self, code: str) -> dict[str, Any]:
        self.pipe.send(textwrap.dedent(code))
        return self.pipe.recv()

    def run(self, code: str) -> Any:
        answer = self.answer(code)
        assert "error" not in answer, answer
        return answer["result"]

    def error(self, code: str) -> str:
        """The message of the ConnectionError that the code ends with."""
        kind, message = self.answer(code)["error"]
        assert kind == "ConnectionError", (kind, message)
        return message

    def close(self) -> None:
        self.pipe.send(None)
        self.process.join(60)


@pytest.fixture(scope="module")
def hub():
    with local_hub() as hub:
        yield hub


@pytest.fixture(scope="module")
def environment(hub: LocalHub, tmp_path_factory) -> dict[str, str]:
    home = tmp_path_factory.mktemp("home")
    return {
        "HF_ENDPOINT": hub.endpoint,
        "HF_HOME": str(home),
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",  # the Hub's other protocol for large files speaks to servers of its own
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_TOKEN": TOKEN,
        "OMP_NUM_THREADS": "1",
        "NO_PROXY": "127.0.0.1",
    }


@pytest.fixture(scope="module")
def client(environment, tmp_path_factory):
    """A worker that has an adapted model, `adapted`, and saved it to `folder`."""
    folder = tmp_path_factory.mktemp("adapted") / "local"
    worker = Worker(environment, folder.parent)
    worker.run(
        f"""
        import time, torch
        import huggingface_hub.utils._http as http
        http.time.sleep = lambda seconds: None  # the client's pauses before it tries again
        import ofa_transformers as ofa
        from ofa_transformers.utils.hub import push_folder
        from report_inputs import adapt_hostile
        from transformers import AutoModelForMaskedLM, AutoTokenizer

        folder = {str(folder)!r}
        adapted = adapt_hostile(embedding_size=12)
        adapted.save_pretrained(folder)
        """
    )
    worker.folder = folder
    yield worker
    worker.close()


@pytest.fixture
def repo(hub, request):
    """A new repository's name; no faults and no requests yet."""
    hub.faults.clear()
    hub.requests.clear()
    hub.large.clear()
    return "me/" + request.node.name.replace("[", "-").replace("]", "")


_LOGITS = """
model = AutoModelForMaskedLM.from_pretrained({repo!r}{options}).eval()
tokenizer = AutoTokenizer.from_pretrained({repo!r}{tokenizer_options})
with torch.no_grad():
    logits = model(**tokenizer("das Haus am Fluss", return_tensors="pt")).logits
result = [type(model).__name__, logits.flatten().tolist()]
"""


def read(worker: Worker, repo: str, options: str = "", tokenizer_options: str = "") -> tuple[str, torch.Tensor]:
    name, logits = worker.run(_LOGITS.format(repo=repo, options=options, tokenizer_options=tokenizer_options))
    return name, torch.tensor(logits)


def test_the_initializer_pushes_what_it_saves(hub, client, repo):
    address = client.run(f"result = adapted.push_to_hub({repo!r}, private=True)")
    repository = hub.repositories[repo]
    assert repository.private and address.endswith(repository.branches["main"])
    files = repository.files("main")
    local = {path.name: path.read_bytes() for path in client.folder.iterdir()}
    assert set(files) == set(local)
    assert files["model.safetensors"][0] == "lfs"
    assert all(files[name][1] == data for name, data in local.items() if name != "README.md")
    # The card loads from where it lies.
    card = repository.read("README.md").decode()
    assert f'from_pretrained("{repo}")' in card and "path/or/hub-id" not in card and "- ofa\n" in card


def test_it_loads_with_and_without_our_package(hub, client, repo, environment, tmp_path):
    client.run(f"adapted.push_to_hub({repo!r}, private=True)")
    name, logits = read(client, repo)
    assert name == "OfaForMaskedLM"
    _, local = read(client, str(client.folder))
    torch.testing.assert_close(logits, local)
    other = Worker(environment, tmp_path, hidden="ofa_transformers")
    try:
        other.run("import torch; from transformers import AutoModelForMaskedLM, AutoTokenizer")
        name, logits = read(other, repo, ", trust_remote_code=True", ", trust_remote_code=True")
        assert name == "OfaForMaskedLM"
        torch.testing.assert_close(logits, local)
        # Nobody without the token gets at a private repository.
        assert "RepositoryNotFoundError" in str(other.answer(
            f"from huggingface_hub import hf_hub_download; hf_hub_download({repo!r}, 'ofa_report.json', token=False)"
        ))  # fmt: skip
    finally:
        other.close()

    offline = Worker({**environment, "HF_HUB_OFFLINE": "1"}, tmp_path)
    try:
        offline.run(
            "import torch, ofa_transformers as ofa; from transformers import AutoModelForMaskedLM, AutoTokenizer"
        )
        torch.testing.assert_close(read(offline, repo)[1], local)
        # What isn't cached is named.
        kind, message = offline.answer(
            "from report_inputs import inputs\n"
            "ofa.OfaInitializer.from_pretrained('me/never-seen', target_tokenizer='x', word_vectors=inputs()[2])"
        )["error"]
        assert kind == "OSError" and "source: 'me/never-seen'" in message
        kind, message = offline.answer(
            f"ofa.OfaInitializer.from_pretrained({repo!r}, target_tokenizer='me/no-tokenizer', word_vectors=inputs()[2])"
        )["error"]
        assert kind == "ValueError" and "target_tokenizer" in message and "me/no-tokenizer" in message
        kind, message = offline.answer(
            f"ofa.OfaInitializer.from_pretrained({repo!r}, target_tokenizer={repo!r}, word_vectors='me/no-vectors')"
        )["error"]
        assert "me/no-vectors" in message
        message = offline.error(
            f"from ofa_transformers.utils.hub import push_folder; push_folder({str(client.folder)!r}, 'me/x')"
        )
        assert "HF_HUB_OFFLINE is set" in message
        # A cached model adapts, and its card's licence is still known.
        offline.run(
            f"""
            from report_inputs import inputs
            source, target, vectors = inputs()
            again = ofa.OfaInitializer.from_pretrained({repo!r}, target_tokenizer=target, word_vectors=vectors)
            result = again.report.source["name"]
            """
        )
    finally:
        offline.close()


def test_revisions_are_branches(hub, client, repo):
    client.run(f"adapted.push_to_hub({repo!r})")
    before = hub.repositories[repo].branches["main"]
    client.run(
        f"""
        with torch.no_grad():
            changed = AutoModelForMaskedLM.from_pretrained(folder)
            changed.lm_head.bias.add_(1)
        changed.push_to_hub({repo!r}, revision="main")
        result = adapted.push_to_hub({repo!r}, revision="v1.0", commit_message="The first one")
        """
    )
    repository = hub.repositories[repo]
    assert set(repository.branches) == {"main", "v1.0"} and repository.branches["main"] != before
    _, first = read(client, repo, ", revision='v1.0'", ", revision='v1.0'")
    _, changed = read(client, repo)
    _, local = read(client, str(client.folder))
    torch.testing.assert_close(first, local)
    torch.testing.assert_close(changed, local + 1)


def test_a_models_own_push_keeps_the_card(hub, client, repo):
    client.run(f"adapted.push_to_hub({repo!r})")
    card = hub.repositories[repo].read("README.md").decode()
    client.run(f"AutoModelForMaskedLM.from_pretrained({repo!r}).push_to_hub({repo!r})")
    assert hub.repositories[repo].read("README.md").decode().split("---")[2] == card.split("---")[2]
    # In a new repository there is a short one, with the tag, and the code lies beside it.
    client.run(f"AutoModelForMaskedLM.from_pretrained(folder).push_to_hub({repo + '-new'!r}, tags=['mine'])")
    files = hub.repositories[repo + "-new"].files("main")
    assert {"modeling_ofa.py", "configuration_ofa.py", "README.md"} <= set(files)
    metadata = files["README.md"][1].decode().split("---")[1]
    assert "- ofa\n" in metadata and "- mine\n" in metadata


_TRAINED = """
from transformers import AutoModelForTokenClassification, Trainer, TrainingArguments
auto = {auto}
model = auto.from_pretrained({source!r})
row = dict(input_ids=[0, 5, 6, 2], labels=[-100, 1, 1, -100])
arguments = TrainingArguments(
    {output!r}, max_steps=1, report_to="none", use_cpu=True, hub_model_id={repo!r}, eval_strategy="steps", eval_steps=1,
    save_strategy="no", disable_tqdm=True,
)
trainer = Trainer(model, arguments, train_dataset=[row], eval_dataset=[row], processing_class=adapted.tokenizer)
trainer.train()
trainer.push_to_hub()
"""


def test_a_plain_trainer_pushes_a_card_of_the_adapted_model(hub, client, repo, tmp_path):
    """Trainer's own card, which it writes over any other, becomes a section of ours."""
    source, output = str(client.folder), tmp_path / "continued"
    client.run(_TRAINED.format(auto="AutoModelForMaskedLM", source=source, output=str(output), repo=repo))
    card = ModelCard(hub.repositories[repo].read("README.md").decode())
    assert {"ofa", "generated_from_trainer"} <= set(card.data.tags) and card.data.pipeline_tag == "fill-mask"
    assert card.text.lstrip().startswith("# test_a_plain") and f'from_pretrained("{repo}")' in card.text
    assert card.text.index("## How it was made") < card.text.index("## Trained since")
    assert "- learning_rate: 5e-05" in card.text and "More information needed" not in card.text
    assert "from scratch" not in card.text and str(client.folder) not in card.text
    # Trained on with another head, from the Hub or from there: what it is now.
    for number, place in enumerate((output, repo)):
        other = tmp_path / str(number)
        client.run(
            _TRAINED.format(
                auto="AutoModelForTokenClassification", source=str(place), output=str(other), repo=repo + "-b"
            )
        )
        card = ModelCard(hub.repositories[repo + "-b"].read("README.md").decode())
        assert card.data.pipeline_tag == "token-classification" and "AutoModelForTokenClassification" in card.text
        assert "AutoModelForMaskedLM" not in card.text and "ofa" in card.data.tags


def test_shards_and_parts_arrive_whole(hub, client, repo):
    client.run(f"adapted.push_to_hub({repo!r}, max_shard_size='30KB')")
    files = hub.repositories[repo].files("main")
    shards = [name for name in files if name.endswith(".safetensors")]
    assert len(shards) > 1 and "model.safetensors.index.json" in files
    client.run(f"adapted.push_to_hub({repo!r}-'one')".replace("-'", " + '-"))
    whole = hub.repositories[repo + "-one"].read("model.safetensors")
    assert any("/part/2" in path for path in hub.uploads())
    assert whole == (client.folder / "model.safetensors").read_bytes()
    parts = {}
    for name in shards:
        parts |= load_safetensors(files[name][1])
    assert set(parts) == set(load_safetensors(whole))


def test_a_second_push_sends_nothing(hub, client, repo):
    client.run(f"adapted.push_to_hub({repo!r})")
    assert hub.uploads()
    first = hub.repositories[repo].branches["main"]
    address = client.run(f"result = adapted.push_to_hub({repo!r})")
    assert hub.uploads() == [] and hub.repositories[repo].branches["main"] == first and address.endswith(first)


@pytest.mark.parametrize(
    ("method", "pattern", "status", "said"),
    [
        ("PUT", "/large/", None, "the connection broke"),
        ("POST", "/commit/", None, "the connection broke"),
        ("POST", "/commit/", 500, "the Hub answered 500 (made to fail with 500); the Hub has a problem of its own"),
        ("PUT", "/large/", 413, "the Hub answered 413 (made to fail with 413); a file is too large"),
        ("POST", "/preupload/", 403, "the Hub answered 403 (made to fail with 403); the token may not write"),
    ],
    ids=["dropped-upload", "dropped-commit", "500", "413", "403"],
)
def test_failures_are_clear_and_can_be_resumed(hub, client, repo, method, pattern, status, said):
    push = f"result = adapted.push_to_hub({repo!r}, max_shard_size='30KB')"
    hub.fail(method, pattern, status)
    message = client.error(push)
    assert message.startswith(f"push to {repo}: {said}") and "push again to resume" in message and "\n" not in message
    assert hub.repositories[repo].files("main") == {}
    arrived = set(hub.large)
    hub.faults.clear()
    hub.requests.clear()
    client.run(push)
    files = hub.repositories[repo].files("main")
    assert "model.safetensors.index.json" in files and "report.html" in files
    sent = {path.split("/")[2] for path in hub.uploads()}
    assert not sent & arrived and sent | arrived == set(hub.large)
    assert bool(sent) == (pattern != "/commit/")


def test_an_upload_that_broke_off_sends_only_what_is_missing(hub, client, repo):
    push = f"result = adapted.push_to_hub({repo!r}, max_shard_size='30KB')"
    # The third upload and all later ones fail.
    client.run(f"adapted.push_to_hub({repo + '-other'!r}, max_shard_size='30KB')")
    whole = dict(hub.large)
    assert len(whole) >= 3
    kept = sorted(whole)[0]
    hub.large = {kept: whole[kept]}
    hub.requests.clear()
    hub.fail("PUT", sorted(whole)[-1])
    client.error(push)
    hub.faults.clear()
    assert kept in hub.large and sorted(whole)[-1] not in hub.large
    arrived = set(hub.large)
    hub.requests.clear()
    client.run(push)
    assert {path.split("/")[2] for path in hub.uploads()} == set(whole) - arrived


def test_short_interruptions_go_unnoticed(hub, client, repo):
    hub.fail("PUT", "/large/", None, times=2)
    hub.fail("POST", "/preupload/", 503, times=1)
    client.run(f"adapted.push_to_hub({repo!r})")
    assert hub.repositories[repo].read("model.safetensors") == (client.folder / "model.safetensors").read_bytes()


def test_a_wrong_token_is_named(hub, client, repo):
    message = client.error(f"adapted.push_to_hub({repo!r}, token='hf_wrong')")
    assert message.startswith(f"push to {repo}: the Hub answered 401") and "hf auth login" in message
    assert repo not in hub.repositories


def test_the_command(hub, client, repo, tmp_path):
    code = """
    import contextlib, io, sys
    from ofa_transformers.cli import main
    sys.argv = ["ofa", "push", *{arguments!r}]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as stop:
            result = [stop.code, out.getvalue(), err.getvalue()]
    """
    extra = client.folder / "checkpoint-10"
    extra.mkdir()
    (extra / "optimizer.pt").write_bytes(b"state")
    try:
        status, out, _ = client.run(code.format(arguments=[str(client.folder), repo, "--private", "--revision", "v2"]))
    finally:
        (extra / "optimizer.pt").unlink()
        extra.rmdir()
    assert status == 0 and out.startswith(f"Pushed: {hub.endpoint}/{repo}/commit/")
    assert hub.repositories[repo].private
    files = hub.repositories[repo].files("v2")
    assert set(files) == {path.name for path in client.folder.iterdir()}
    assert f'from_pretrained("{repo}")' in files["README.md"][1].decode()
    status, _, err = client.run(code.format(arguments=[str(tmp_path), repo]))
    assert status == 1 and "has no config.json" in err and err.count("\n") == 1
    hub.fail("POST", "/api/repos/create", 401)
    status, _, err = client.run(code.format(arguments=[str(client.folder), repo + "-b"]))
    assert status == 1 and "the Hub answered 401" in err and err.count("\n") == 1


def test_word_vectors_are_pushed_and_resumed_in_the_same_way(hub, client, repo):
    client.run("from report_inputs import inputs; words = inputs()[2]")
    hub.fail("POST", "/commit/", 500)
    message = client.error(f"words.push_to_hub({repo!r})")
    assert message.startswith(f"push to {repo}: the Hub answered 500") and "push again to resume" in message
    hub.faults.clear()
    hub.requests.clear()
    client.run(f"words.push_to_hub({repo!r})")
    assert hub.uploads() == []  # all had arrived
    assert f'from_pretrained("{repo}")' in hub.repositories[repo].read("README.md").decode()
    assert client.run(f"result = len(ofa.WordVectors.load({repo!r})) == len(words)")


def test_a_dense_checkpoint_needs_nothing_of_ours(hub, client, repo):
    client.run(f"adapted.model.to_dense().save_pretrained({str(client.folder.parent / 'dense')!r})")
    client.run(f"push_folder({str(client.folder.parent / 'dense')!r}, {repo!r})")
    assert not any(name.endswith(".py") for name in hub.repositories[repo].files("main"))
    _, logits = client.run(
        f"m = AutoModelForMaskedLM.from_pretrained({repo!r}).eval(); t = AutoTokenizer.from_pretrained(folder)\n"
        "result = [type(m).__name__, m(**t('das Haus am Fluss', return_tensors='pt')).logits.flatten().tolist()]"
    )
    torch.testing.assert_close(torch.tensor(logits), read(client, str(client.folder))[1], rtol=1e-4, atol=1e-5)
