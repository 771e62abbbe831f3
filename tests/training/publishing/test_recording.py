"""What is recorded of a file in a precision is of one export, and goes when another takes its place."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from onnx import numpy_helper

from model.inference.runtimes.openvino_runtime import OpenVINORuntime, read_export
from model.manifest import Int8Sums, Manifest
from model.weights_file import load_weights, save_weights
from training.commands.evaluate import main
from training.publishing.onnx_files import export_path, refresh_documents
from training.publishing.quantisation import export_int8, sums_fit_16_bits, write_int8


def write_other(master: Path, factor: float) -> Path:
    """Writes an export that stands for int8's: the float32 one, whose score layer is multiplied by `factor`."""
    model = onnx.load(export_path(master, "float32"))
    weight = next(each for each in model.graph.initializer if "score_fr" in each.name and len(each.dims) == 4)
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * factor, weight.name))
    return write_int8(master, model)


RECORDED = ["shapes, val", "shapes, val, quality high", "shapes, val, int8", "shapes, val, quality high, int8"]


@pytest.fixture
def master(narrow_file: Path, tmp_path: Path) -> Path:
    return copy_of(narrow_file, tmp_path)


def copy_of(narrow_file: Path, folder: Path) -> Path:
    """The narrow network with an export in float32, and one that stands for int8's."""
    path = folder / "mine.safetensors"
    for file in (narrow_file, narrow_file.with_suffix(".onnx")):
        shutil.copyfile(file, path.with_suffix(file.suffix))
    write_other(path, 0.9)
    return path


def record(master: Path, shapes: Path, sums: Int8Sums, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As on a processor that sums int8's products so."""
    monkeypatch.setattr("training.scoring.split_score.int8_sums", lambda: sums)
    command = ["--data", str(shapes), "--labels", str(shapes / "classes.json"), "--weights", str(master), "--device", "cpu"]
    assert main([*command, "--record", "shapes, val", "--high", "--note", "A note."]) == 0
    return master


@pytest.fixture(scope="module")
def recorded_once(narrow_file: Path, shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        return record(copy_of(narrow_file, tmp_path_factory.mktemp("recorded")), shapes, "vnni", patch)


@pytest.fixture
def recorded(recorded_once: Path, tmp_path: Path) -> Path:
    """A copy, which a test may change."""
    for path in recorded_once.parent.iterdir():
        shutil.copyfile(path, tmp_path / path.name)
    return tmp_path / recorded_once.name


def assert_nothing_of_int8(manifest: Manifest) -> None:
    assert not [name for name in manifest.scores if name.endswith("int8")]
    assert set(manifest.temperatures) == {"float32"}
    assert "calibration_int8" not in manifest.training
    assert manifest.exports == {}


def test_one_command_scores_fits_and_records_a_file_with_all_its_exports(recorded: Path, narrow_file: Path) -> None:
    manifest = load_weights(recorded).manifest
    assert list(manifest.scores) == RECORDED
    assert set(manifest.temperatures) == {"float32", "int8"}
    assert manifest.training["notes"] == ["A note."]
    full, quantised = (read_export(export_path(recorded, precision)) for precision in ("float32", "int8"))
    assert full.manifest == quantised.manifest == manifest
    assert full.master_sha256 == quantised.master_sha256 == load_weights(recorded).sha256
    assert manifest.exports == {"int8": quantised.network_sha256}
    assert read_export(narrow_file.with_suffix(".onnx")).network_sha256 == full.network_sha256 != quantised.network_sha256
    assert refresh_documents(recorded, "of another master") == []
    card = recorded.with_suffix(".md").read_text()
    assert all(name in card for name in RECORDED)
    assert "| int8 | " in card
    before = manifest.scores["shapes, val"]
    assert manifest.scores["shapes, val, int8"]["conditions"] == before["conditions"].replace("float32", "int8")


def test_scores_on_avx2_stand_beside_those_on_vnni_whose_temperature_stays(
    recorded: Path, shapes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = load_weights(recorded).manifest
    fitted = {"calibration_int8": before.training["calibration_int8"] | {"split": "of VNNI"}}
    save_weights(recorded, load_weights(recorded).tensors, replace(before, training={**before.training, **fitted}))
    refresh_documents(recorded, read_export(export_path(recorded, "int8")).master_sha256)
    manifest = load_weights(record(recorded, shapes, "avx2", monkeypatch)).manifest
    assert list(manifest.scores) == [*RECORDED, "shapes, val, int8 on AVX2", "shapes, val, quality high, int8 on AVX2"]
    assert manifest.training["calibration_int8"]["split"] == "of VNNI"
    assert "shapes, val, int8 on AVX2" in recorded.with_suffix(".md").read_text()


def test_weights_of_seven_bits_have_one_score_for_every_processor(
    master: Path, shapes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for avx2 in (False, True):
        export_int8(master, shapes, photos=4, avx2=avx2)
        assert sums_fit_16_bits(export_path(master, "int8")) is avx2
    manifest = load_weights(record(master, shapes, "avx2", monkeypatch)).manifest
    assert manifest.scores["shapes, val, int8"] == manifest.scores["shapes, val, int8 on AVX2"]
    assert "weights of seven bits" in manifest.scores["shapes, val, int8"]["conditions"]


@pytest.mark.long
def test_on_avx2_alone_there_is_a_temperature_too(master: Path, shapes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = load_weights(record(master, shapes, "avx2", monkeypatch)).manifest
    assert set(manifest.temperatures) == {"float32", "int8"}
    assert "calibration_int8" in manifest.training


def test_records_of_an_export_go_when_another_takes_its_place(recorded: Path) -> None:
    float32 = load_weights(recorded).manifest.scores["shapes, val"]
    write_other(recorded, 0.8)
    manifest = load_weights(recorded).manifest
    assert_nothing_of_int8(manifest)
    assert manifest.scores["shapes, val"] == float32
    assert "int8" not in recorded.with_suffix(".md").read_text()
    for precision in ("float32", "int8"):
        runtime = OpenVINORuntime(export_path(recorded, precision))
        assert runtime.identity.sha256 == load_weights(recorded).sha256
        assert_nothing_of_int8(runtime.manifest)


def test_the_same_export_made_anew_keeps_its_records(recorded: Path) -> None:
    manifest = load_weights(recorded).manifest
    write_other(recorded, 0.9)
    assert load_weights(recorded).manifest == read_export(export_path(recorded, "int8")).manifest == manifest


def test_an_export_that_was_put_there_by_hand_is_not_served_with_the_records_of_another(recorded: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / recorded.name
    other.parent.mkdir()
    for file in (recorded, export_path(recorded, "float32")):
        shutil.copyfile(file, other.parent / file.name)
    export = write_other(other, 0.7)
    shutil.copyfile(export, export_path(recorded, "int8"))
    assert_nothing_of_int8(read_export(export_path(recorded, "int8")).manifest)
