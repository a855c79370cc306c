"""What an adaptation's numbers mean for the person who made it: what fits, what to worry about, what to do next."""

from dataclasses import dataclass

from ..text.languages import language_name
from .report import OfaReport


# Words of a language whose rows lean on few; and cosines of the nearest source token that say it knows little like it.
_FEW_WORDS = 2_000
_FAR = 0.4
# Shares of all tokens whose rows are draws: what is worth a word, and what is no start.
_SOME_DRAWS, _MOST_DRAWS = 0.05, 0.5
_MOST_NAMED = 6
# Loss of a factorization, relative to the norm of the embeddings -> what it did to retrieval before training, in points
# of top-1 from full size (multilingual-e5-small, three languages: docs/choosing-the-size.md).
_LOSSES = ((0.27, "2 points higher to 10 lower"), (0.47, "4 to 11 points lower"), (0.68, "23 to 33 points lower"))
_SMALL_LOSS = 0.35


@dataclass(frozen=True)
class Step:
    """Something to do next: why, and the command."""

    text: str
    command: str


@dataclass(frozen=True)
class Judgement:
    """Of an adaptation.

    Attributes:
        verdict: one sentence.
        fits: what is as it should be.
        worries: what isn't, each with what it means or what helps.
        steps: what to do next.
    """

    verdict: str
    fits: list[str]
    worries: list[str]
    steps: list[Step]


def judge(report: OfaReport) -> Judgement:
    """Reads a report as somebody who has seen many would; of any age, so that whatever is missing isn't judged."""
    fits: list[str] = []
    worries: list[str] = []
    for part in (_rows, _languages, _likeness, _factors):
        part(report, fits, worries)
    worries += report.warnings
    total = max(sum(report.tokens.values()), 1)
    if report.tokens["fallback"] > _MOST_DRAWS * total:
        verdict = "No good start: most rows are draws. Mend the first point before you train."
    elif worries:
        points = "one point" if len(worries) == 1 else f"{len(worries)} points"
        verdict = f"Ready to train, with {points} to look at first."
    else:
        verdict = "Ready to train."
    return Judgement(verdict, fits, worries, _steps(report))


def _rows(report: OfaReport, fits: list[str], worries: list[str]) -> None:
    total = max(sum(report.tokens.values()), 1)
    copied, composed, drawn = (report.tokens[kind] for kind in ("copied", "composed", "fallback"))
    if "difference" in report.proof:
        fits.append(f"It computes what the source computes, compared on {report.proof['tokens']:,} copied tokens.")
    if copied + composed:
        fits.append(
            f"{(copied + composed) / total:.0%} of {total:,} tokens start from what the source knows: {copied:,} copied, "
            f"{composed:,} composed."
        )
    if _SOME_DRAWS * total < drawn <= _MOST_DRAWS * total:
        worries.append(
            f"{drawn / total:.0%} of the tokens are in no word with a vector, and start from draws. Word vectors of more "
            "words would help."
        )


def _languages(report: OfaReport, fits: list[str], worries: list[str]) -> None:
    words = {code: count for code, count in report.word_vectors.get("languages", {}).items() if count}
    unused = report.word_vectors.get("unused", {})
    if not words:
        return
    few = {code: count for code, count in sorted(words.items(), key=lambda item: item[1]) if count < _FEW_WORDS}
    cut = {code: unused[code] / words[code] for code in words if 0.02 < unused.get(code, 0) / words[code] <= 0.2}
    if few:
        worries.append(
            f"Short text: few words have vectors in {_listed(few, '{:,}')}. Rows of these languages lean on them. More "
            "text, or a dictionary (ofa vectors dictionary), would help."
        )
    if cut:
        worries.append(
            f"Low coverage: the tokenizer can't write some words of {_listed(cut, '{:.0%}')}. Train it on more of their "
            "text, or with a larger vocabulary."
        )
    fine = [code for code in words if code not in few and unused.get(code, 0) <= 0.02 * words[code]]
    if fine:
        named = ", ".join(language_name(code) for code in fine[:_MOST_NAMED])
        more = f" and {len(fine) - _MOST_NAMED} more" if len(fine) > _MOST_NAMED else ""
        fits.append(f"Written whole, with words enough: {named}{more}.")


def _listed(found: dict[str, float], layout: str) -> str:
    shown = [f"{language_name(code)} ({layout.format(value)})" for code, value in list(found.items())[:_MOST_NAMED]]
    return ", ".join(shown) + (f" and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else "")


def _likeness(report: OfaReport, fits: list[str], worries: list[str]) -> None:
    median = report.figures.get("similarity", {}).get("median")
    if median is None:
        return
    if median < _FAR:
        worries.append(
            f"Half of the composed tokens find no source token nearer than a cosine of {median:.2f}: the vectors see "
            "little in common with the source's languages. Do these and the new ones share segments, or dictionaries?"
        )
    else:
        fits.append(f"Composed tokens lie near source tokens: median cosine {median:.2f}.")


def _factors(report: OfaReport, fits: list[str], worries: list[str]) -> None:
    loss = (report.reconstruction_error or {}).get("input")
    if loss is None:
        return
    size = report.target.get("embedding_size")
    seen, meant = min(_LOSSES, key=lambda row: abs(row[0] - loss))
    said = (
        f"Embedding size {size} loses {loss:.2f} of the embeddings' norm. At {seen:.2f}, top-1 retrieval before training "
        f"was {meant}"
    )
    if loss <= _SMALL_LOSS:
        fits.append(f"{said}.")
    else:
        worries.append(
            f"{said}. 120 steps of training brought bits per character to within 0.04 of full size, but not retrieval. "
            "Train it well, or take a larger size."
        )


def _steps(report: OfaReport) -> list[Step]:
    name = report.target["class"]
    evaluated = Step(
        "See what it gained, on text that it wasn't trained on:",
        "ofa evaluate retrieval adapted continued --parallel bible/ --ids held-out.txt -o results",
    )
    if name.endswith(("ForCausalLM", "LMHeadModel")):
        train = "ofa pretrain adapted text/ --causal -v held-out/ -o continued -n 10000"
    elif name.endswith("ForMaskedLM"):
        train = "ofa pretrain adapted text/ -v held-out/ -o continued -n 10000"
    elif name.endswith("Model"):
        train = "ofa pretrain adapted --parallel bible/ --held-out held-out.txt -o continued -n 1000"
        return [
            Step("It has no language-modelling head: teach it translations, by the source's vectors:", train),
            evaluated,
        ]
    else:
        return [Step("It has no language-modelling head: fine-tune it on your task, and measure.", evaluated.command)]
    return [Step("Continue its pretraining on text of your languages:", train), evaluated]
