"""`OfaInitializer`: from a pretrained model, a target tokenizer and word vectors to a checkpoint (OFA, section 3)."""

import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from huggingface_hub import EvalResult
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from ..models.checkpoints import load_config, model_class
from ..models.sentence_modules import SentenceModules
from ..report import OfaReport
from ..scoring.language_removal import remove_languages
from ..utils.files import new_folder
from ..utils.hub import push_folder
from ..utils.targets import check_space
from ..vectors import WordVectors
from .account import make_report
from .assembly import limited_tokenizer, put_together
from .calibration import calibrate_head
from .factors import make_factorizer
from .fitting import fit_rows, states_to_fit
from .from_board import arguments_of
from .head_bias import make_bias
from .inputs import read_inputs, read_source
from .mapping.token_mapping import TokenMapping
from .method import make_mapping
from .output_rows import rows_of_states
from .rows import make_rows
from .run import Run
from .saving import write_checkpoint
from .settings import InitializationSettings
from .sizes import sizes_of


logger = logging.get_logger(__name__)


class OfaInitializer:
    """A pretrained model with the vocabulary of another tokenizer, ready for continued pretraining.

    Build it with [`OfaInitializer.from_pretrained`].

    Attributes:
        model (`PreTrainedModel`): the adapted model. At full size it keeps its class; factorized it is an Ofa* class
            with the same head.
        tokenizer (`PreTrainedTokenizerBase`): the target tokenizer; its `model_max_length` is no more than the model takes.
        mapping (`TokenMapping`): how every row was made.
        report (`OfaReport`): counts, timings, and `report.explain(token)`.
        sentence_modules (`SentenceModules`): of a sentence encoder: its pooling and what comes after it; None for others.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        mapping: TokenMapping,
        report: OfaReport,
        sentence_modules: SentenceModules | None = None,
    ) -> None:
        self._lines: list[str] = []  # of the user's text: what is saved is compared with the tokenizer on them, too
        self.model = model
        self.tokenizer = tokenizer
        self.mapping = mapping
        self.report = report
        self.sentence_modules = sentence_modules

    def __repr__(self) -> str:
        return f"OfaInitializer(model={type(self.model).__name__}, mapping={self.mapping!r})"

    @classmethod
    def from_pretrained(
        cls,
        source: str | os.PathLike | PreTrainedModel,
        *,
        target_tokenizer: str | os.PathLike | PreTrainedTokenizerBase,
        word_vectors: str | os.PathLike | WordVectors | None = None,
        method: str = "ofa",
        method_settings: Mapping[str, Any] | None = None,
        embedding_size: int | None = None,
        source_tokenizer: str | os.PathLike | PreTrainedTokenizerBase | None = None,
        source_languages: Iterable[str] | None = None,
        target_languages: Iterable[str] | None = None,
        num_neighbors: int = 10,
        temperature: float = 0.1,
        fuzzy_match: bool = True,
        fallback: str | None = None,
        max_words: int | None = None,
        word_weighting: str | None = None,
        overlap: str | None = None,
        language_offset: float | None = None,
        primitives: str | None = None,
        target_text: Iterable[str] | Mapping[str, Iterable[str]] | None = None,
        parallel_text: Iterable[tuple[str, str]] | None = None,
        donor: str | os.PathLike | tuple[PreTrainedModel, PreTrainedTokenizerBase] | None = None,
        authors_compatible: bool = False,
        new_languages: Mapping[str, str] | None = None,
        seed: int = 114514,
        device: torch.device | str | None = None,
        **hub_kwargs: Any,
    ) -> "OfaInitializer":
        """Adapts `source` to the vocabulary of `target_tokenizer`, with OFA (Liu et al., 2024, section 3) or another way.

        Input embeddings, output embeddings where they are untied, and a head's bias are made by one mapping. The body
        is copied.

        Args:
            source: a Hub id, a folder, or a loaded model, which is left as it is.
            target_tokenizer: a Hub id, a folder, or a fast tokenizer. It becomes the tokenizer of the checkpoint.
            word_vectors: a file, a folder, a Hub id, or [`WordVectors`], aligned over the languages of both. Some methods
                need none.
            method: how rows are made: "ofa", or one of `ofa_transformers.initialization.methods.methods()`, which say
                what they need.
            method_settings: the method's own settings.
            embedding_size: D' of the factorization E ≈ F P, from 1 to the hidden size. None keeps the full
                size, and with it the class of the source.
            source_tokenizer: as `target_tokenizer`; by default the one that lies with the source.
            source_languages, target_languages: ISO 639-3 codes of the languages whose words count for the subwords of
                either tokenizer; all by default.
            num_neighbors: k, the source subwords that a composed row is made of.
            temperature: of the softmax over their cosines.
            fuzzy_match: match tokens also without regard to case.
            fallback: rows that are neither copied nor composed: "normal" (drawn with the mean and standard deviation of
                the source's columns, as in the paper), "multivariate_normal" (as Transformers resizes), "mean", or
                "zeros". By default the method's own, "normal" with OFA.
            max_words: take only so many words, from the first on.
            word_weighting: of the words in a subword's mean: "uniform", as in the paper, or "sqrt_frequency", which
                needs word vectors with frequencies. By default the second where they have them; the report says which.
            overlap: which tokens of both vocabularies are copied: "all", as in the paper, or those "used_by_source",
                which leaves out false friends (German "die" is no English "die"); needs frequencies and
                source_languages. By default the second where words are weighted by frequency and source_languages names
                one language; a source of many gains nothing.
            language_offset: g. Adds to each composed row a vector of g times the mean norm of the source's rows, with
                a random direction for each language (the one whose words use the token most; none for a language of
                the source), because the rows of translations are nearly equal, so that a masked LM cannot tell in
                which language to answer. Applies to input and output embeddings, factorized or not. By default 0.2 for
                a masked or causal language model where source_languages names its languages, which then learns much
                faster, and 0 otherwise: it costs retrieval (examples/replication).
            primitives: of a factorized model. "target", the default: made for the rows of the target's tokens, the
                frequent ones most of all, which lose much less at the same size (examples/replication); frequencies are
                those of target_text, or else of the word vectors. "source", as in the paper: the SVD of the source's
                embeddings.
            target_text: a sample of the text to train on, some thousand lines of each language. A language model's head
                then predicts each target token about as often as this text has it: its bias is set so, not carried
                over, and without a bias (decoders) the new rows are moved so, which takes a forward pass over some of
                the text. Primitives are made for it, too. A mapping from languages to lines also lets the sentence
                vectors of a sentence encoder be freed of what tells languages apart
                (`ofa_transformers.scoring.language_removal`).
            parallel_text: pairs of a line in a language of the source and its translation, for methods that need them.
            donor: another model, for methods that need one: a Hub id, a folder, or (model, tokenizer).
            authors_compatible: give what the published code gives, accidents included: unk and uncovered subwords may
                be neighbours, special tokens match by spelling, a factorized head's bias is random, one at full size
                carried by position.
            new_languages: of a translation model: tokens of languages to add to the target tokenizer -> tokens of the
                source whose rows they take, such as those of relatives: {"xyz_Latn": "swh_Latn"}.
            seed: of the fallback rows.
            device: where neighbours and factorization are computed; a GPU if there is one by default. The model stays
                where it is.
            **hub_kwargs: handed on to the loading of the source: `revision`, `token`, `cache_dir`, `dtype`, ... (`token`
                and `cache_dir` also to that of tokenizers and vectors). Code that lies with the source, or with its
                tokenizer, is run with `trust_remote_code=True` only; the target tokenizer's never is.

        Returns:
            [`OfaInitializer`]

        Raises:
            ValueError: an argument out of range, or one that authors_compatible rules out; a weighting or filter that
                lacks frequencies or source_languages; a target_text without text; a source whose embeddings aren't
                found, or don't fit its tokenizer; an embedding_size for an architecture that doesn't factorize; word
                vectors or a checkpoint that are damaged; a language that no word has.
            FileNotFoundError, OSError: something that isn't there.
        """
        settings = InitializationSettings(
            method=method,
            method_settings=method_settings,
            embedding_size=embedding_size,
            source_languages=source_languages,
            target_languages=target_languages,
            num_neighbors=num_neighbors,
            temperature=temperature,
            fuzzy_match=fuzzy_match,
            fallback=fallback,
            max_words=max_words,
            word_weighting=word_weighting,
            overlap=overlap,
            language_offset=language_offset,
            primitives=primitives,
            authors_compatible=authors_compatible,
            new_languages=new_languages,
            seed=seed,
        )
        run = hub_kwargs.pop("_run", None) or Run(device)  # several sizes share what is made once
        # 1. Read tokenizers, word vectors and text, then the source.
        inputs = run.once(
            "inputs",
            lambda: read_inputs(
                source,
                target_tokenizer,
                word_vectors,
                settings,
                source_tokenizer=source_tokenizer,
                target_text=target_text,
                parallel_text=parallel_text,
                donor=donor,
                hub_kwargs=hub_kwargs,
                run=run,
            ),
        )
        settings = settings.with_rules(inputs.rules)
        read = read_source(inputs, settings, run)
        if run.output is not None:
            tokens, pad_ids = len(inputs.target_tokenizer), read.special.pad_ids
            sizes = sizes_of(read.model, read.embeddings, tokens, settings.embedding_size, pad_ids)
            check_space(run.output, sizes.disk)
        # 2. Map the target's tokens onto the source's.
        with run("mapping"):
            mapping = run.once("mapping", lambda: make_mapping(inputs, read, settings, run))
        # 3. Factorize the source's embeddings, and make the target's rows of them.
        factorizer = make_factorizer(mapping, inputs.text, settings, run)
        rows = make_rows(read.embeddings, mapping, factorizer, settings, run)
        # 4. The head's bias.
        bias = make_bias(read.embeddings.bias, mapping, inputs.text, settings)
        # 5. Put the model together, fit its rows where the method does, and calibrate its head.
        states = states_to_fit(inputs, read, settings, run)
        with run("model"):
            carried = inputs.text is None and not settings.authors_compatible
            model, proof = put_together(read, mapping, rows, bias, carried)
        fit_rows(model, inputs.target_tokenizer, mapping, rows, states, settings, run)
        of_states = False
        if inputs.text is not None and not settings.authors_compatible:
            with run("head bias"):
                of_states = rows_of_states(model, inputs.target_tokenizer, inputs.text, mapping, rows)
        head_bias = calibrate_head(model, inputs.target_tokenizer, inputs.text, mapping, rows, run)
        # 6. Report.
        report = make_report(inputs, read, settings, mapping, rows, model, head_bias, of_states, proof, run)
        logger.info("%s", report)
        tokenizer = limited_tokenizer(inputs.target_tokenizer, model)
        modules = read.sentence_modules
        if modules is not None:
            modules = remove_languages(modules, model, tokenizer, inputs.text_by_language)
        made = cls(model, tokenizer, mapping, report, modules)
        made._lines = [] if inputs.text is None else inputs.text.sample
        return made

    @classmethod
    def from_comparison(cls, board: str | os.PathLike, candidate: str = "best", **options: Any) -> "OfaInitializer":
        """Adapts as the winner of a comparison did, now with all of its text, what was held out included.

        Args:
            board: the folder that `ofa compare` wrote.
            candidate: "best", or a name of its leaderboard.
            **options: of `from_pretrained`, in place of the comparison's.

        Raises:
            FileNotFoundError, ValueError: no such board or candidate; and what `from_pretrained` raises.
        """
        source, found = arguments_of(board, candidate)
        return cls.from_pretrained(source, **{**found, **options})

    @classmethod
    def each_size(
        cls,
        source: str | os.PathLike | PreTrainedModel,
        embedding_sizes: Sequence[int | None],
        **options: Any,
    ) -> Iterator["OfaInitializer"]:
        """Adapts `source` at several sizes for little more than the cost of one.

        Mapping and singular vectors are made once. The results are those of `from_pretrained` at each size, and
        have nothing but tokenizer and mapping in common:

            for adapted in OfaInitializer.each_size(source, [100, 200, 400, None], target_tokenizer=..., ...):
                adapted.save_pretrained(f"adapted-{adapted.report.target['embedding_size']}")
                del adapted  # before the next one is made, so that memory holds one at a time

        Args:
            source: as in `from_pretrained`.
            embedding_sizes: the sizes, each once; None is the full one.
            **options: the other arguments of `from_pretrained`.

        Raises:
            ValueError, FileNotFoundError, OSError: as `from_pretrained`; all sizes are checked at the start.
        """
        sizes = list(embedding_sizes)
        if not sizes or len(set(sizes)) < len(sizes):
            raise ValueError(f"embedding_sizes must name one size or more, each once, but is {sizes}.")
        config = source.config if isinstance(source, PreTrainedModel) else load_config(source, options)
        for size in sizes:
            InitializationSettings(embedding_size=size).check_source(model_class(source, config, options), config)
        factorized = [size for size in sizes if size is not None]
        run = Run(options.get("device"), largest_size=max(factorized) if len(factorized) > 1 else None)
        return (cls.from_pretrained(source, embedding_size=size, _run=run.again(), **options) for size in sizes)

    def save_pretrained(
        self,
        save_directory: str | os.PathLike,
        overwrite: bool = False,
        report_page: bool = True,
        eval_results: Sequence[EvalResult] | None = None,
        **kwargs: Any,
    ) -> None:
        """Writes model, tokenizer, report and model card to a folder that `AutoModel*` and `AutoTokenizer` load.

        Everything is written to a temporary folder beside it first, so that the folder is whole or absent, and what
        was there survives a failure.

        Args:
            save_directory: the folder.
            overwrite: replace the folder if it has content.
            report_page: write report.html beside ofa_report.json: pictures, and where each token came from.
            eval_results: what was measured, for the card's table and the Hub's `model-index`
                ([`huggingface_hub.EvalResult`]).
            **kwargs: handed on to the model's `save_pretrained`, for example `max_shard_size`.

        Raises:
            FileExistsError: the folder has content and `overwrite` is False.
            OSError: the disk is full, or the folder can't be written.
        """
        with new_folder(save_directory, overwrite) as folder:
            self._write(folder, report_page=report_page, eval_results=eval_results, **kwargs)
        logger.info("Saved the adapted model to %s", save_directory)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool | None = None,
        token: str | bool | None = None,
        revision: str | None = None,
        commit_message: str = "Model adapted with OFA",
        report_page: bool = True,
        eval_results: Sequence[EvalResult] | None = None,
        max_shard_size: int | str = "5GB",
        **kwargs: Any,
    ) -> str:
        """Uploads what `save_pretrained` writes, as one commit.

        An upload that broke off is resumed by calling this again: files that have arrived aren't sent twice.

        Args:
            repo_id: `user/name` on the Hub; created if it doesn't exist.
            private, token, revision, commit_message: as in [`push_folder`].
            report_page, eval_results: as in `save_pretrained`.
            max_shard_size: of a file of weights. Small ones lose little where the connection breaks.
            **kwargs: handed on to the model's `save_pretrained`.

        Returns:
            The address of the commit.

        Raises:
            ConnectionError: the Hub refused, or the connection broke; says what to do.
        """
        with tempfile.TemporaryDirectory() as folder:
            self._write(
                folder,
                report_page=report_page,
                eval_results=eval_results,
                max_shard_size=max_shard_size,
                **kwargs,
            )
            return push_folder(
                folder, repo_id, private=private, token=token, revision=revision, commit_message=commit_message
            )

    def _write(self, folder: str | os.PathLike, **options: Any) -> None:
        modules = self.sentence_modules
        write_checkpoint(
            folder, self.model, self.tokenizer, self.report, text=self._lines, sentence_modules=modules, **options
        )
