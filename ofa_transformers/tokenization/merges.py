"""New merges on top of a tokenizer's own: byte-pair encoding (Sennrich et al., 2016) continued where it stopped.

The words are cut by the old tokenizer, and the next most frequent pair of neighbours is merged, again and again. Merges
learned so come after all old ones, so that they fire exactly on what the old tokenizer leaves (Purason et al., 2025,
"Teaching old tokenizers new words", compare this with tokens that no merge reaches).
"""

from __future__ import annotations

import heapq
import itertools
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from transformers.utils import logging


@dataclass
class LearnedMerges:
    """In the order in which they were learned.

    Attributes:
        tokens: the new tokens.
        merges: pairs of tokens; the result of each is an element of `tokens`.
    """

    tokens: list[str] = field(default_factory=list)
    merges: list[tuple[str, str]] = field(default_factory=list)


def learn_merges(
    words: Sequence[Sequence[str]],
    weights: Sequence[int],
    num_tokens: int,
    *,
    taken: set[str],
    join: Callable[[str, str], str],
    min_weight: int,
    locked: dict[str, int] | None = None,
    barred: set[str] | None = None,
) -> LearnedMerges:
    """The next `num_tokens` tokens.

    Args:
        words: each word as the sequence of its old tokens.
        weights: occurrences of each word.
        num_tokens: how many new tokens at most.
        taken: strings that are no new token. A pair that would make one is left alone: the merge would change old text
            without a new piece.
        join: the string of two tokens merged.
        min_weight: pairs below this are not merged.
        locked: character that has no token yet -> tokens it takes now. It becomes a token of its own when that saves
            more than any merge.
        barred: symbols of `words` that never take part.
    """
    return _Learner(words, weights, taken, join, min_weight, locked or {}, barred or set()).learn(num_tokens)


class _Learner:
    def __init__(self, words, weights, taken, join, min_weight, locked, barred) -> None:
        self.symbols: list[str] = sorted({symbol for word in words for symbol in word})
        self.ids = {symbol: i for i, symbol in enumerate(self.symbols)}
        self.words = [[self.ids[symbol] for symbol in word] for word in words]
        self.weights = [int(weight) for weight in weights]
        self.taken, self.join, self.min_weight = taken, join, min_weight
        self.barred = {self.ids[symbol] for symbol in barred if symbol in self.ids}
        self.locked = {self.ids[symbol] for symbol in locked if symbol in self.ids}
        self.waiting: dict[int, list[tuple[int, int]]] = defaultdict(list)
        self.counts: dict[tuple[int, int], int] = defaultdict(int)
        self.places: dict[tuple[int, int], list[int]] = defaultdict(list)
        single: dict[int, int] = defaultdict(int)
        for index, (word, weight) in enumerate(zip(self.words, self.weights)):
            for pair in itertools.pairwise(word):
                self.counts[pair] += weight
                self.places[pair].append(index)
            for symbol in self.locked.intersection(word):
                single[symbol] += weight * word.count(symbol)
        # weight, left, right; right is -1 for a character that waits for a token
        self.heap = [(-count, *pair) for pair, count in self.counts.items()]
        self.heap += [(-count * (locked[self.symbols[i]] - 1), i, -1) for i, count in single.items()]
        heapq.heapify(self.heap)

    def learn(self, num_tokens: int) -> LearnedMerges:
        result = LearnedMerges()
        new: set[str] = set()
        merged: set[tuple[int, int]] = set()
        with logging.tqdm(total=num_tokens, desc="Learning merges", unit="token", delay=2, leave=False) as progress:
            while self.heap and len(result.tokens) < num_tokens:
                negative, left, right = heapq.heappop(self.heap)
                if -negative < self.min_weight:
                    break
                if right < 0:
                    self.locked.discard(left)
                    for pair in self.waiting.pop(left, ()):
                        self._push(pair)
                    result.tokens.append(self.symbols[left])
                    new.add(self.symbols[left])
                    progress.update()
                    continue
                pair = (left, right)
                count = self.counts.get(pair, 0)
                if count != -negative:  # it has changed since
                    if 0 < count < -negative:
                        self._push(pair)
                    continue
                closed = self.locked.intersection(pair)
                if closed:
                    self.waiting[next(iter(closed))].append(pair)
                    continue
                token = self.join(self.symbols[left], self.symbols[right])
                if token in self.taken or self.barred.intersection(pair):
                    continue
                if pair not in merged:  # a token that two merges make can bring a pair back
                    merged.add(pair)
                    result.merges.append((self.symbols[left], self.symbols[right]))
                if token not in new:
                    new.add(token)
                    result.tokens.append(token)
                    progress.update()
                self._merge(pair, token)
        return result

    def _push(self, pair: tuple[int, int]) -> None:
        count = self.counts.get(pair, 0)
        if count > 0:
            heapq.heappush(self.heap, (-count, *pair))

    def _merge(self, pair: tuple[int, int], token: str) -> None:
        if token not in self.ids:
            self.ids[token] = len(self.symbols)
            self.symbols.append(token)
        merged = self.ids[token]
        left, right = pair
        changed = set()
        for index in self.places.pop(pair):
            old, weight = self.words[index], self.weights[index]
            word, i = [], 0
            while i < len(old):
                if old[i] == left and i + 1 < len(old) and old[i + 1] == right:
                    word.append(merged)
                    i += 2
                else:
                    word.append(old[i])
                    i += 1
            if len(word) == len(old):
                continue
            self.words[index] = word
            for other in itertools.pairwise(old):
                self.counts[other] -= weight
            for other in itertools.pairwise(word):
                self.counts[other] += weight
                if merged in other:
                    self.places[other].append(index)
                    changed.add(other)
        self.counts.pop(pair, None)
        for other in changed:
            self._push(other)
