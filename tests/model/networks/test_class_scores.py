"""Several scores of a class: their probabilities add up, in PyTorch and in the export."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.harness.narrow import narrow_net
from model.architecture import Architecture, ArchitectureError
from model.inference.runtimes.openvino_runtime import OpenVINORuntime
from model.inference.runtimes.torch_runtime import TorchRuntime
from model.networks.builder import build_network
from model.networks.fcn import FCN
from model.weights_file import load_weights
from tests.support.images import make_photo
from tests.support.model.weights_files import save_net
from training.publishing.export_files import export_float32


def summed_net() -> FCN:
    """The narrow network of four classes, as one of two classes with three scores and one."""
    net = narrow_net()
    result = build_network(replace(net.architecture, num_classes=2, class_scores=(3, 1)))
    result.load_state_dict(net.state_dict())
    return result.eval()


@torch.no_grad()
def test_the_probabilities_of_a_class_s_scores_add_up() -> None:
    images = torch.randn(2, 3, 64, 96)
    expected = narrow_net().scores(images).softmax(1)
    probabilities = summed_net().scores(images).softmax(1)
    torch.testing.assert_close(probabilities[:, 0], expected[:, :3].sum(1))
    torch.testing.assert_close(probabilities[:, 1], expected[:, 3])


@pytest.mark.long
def test_the_export_answers_as_the_master_does(tmp_path: Path) -> None:
    net, path = summed_net(), tmp_path / "summed.safetensors"
    save_net(path, net, ["rest", "thing"])
    assert load_weights(path).manifest.architecture == net.architecture
    export, master = OpenVINORuntime(export_float32(path)), TorchRuntime(load_weights(path), "cpu", "float32")
    expected = master.logits([make_photo(64, 96)])
    assert expected.shape[1] == 2
    np.testing.assert_allclose(export.logits([make_photo(64, 96)]), expected, atol=1e-3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        *(
            ({"class_scores": scores}, r"class_scores must be whole numbers from 1 for each of 2 classes, at most 1024 in all")
            for scores in [(3,), (0, 3), (1.5, 3), (True, 3), ("1", 3), (1 << 40, 3), (1,) * 100_000]
        ),
        (
            {"class_scores": (3, 1), "decoder": "interpolated"},
            r"class_scores are for the decoder aligned, got \(3, 1\) with interpolated",
        ),
    ],
)
def test_numbers_of_scores_that_do_not_fit_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ArchitectureError, match=message) as error_info:
        Architecture("fcn8s", "mobilenet_v2", 2, **changes)  # type: ignore[arg-type]
    assert len(str(error_info.value)) < 200


def test_a_file_states_them_only_where_a_class_has_several() -> None:
    assert "class_scores" not in Architecture("fcn8s", "mobilenet_v2", 2).to_dict()
    architecture = Architecture("fcn8s", "mobilenet_v2", 2, class_scores=(3, 1))
    assert Architecture.from_dict(architecture.to_dict() | {"class_scores": [3, 1]}) == architecture
    assert architecture.num_scores == 4
