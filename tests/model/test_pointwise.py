"""Convolutions as products: the same function, and the same bits with any number of threads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from model.heads import PooledHead
from model.pointwise import TERMS, VECTOR, CellProduct, MapProduct, UpsamplingProduct, use_products
from model.upsampling import BilinearConvTranspose2d, Grid

CPUINFO = Path("/proc/cpuinfo")
X86 = CPUINFO.exists() and any(maker in CPUINFO.read_text() for maker in ("GenuineIntel", "AuthenticAMD"))


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


@pytest.mark.parametrize("grid", ["corner", "half_pixel"])
@pytest.mark.parametrize("channels", [1, 5, 21])
@torch.inference_mode()
def test_an_upsampling_product_is_the_transposed_convolution(channels: int, grid: Grid) -> None:
    torch.manual_seed(0)
    convolution = BilinearConvTranspose2d(channels, 2, grid)
    nn.init.normal_(convolution.weight)
    scores = torch.randn(2, channels, 5, 7).to(memory_format=torch.channels_last)
    found = UpsamplingProduct(convolution).upsample(scores, (9, 14))
    torch.testing.assert_close(found, convolution.upsample(scores, (9, 14)), atol=1e-5, rtol=1e-5)


@pytest.mark.skipif(not X86, reason="known of MKL on Intel and AMD; on other processors it is tried at load")
@pytest.mark.parametrize("rows", [5, 8, 24])
@pytest.mark.parametrize("classes", [2, 11, 21])
@torch.inference_mode()
def test_products_do_not_depend_on_the_number_of_threads(classes: int, rows: int) -> None:
    torch.manual_seed(0)
    wide, cell = MapProduct(nn.Conv2d(960, 160, 1)), CellProduct(nn.Conv2d(320, 256, 1))
    score, upsampling = MapProduct(nn.Conv2d(256, classes, 1)), UpsamplingProduct(_random_upsampling(classes))
    maps = torch.randn(1, 960, rows, rows).to(memory_format=torch.channels_last)
    found = []
    for threads in (1, 2, 3, 4, 7, 8):
        torch.set_num_threads(threads)
        scores = score(maps[:, :256])
        found.append((wide(maps), cell(maps[:, :320, :1, :1]), scores, upsampling(scores)))
    assert all(torch.equal(one, other) for results in found for one, other in zip(results, found[0], strict=True))


def _random_upsampling(classes: int) -> BilinearConvTranspose2d:
    convolution = BilinearConvTranspose2d(classes, 2, "corner")
    nn.init.normal_(convolution.weight)
    return convolution


def test_what_depends_on_threads_alone_is_replaced() -> None:
    net = nn.ModuleDict(
        {
            "long": nn.Conv2d(TERMS + 1, 16, 1),
            "short": nn.Conv2d(TERMS, 16, 1),
            "wide": nn.Conv2d(TERMS + 1, 16, 3),
            "strided": nn.Conv2d(TERMS + 1, 16, 1, stride=2),
            "padded": nn.Conv2d(TERMS + 1, 16, 1, padding=1),
            "grouped": nn.Conv2d(2 * TERMS + 2, 16, 1, groups=2),
            "narrow": nn.Conv2d(16, VECTOR, 1),
            "odd": nn.Conv2d(16, 2 * VECTOR + 1, 1),
            "upsampling": BilinearConvTranspose2d(5, 2, "corner"),
            "head": PooledHead(32, 16),
        }
    )
    use_products(net)
    assert isinstance(net["head"].image_pooling, CellProduct)
    assert isinstance(net["head"].aspp0, nn.Conv2d)
    replaced = {name for name, layer in net.items() if not isinstance(layer, (nn.Conv2d, PooledHead, nn.ConvTranspose2d))}
    assert replaced == {"long", "narrow", "odd", "upsampling"}
