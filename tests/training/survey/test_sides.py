"""Classes that a mirror or a turn makes of each other are told, with the options against it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support.training.data_sets import write_noise
from training.commands.check import main as check
from training.survey.sides import side_notes

SHARES = {"flip": 0.5, "vertical_flip": 0.0, "quarter_turns": 0.0}
TURNS = {"flip": 0.0, "vertical_flip": 0.0, "quarter_turns": 0.75}


@pytest.mark.parametrize(
    ("names", "shares", "words"),
    [
        (["background", "left_arm", "right_arm"], SHARES, "'left_arm' and 'right_arm'"),
        (["arm (Left)", "leg", "RIGHT arm"], SHARES, "'arm (Left)' and 'RIGHT arm'"),
        (["leftLane", "rightLane", "hand_l", "hand_r"], SHARES, "'leftLane' and 'rightLane', 'hand_l' and 'hand_r'"),
        (["links", "rechts"], SHARES, "--set flip=0.0,"),
        (["linkes Auge", "rechtes Auge", "oeil gauche", "oeil droit"], SHARES, "'oeil gauche' and 'oeil droit'"),
        (["目左", "目右", "lefteye", "Righteye"], SHARES, "'目左' and '目右', 'lefteye' and 'Righteye'"),
        (["left", "right"], TURNS, "--set quarter_turns=0.0,"),
        (["upper jaw", "lower jaw"], TURNS, "'lower jaw' and 'upper jaw'"),
        (["upper jaw", "lower jaw"], SHARES, ""),
        (["top", "bottom"], SHARES | {"vertical_flip": 0.1}, "--set vertical_flip=0.0,"),
        (["left", "right"], TURNS | {"quarter_turns": 0.0}, ""),
        (["leftover", "bright", "cleft", "l"], SHARES, ""),
        (["left lane", "right arm"], SHARES, ""),
    ],
)
def test_pairs_of_sides(names: list[str], shares: dict[str, float], words: str) -> None:
    lines = side_notes(names, shares)
    assert (len(lines), words in "".join(lines)) == (bool(words), True)


def test_fcn_check_says_it_by_the_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "classes.yaml").write_text("classes: [background, left, right]\n")
    masks = {
        name: np.array([[0, 1, 2], [1, 2, int(name[1])]], np.uint8).repeat(20, 0).repeat(20, 1) for name in ("a0", "a1", "a2")
    }
    write_noise(tmp_path, masks)
    (tmp_path / "train.txt").write_text("a0\na1\n")
    (tmp_path / "val.txt").write_text("a2\n")
    for more, count in (([], 1), (["--set", "flip=0.0"], 0)):
        check([str(tmp_path), *more])
        assert capsys.readouterr().out.count("the classes 'left' and 'right' become each other") == count
