"""`fcn-check`: every problem of a data set at once, its numbers, and a page of pictures."""

from __future__ import annotations

import base64
import io
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.labels import voc_color
from tests.support.images import Pixels
from tests.support.imaging.samples import oriented
from tests.support.training.data_sets import Ids, write_frame, write_mask
from training.commands.check import main

NARROW = ["--set", "width=0.1", "--set", "head_width=16", "--device", "cpu"]


def scene(seed: int, height: int = 48, width: int = 64) -> tuple[Pixels, Ids]:
    """A picture of coarse random blocks, and a mask: soil, a quarter of leaf, a strip of void."""
    blocks = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    photo = np.asarray(Image.fromarray(blocks).resize((width, height), Image.Resampling.BICUBIC))
    ids = np.zeros((height, width), np.uint8)
    ids[: height // 2, : width // 2] = 1
    ids[height - 1 - seed % 23 :] = 255
    return photo, ids


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Ten frames of train and three of val, with two of three classes."""
    root = tmp_path / "leaves"
    for split, seeds in (("train", range(10)), ("val", range(20, 23))):
        for seed in seeds:
            photo, ids = scene(seed)
            write_frame(root / "images" / split / f"{seed}.png", root / "masks" / split / f"{seed}.png", ids, photo)
    (root / "classes.yaml").write_text("classes: [soil, leaf, <stem>]\n")
    return root


def test_a_sound_data_set_is_told_in_numbers(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(data), *NARROW]) == 0
    out = capsys.readouterr().out
    assert "train: 10 frames; width x height: 64x48 (10)" in out
    assert "kinds of masks: 10 grey; 0 images are turned by EXIF" in out
    rows = {
        line.split()[0]: line.split()[1:] for line in out.splitlines() if line.startswith(("soil", "leaf", "<stem>", "(void)"))
    }
    masks = np.stack([scene(seed)[1] for seed in range(10)])
    assert rows["leaf"] == ["10", "25%", "3", "25%"]
    assert rows["<stem>"] == ["0", "-", "0", "-"]
    assert rows["soil"][1] == f"{100 * (masks == 0).mean():.3g}%"
    assert rows["(void)"][:2] == ["10", f"{100 * (masks == 255).mean():.3g}%"]
    assert "0 errors" in out
    assert "1 of 3 classes are never shown in 'train': <stem>" in out
    assert re.search(r"^  side +\[128, 128\]", out, re.MULTILINE)


def test_all_errors_are_told_at_once_with_numbers_and_names(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("train/1", "train/2", "val/20"):
        write_mask(data, name, np.full((48, 64), 77, np.uint8))
    write_mask(data, "train/3", np.zeros((40, 64), np.uint8))
    (data / "masks" / "train" / "4.png").unlink()
    (data / "images" / "val" / "21.png").write_bytes(b"no image")
    copy = (data / "images" / "train" / "5.png").read_bytes()
    (data / "images" / "val" / "22.png").write_bytes(copy)
    assert main([str(data), *NARROW]) == 2
    out, err = capsys.readouterr()
    assert "fcn-check: 7 errors; a training would stop" in err
    lines = out.splitlines()
    ids = next(line for line in lines if "ids [77]" in line)
    assert ids.startswith("  3 x ")
    assert all(f"{name}.png" in ids for name in ("train/1", "train/2", "val/20"))
    assert sum(line.startswith("  1 x ") for line in lines) == 4
    for text in (
        "train/3.png: the mask is (40, 64)",
        "train/4.png: no such mask",
        "images/val/21.png",
        "1 of 1 frames of 'val' are in 'train'",
    ):
        assert any(line.startswith("  1 x ") and text in line for line in lines)
    assert "train: 6 frames" in out


def test_a_class_of_a_single_frame_is_told_with_its_name(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of its ten photos, EXIF turns one, whose mask has a palette."""
    photo, ids = scene(0)
    (data / "images" / "train" / "0.png").write_bytes(oriented(photo, "PNG", 3))
    mask = Image.fromarray(ids)
    mask.putpalette([0, 0, 0, 128, 0, 0])
    mask.save(data / "masks" / "train" / "0.png")
    photo, ids = scene(3, 480, 640)
    ids[300, 5:9] = 2
    Image.fromarray(photo).save(data / "images" / "train" / "3.png")
    write_mask(data, "train/3", ids)
    assert main([str(data), *NARROW]) == 0
    out = capsys.readouterr().out
    assert "1 of 3 classes are shown by fewer than 3 of the 10 frames of 'train': <stem> (3)" in out
    assert "kinds of masks: 9 grey, 1 palette; 1 images are turned by EXIF" in out


def test_a_split_that_is_not_there_is_an_error_beside_the_others(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_mask(data, "train/1", np.full((48, 64), 77, np.uint8))
    assert main([str(data), *NARROW, "--val-split", "test"]) == 2
    out, err = capsys.readouterr()
    assert "2 errors" in err
    assert "has neither test.txt nor images/test" in out
    assert "ids [77]" in out
    assert "train: 9 frames" in out


def test_a_folder_of_nothing_is_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "classes.yaml").write_text("classes: [soil, leaf]\n")
    assert main([str(tmp_path), "--report", str(tmp_path / "page.html")]) == 2
    assert "1 errors; a training would stop" in capsys.readouterr().err
    assert "none of the known layouts" in (tmp_path / "page.html").read_text()
    assert main([str(tmp_path / "nowhere")]) == 2


def test_the_page_shows_labels_and_crops_and_needs_nothing_else(data: Path, tmp_path: Path) -> None:
    write_mask(data, "train/1", np.full((48, 64), 77, np.uint8))
    page = tmp_path / "page.html"
    arguments = [str(data), *NARROW, "--report", str(page), "--frames", "4", "--set", "crop=[32,64]"]
    assert main(arguments) == 2
    text = page.read_text()
    assert "ids [77] are neither" in text
    assert "&lt;stem&gt;" in text
    assert "<stem>" not in text
    (shown,) = re.findall("Labels of train: (.) of 9 frames", text)
    assert 4 <= int(shown) <= 6  # two are named by a remark
    assert all(words in text for words in ('name="viewport"', "White is void", "the rest is padding"))
    assert "Labels of val: 3 of 3 frames" in text
    assert not re.search(r'(src|href)="(?!data:)', text)
    pictures = [base64.b64decode(url) for url in re.findall(r'src="data:image/jpeg;base64,([^"]+)"', text)]
    sizes = [Image.open(io.BytesIO(picture)).size for picture in pictures]
    # a frame with an error, photos and labels side by side, nine crops of 64x32
    assert sizes == [(640, 240)] + [(128, 48)] * (int(shown) + 3) + [(128, 32)] * 9


def test_frames_with_errors_are_on_the_page_as_far_as_they_can_be_read(data: Path, tmp_path: Path) -> None:
    write_mask(data, "train/1", np.full((48, 64), 77, np.uint8))
    write_mask(data, "train/3", np.ones((10, 64), np.uint8))
    (data / "masks" / "train" / "4.png").write_bytes(b"no mask")
    (data / "images" / "val" / "21.png").write_bytes(b"no image")
    (data / "masks" / "train" / "5.png").unlink()
    (data / "images" / "train" / "7.png").unlink()
    for split, numbers in {"train": range(10), "val": range(20, 23)}.items():
        (data / f"{split}.txt").write_text("".join(f"{split}/{number}\n" for number in numbers))
    page = tmp_path / "page.html"
    assert main([str(data), *NARROW, "--report", str(page)]) == 2
    text = page.read_text()
    assert "Errors of train: 5 of 5 frames" in text
    assert "Errors of val: 1 of 1 frames" in text
    figures = dict(re.findall('base64,([^"]+)"><figcaption>([^<]+)<', text)[:6])
    for (url, caption), (words, left, right) in zip(
        figures.items(),
        [
            ("train/1: .*ids \\[77\\]", None, voc_color(77)),
            (r"train/3: .*the mask is \(10, 64\)", None, voc_color(1)),
            ("train/4: .*are no PNG", None, (128, 128, 128)),
            ("train/5: .*5.png: no such mask", None, (128, 128, 128)),
            ("train/7: .*7: no such image", (128, 128, 128), voc_color(0)),
            ("val/21: .*image", (128, 128, 128), None),
        ],
        strict=True,
    ):
        assert re.match(words, caption)
        picture = Image.open(io.BytesIO(base64.b64decode(url)))
        for place, color in ((3, left), (picture.width - 4, right)):
            assert color is None or np.abs(np.subtract(picture.getpixel((place, 3)), color)).max() < 12


def test_frames_of_remarks_come_first_on_the_page_and_each_class_is_shown(data: Path, tmp_path: Path) -> None:
    with_stem = scene(7)[1]
    with_stem[30:40, 30:40] = 2
    write_mask(data, "train/7", with_stem)
    for name, ids in {"train/6": np.zeros((48, 64), np.uint8), "train/2": np.full((48, 64), 255, np.uint8)}.items():
        write_mask(data, name, ids)
    page = tmp_path / "page.html"
    named = ["0", "1", "2", "6"]
    for most in (2, 48):
        assert main([str(data), *NARROW, "--report", str(page), "--frames", str(most)]) == 0
        captions = [text.partition(":")[0] for text in re.findall("<figcaption>([^<]+)</figcaption>", page.read_text())]
        assert sorted(captions[:4]) == named
        others = captions[4 : captions.index("20")]
        assert others == sorted({*others} - {*named})
        assert "7" in others
        assert most > 2 or len(others) <= 2
        assert "Errors and remarks name the first 4. Each frame" in page.read_text()


def test_without_a_start_the_plan_says_so_and_what_one_changes(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (data / "classes.yaml").write_text("classes: [background, cat, dog]\n")
    assert main([str(data), "--device", "cpu"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("no --start is given"))
    assert "With --start voc-fcn8s-mobilenet-v2 (the start knows all 3 classes by name" in line
    assert "learning_rate 1e-05" in line
    assert main([str(data), *NARROW]) == 0
    out = capsys.readouterr().out
    assert "no --start is given, so this is the plan of random weights; give the --start of the training\n" in out
    assert "are new to the start" not in out
    assert main([str(data), "--start", "none", *NARROW]) == 0
    assert "no --start" not in capsys.readouterr().out


def test_without_pytorch_all_but_the_training_is_checked(data: Path, tmp_path: Path) -> None:
    program = """import sys
sys.modules.update(dict.fromkeys(("torch", "torchvision")))
from training.commands.check import main
sys.exit(main(sys.argv[1:]))"""
    options = [str(data), "--report", str(tmp_path / "check.html")]
    result = subprocess.run([sys.executable, "-c", program, *options], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
    assert "train: 10 frames" in result.stdout
    assert "the plan of a training and its crops are left out, as PyTorch is missing" in result.stdout
    page = (tmp_path / "check.html").read_text()
    assert "Labels of train" in page
    assert "Crops" not in page
    result = subprocess.run([sys.executable, "-c", program, *options, "--weights", "x"], capture_output=True, text=True)
    assert result.returncode == 2
    assert "--weights needs PyTorch" in result.stderr
