"""Zips are read as the folders in them are; what is wrong with one is told with the member's name, and nothing is written."""

from __future__ import annotations

import os
import random
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZipFile, ZipInfo

import numpy as np
import pytest

from tests.support.training.coco import Import, document, image, read_masks, thing, write_export
from training.commands.import_labels import main
from training.data.problems import DataError
from training.importing import archives
from training.importing.archives import unpack


def test_labels_without_photos_are_told_with_the_zip_s_name(run_import: Import, tmp_path: Path) -> None:
    """As CVAT exports them without images; the photos lie elsewhere."""
    file = write_export(tmp_path / "task" / "annotations" / "instances_default.json", document(thing()))
    (tmp_path / "photos").mkdir()
    (file.parent / "a.png").rename(tmp_path / "photos" / "a.png")
    export = Path(shutil.make_archive(str(tmp_path / "labels"), "zip", tmp_path / "task"))
    error = run_import(export, status=2)
    assert f"a.png is in none of {export}/annotations" in error
    assert "say with --images where the images are" in error
    assert not (tmp_path / "data").exists()
    run_import(export, "--images", str(tmp_path / "photos"))
    assert np.count_nonzero(read_masks(tmp_path / "data")["a"]) == 400


def test_names_are_utf_8_also_where_the_zip_does_not_say_so(run_import: Import, tmp_path: Path) -> None:
    """As macOS writes them; and a backslash parts folders, as old programs for Windows write it."""
    content = document(thing(), images=[image(1, "Blätter/a.png")])
    file = write_export(tmp_path / "export" / "labels.json", content)
    with ZipFile(tmp_path / "export.zip", "w") as archive:
        archive.write(file, "labels.json")
        archive.write(file.parent / "a.png", "Bla_tter/a.png")
    change(tmp_path / "export.zip", b"Bla_tter/", "Blätter\\".encode())
    assert "bare name" not in run_import(tmp_path / "export.zip")


def make(path: Path, *members: tuple[str | ZipInfo, bytes], **options: int) -> Path:
    with ZipFile(path, "w", **options) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


def link() -> ZipInfo:
    member = ZipInfo("a.png")
    member.create_system, member.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    return member


def write_bytes(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def change(path: Path, old: bytes, new: bytes) -> Path:
    data = path.read_bytes()
    assert old in data
    return write_bytes(path, data.replace(old, new))


def make_pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


PLAIN, ENCRYPTED = (b"PK\1\2\x14\x03\x14\0" + bytes([flags]) for flags in (0, 1))  # a member's entry up to its flags
REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "parent": (lambda path: make(path, ("../a.png", b"1")), "its member ../a.png leads out of the zip"),
    "inner parent": (lambda path: make(path, ("x/../../a.png", b"1")), "leads out of the zip"),
    "backslashes": (lambda path: make(path, ("x\\..\\..\\a.png", b"1")), "leads out of the zip"),
    "absolute": (lambda path: make(path, ("/etc/a.png", b"1")), "its member /etc/a.png has an absolute name"),
    "drive": (lambda path: make(path, ("C:\\a.png", b"1")), "has an absolute name"),
    "nul": (lambda path: change(make(path, ("a.png_x", b"1")), b"a.png_x", b"a.png\0x"), "leads out of the zip"),
    "link": (lambda path: make(path, (link(), b"/etc/passwd")), "its member a.png is a link or a device"),
    "zip": (lambda path: make(path, ("b/a.zip", b"1")), "its member b/a.zip is a zip in the zip"),
    "twice": (lambda path: change(make(path, ("a.png", b"1"), ("b.png", b"2")), b"b.png", b"a.png"), "a.png comes twice"),
    "method": (lambda path: make(path, ("a.png", b"1"), compression=ZIP_BZIP2), "a.png is compressed in a rare way"),
    "content": (lambda path: change(make(path, ("a.png", b"12345")), b"12345", b"12355"), "its member a.png is damaged"),
    "file and folder": (lambda path: make(path, ("a", b"1"), ("a/b", b"2")), "its member a/b is damaged"),
    "twice in another case": (lambda path: make(path, ("x/a.png", b"1"), ("X/A.png", b"2")), "comes twice (case does not"),
    "encrypted": (
        lambda path: change(make(path, ("a.png", b"1")), PLAIN, ENCRYPTED),
        "a.png is encrypted: pack the export without",
    ),
    "pipe": (make_pipe, "not a regular file"),
    "empty": (make, "holds no known export"),
    "no zip": (lambda path: write_bytes(path, b"<html>"), "is no zip, or a damaged one"),
    "cut": (lambda path: write_bytes(path, make(path, ("a", b"1")).read_bytes()[:-9]), "is no zip, or a damaged one"),
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_wrong_with_a_zip_is_told_and_nothing_is_written(kind: str, run_import: Import, tmp_path: Path) -> None:
    write, message = REFUSED[kind]
    (tmp_path / "sub").mkdir()
    export = write(tmp_path / "sub" / "export.zip")
    error = run_import(export, status=2)
    assert error.startswith(f"fcn-import: {export}")
    assert error.count("\n") == 1
    assert message in error
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["export.zip", "sub"]


def test_a_folder_may_be_named_like_a_zip_and_a_zip_may_be_missing(run_import: Import, tmp_path: Path) -> None:
    write_export(tmp_path / "labels.zip" / "labels.json", document(thing()))
    assert "wrote 1 frames" in run_import(tmp_path / "labels.zip")
    assert "No such file" in run_import(tmp_path / "missing.zip", status=2)


@pytest.mark.parametrize(
    ("limit", "value", "message"),
    [
        ("MOST_MEMBERS", 2, "has 3 members, and at most 2 are unpacked"),
        ("MOST_BYTES", 999, "holds 300,000 bytes, and at most 999 are unpacked"),
        ("FEW_BYTES", 999, "times its bytes, and at most 100 times as many are unpacked"),
    ],
)
def test_a_zip_has_limits(limit: str, value: int, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export = make(tmp_path / "a.zip", *((name, bytes(100_000)) for name in "abc"), compression=ZIP_DEFLATED)
    monkeypatch.setattr(archives, limit, value)
    with pytest.raises(DataError, match=message):
        unpack(export, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_no_damage_of_a_zip_is_more_than_an_error(tmp_path: Path) -> None:
    """Bytes changed by chance: what is unpacked has the content that was packed, in the folder."""
    contents = {"a/b.json": b"{}" * 50, "c.png": bytes(range(256)) * 4, "d/e/f.txt": b"x"}
    data = make(tmp_path / "a.zip", *contents.items(), compression=ZIP_DEFLATED).read_bytes()
    chance = random.Random(0)
    for index in range(400):
        changed = bytearray(data)
        for _ in range(chance.randint(1, 4)):
            changed[chance.randrange(len(changed))] = chance.randrange(256)
        (tmp_path / "b.zip").write_bytes(changed)
        out = tmp_path / "out" / str(index)
        out.parent.mkdir(exist_ok=True)
        try:
            unpack(tmp_path / "b.zip", out)
        except DataError:
            continue
        files = [path for path in out.rglob("*") if path.is_file()]
        assert {path.read_bytes() for path in files} <= set(contents.values())
    assert sorted(os.listdir(tmp_path)) == ["a.zip", "b.zip", "out"]
    assert main([str(tmp_path / "a.zip"), "--out", str(tmp_path / "data")]) == 2
