"""Counting code lines."""

from __future__ import annotations

from tests.support.code_lines import page_lines, python_lines

PYTHON = '''"""A module."""

# a comment
X = (
    "no docstring",  # two lines
)


def f() -> str:
    """One line.

    And more.
    """
    return """a text
of two lines"""
'''
PAGE = """/* a comment
   of two lines */

// another
body { color: red }  /* beside code */
p {
}
"""


def test_code_lines_are_those_without_blanks_comments_and_docstrings() -> None:
    assert python_lines(PYTHON) == 6
    assert page_lines(PAGE) == 3
