"""Where something was measured."""

from __future__ import annotations

import torch

from training.reporting.machine import commit, machine


def test_the_commit_is_a_short_hash_or_unknown() -> None:
    assert commit() == "unknown" or (len(commit()) == 12 and set(commit()) <= set("0123456789abcdef"))


def test_the_machine_is_one_line_with_its_threads() -> None:
    assert f", {torch.get_num_threads()} threads" in machine()
    assert "\n" not in machine()
