"""The comparisons of the path of an image: commands that parse, and figures that are those of `fcn-evaluate`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from benchmarks.studies import evaluations
from benchmarks.studies.evaluations import Evaluation, measure, read_evaluations
from tests.support.training.runs import TINY_RECIPE
from training.commands import evaluate_arguments, train
from training.commands.train_arguments import parser
from training.data.demo import write_demo_data


def test_every_row_is_a_comparison_that_parses() -> None:
    table = read_evaluations(evaluations.TABLE)
    names = [row.name for row in table.rows]
    assert len(set(names)) == len(names)
    for row in table.rows:
        args = evaluate_arguments.parser().parse_args(row.command[1:])
        evaluate_arguments.check_arguments(args)
        assert args.against
        assert args.precision == "float32"
    start = parser().parse_args(table.start[1:])
    assert evaluations.ROOT / start.out / f"{start.name}.safetensors" == evaluations.START


def test_a_row_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["evaluations", "voc-hihg"])
    with pytest.raises(SystemExit, match=r"no rows \['voc-hihg'\]; there are \['voc-high', "):
        evaluations.main()


@pytest.mark.long
def test_a_row_has_the_change_from_the_other_file_with_its_interval(tmp_path: Path) -> None:
    labels = write_demo_data(tmp_path / "data", train=8, val=4)
    (tmp_path / "recipe.toml").write_text(TINY_RECIPE)
    for name, seed in (("one", "0"), ("other", "1")):
        recipe = ["--recipe", str(tmp_path / "recipe.toml"), "--set", "epochs=1", "--seed", seed]
        assert (
            train.main(["--data", str(tmp_path / "data"), *recipe, "--device", "cpu", "--out", str(tmp_path), "--name", name])
            == 0
        )
        (tmp_path / "checkpoint.pt").unlink(missing_ok=True)
    data = f"--data {tmp_path / 'data'} --labels {labels} --runtime torch --precision float32 --device cpu"
    files = f"--weights {tmp_path / 'one.safetensors'} --against {tmp_path / 'other.safetensors'}"
    row = Evaluation("row", "one against the other", tuple(shlex.split(f"{data} {files}")))
    result, same = (
        measure(row, 1),
        measure(Evaluation("same", "", tuple(shlex.split(f"{data} {files.replace('other', 'one')}"))), 1),
    )
    low, high = result["difference_95"]
    assert low <= result["mean_iou"] - result["against"] <= high
    assert low < high
    assert (same["mean_iou"], same["difference_95"]) == (result["mean_iou"], [0, 0])
    assert shlex.split(result["command"]) == ["fcn-evaluate", *row.arguments]
