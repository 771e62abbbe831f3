"""Counts code lines by folder, and fails above the budget in `pyproject.toml`: `python -m tests.support.code_lines`.

A code line of Python is neither blank nor a comment, and no part of a docstring. The page's scripts, styles and HTML count too.
"""

from __future__ import annotations

import ast
import io
import subprocess
import sys
import tokenize
import tomllib
from collections import Counter
from pathlib import Path

from tests.support.checkout import ROOT

PAGE = {".js", ".css", ".html"}
NO_CODE = {
    tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER,
}  # fmt: skip


def python_lines(text: str) -> int:
    """The code lines of a Python file."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    strings = [
        node
        for parent in ast.walk(ast.parse(text))
        for node in (parent.body if isinstance(parent, documented) else [])
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    ]
    in_strings = {line for node in strings for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)}
    tokens = (token for token in tokenize.generate_tokens(io.StringIO(text).readline) if token.type not in NO_CODE)
    return len({line for token in tokens for line in range(token.start[0], token.end[0] + 1)} - in_strings)


def page_lines(text: str) -> int:
    """The lines of a script, a style sheet or HTML that are neither blank nor in a comment that has its own lines."""
    count, in_comment = 0, False
    for line in map(str.strip, text.splitlines()):
        in_comment = in_comment or line.startswith("/*")
        count += bool(line) and not in_comment and not line.startswith("//")
        in_comment = in_comment and "*/" not in line
    return count


def count_lines(root: Path) -> tuple[Counter[str], Counter[str]]:
    """The code lines and the files of each folder of the repository, of the files that git knows."""
    lines, files = Counter[str](), Counter[str]()
    for name in subprocess.run(["git", "ls-files"], cwd=root, capture_output=True, text=True, check=True).stdout.splitlines():
        path, folder = root / name, name.partition("/")[0]
        if path.suffix == ".py" and path.is_file():
            lines[folder] += python_lines(path.read_text())
        elif path.suffix in PAGE and folder == "app":
            lines[folder] += page_lines(path.read_text())
        else:
            continue
        files[folder] += 1
    return lines, files


def main() -> int:
    budgets = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["fcn-segment"]["code-lines"]
    lines, files = count_lines(ROOT)
    for folder in sorted(lines):
        print(f"{folder:12}{lines[folder]:8,} lines{files[folder]:5} files")
    status = 0
    for name, budget in budgets.items():
        count = sum(lines[folder] for folder in budget["folders"])
        print(f"{name:12}{count:8,} lines, of {budget['most']:,}")
        if count > budget["most"]:
            print(f"{name} is over its budget: take something away, or raise it in `pyproject.toml` and say why")
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
