"""Uploading a folder to the Hub: one commit, which an upload that broke off can be resumed to."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import Any

import yaml
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import HfHubHTTPError, HTTPError, OfflineModeIsEnabled
from transformers.utils import logging


logger = logging.get_logger(__name__)

# What a card is called, and what stands in it for a name that isn't known yet; replaced in an upload.
CARD_FILE = "README.md"
PLACEHOLDER = "path/or/hub-id"

# What a run says of itself.
_RECORDS = ("ofa_report.json", "ofa_run.yaml")

# What a status says to a person, after "the Hub answered".
_ADVICE = {
    401: "log in with `hf auth login`, or pass a token that may write",
    403: "the token may not write there: use one with write access to this repository",
    404: "check the name: the repository doesn't exist, or is not yours to see",
    409: "somebody else changed the repository meanwhile; push again",
    413: "a file is too large for the Hub; save the model in smaller parts (max_shard_size='5GB')",
    429: "too many requests; wait some minutes and push again",
}


# What a repository of a model or of word vectors holds. States of a training, logs and notes are not among it.
_PUSHED = (
    "*.safetensors",
    "*.safetensors.index.json",
    "pytorch_model*.bin",
    "pytorch_model.bin.index.json",
    *("config.json", "generation_config.json", "adapter_config.json", "preprocessor_config.json"),
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.*"),
    *("vocab.json", "vocab.txt", "merges.txt", "*.model"),
    *("modules.json", "config_sentence_transformers.json", "sentence_bert_config.json"),
    *("[0-9]_*/config.json", "[0-9]_*/model.safetensors"),
    *("configuration_*.py", "modeling_*.py", "modules_*.py", "loss_*.py", "mixin_*.py", "heads_*.py"),
    *("families_*.py", "tokenization_*.py"),
    ".eval_results/*.yaml",
    *("README.md", "LICENSE*", "NOTICE*", "report.html", "ofa_report.json", "ofa_run.yaml"),
    *("words.txt", "metadata.json", "images/*.png", "images/*.svg"),
    *("onnx/*.onnx", "onnx/*.onnx_data"),
)


def files_to_push(folder: str | os.PathLike) -> list[Path]:
    """The files of a folder that an upload takes: weights, configuration, tokenizer, code, card, license, report.

    Raises:
        FileNotFoundError: there is none.
        ValueError: one is a link, or lies in a folder that is one: what it points to may be nobody's business.
    """
    folder = Path(folder)
    found = sorted({path for pattern in _PUSHED for path in folder.glob(pattern)})
    for path in found:
        link = next((place for place in (path, path.parent) if place != folder and place.is_symlink()), None)
        if link is not None:
            raise ValueError(
                f"{link} is a link to {os.readlink(link)}, and links aren't followed; put a copy in its place, or remove it."
            )
    files = [path for path in found if path.is_file()]
    if not files:
        raise FileNotFoundError(
            f"{folder} is not a folder with files of a model or of word vectors; there is nothing to push."
        )
    return files


def push_folder(
    folder: str | os.PathLike,
    repo_id: str,
    *,
    private: bool | None = None,
    token: str | bool | None = None,
    revision: str | None = None,
    commit_message: str = "Model adapted with OFA",
) -> str:
    """Uploads a folder as one commit: a checkpoint's, or one of word vectors.

    Large files go first, each once: what the Hub has already, from this upload or one that broke off, isn't sent
    again. So an upload is resumed by calling this again with the same folder.

    Args:
        folder: what `OfaInitializer.save_pretrained`, `ofa adapt`, a model's `save_pretrained` or `WordVectors.save`
            wrote. What is no part of a model repository stays behind, see `files_to_push`.
        repo_id: `user/name`; created if it doesn't exist.
        private: whether a new repository is private; by default what the account's settings say.
        token: of the Hub; by default the one that `hf auth login` stored.
        revision: the branch, made from `main` if it isn't there.
        commit_message: of the commit.

    Returns:
        The address of the commit.

    Raises:
        FileNotFoundError: the folder isn't there, or has no such files.
        ValueError: one of them is a link.
        ConnectionError: the Hub refused, or the connection broke; says what to do.
    """
    folder = Path(folder)
    files = files_to_push(folder)
    api = HfApi(token=token)
    with _upload_errors(repo_id):
        repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
        if revision is not None:
            api.create_branch(repo_id, branch=revision, exist_ok=True)
        operations = [
            CommitOperationAdd(path.relative_to(folder).as_posix(), _content(path, folder, repo_id)) for path in files
        ]
        commit = api.create_commit(repo_id, operations, commit_message=commit_message, revision=revision)
    logger.info("Pushed %d files to %s", len(operations), commit.commit_url)
    return commit.commit_url


def _content(path: Path, folder: Path, repo_id: str) -> str | bytes:
    """A file's path; of the card the text, with the code loading from where it will lie; of records without paths."""
    if path == folder / CARD_FILE:
        return path.read_text(encoding="utf-8").replace(PLACEHOLDER, repo_id).encode()
    if path.name in _RECORDS and path.parent == folder:
        text, is_json = path.read_text(encoding="utf-8"), path.suffix == ".json"
        record = json.loads(text) if is_json else yaml.safe_load(text)
        shown = without_paths(record)
        if shown != record and is_json:
            return json.dumps(shown, indent=1, ensure_ascii=False).encode()
        if shown != record:
            return yaml.safe_dump(shown, sort_keys=False, allow_unicode=True).encode()
    return str(path)


def without_paths(value: Any) -> Any:
    """A record of a run as others may read it: of files and folders of this machine the last names, no command lines."""
    if isinstance(value, dict):
        return {without_paths(key): without_paths(item) for key, item in value.items() if key != "command_line"}
    if isinstance(value, list):
        return [without_paths(item) for item in value]
    if isinstance(value, str) and "\n" not in value and len(value) < 4096:
        # `user/name` may be a folder here, too.
        local = value.startswith(("/", "~", "./", "../")) or "\\" in value or ("/" in value and os.path.exists(value))
        return PurePath(value.replace("\\", "/")).name or value if local else value
    return value


@contextmanager
def _upload_errors(repo_id: str) -> Iterator[None]:
    """One line that says what happened and what to do, in place of the client's page."""
    resume = "Nothing was committed; push again to resume: what has arrived isn't sent twice."
    try:
        yield
    except OfflineModeIsEnabled as error:
        raise ConnectionError(
            f"push to {repo_id}: HF_HUB_OFFLINE is set, so that nothing can be uploaded; unset it."
        ) from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        said = " ".join((error.server_message or "").split())
        advice = _ADVICE.get(status, "the Hub has a problem of its own; push again later" if status >= 500 else "")
        answer = f"the Hub answered {status}" + (f" ({said})" if said else "")
        raise ConnectionError(f"push to {repo_id}: {answer}{'; ' * bool(advice)}{advice}. {resume}") from error
    except (HTTPError, ConnectionError, RuntimeError) as error:
        # The client wraps the failure of one large file in a RuntimeError.
        cause = error.__cause__ if isinstance(error, RuntimeError) and error.__cause__ is not None else error
        if isinstance(cause, HfHubHTTPError):
            with _upload_errors(repo_id):
                raise cause from error
        if not isinstance(cause, (HTTPError, ConnectionError)):
            raise
        said = " ".join(str(cause).split()) or type(cause).__name__
        raise ConnectionError(f"push to {repo_id}: the connection broke ({said}). {resume}") from error
