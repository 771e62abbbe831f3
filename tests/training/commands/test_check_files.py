"""`fcn-check` reads regular files alone, no mask larger than its photo, and prints names without a terminal's codes."""

from __future__ import annotations

import os
import resource
import zlib
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from benchmarks.harness.image_files import chunk
from tests.support.training.data_sets import write_frame
from training.commands.check import main

NARROW = ["--set", "width=0.1", "--set", "head_width=16", "--device", "cpu"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three frames of train and one of val, of two classes."""
    root = tmp_path / "data"
    rng = np.random.default_rng(0)
    ids = np.zeros((24, 32), np.uint8)
    ids[:12] = 1
    for name in ("train/a", "train/b", "train/c", "val/d"):
        photo = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
        write_frame(root / "images" / f"{name}.png", root / "masks" / f"{name}.png", ids, photo)
    (root / "classes.yaml").write_text("classes: [soil, leaf]\n")
    return root


def errors(data: Path, capsys: pytest.CaptureFixture[str]) -> str:
    assert main([str(data), *NARROW]) == 2
    return capsys.readouterr().out


@pytest.mark.parametrize("kind", ["images", "masks"])
@pytest.mark.parametrize("target", ["pipe", "/dev/zero", "/proc/kmsg"])
def test_what_is_no_regular_file_is_an_error_with_its_name(
    data: Path, kind: str, target: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = data / kind / "train" / "b.png"
    file.unlink()
    if target == "pipe":
        os.mkfifo(file)
    else:
        file.symlink_to(target)
    out = errors(data, capsys)
    assert "1 errors" in out
    assert f"1 x {file}: " in out


@pytest.mark.parametrize("name", ["classes.yaml", "train.txt"])
def test_files_of_names_are_regular_files(data: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    (data / name).unlink(missing_ok=True)
    os.mkfifo(data / name)
    main([str(data), *NARROW])  # a list that is no file counts as none
    assert name == "train.txt" or name in capsys.readouterr().err


@cache
def huge_png(side: int) -> bytes:
    """A grey PNG of this width and height, all zero: a few hundred kB for thousands of megapixels."""
    packer = zlib.compressobj(9)
    row = bytes(side + 1)
    pixels = b"".join([*(packer.compress(row) for _ in range(side)), packer.flush()])

    header = side.to_bytes(4) * 2 + bytes([8, 0, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@pytest.mark.parametrize("photo", ["sound", "damaged"])
def test_a_mask_is_no_larger_than_its_photo(data: Path, photo: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Else it is not decoded: 81 megapixels would take 81 MB and more. Without a photo the limit of all images counts."""
    mask = data / "masks" / "train" / "b.png"
    mask.write_bytes(huge_png(9_000 if photo == "sound" else 12_000))
    reason = "the mask is (9000, 9000), its image (24, 32); both need one size"
    if photo == "damaged":
        (data / "images" / "train" / "b.png").write_bytes(b"no image")
        reason = "the image has 12000x12000 pixels (144.0 megapixels); at most 100 megapixels are accepted"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert f"{mask}: {reason}" in errors(data, capsys)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + 75_000  # KiB


def test_names_are_printed_without_a_terminal_s_codes(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    odd = "\x1b[2J\x1b[31mx\n0 errors\u202e"
    (data / "images" / "train" / "b.png").rename(data / "images" / "train" / f"{odd}.png")
    (data / "images" / "train" / "c.png").write_bytes(b"no image")
    (data / "images" / "train" / "c.png").rename(data / "images" / "train" / f"{odd}c.png")
    (data / "masks" / "train" / "c.png").rename(data / "masks" / "train" / f"{odd}c.png")
    (data / "masks" / "train" / f"{odd}d.png").write_bytes((data / "masks" / "train" / "a.png").read_bytes())
    assert main([str(data), *NARROW]) == 2
    told = capsys.readouterr()
    for text in (told.out, told.err.rpartition("\r")[2]):
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert not [line for line in text.splitlines() if line.startswith("0 errors")]
    assert told.out.count(r"\x1b[2J\x1b[31mx\n0 errors\u202e") >= 3  # errors, and a remark


def test_classes_with_nearly_one_name_are_told(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (data / "classes.yaml").write_text("classes: [soil, leaf, ' Leaf']\n")
    assert main([str(data), *NARROW]) == 0
    assert capsys.readouterr().out.count("have nearly one name") == 1
