"""Which photos an import finds, and which masks it writes: nothing from outside the export, nothing over a person's work."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support.training.coco import SQUARE, Import, document, image, read_masks, thing, write_export, write_photo
from training.commands.import_labels import main
from training.importing.output import PARTS, RECORD, ImportFolder

INNER = [15.0, 15.0, 20.0, 15.0, 20.0, 20.0, 15.0, 20.0]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The document of an export with the photos `a.png` and `b.png`, each with a square."""
    images = [image(1, "a.png"), image(2, "b.png")]
    return write_export(
        tmp_path / "export" / "labels.json", document(thing(1, 1), thing(2, 2), images=images), "a.png", "b.png"
    )


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "data"


def change(file: Path, segmentation: list[float]) -> None:
    """Gives all objects of the export another outline."""
    content = json.loads(file.read_text())
    for entry in content["annotations"]:
        entry["segmentation"] = [segmentation]
    file.write_text(json.dumps(content))


def rename_photo(file: Path, written: str) -> None:
    content = json.loads(file.read_text())
    content["images"][0]["file_name"] = written
    file.write_text(json.dumps(content))


def correct(out: Path, name: str = "a") -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Draws a stripe into a mask, as a person does; gives the mask."""
    path = out / "masks" / f"{name}.png"
    mask = np.asarray(Image.open(path)).copy()
    mask[:3] = 1
    Image.fromarray(mask).save(path)
    return mask


def test_a_photo_that_is_found_by_its_bare_name_is_told(run_import: Import, file: Path) -> None:
    rename_photo(file, "camera2/a.png")
    remark = (
        "1 images were found by their bare name or under another one; check that these are the labelled photos: camera2/a.png"
    )
    assert remark in run_import(file)


@pytest.mark.parametrize(
    "written",
    [
        "{secret}",
        "file://{secret}",
        "../secret/s.png",
        "x/../../secret/s.png",
        "..\\secret\\s.png",
        "%2e%2e/secret/s.png",
        "link/s.png",
    ],
)
@pytest.mark.parametrize("named", [False, True])
def test_no_name_leads_out_of_the_export(
    file: Path, out: Path, written: str, named: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """A link in a folder that the user names is the user's; one in an export may be anybody's."""
    secret = write_photo(file.parents[1] / "secret" / "s.png")
    (file.parent / "link").symlink_to(secret.parent)
    rename_photo(file, written.format(secret=secret))
    options = ["--images", str(file.parent)] if named else []
    is_link_of_the_user = named and written == "link/s.png"
    assert main([str(file), "--out", str(out), *options]) == (0 if is_link_of_the_user else 2)
    if not is_link_of_the_user:
        assert re.search(r"s\.png (is a link out of|is in none of .*, and leads out of them)", capsys.readouterr().err)
        assert not out.exists()


def test_a_folder_of_images_that_the_user_names_may_be_a_link(file: Path, out: Path, tmp_path: Path) -> None:
    (file.parent / "photos").mkdir()
    for name in ("a.png", "b.png"):
        (file.parent / name).rename(file.parent / "photos" / name)
    shutil.move(file.parent / "photos", tmp_path / "elsewhere")
    (tmp_path / "link").symlink_to("elsewhere")
    assert main([str(file), "--out", str(out), "--images", str(tmp_path / "link")]) == 0


@pytest.mark.parametrize("kind", ["pipe", "/dev/zero", "/proc/kmsg", "folder", "socket name"])
def test_what_is_no_regular_file_neither_hangs_nor_is_read(run_import: Import, file: Path, out: Path, kind: str) -> None:
    photo = file.parent / "a.png"
    photo.unlink()
    if kind == "pipe":
        os.mkfifo(photo)
    elif kind == "folder":
        photo.mkdir()
    elif kind.startswith("/"):
        photo.symlink_to(kind)
    else:
        rename_photo(file, "a\0.png")
    assert "a.png" in run_import(file, "--images", str(file.parent), status=2) or kind == "socket name"
    assert not out.exists()
    file.unlink()
    os.mkfifo(file)
    assert "not a regular file" in run_import(file, status=2)


def test_names_are_printed_without_a_terminal_s_codes(file: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (file.parent / "a.png").rename(file.parent / "\x1b[31ma\nb.png")
    for written, status in (("x/\x1b[31ma\nb.png", 0), ("\x1b[2Jgone\n.png", 2)):
        rename_photo(file, written)
        assert main([str(file), "--out", str(out)]) == status
        told = capsys.readouterr()
        assert "\\x1b[" in told.out + told.err
        assert "\x1b" not in told.out + told.err.rpartition("\r")[2]
        assert not [line for line in (told.out + told.err).splitlines() if line.startswith(("b.png", ".png"))]


def test_a_mask_that_a_person_corrected_is_kept_and_listed_until_force_replaces_it(
    run_import: Import, file: Path, out: Path
) -> None:
    """By the same export, and by a changed one, as often as it is imported; the other masks are written anew."""
    run_import(file)
    corrected = correct(out)
    for outline, others in ((SQUARE, 400), (INNER, 25), (INNER, 25), (SQUARE, 400)):
        change(file, outline)
        stdout = run_import(file)
        assert "wrote 1 frames" in stdout
        kept = f"1 masks are not as fcn-import wrote them, and are kept; --force replaces them:\n  {out / 'masks' / 'a.png'}\n"
        assert kept in stdout
        assert np.array_equal(read_masks(out)["a"], corrected)
        assert np.count_nonzero(read_masks(out)["b"]) == others
    assert "kept" not in run_import(file, "--force")
    assert np.count_nonzero(read_masks(out)["a"]) == 400
    change(file, INNER)
    run_import(file)
    assert np.count_nonzero(read_masks(out)["a"]) == 25


def test_a_mask_that_was_removed_or_saved_again_with_the_same_pixels_is_not_a_corrected_one(
    run_import: Import, file: Path, out: Path
) -> None:
    assert main([str(file), "--out", str(out)]) == 0
    Image.open(out / "masks" / "b.png").save(out / "masks" / "b.png", compress_level=0)
    (out / "masks" / "a.png").unlink()
    assert "kept" not in run_import(file)
    assert np.count_nonzero(read_masks(out)["a"]) == 400


@pytest.mark.parametrize("record", [None, "{"])
def test_without_a_record_masks_that_differ_are_kept(run_import: Import, file: Path, out: Path, record: str | None) -> None:
    """As in a folder of an older version, or one that was copied without hidden files."""
    assert main([str(file), "--out", str(out)]) == 0
    (out / RECORD).unlink()
    if record is not None:
        (out / RECORD).write_text(record)
    corrected = correct(out)
    assert "1 masks are not as fcn-import wrote them" in run_import(file)
    assert np.array_equal(read_masks(out)["a"], corrected)


def test_a_corrected_mask_may_have_its_ending_in_another_case_or_be_a_link(
    run_import: Import, file: Path, out: Path, tmp_path: Path
) -> None:
    """A link is written through."""
    run_import(file)
    corrected = correct(out)
    (out / "masks" / "a.png").rename(out / "masks" / "a.Png")
    shutil.move(out / "masks" / "b.png", tmp_path / "mask.png")
    (out / "masks" / "b.png").symlink_to(tmp_path / "mask.png")
    change(file, INNER)
    run_import(file)
    assert sorted(path.name for path in (out / "masks").iterdir()) == ["a.Png", "b.png"]
    assert np.array_equal(np.asarray(Image.open(out / "masks" / "a.Png")), corrected)
    assert (out / "masks" / "b.png").is_symlink()
    assert np.count_nonzero(np.asarray(Image.open(tmp_path / "mask.png"))) == 25


def test_a_killed_import_leaves_masks_that_the_next_one_knows(run_import: Import, file: Path, out: Path) -> None:
    """It has written the record, and one of two masks; the record knows both states of the other one."""
    assert main([str(file), "--out", str(out)]) == 0
    before = (out / "masks" / "a.png").read_bytes()
    change(file, INNER)
    assert main([str(file), "--out", str(out)]) == 0
    (out / "masks" / "a.png").write_bytes(before)
    (out / f"{PARTS}0").mkdir()
    corrected = correct(out, "b")
    change(file, [0, 0, 3, 0, 3, 3, 0, 3])
    assert "1 masks are not as" in run_import(file)
    assert np.count_nonzero(read_masks(out)["a"]) == 9
    assert np.array_equal(read_masks(out)["b"], corrected)
    assert not list(out.glob(f"{PARTS}*"))


def test_a_photo_is_never_written_over_by_its_mask(run_import: Import, file: Path, out: Path) -> None:
    shutil.copytree(file.parent, out / "masks")
    before = (out / "masks" / "a.png").read_bytes()
    assert "a.png lies where the mask of" in run_import(file, "--images", str(out / "masks"), status=2)
    assert (out / "masks" / "a.png").read_bytes() == before


def test_the_record_is_not_taken_for_an_export(file: Path) -> None:
    assert main([str(file), "--out", str(file.parent)]) == 0
    (file.parent / "classes.json").rename(file.parent / "classes.txt")
    assert (file.parent / RECORD).is_file()
    assert ImportFolder(file.parent).record.keys() == {"masks/a.png", "masks/b.png"}
    assert main([str(file.parent), "--out", str(file.parents[1] / "data")]) == 0
