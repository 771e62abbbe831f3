"""Exported files: of the weights that are here, against their masters; and `fcn-export` on the narrow network."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
import torch

from benchmarks.harness.narrow import randomise
from imaging.decoding import Limits, decode
from model.inference.plan import Options
from model.inference.runtimes.openvino_runtime import OpenVINORuntime, read_export
from model.inference.runtimes.torch_runtime import TorchRuntime
from model.inference.segmenter import Segmenter
from model.manifest import INT8_SCORES, Int8Sums, Manifest, scored_in
from model.networks.builder import build
from model.networks.servable import half_tensors
from model.weights_file import (
    DEFAULT_WEIGHTS,
    EXPORT_SUFFIXES,
    MASTER_SUFFIX,
    WEIGHTS_FOLDER,
    Weights,
    find_files,
    find_weights,
    load_weights,
    save_weights,
)
from tests.support.checkout import ROOT
from tests.support.images import encode, make_photo
from tests.support.variants import long
from training.commands.export import main
from training.publishing.export_files import export_float32
from training.publishing.onnx_files import export_path
from training.publishing.quantisation import calibration_tiles

PHOTOS = sorted((ROOT / "docs" / "photos").glob("*.jpg"))
MASTERS = sorted(path.name.removesuffix(MASTER_SUFFIX) for path in WEIGHTS_FOLDER.glob(f"*{MASTER_SUFFIX}"))
EXPORTS = [(name, precision) for name in MASTERS for precision in find_files(name).exports]
FLOAT32 = [name for name, precision in EXPORTS if precision == "float32"]


@cache
def tiles(name: str) -> list[npt.NDArray[np.uint8]]:
    """The first tile of each photo of the documentation, as the service cuts them for these weights."""
    segmenter = Segmenter(OpenVINORuntime(find_files(name).exports["float32"]))
    cut = []
    for path in PHOTOS:
        data = path.read_bytes()
        plan = segmenter.plan(data, Options())
        cut.append(plan.tile_plan.cut(decode(data, Limits(), plan.tile_plan.size), 0, 0))
    return cut


def test_the_default_weights_are_exported_in_both_precisions_and_others_in_both_or_none() -> None:
    assert set(find_files(DEFAULT_WEIGHTS).exports) == set(EXPORT_SUFFIXES)
    for name in MASTERS:
        assert set(find_files(name).exports) in (set(EXPORT_SUFFIXES), set())


@pytest.mark.parametrize(
    ("name", "sums", "allowed"),
    [
        ("voc-fcn8s-mobilenet-v2", "vnni", True),
        ("voc-fcn8s-mobilenet-v2", "avx2", True),
        ("camvid-fcn8s-mobilenet-edgetpu", "vnni", True),
        ("camvid-fcn8s-mobilenet-edgetpu", "avx2", False),
    ],
)
def test_the_card_of_an_int8_export_says_where_it_is_chosen(name: str, sums: Int8Sums, allowed: bool) -> None:
    """A score or a calibration that is recorded anew may end that, and half of the rate with it."""
    manifest = read_export(find_files(name).exports["int8"]).manifest
    assert scored_in(next(iter(manifest.scores)), INT8_SCORES[sums]) in manifest.scores
    assert manifest.allows_int8(sums) is allowed


@pytest.mark.parametrize(("name", "precision"), EXPORTS, ids="-".join)
def test_an_export_carries_its_masters_sha256_and_facts(name: str, precision: str) -> None:
    files = find_files(name)
    assert files.master is not None
    master, export = load_weights(files.master), read_export(files.exports[precision])
    assert export.master_sha256 == master.sha256
    assert export.manifest == master.manifest
    identity = export.facts("openvino")["identity"]
    assert (identity.name, identity.precision) == (name, precision)
    assert (export.stride, export.grid) == (8, "corner")
    data = export.path.read_bytes()
    assert [word for word in (b"/work", b"/home", b"/root", b"/tmp", b"site-packages", b".py") if word in data] == []
    model = onnx.load(export.path)
    onnx.checker.check_model(model)
    assert [(value.name, value.type.tensor_type.elem_type) for value in (*model.graph.input, *model.graph.output)] == [
        ("pixels", onnx.TensorProto.UINT8),
        ("logits", onnx.TensorProto.FLOAT),
    ]


@pytest.mark.parametrize("name", [DEFAULT_WEIGHTS, *long(*(name for name in FLOAT32 if name != DEFAULT_WEIGHTS))])
def test_the_float32_export_computes_what_the_master_does_in_torch_and_in_onnx_runtime(name: str) -> None:
    path = find_files(name).exports["float32"]
    exported, master = OpenVINORuntime(path), TorchRuntime(load_weights(find_weights(name)), "cpu", "float32")
    other = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for tile in tiles(name):
        expected = master.logits([tile])
        for logits in (exported.logits([tile]), other.run(None, {"pixels": tile[None]})[0]):
            np.testing.assert_allclose(logits, expected, atol=1e-3)
            assert (logits.argmax(1) == expected.argmax(1)).mean() >= 0.999


@pytest.mark.parametrize("name", [DEFAULT_WEIGHTS, *long(*(name for name in FLOAT32 if name != DEFAULT_WEIGHTS))])
def test_the_int8_export_agrees_where_float32_is_sure(name: str) -> None:
    """The photographs show what the default weights know, and no streets: others are far from sure of them."""
    exports = find_files(name).exports
    full, quantised = OpenVINORuntime(exports["float32"]), OpenVINORuntime(exports["int8"])
    agreement, where_sure = [], []
    for tile in tiles(name):
        logits = full.logits([tile])
        equal = logits.argmax(1) == quantised.logits([tile]).argmax(1)
        sure = 1 / np.exp(logits - logits.max(1, keepdims=True)).sum(1) > 0.7  # the winner's probability
        agreement.append(equal.mean())
        where_sure.append(equal[sure].mean())
    assert min(where_sure) >= 0.97
    assert np.mean(agreement) >= (0.93 if name == DEFAULT_WEIGHTS else 0.85)
    assert max(agreement) >= (0.98 if name == DEFAULT_WEIGHTS else 0.9)


@pytest.fixture
def copy(narrow_file: Path, tmp_path: Path) -> Path:
    """The narrow network's master, and its export beside it."""
    for ending in (".safetensors", ".onnx"):
        shutil.copyfile(narrow_file.with_suffix(ending), tmp_path / f"narrow{ending}")
    return tmp_path / "narrow.safetensors"


