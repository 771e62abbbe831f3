"""Several outputs of one scene: the network runs once, and each has the bytes of a run of its own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from common.whole_file import whole_file
from model.inference.scenes import work
from tests.support.cli.folders import Segment
from tests.support.images import make_photo
from tests.support.imaging.scenes import write_scene

TILE = ("--tile", "128")
NAMES = ("a.tif", "b.gpkg", "c.geojson")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_scene(tmp_path_factory.mktemp("scene") / "a.tif", make_photo(430, 310))


@pytest.fixture
def network_runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The first row of each run of the network."""
    runs: list[int] = []
    original = work.segment_work

    def counted(*args: Any) -> Any:
        runs.append(args[5])
        return original(*args)

    monkeypatch.setattr(work, "segment_work", counted)
    return runs


def outs(folder: Path, *names: str) -> list[str]:
    return [word for name in names for word in ("-o", str(folder / name))]


def test_each_output_has_the_bytes_of_its_own_run_and_the_network_runs_once(
    run: Segment, scene: str, tmp_path: Path, network_runs: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    together, alone = tmp_path / "together", tmp_path / "alone"
    options = {"a.tif": ["--cog"], "b.gpkg": ["--min-area", "5m2"], "c.geojson": ["--min-area", "5m2"]}
    assert run(scene, *outs(together, *NAMES), *TILE, "--cog", "--min-area", "5m2") == 0
    assert network_runs == [0]
    assert sorted(os.listdir(together)) == sorted(NAMES)
    for name in NAMES:
        assert run(scene, *outs(alone, name), *TILE, *options[name]) == 0
        assert (together / name).read_bytes() == (alone / name).read_bytes(), name
    capsys.readouterr()
    (together / "b.gpkg").unlink()
    assert run(scene, *outs(together, *NAMES), *TILE, "--cog", "--min-area", "5m2", "--resume") == 0
    assert capsys.readouterr().err.count("is done and up to date") == 2
    assert (together / "b.gpkg").read_bytes() == (alone / "b.gpkg").read_bytes()
    assert run(scene, *outs(together, "b.gpkg"), *TILE, "--min-area", "9m2", "--resume") == 0
    assert "is done" not in capsys.readouterr().err


def test_after_an_error_of_the_second_output_resume_runs_no_network(
    run: Segment, scene: str, tmp_path: Path, network_runs: list[int], monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def without_room(out: Path, **options: Any) -> Any:
        if out.suffix == ".gpkg":
            raise OSError(28, "No space left on device", str(out))
        return whole_file(out, **options)

    words = [scene, *outs(tmp_path, *NAMES), *TILE]
    with monkeypatch.context() as patch:
        patch.setattr("model.inference.scenes.outputs.whole_file", without_room)
        assert run(*words) == 2
    lines = capsys.readouterr().err.splitlines()
    assert "rows 0 to 430 of 430 are kept in" in lines[-2]
    assert "No space left on device" in lines[-1]
    assert sorted(os.listdir(tmp_path)) == ["a.tif", "a.tif.rows"]
    assert run(*words, "--resume") == 0
    assert network_runs == [0]
    assert sorted(os.listdir(tmp_path)) == sorted(NAMES)


def test_copies_of_a_scene_give_equal_bytes(run: Segment, scene: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy.tif"
    copy.write_bytes(Path(scene).read_bytes())
    for source, out in ((scene, "1.tif"), (str(copy), "2.tif")):
        assert run(source, *outs(tmp_path, out), *TILE) == 0
    assert (tmp_path / "1.tif").read_bytes() == (tmp_path / "2.tif").read_bytes()
