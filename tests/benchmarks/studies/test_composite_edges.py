"""The errors on composites: of opacities whose errors are known, and that the served filter beats the former one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.studies import composite_edges, composites
from benchmarks.studies.composite_edges import Totals, composite_errors, gradient, grid_steps, table
from imaging.deblocking import Blocks


def test_the_trace_of_the_grid_is_what_steps_on_it_exceed_the_others_by() -> None:
    even = np.tile(np.arange(20, 84, 2, np.uint8), (5, 1))
    on_grid, on_count, elsewhere, count = grid_steps(even)
    assert (on_grid, on_count, elsewhere, count) == (30, 15 + 0, 280, 140 + 32 * 4)
    stepped = even.copy()
    stepped[:, 8:] += 10
    assert grid_steps(stepped)[0] == on_grid + 50
    assert grid_steps(stepped[:, 3:], (3, 0))[0] == on_grid + 50


def test_a_jpegs_grid_lies_where_the_origin_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, values in (("SUBJECTS", ("sharp",)), ("GROUNDS", ("busy",)), ("QUALITIES", (60,))):
        monkeypatch.setattr(composites, name, values)
    photos = list(composites.composites())
    assert [composite.origin for composite in photos] == list(composites.ORIGINS)
    for composite in photos:
        assert composite.photo.shape == (composites.HEIGHT, composites.WIDTH, 3)
        assert Blocks.of(composite.photo).first == tuple(-start % 8 for start in composite.origin)


def test_errors_of_a_known_opacity() -> None:
    truth = np.zeros((20, 20))
    truth[:, 10:] = 1
    totals = Totals.of(np.full((20, 20), 51, np.uint8), truth, gradient(truth), np.ones((20, 20), bool))
    assert totals.errors["absolute"] == pytest.approx(0.5)
    assert totals.errors["gradient"] == pytest.approx(1000 * float((gradient(truth) ** 2).mean()), abs=0.01)


def test_a_folder_gives_grounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (50, 40), "red").save(tmp_path / "red.png")
    monkeypatch.setattr(composites, "SUBJECTS", ("sharp",))
    monkeypatch.setattr(composites, "QUALITIES", (None,))
    grounds = {composite.ground: composite for composite in composites.composites(tmp_path)}
    assert set(grounds) == {*composites.GROUNDS, "red.png"}
    red = grounds["red.png"]
    assert (red.photo[red.opacity == 0] == (255, 0, 0)).all()


@pytest.mark.long
def test_the_served_edge_is_nearer_than_the_former_on_every_ground_and_bears_no_trace_of_the_grid() -> None:
    errors = composite_errors(composites.composites())
    for ground in composites.GROUNDS:
        edges = errors[f"ground {ground}"]
        assert edges["refined"]["absolute"] < edges["former"]["absolute"] < edges["bilinear"]["absolute"]
    for group in (*(f"JPEG {quality}" for quality in filter(None, composites.QUALITIES)), "subject glass, JPEGs"):
        assert errors[group]["refined"]["trace"] <= 1.05 < errors[group]["former"]["trace"]
    assert table(errors).count("\n") == 1 + 3 * len(errors)
    assert set(composite_edges.EDGES) == {"bilinear", "former", "refined"}
