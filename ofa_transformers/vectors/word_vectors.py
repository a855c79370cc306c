"""`WordVectors`: words of many languages with vectors in one space."""

import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from transformers.utils import logging

from ..utils.files import check_output_folder, new_folder
from ..utils.reading import reading
from .columns import WordColumns
from .readers import ReadOptions
from .saved_format import read_folder, write_folder
from .sources import find_sources, read_sources


if TYPE_CHECKING:
    from .dictionaries import Dictionary


logger = logging.get_logger(__name__)

# Of each word what isn't its vector: ten letters, where they end, a language and a frequency.
_WORD_BYTES = 26


class WordVectors(WordColumns):
    """Words of one or many languages with vectors in one space, as OFA needs them (section 3.2).

    Attributes:
        words: N words without language prefix, a list or another sequence, which may decode words only when they are
            asked for. A `$` in a word marks a word boundary and stands for a space, as in ColexNet+ (`$haus$`); words
            without it are whole words or parts of words, as their maker meant.
        languages: (N,) the language of each word, ISO 639-3 codes as a numpy string array.
        vectors: (N, d) float32, memory-mapped where they come from a folder written by `save`.
        frequencies: (N,) float32 counts of the words, or None where nothing is known of them.
        metadata: where the vectors come from; a dictionary of anything that JSON can hold. `origin`, `license` (by a
            name that the Hub knows, as `cc-by-sa-4.0`), `method` and `frequencies` are its usual keys.

    Raises:
        ValueError: lengths that differ, no words, vectors with NaN or infinite values, or frequencies that are none.
    """

    @classmethod
    def none(cls) -> "WordVectors":
        """No words, for initialisations that need none."""
        made = cls.__new__(cls)
        made.words, made.languages = [], np.empty(0, dtype=np.str_)
        made.vectors, made.frequencies, made.metadata = np.zeros((0, 0), dtype=np.float32), None, {}
        return made

    @classmethod
    def load(
        cls,
        path_or_hub_id: str | os.PathLike | Mapping[str, str | os.PathLike],
        *,
        language: str | None = None,
        format: str | None = None,
        filename: str | None = None,
        default_language: str = "eng",
        frequencies: str | None = "auto",
        extra_words: Iterable[str] | Mapping[str, Iterable[str]] = (),
        allow_pickle: bool = False,
        on_bad_words: str = "error",
        verify: bool = False,
        revision: str | None = None,
        cache_dir: str | None = None,
        token: str | bool | None = None,
    ) -> "WordVectors":
        """Word vectors from a file, a folder or a repository on the Hub.

        A folder that `save` wrote is mapped into memory: it opens at once, and its rows are read when they are used.
        Other files, plain or packed with gzip or zstd (extra `zstd`), are

        - "word2vec": text with a header `N d`, then one line a word, fastText's .vec and MUSE among it;
        - "glove": the same without a header; a word that is there twice counts once, with a warning;
        - "word2vec-binary": the binary format of word2vec (GoogleNews), .bin;
        - "fasttext": models of fastText, .bin, for which `extra_words` adds words by their subwords (extra `gensim`);
        - "gensim": KeyedVectors as gensim saves them (.wv, .kv, with .npy files beside), or a model with such as its
          `.wv`; a pickle, read only with `allow_pickle=True` (extra `gensim`), with counts where they are real ones;
        - "torch": .pt and .pth of `torch.save`, a dictionary with a list `words` (or `keys`, `index_to_key`, `itos`,
          `vocab`, `tokens`), a matrix `vectors` (or `matrix`, `embeddings`, `weight`), and optional lists `languages`
          and `frequencies` (or `counts`); or torchtext's tuple. Read with `weights_only`.

        A file has many languages, its words keyed `lng:word` with an ISO 639 code, or one. Only the first colon of
        a key counts. Where more than half of the keys have a prefix, every prefix has to be a language, and keys
        without are of `default_language`.

        Args:
            path_or_hub_id: a file; a folder, of `save` or with one file a language; `user/name` on the Hub, with a
                folder of `save` or one file; or a dictionary from languages to files, whose words are put together.
            language: the language of all words of a file of one language, whose keys are then taken whole; an ISO 639
                code of three letters, or two, which become ISO 639-3 (`de` is `deu`; `sw` the macrolanguage `swa`).
                If None and keys have no prefix, names such as `wiki.multi.de.vec`, `wiki.de.align.vec`,
                `cc.de.300.vec.gz` and `numberbatch-de.txt` tell; in a folder also `deu.vec` and `swh_Latn.txt`.
            format: one of the above; None to see it from the content, which has to agree with the ending if that is
                .txt, .vec, .bin, .wv, .kv, .pt or .pth.
            filename: the file to load of a folder or repository that has several.
            default_language: the language of words without a `lng:` prefix where neither `language` nor the name of
                the file says it.
            frequencies: "auto" keeps the counts of the file (fastText models, gensim's own models), and where there
                are none estimates them by "rank": by the law of Zipf and Mandelbrot from the place of the word among
                those of its language, each language with the same total. That is right for files in order of
                frequency, as word2vec, GloVe, fastText and MUSE write them, and wrong for others, as ColexNet+,
                Numberbatch and whatever was sorted, joined or retrofitted: pass None for those. (Where the order is
                plainly alphabetical, "auto" leaves them out.) "rank" estimates in any case; "wordfreq" takes the
                lists of that package (extra `wordfreq`), about 40 languages, the rest by rank; None keeps counts and
                estimates nothing. `metadata["frequencies"]` says which it was.
            extra_words: words that a fastText model hasn't seen, to be added with the vectors of their subwords; for
                several files a dictionary from languages to words. They count as seen once.
            allow_pickle: unpickle the file if its format needs it. A pickle can run any code when it is loaded: say
                True only for files from a source that you trust.
            on_bad_words: "error", or "skip" to pass over words of text and word2vec files that can't be taken (not UTF-8,
                with a space, there twice, with a vector that is none), which are counted and named in a warning.
            verify: compare a folder of `save` with its checksums, which reads all of it.
            revision, cache_dir, token: as in Transformers' `from_pretrained`, for the Hub.

        Raises:
            FileNotFoundError: no such file or folder, and not the name of a repository.
            ImportError: the extra that the file needs isn't installed.
            ValueError: anything in the file that is not as it should be, with file, line or byte and content, or
                arguments that don't fit it.
        """
        options = ReadOptions(format, default_language, allow_pickle, frequencies, on_bad_words)
        hub_kwargs = {"revision": revision, "cache_dir": cache_dir, "token": token}
        sources = find_sources(path_or_hub_id, language=language, filename=filename, **hub_kwargs)
        if not sources[0].path.is_dir():
            if verify:
                raise ValueError(
                    f"verify compares with the checksums of a folder written by save, and {sources[0].path} has none."
                )
            return cls._trusted(*read_sources(sources, options, extra_words))
        if language is not None or format is not None or extra_words:
            raise ValueError(
                f"{sources[0].path} was written by save, which keeps languages; leave language, format and "
                "extra_words out."
            )
        columns = read_folder(sources[0].path, verify)
        with reading(f"{sources[0].path} is damaged; save or download the word vectors again"):
            loaded = cls._trusted(*columns)
        loaded.place = sources[0].path
        return loaded

    @classmethod
    def from_pretrained(cls, path_or_hub_id: str | os.PathLike, **kwargs: Any) -> "WordVectors":
        """Word vectors that `save` or `push_to_hub` wrote; the same as `load`, whose arguments it takes."""
        return cls.load(path_or_hub_id, **kwargs)

    def save(self, path: str | os.PathLike, *, overwrite: bool = False) -> Path:
        """Writes a folder that `load` maps into memory, however large it is.

        It has `vectors.safetensors`, `words.txt` (UTF-8, one a line), `metadata.json` (with checksums) and a card for
        people and the Hub, `README.md`. It appears only when complete; until then the data lies in a temporary folder
        beside it.

        Raises:
            FileExistsError: `path` exists, isn't an empty folder, and `overwrite` is False.
            ValueError: a word has a line break, vectors have NaN or infinite values, or JSON cannot hold the metadata.
        """
        target = check_output_folder(path, overwrite)
        with new_folder(target, overwrite, needed=self.bytes_to_write) as folder:
            self._write(folder)
        logger.info("Word vectors saved to %s.", target)
        return target

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool | None = None,
        token: str | bool | None = None,
        revision: str | None = None,
        commit_message: str = "Word vectors",
    ) -> str:
        """Uploads what `save` writes, card included, as one commit. Called again, it resumes what broke off.

        Args:
            repo_id: `user/name` on the Hub; created if it doesn't exist.
            private, token, revision, commit_message: as in [`push_folder`].

        Returns:
            The address of the commit.

        Raises:
            ConnectionError: the Hub refused, or the connection broke; says what to do.
        """
        from ..utils.hub import push_folder

        with tempfile.TemporaryDirectory() as folder:
            self._write(Path(folder))
            return push_folder(
                folder, repo_id, private=private, token=token, revision=revision, commit_message=commit_message
            )

    @property
    def bytes_to_write(self) -> int:
        """About what `save` writes."""
        return len(self) * (4 * self.dimension + _WORD_BYTES)

    def _write(self, folder: Path) -> None:
        self.check_finite()  # once more, since arrays can be changed and `load` doesn't look
        write_folder(folder, self.words, self._coded_languages, self.vectors, self.frequencies, self.metadata)

    @classmethod
    def from_parallel(
        cls,
        texts: Mapping[str, Any] | Iterable[str | os.PathLike],
        *,
        dim: int = 200,
        min_count: int = 2,
        lowercase: bool = True,
        segmentation: str = "auto",
        tokenize: Callable[[str], list[str]] | None = None,
        exclude: str | os.PathLike | Iterable[str] | None = None,
        seed: int = 0,
        alignment_weight: float = 1.0,
    ) -> "WordVectors":
        """Word vectors from text whose segments (verses, sentences, articles) have the same ids in all languages.

        Two words are near if they occur in segments with the same ids (Levy et al., 2017, "A strong baseline for
        learning cross-lingual word embeddings from sentence alignments"): the word x segment counts of all languages
        together, positive pointwise mutual information, truncated SVD. Segments may be missing in any language. And
        two words are near that are aligned with the same words of the pivot (English, or else the language of the most
        segments), by IBM model 1 in both directions: these are further contexts.

        Args:
            texts: language -> its text, or file paths whose names begin with the language (`deu_Latn.tsv.gz`). A text
                is a path or several paths to files with `id<TAB>text` lines, plain, gzip or zstd, or an iterable of
                (id, text) pairs. Languages are ISO 639 codes; several texts of one language are added up.
            dim: the dimension d; below the number of segments and of words.
            min_count: rarer words (occurrences in their language) are left out.
            lowercase: count words in lower case; the subword step capitalises by itself.
            segmentation: what counts as a word in scripts without spaces (Han, Kana, Thai, Lao, Khmer, Myanmar):
                "words", by ICU's dictionaries (extra `segmentation`); "characters", 1- and 2-grams of characters;
                "auto", words where the extra is installed, else characters with a warning. Elsewhere words are
                those of UAX 29; in Tibetan, syllables and pairs of them. The metadata say what was done.
            tokenize: your own text -> words, instead.
            exclude: ids to leave out, such as those of test data: an iterable, or a file with one a line (what follows
                a tab is ignored).
            seed: of the start of the SVD.
            alignment_weight: of the aligned words beside the segments; 0 leaves them out, as Levy et al. have it.

        Returns:
            Unit-length vectors, with the words' counts as frequencies, the most frequent words first. The same on any
            number of threads, but for rounding.

        Raises:
            ImportError: segmentation="words" without the extra.
            ValueError: a language that isn't ISO 639, or shares no segment id with another; no word left; a dim that
                is too large; a line that is not `id<TAB>text` (file, line and content are named).
        """
        from .parallel import build_from_parallel

        words, languages, vectors, frequencies, metadata = build_from_parallel(
            texts,
            dim=dim,
            min_count=min_count,
            lowercase=lowercase,
            segmentation=segmentation,
            tokenize=tokenize,
            exclude=exclude,
            seed=seed,
            alignment_weight=alignment_weight,
        )
        return cls(words, languages, vectors, frequencies, metadata)

    @classmethod
    def from_dictionaries(
        cls,
        dictionaries: "Dictionary | str | os.PathLike | Iterable[Any]",
        vectors: "WordVectors | None" = None,
        *,
        dim: int | None = None,
        languages: Iterable[str] | None = None,
        lowercase: bool = True,
        segmentation: str = "auto",
        tokenize: Callable[[str], list[str]] | None = None,
        steps: int = 2,
        seed: int = 0,
    ) -> "WordVectors":
        """Word vectors from translations: added to vectors that exist, or from the translations alone.

        With `vectors`, a word that has none gets the mean of its translations that have one (all senses count, by the
        weight of their entries); in further steps, of those that got one in the step before. The given vectors stay
        as they are. To combine parallel text with dictionaries, pass what `from_parallel` made of it.

        Without, the words are the nodes of a graph whose edges are translations, as the concepts of ColexNet+ (Liu et
        al., 2023), embedded by random projection (Chen et al., 2019, FastRP). Only its largest connected part gets
        vectors. This places translations together; meanings are near only where translations mix them.

        Args:
            dictionaries: a `Dictionary`, the path or paths of dictionary files (see `Dictionary.load`), or tuples
                `(language, word, language, word)`, optionally with a weight after them.
            vectors: an aligned set that knows some of the dictionary's words.
            dim: the dimension without `vectors`; 200 by default.
            languages: of the words to add; all languages of the dictionary by default. The others still connect words.
            lowercase: take words in lower case, as `from_parallel` does; words are found in `vectors` in either case.
            segmentation, tokenize: how entries of several words are cut, as in `from_parallel`; "auto" is as the text of
                `vectors` was, where they say. Each word of an entry gets a share in it.
            steps: how many translations a word may be away from a word with a vector.
            seed: of the random projection.

        Returns:
            The words of `vectors`, if given, and the new ones, which have their mean length; or unit vectors. The most
            frequent words come first. Frequencies of new words are estimates: that of a translation divided among all
            its translations into the same language; without `vectors`, a word counts for each language that
            translates it. With `vectors` that have no frequencies there are none.

        Raises:
            ValueError: a language that the dictionary doesn't have, no word that it shares with `vectors`, nothing to
                add, vectors with NaN or infinite values, or what `Dictionary` reports.
        """
        from .concepts import build_from_dictionaries
        from .dictionaries import Dictionary

        return cls(
            *build_from_dictionaries(
                Dictionary.of(dictionaries),
                vectors,
                dim=dim,
                languages=languages,
                lowercase=lowercase,
                segmentation=segmentation,
                tokenize=tokenize,
                steps=steps,
                seed=seed,
            )
        )

    def aligned_to(
        self,
        space: "WordVectors",
        dictionary: "Dictionary",
        *,
        center: bool = False,
        refinements: int = 0,
        held_out: float = 0.1,
        max_words: int = 20_000,
        neighborhood: int = 10,
        seed: int = 0,
        device: Any = None,
    ) -> "WordVectors":
        """These words with their vectors in the space of others, by an orthogonal map fitted to a dictionary.

        For vectors of one language, such as fastText's: the map W that brings the unit vectors of dictionary words
        nearest to those of their translations in `space` (orthogonal Procrustes; Xing et al., 2015; Smith et al.,
        2017). Angles between these words stay as they are.

        Args:
            space: the aligned vectors to join, of the same dimension or a higher one.
            dictionary: translations between words of these vectors and words of `space`, of any languages.
            center: subtract each side's mean vector first, and add the mean of `space` at the end.
            refinements: how often to fit the map anew with all words that are nearest to each other by CSLS as further
                entries (Conneau et al., 2018), which helps where the dictionary is small.
            held_out: share of the dictionary's words that the quality is judged by; for the map that is used, they
                count as well.
            max_words: the first words of either side that refinements and judgements search, the most frequent ones.
            neighborhood: over how many neighbours CSLS takes its means.
            seed: of the choice of the held-out words.
            device: where similarities are computed; a GPU if there is one by default.

        Returns:
            The words with their frequencies, vectors of the mean length of those of `space`, and in
            `metadata["alignment"]` the quality: top-1 and top-5 lexicon induction of the held-out words, by cosine and
            CSLS, before and after (`AlignmentReport`).

        Raises:
            ValueError: more dimensions than `space` has, no entry with both words known, or vectors with NaN or infinite
                values.
        """
        from .alignment import align

        vectors, report = align(
            self,
            space,
            dictionary,
            center=center,
            refinements=refinements,
            held_out=held_out,
            max_words=max_words,
            neighborhood=neighborhood,
            seed=seed,
            device=device,
        )
        metadata = {**self.metadata, "alignment": report.to_dict()}
        return WordVectors(self.words, self.languages, vectors, self.frequencies, metadata)
