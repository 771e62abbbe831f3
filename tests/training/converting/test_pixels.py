"""What the files of other libraries say of pixels and classes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
import pytest

from tests.support.training.foreign_networks import foreign_network
from training.converting.graph import ConversionError
from training.converting.pixels import Normalisation, read_class_names, read_normalisation

STEP = {"type": "Normalize", "mean": [1, 2, 3], "std": [4, 5, 6]}
PLAIN = '{"image_mean": [0, 0, 0], "image_std": [1, 1, 1]}'
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def read(path: Path, metadata: dict[str, str] | None = None) -> Normalisation | None:
    return read_normalisation(path, onnx.load(foreign_network(path, metadata=metadata)))


@pytest.mark.parametrize(
    ("name", "document", "mean", "std", "scale", "bgr"),
    [
        ("preprocessor_config.json", {"image_mean": MEAN, "image_std": STD, "do_resize": True}, MEAN, STD, 1 / 255, False),
        (
            "preprocessor_config.json",
            {"image_mean": [1, 2, 3], "image_std": [4, 5, 6], "do_rescale": False},
            [1, 2, 3], [4, 5, 6], 1, False,
        ),
        ("preprocessor_config.json", {"do_normalize": False, "do_flip_channel_order": True}, [0] * 3, [1] * 3, 1 / 255, True),
        (
            "preprocessor_config.json",
            {"image_processor_type": "MobileViTImageProcessor", "image_mean": MEAN, "do_flip_channel_order": True},
            [0] * 3, [1] * 3, 1 / 255, True,
        ),
        ("preprocessor_config.json", {"image_mean": MEAN, "image_std": STD, "rescale_factor": 0.01}, MEAN, STD, 0.01, False),
        ("pipeline.json", {"a": [STEP | {"to_rgb": True}]}, [1, 2, 3], [4, 5, 6], 1, False),
        ("pipeline.json", STEP | {"to_rgb": False}, [1, 2, 3], [4, 5, 6], 1, True),
        ("deploy.yaml", {"Deploy": {"transforms": [{"type": "Normalize"}]}}, [0.5] * 3, [0.5] * 3, 1 / 255, False),
        ("deploy.yaml", {"a": [{"type": "Resize"}, {"type": "Normalize", "mean": MEAN}]}, MEAN, [0.5] * 3, 1 / 255, False),
    ],
)  # fmt: skip
def test_a_file_of_the_library_beside_the_network(
    tmp_path: Path, name: str, document: Any, mean: list[float], std: list[float], scale: float, bgr: bool
) -> None:
    (tmp_path / name).write_text(json.dumps(document))
    normalisation = read(tmp_path / "net.onnx")
    assert normalisation is not None
    assert (list(normalisation.mean), list(normalisation.std)) == (mean, std)
    assert (normalisation.scale, normalisation.bgr, normalisation.source) == (scale, bgr, name)


def test_metadata_in_the_file_itself(tmp_path: Path) -> None:
    deepness = {"model_type": '"Segmentor"', "standardization_mean": str(MEAN), "standardization_std": str(STD)}
    assert read(tmp_path / "net.onnx", deepness) == Normalisation(
        (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), source="the file's metadata, standardization_mean and standardization_std"
    )
    ultralytics = {"task": "semantic", "stride": "32", "imgsz": "[640, 640]", "names": "{0: 'road', 1: 'sky'}"}
    normalisation = read(tmp_path / "net.onnx", ultralytics)
    assert normalisation is not None
    assert normalisation.std == (1, 1, 1)
    assert read_class_names(tmp_path / "net.onnx", onnx.load(tmp_path / "net.onnx")) == ["road", "sky"]
    assert read(tmp_path / "net.onnx") is None


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("preprocessor_config.json", "{", "cannot be read"),
        ("preprocessor_config.json", '{"image_mean": [0.5], "image_std": [1, 1, 1]}', "three numbers"),
        ("preprocessor_config.json", '{"image_mean": [0, 0, 0], "image_std": [1, 0, 1]}', "std and scale above 0"),
        ("preprocessor_config.json", '{"image_mean": [0, 0, 0], "image_std": [1, 1, 1], "do_grayscale": true}', "do_grayscale"),
        ("preprocessor_config.json", '{"image_mean": [0, 0, 0], "image_std": [1, 1, 1], "rescale_factor": true}', "a number"),
        ("pipeline.json", json.dumps([STEP, STEP]), "2 times"),
        ("preprocessor_config.json", PLAIN.replace("}", f', "rescale_factor": 1{"0" * 400}}}'), "a number"),
    ],
)  # fmt: skip
def test_a_file_that_says_something_else_is_an_error(tmp_path: Path, name: str, text: str, words: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ConversionError, match=words):
        read(tmp_path / "net.onnx")


@pytest.mark.parametrize("names", ['{"0": null}', "[" * 5000, '{"0": "a", "2": "b"}', "[1]", "{"])
def test_names_whose_ids_do_not_follow_each_other_are_an_error(tmp_path: Path, names: str) -> None:
    path = foreign_network(tmp_path / "net.onnx", metadata={"class_names": names})
    with pytest.raises(ConversionError):
        read_class_names(path, onnx.load(path))
    path = foreign_network(tmp_path / "plain.onnx")
    assert read_class_names(path, onnx.load(path)) is None
    (tmp_path / "config.json").write_text('{"id2label": {"1": "sky", "0": "road"}}')
    assert read_class_names(path, onnx.load(path)) == ["road", "sky"]


@pytest.mark.parametrize(
    ("mean", "std", "scale", "words"),
    [
        (123.675, 58.395, 1 / 255, "mean 123.675 and std 58.395 do not fit pixels from 0 to 1: .* -2.11.* --scale 1"),
        (0.485, 0.229, 1, "pixels from 0 to 255: .* get -2.117.* for black and 1111.* for white; .* no --scale"),
        (0, 0.5, 1, "get 0 for black and 510 for white"),
    ],
)
def test_mean_and_std_of_another_scale_are_refused(mean: float, std: float, scale: float, words: str) -> None:
    with pytest.raises(ConversionError, match=words):
        Normalisation((mean,) * 3, (std,) * 3, scale)
