"""Random expressions of ListOps, many at a time, with their values.

The grammar is that of the Long Range Arena (arXiv:2011.04006): from depth 1 on, above the largest depth, a node is an
operator with probability 1/4, with 2 to the most arguments, else a digit; its operator is one of MIN, MAX, MED (the
median, cut to a whole number) and SM (the sum modulo 10). Operators, digits and numbers of arguments are uniform. The
length counts digits, operators and closing brackets. Here all nodes of a depth are drawn together, which is the same
distribution: nothing that is drawn depends on the order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qformers.data.tokens.listops import CLOSE, OPERATORS

OPERATOR_SHARE = 0.25
FEWEST_ARGUMENTS = 2
CLOSER, FIRST_OPERATOR = 10, 11  # codes; below them the digits
MOST_TREES, NODES = 4096, 2_000_000  # drawn at a time; a tree has no more nodes than its largest length
Codes = NDArray[np.uint16]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Grammar:
    """Which expressions are made.

    Attributes:
        depth: of the deepest digits; the root has 1.
        max_args: most arguments of an operator.
        min_length: all are longer.
        max_length: all are shorter.
    """

    depth: int
    max_args: int
    min_length: int
    max_length: int

    @property
    def at_once(self) -> int:
        """Expressions that are drawn at a time."""
        return max(1, min(MOST_TREES, NODES // self.max_length))

    @property
    def words(self) -> list[str]:
        """Text of each code, in the public files' parentheses; behind the last one of an expression one is too many.

        They nest an expression in pairs, ``( ( ( [MAX 2 ) 7 ) ] )``: every operator opens one for each argument and one
        for its closing bracket, every argument and every closing bracket closes one.
        """
        operators = [
            f"{'( ' * (number + 1)}[{name}"
            for name in OPERATORS
            for number in range(FEWEST_ARGUMENTS, self.max_args + 1)
        ]
        return [*(f"{digit} )" for digit in range(10)), f"{CLOSE} ) )", *operators]


@dataclass(frozen=True)
class _Level:
    """Nodes of one depth, those of a parent together and in the order of their parents."""

    tree: Ints  # (k,)
    parent: Ints  # (k,), index on the level above
    number: Ints  # (k,), arguments; 0 of digits
    kind: Ints  # (k,), index in `OPERATORS`
    digit: Ints  # (k,)

    @property
    def inner(self) -> NDArray[np.bool_]:
        """(k,), True for operators."""
        return self.number > 0

    @property
    def first(self) -> Ints:
        """Of each operator, the index of its first argument on the level below."""
        return (np.cumsum(self.number) - self.number)[self.inner]


@dataclass(frozen=True)
class Trees:
    """Expressions of the wanted lengths.

    Attributes:
        codes: (all tokens,), one expression after the other.
        lengths: (n,), tokens of each.
        values: (n,), 0 to 9.
    """

    codes: Codes
    lengths: Ints
    values: Ints

    def __len__(self) -> int:
        return len(self.lengths)


def draw(grammar: Grammar, rng: np.random.Generator) -> Trees:
    """Draw `grammar.at_once` expressions and keep those of the wanted lengths."""
    levels = _kept(*_drawn(grammar, rng), grammar)
    sizes = _sizes(levels)
    return Trees(_codes(levels, sizes, grammar), sizes[0], _values(levels))


def _drawn(grammar: Grammar, rng: np.random.Generator) -> tuple[list[_Level], Ints]:
    """All levels, and the lengths (trees,); an expression that cannot but become too long is not drawn to its end."""
    trees = grammar.at_once
    tree, parent = np.arange(trees), np.zeros(trees, np.int64)
    length, levels = np.zeros(trees, np.int64), []
    for depth in range(1, grammar.depth + 1):
        nodes = len(tree)
        inner = rng.random(nodes) <= OPERATOR_SHARE if depth < grammar.depth else np.zeros(nodes, bool)
        number = np.where(inner, rng.integers(FEWEST_ARGUMENTS, grammar.max_args + 1, nodes), 0)
        kind, digit = rng.integers(0, len(OPERATORS), nodes), rng.integers(0, 10, nodes)
        length += np.bincount(tree, 1 + inner, trees).astype(np.int64)
        least = length + np.bincount(tree, number, trees).astype(np.int64)  # every argument has a token
        too_long = least >= grammar.max_length
        length[too_long] = least[too_long]
        number[too_long[tree]] = 0
        levels.append(_Level(tree, parent, number, kind, digit))
        parent = np.repeat(np.arange(nodes), number)
        tree = tree[parent]
    return levels, length


def _kept(levels: list[_Level], length: Ints, grammar: Grammar) -> list[_Level]:
    """The nodes of expressions of the wanted lengths, numbered anew."""
    wanted = (length > grammar.min_length) & (length < grammar.max_length)
    kept: list[_Level] = []
    above = np.zeros(1, np.int64)  # new index of each node of the level above
    for level in levels:
        chosen = wanted[level.tree]
        kept.append(
            _Level(
                level.tree[chosen],
                above[level.parent[chosen]],
                level.number[chosen],
                level.kind[chosen],
                level.digit[chosen],
            )
        )
        above = np.cumsum(chosen) - 1
    return kept


def _sizes(levels: list[_Level]) -> list[Ints]:
    """Tokens of each node with all that is below it, per level."""
    sizes = [1 + level.inner.astype(np.int64) for level in levels]
    for above, below in zip(range(len(levels) - 2, -1, -1), range(len(levels) - 1, 0, -1), strict=True):
        sizes[above] += np.bincount(levels[below].parent, sizes[below], len(sizes[above])).astype(np.int64)
    return sizes


def _values(levels: list[_Level]) -> Ints:
    """(n,), what each expression is."""
    below = levels[-1].digit
    for level, children in zip(levels[-2::-1], levels[:0:-1], strict=True):
        values = level.digit.copy()
        if len(first := level.first):
            number = level.number[level.inner]
            ordered = below[np.lexsort((below, children.parent))]  # the arguments of each operator in rising order
            middle = ordered[first + (number - 1) // 2] + ordered[first + number // 2]
            of_kind = (ordered[first], ordered[first + number - 1], middle // 2, np.add.reduceat(below, first) % 10)
            values[level.inner] = np.choose(level.kind[level.inner], of_kind)  # in the order of OPERATORS
        below = values
    return below


def _codes(levels: list[_Level], sizes: list[Ints], grammar: Grammar) -> Codes:
    """The tokens of all expressions in the order in which they are written."""
    codes = np.empty(int(sizes[0].sum()), np.uint16)
    place = np.cumsum(sizes[0]) - sizes[0]
    choices = grammar.max_args - FEWEST_ARGUMENTS + 1
    for number, level in enumerate(levels):
        inner = level.inner
        operator = FIRST_OPERATOR + level.kind * choices + level.number - FEWEST_ARGUMENTS
        codes[place] = np.where(inner, operator, level.digit)
        codes[(place + sizes[number] - 1)[inner]] = CLOSER
        if number + 1 < len(levels):
            below = sizes[number + 1]
            before = np.cumsum(below) - below  # tokens of all nodes before
            start = np.repeat(before[level.first], level.number[inner])  # of those before the first argument
            place = place[levels[number + 1].parent] + 1 + before - start
    return codes
