"""Names of devices and precisions, and what is said of wrong ones."""

from __future__ import annotations

import re

import pytest
import torch

from model.networks.device import DeviceError, choose_device, choose_dtype

CPU = torch.device("cpu")


def test_auto_takes_cuda_where_it_is_and_else_the_cpu() -> None:
    assert choose_device("auto").type == ("cuda" if torch.cuda.device_count() else "cpu")
    assert choose_device("cpu") == CPU


@pytest.mark.parametrize("name", ["gpu", "", "cuda:x", "cuda:-1", "CPU!", "meta", "xpu", "hip"])
def test_names_that_torch_does_not_know_are_refused(name: str) -> None:
    with pytest.raises(DeviceError, match=f"device must .*got '{name}'"):
        choose_device(name)


def test_a_gpu_that_is_not_there_is_refused_with_their_number() -> None:
    count = torch.cuda.device_count()
    with pytest.raises(DeviceError, match=f"cuda:{count} .*{count} CUDA devices"):
        choose_device(f"cuda:{count}")


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="there is a Metal device")
def test_mps_is_refused_without_metal() -> None:
    with pytest.raises(DeviceError, match=r"mps .*Metal"):
        choose_device("mps")


def test_auto_is_float32_where_bfloat16_is_not_native() -> None:
    assert choose_dtype("auto", torch.device("mps")) == torch.float32
    assert choose_dtype("auto", CPU) == torch.float32


@pytest.mark.parametrize("name", ["int8", "half", "torch.float32", ""])
def test_other_precisions_are_refused(name: str) -> None:
    message = f"precision must be auto, float32, bfloat16, float16, got {name!r}"
    with pytest.raises(DeviceError, match=re.escape(message)):
        choose_dtype(name, CPU)
