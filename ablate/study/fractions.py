"""Fractions of a factorial: which arms, and which effects share their numbers. Pure: no I/O, no torch.

The first parts are as in a full factorial; every further part, a generated one, is there where an odd number of the
parts in its word is, so that the bare arm is in every fraction.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

# (parts, arms) → words of the generated parts, with letters for the first parts. Source: D. C. Montgomery, "Design and
# Analysis of Experiments", table of selected 2^(k−p) fractional factorial designs; signs as above.
GENERATORS = {
    (3, 4): "AB",
    (4, 8): "ABC",
    (5, 8): "AB AC",
    (5, 16): "ABCD",
    (6, 8): "AB AC BC",
    (6, 16): "ABC BCD",
    (6, 32): "ABCDE",
    (7, 8): "AB AC BC ABC",
    (7, 16): "ABC BCD ACD",
    (7, 32): "ABCD ABDE",
    (8, 16): "BCD ACD ABC ABD",
    (8, 32): "ABC ABD BCDE",
    (9, 16): "ABC BCD ACD ABD ABCD",
    (9, 32): "BCDE ACDE ABDE ABCE",
    (10, 16): "ABC BCD ACD ABD ABCD AB",
    (10, 32): "ABCD ABCE ABDE ACDE BCDE",
}
MOST_PARTS = max(parts for parts, _ in GENERATORS)
Words = list[frozenset[int]]  # of the defining relation, as indices of parts


def sizes(parts: int) -> list[int]:
    """The numbers of arms that a fraction with so many parts may have, ascending."""
    return sorted(arms for count, arms in GENERATORS if count == parts)


def defining_words(parts: int, arms: int) -> Words:
    """The defining relation: in every arm the number of parts from each word is even. Raises KeyError."""
    generators = GENERATORS[parts, arms].split()
    first = parts - len(generators)
    own = [frozenset({*("ABCDE".index(c) for c in word), first + i}) for i, word in enumerate(generators)]
    words: Words = []
    for word in own:
        words += [word, *(word ^ other for other in words)]
    return words


def resolution(words: Words) -> int:
    """Length of the shortest word: with 3, main effects share their numbers with interactions of two parts; with 4,
    with those of three; with 5, interactions of two parts share theirs with those of three too."""
    return min(map(len, words))


def in_fraction(chosen: Sequence[int], words: Words) -> bool:
    """Whether the arm with these parts is in the fraction."""
    return all(len(word & set(chosen)) % 2 == 0 for word in words)


def alias_pairs(of: Sequence[int], words: Words) -> list[tuple[int, ...]]:
    """The interactions of two parts that share their number with the main effect or interaction of the parts `of`."""
    found = {tuple(sorted(word ^ set(of))) for word in words}
    return sorted(pair for pair in found if len(pair) == 2)


def pair_groups(parts: int, words: Words) -> list[list[tuple[int, ...]]]:
    """All interactions of two parts, those that share a number together; without those that a main effect shares."""
    with_main = {pair for part in range(parts) for pair in alias_pairs([part], words)}
    groups: list[list[tuple[int, ...]]] = []
    for pair in combinations(range(parts), 2):
        if pair not in with_main and not any(pair in group for group in groups):
            groups.append([pair, *alias_pairs(pair, words)])
    return groups
