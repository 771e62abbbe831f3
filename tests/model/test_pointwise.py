"""1x1 convolutions as products: the same function, and the same bits with any number of threads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from model.heads import PooledHead
from model.pointwise import TERMS, CellProduct, MapProduct, use_products

CPUINFO = Path("/proc/cpuinfo")
INTEL = CPUINFO.exists() and "GenuineIntel" in CPUINFO.read_text()


@pytest.fixture(autouse=True)
def threads_as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("channels", [TERMS, TERMS + 1, 3 * TERMS])
@torch.inference_mode()
def test_a_map_product_is_the_convolution(channels: int, bias: bool) -> None:
    torch.manual_seed(0)
    convolution = nn.Conv2d(channels, 5, 1, bias=bias)
    maps = torch.randn(2, channels, 3, 7).to(memory_format=torch.channels_last)
    found = MapProduct(convolution)(maps)
    torch.testing.assert_close(found, convolution(maps), atol=1e-5, rtol=1e-5)
    assert found.is_contiguous(memory_format=torch.channels_last)


@torch.inference_mode()
def test_a_map_product_adds_at_most_so_many_terms_at_a_time() -> None:
    product = MapProduct(nn.Conv2d(2 * TERMS + 1, 5, 1))
    assert len(product.widths) == 3
    assert max(product.widths) <= TERMS
    assert sum(product.widths) == 2 * TERMS + 1


@torch.inference_mode()
def test_a_cell_product_is_the_convolution() -> None:
    torch.manual_seed(0)
    convolution = nn.Conv2d(320, 16, 1)
    cells = torch.randn(2, 320, 1, 1)
    torch.testing.assert_close(CellProduct(convolution)(cells), convolution(cells), atol=1e-5, rtol=1e-5)


@pytest.mark.skipif(not INTEL, reason="known of MKL on Intel; on other processors it is tried at load")
@torch.inference_mode()
def test_products_do_not_depend_on_the_number_of_threads() -> None:
    torch.manual_seed(0)
    wide, cell = MapProduct(nn.Conv2d(960, 160, 1)), CellProduct(nn.Conv2d(320, 256, 1))
    maps = torch.randn(1, 960, 8, 8).to(memory_format=torch.channels_last)
    found = []
    for threads in (1, 2, 3, 7, 8):
        torch.set_num_threads(threads)
        found.append((wide(maps), cell(maps[:, :320, :1, :1])))
    assert all(torch.equal(a, found[0][0]) and torch.equal(b, found[0][1]) for a, b in found)


def test_long_sums_and_pooled_maps_alone_are_replaced() -> None:
    net = nn.ModuleDict(
        {
            "long": nn.Conv2d(TERMS + 1, 8, 1),
            "short": nn.Conv2d(TERMS, 8, 1),
            "wide": nn.Conv2d(TERMS + 1, 8, 3),
            "strided": nn.Conv2d(TERMS + 1, 8, 1, stride=2),
            "padded": nn.Conv2d(TERMS + 1, 8, 1, padding=1),
            "grouped": nn.Conv2d(2 * TERMS + 2, 8, 1, groups=2),
            "head": PooledHead(32, 16),
        }
    )
    use_products(net)
    assert isinstance(net["head"].image_pooling, CellProduct)
    assert isinstance(net["head"].aspp0, nn.Conv2d)
    replaced = {name for name, layer in net.items() if not isinstance(layer, (nn.Conv2d, PooledHead))}
    assert replaced == {"long"}
