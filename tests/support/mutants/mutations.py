"""Mutants, their place in a file, and how they are drawn. cosmic-ray's operators change the code."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Operator
from cosmic_ray.plugins import get_operator, operator_names
from parso.python.tree import Keyword

PACKAGES = ("app", "cli", "client/src", "cluster", "common", "imaging", "model", "training")
# of cosmic-ray's replacements of operators those that leave the type, and of comparisons those at a boundary
NAMES = re.compile(
    "core/(AddNot|Exception|Number|Zero|Replace(True|False|And|Or|Break|Continue)"
    "|.*_(Add_Sub|Sub_Add|Mul_Div|Div_Mul|FloorDiv_Mul|Mod_Mul|RShift_LShift|LShift_RShift|BitOr_BitAnd|BitAnd_BitOr"
    "|Eq_NotEq|NotEq_Eq|Lt_LtE|LtE_Lt|Gt_GtE|GtE_Gt|Is_IsNot|IsNot_Is|USub_UAdd|Delete_.*)$)"
)
DEFINITIONS = ("def ", "async def ", "class ", "@")  # most of their operators are those of types, which nothing evaluates


class RemoveStatement(Operator):  # type: ignore[misc]  # cosmic-ray has no types
    """Puts `pass` in place of a `raise`, or of a call that is a whole statement: cosmic-ray has no operator for these."""

    def mutation_positions(self, node: Any) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
        if node.type == "simple_stmt" and node.children[0].type in ("atom_expr", "raise_stmt"):
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        leaf = node.get_first_leaf()
        node.children[0] = Keyword("pass", leaf.start_pos, leaf.prefix)
        return node

    @classmethod
    def examples(cls) -> tuple[()]:
        return ()


OPERATORS = {name: get_operator(name)() for name in operator_names() if NAMES.match(name)} | {
    "RemoveStatement": RemoveStatement()
}


@dataclass(frozen=True)
class Mutant:
    """A change of one line: the `occurrence`-th position of the operator in the lines of this text in this function."""

    file: str
    function: str  # with the names of its classes and outer functions, as `__qualname__` without `<locals>`
    line: str  # stripped
    operator: str
    occurrence: int


def mutants(file: str, text: str) -> Iterator[tuple[Mutant, int, int]]:
    """All mutants of a file's functions, each with its line's number and its index among the positions of its operator."""
    nodes, lines = list(ast_nodes(get_ast(text))), text.splitlines()
    for name, operator in OPERATORS.items():
        positions = ((node, start) for node in nodes for start, _ in operator.mutation_positions(node))
        occurrences = Counter[tuple[str, str]]()
        for index, (node, (number, _)) in enumerate(positions):
            function, line = qualified_name(node), lines[number - 1].strip()
            if function and not line.startswith(DEFINITIONS) and not node.search_ancestor("annassign"):
                yield Mutant(file, function, line, name, occurrences[function, line]), number, index
                occurrences[function, line] += 1


def qualified_name(node: Any) -> str:
    """The name of the function or class around a node, with those around it; empty outside of them."""
    names: list[str] = []
    while node := node.search_ancestor("funcdef", "classdef"):
        names.insert(0, node.name.value)
    return ".".join(names)


def mutate(mutant: Mutant, root: Path) -> tuple[str, int, str] | None:
    """The file that has the mutant's code, the line's number there, and the mutated text; None where the code has gone.

    The code may have moved within its file, or to another file; where several other files have it, it counts as gone.
    """
    results = []
    for file in [mutant.file, *product_files(root)]:
        text = (root / file).read_text() if (root / file).is_file() else ""
        for other, number, index in mutants(mutant.file, text) if mutant.line in text else ():
            if other == mutant:
                results.append((file, number, mutate_code(text, OPERATORS[mutant.operator], index)))
        if file == mutant.file and results:
            break
    return results[0] if len(results) == 1 else None


def product_files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for package in PACKAGES for path in (root / package).rglob("*.py"))


def draw(root: Path, lines: Mapping[str, Set[int]], count: int, seed: int) -> list[Mutant]:
    """Mutants of `count` of these lines of files: one of each of `count` equal stretches of all files' lines in a row, so that
    each folder has its share."""
    by_line: dict[tuple[str, int], list[Mutant]] = {}
    for file in product_files(root):
        for mutant, number, _ in mutants(file, (root / file).read_text()):
            if number in lines[file]:
                by_line.setdefault((file, number), []).append(mutant)
    choice, places = random.Random(seed), sorted(by_line)
    return [choice.choice(by_line[places[int((nth + choice.random()) * len(places) / count)]]) for nth in range(count)]
