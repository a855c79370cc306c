"""Step 7, save: a folder that `AutoModel*` and `AutoTokenizer` load."""

import os
from collections.abc import Iterable, Sequence
from typing import Any

from huggingface_hub import EvalResult
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..models.checkpoints import check_saved
from ..models.sentence_modules import SentenceModules
from ..report import PAGE_FILE, REPORT_FILE, OfaReport, model_card, write_page
from ..scoring.batching import longest_input
from ..tokenization import save_tokenizer
from ..utils.hub import CARD_FILE
from ..utils.progress import stage


def write_checkpoint(
    folder: str | os.PathLike,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    report: OfaReport,
    *,
    text: Iterable[str] = (),
    sentence_modules: SentenceModules | None = None,
    report_page: bool = True,
    eval_results: Sequence[EvalResult] | None = None,
    **kwargs: Any,
) -> None:
    """Writes model, tokenizer, report and card into a folder; arguments as `OfaInitializer.save_pretrained`.

    The tokenizer that was written is compared with the one that was passed on lines of `text`, too.
    With `sentence_modules` it is a folder that `SentenceTransformer` loads, too.

    Raises:
        RuntimeError: the model doesn't load as what was saved.
    """
    with stage("Writing model and report"):
        model.save_pretrained(folder, **kwargs)
        check_saved(model, folder, kwargs.get("variant"))
        save_tokenizer(tokenizer, folder, text=text)
        if sentence_modules is not None:
            sentence_modules.save(folder, longest_input(model, tokenizer))
        report.save(os.path.join(folder, REPORT_FILE))
        if report_page:
            write_page(report, os.path.join(folder, PAGE_FILE))
        card = model_card(report, eval_results=eval_results, sentences=sentence_modules is not None)
        card.save(os.path.join(folder, CARD_FILE))