def check_export(path: Path, master: Path, weights: Weights) -> None:
    assert read_export(path).master_sha256 == load_weights(master).sha256
    tile = make_photo(64, 96)
    np.testing.assert_allclose(OpenVINORuntime(path).logits([tile]), TorchRuntime(weights, "cpu").logits([tile]), atol=1e-4)
    data = path.read_bytes()
    assert [word for word in (str(ROOT).encode(), b"site-packages", b".py") if word in data] == []


def test_a_file_that_exists_is_replaced_with_force_alone(
    copy: Path, narrow: Weights, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = export_path(copy, "float32")
    path.write_bytes(b"mine")
    before = copy.read_bytes()
    for arguments in ([], ["--hub", str(tmp_path / "hub")]):
        assert main(["--weights", str(copy), *arguments]) == 2
        assert capsys.readouterr().err == f"fcn-export: already there: {path}; nothing was written; give --force to replace\n"
    assert (path.read_bytes(), copy.read_bytes()) == (b"mine", before)
    assert {entry.name for entry in tmp_path.iterdir()} == {"narrow.safetensors", "narrow.onnx"}
    assert main(["--weights", str(copy), "--force"]) == 0
    assert capsys.readouterr().out.startswith(f"wrote {path} (")
    check_export(path, copy, narrow)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--weights", "nothing"], "no weights file 'nothing'"),
        (["--calibration", "{tmp}"], "--calibration has no effect without --int8: give both, or leave it out"),
        (["--int8"], "--int8 needs --calibration FOLDER"),
        (["--int8", "--calibration", "{tmp}/none"], "no photos in {tmp}/none; their names end in "),
        (["--int8", "--calibration", "{tmp}", "--photos", "0"], "--photos must be at least 1, got 0"),
        (["--int8", "--calibration", "{tmp}/photos"], "{tmp}/photos/broken.jpg: this file is none of PNG"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_errors_are_told_on_stderr_with_status_2(
    copy: Path, tmp_path: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "none").mkdir()
    (tmp_path / "photos" / "broken.jpg").write_bytes(b"no")
    command = ["--weights", str(copy), *(argument.format(tmp=tmp_path) for argument in arguments)]
    assert main(command) == 2
    assert capsys.readouterr().err.startswith(f"fcn-export: {message.format(tmp=tmp_path)}")


@pytest.mark.long
@pytest.mark.parametrize(
    ("backbone", "decoder", "head", "stride"),
    [
        ("mobilenet_v2", "interpolated", "none", 16),
        ("mobilenet_v2", "learned", "fc", 32),
        ("vgg16", "shared", "conv1x1", 32),
    ],
)
def test_other_decoders_are_exported_and_served(
    tmp_path: Path, narrow: Weights, backbone: str, decoder: str, head: str, stride: int
) -> None:
    torch.manual_seed(0)
    width = 1.0 if backbone == "vgg16" else 0.1
    net = build("fcn8s", backbone, 4, width=width, head=head, head_width=16, output_stride=stride, decoder=decoder)
    path = tmp_path / "other.safetensors"
    manifest = Manifest(net.architecture, narrow.manifest.labels, narrow.manifest.preprocessing, "none")
    save_weights(path, half_tensors(randomise(net).eval()), manifest)
    exported, master = OpenVINORuntime(export_float32(path)), TorchRuntime(load_weights(path), "cpu", "float32")
    for size in ((64, 96), (128, 32)):
        expected = master.logits([make_photo(*size)])
        assert np.ptp(expected) > 0.1
        np.testing.assert_allclose(exported.logits([make_photo(*size)]), expected, atol=1e-3 * max(1, np.ptp(expected)))
    photo = make_photo(31, 50)  # the service extends it to multiples of 32
    ids = [Segmenter(runtime)(photo, Options()).class_map for runtime in (exported, master)]
    assert ids[0].shape == (31, 50)
    assert (ids[0] == ids[1]).mean() > 0.99


def test_a_network_that_cannot_be_exported_is_refused_with_what_to_do(
    copy: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise torch.onnx.OnnxExporterError("no such operator")

    monkeypatch.setattr(torch.onnx, "export", refuse)
    assert main(["--weights", str(copy), "--force"]) == 2
    assert capsys.readouterr().err == "fcn-export: narrow cannot be exported; serve it with torch: no such operator\n"


def test_calibration_photos_lie_over_all_of_the_folder(copy: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for grey in range(5):
        (photos / f"{grey}.png").write_bytes(encode(np.full((32, 32, 3), grey, np.uint8)))
    segmenter = Segmenter(TorchRuntime(load_weights(copy), "cpu"))
    for number, expected in ((3, [0, 1, 3]), (2, [0, 2]), (9, [0, 1, 2, 3, 4])):
        assert [tile.max() for tile in calibration_tiles(segmenter, photos, number)] == expected
