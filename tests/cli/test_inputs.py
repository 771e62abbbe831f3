"""What `fcn-segment` lists: folders, links, patterns, lists of names, and how answers are named."""

from __future__ import annotations

import os
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import pytest

from cli.input import Input, Shard
from cli.inputs import list_inputs, list_names
from tests.support.cli.folders import write_files


def answers(inputs: Iterable[Input]) -> dict[str, str]:
    """The answer's name of each image."""
    return {each.relative: each.answer_stem for each in inputs if not each.problem}


def problems(inputs: Iterable[Input]) -> dict[str, str]:
    return {each.relative: each.problem for each in inputs if each.problem}


def empty(folder: Path, *names: str) -> Path:
    return write_files(folder, dict.fromkeys(names, b""))


def test_images_of_one_stem_have_answers_of_their_own(tmp_path: Path) -> None:
    empty(tmp_path / "in", "same.jpg", "same.png", "same.png.jpg", "same-1.jpg", "same.old.jpg", "other.png", "a/same.png")
    expected = {
        "same.jpg": "same", "same.png": "same.png", "same.png.jpg": "same.png.jpg", "same-1.jpg": "same-1",
        "same.old.jpg": "same.old", "other.png": "other", "a/same.png": "a/same",
    }  # fmt: skip
    assert answers(list_inputs([str(tmp_path / "in")], "out")) == expected


def test_a_shard_and_a_list_name_answers_as_the_whole_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    empty(Path("in"), *(f"{number}.{ending}" for number in range(20) for ending in ("jpg", "png", "webp")))
    whole = answers(list_inputs(["in"], "out"))
    shards = [answers(each for each in list_inputs(["in"], "out") if Shard(i, 3).holds(each)) for i in range(3)]
    assert all(shards)
    assert sum(map(len, shards)) == 60
    assert {name: answer for shard in shards for name, answer in shard.items()} == whole
    Path("list").write_text("in/3.webp\nin/7.jpg\n")
    Path("other").mkdir()
    monkeypatch.chdir("other")
    empty(Path("in"), "3.webp")
    assert answers(list_names("../list", "out")) == {"in/3.webp": "in/3", "in/7.jpg": "in/7"}
    monkeypatch.chdir(tmp_path)
    assert answers(list_names("list", "out")) == {"in/3.webp": "in/3.webp", "in/7.jpg": "in/7"}


def test_other_photographs_and_names_without_an_ending_are_told_of(tmp_path: Path) -> None:
    empty(tmp_path, "a.jpg", "b.JP2", "c.jxl", "d", "notes.txt", "e.xml", "f.json", "._g.jpg", ".DS_Store", "h/._i.jp2")
    listing = list_inputs([str(tmp_path)], "out")
    assert answers(listing) == {"a.jpg": "a"}
    assert set(problems(listing)) == {"b.JP2", "c.jxl", "d"}
    texts = {name: problems(listing)[name] for name in ("b.JP2", "c.jxl", "d")}
    assert "this file is JPEG 2000; accepted are PNG, JPEG" in texts["b.JP2"]
    assert "magick photo.jp2 photo.png" in texts["b.JP2"]
    assert "djxl " in texts["c.jxl"]
    assert "not an accepted type: a name without an ending" in texts["d"]


def test_a_folder_behind_links_is_listed_once_and_no_circle_is_entered(tmp_path: Path) -> None:
    folder = empty(tmp_path / "in", "a.png", "b/c.png")
    empty(tmp_path / "other", "d.png", "deep/e.png")
    for place, target in [
        ("b/circle", ".."), ("b/above", "../.."), ("self", "self"), ("twin", "b"), ("link", "../other"),
        ("second", "../other"), ("third", "../other/deep"),
    ]:  # fmt: skip
        (folder / place).symlink_to(target)
    (tmp_path / "other" / "back").symlink_to(folder)
    inputs = answers(list_inputs([str(folder)], "out"))
    assert sorted(Path(name).name for name in inputs) == ["a.png", "c.png", "d.png", "e.png"]
    assert "b/c.png" in inputs


def test_a_folder_that_cannot_be_listed_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(empty(tmp_path / "in", "a.png"))
    for _ in range(20):  # beyond the longest path that the system takes
        os.mkdir("d" * 250)
        os.chdir("d" * 250)
    listing = list_inputs([str(tmp_path / "in")], "out")
    assert answers(listing) == {"a.png": "a"}
    (problem,) = problems(listing).values()
    assert "File name too long" in problem


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("in/*.jpg", {"1.jpg"}),
        ("in/**/*.jpg", {"1.jpg", "a/2.jpg", "a/b/3.jpg"}),
        ("in/*/*.jpg", {"a/2.jpg"}),
        ("in/**", {"1.jpg", "a/2.jpg", "a/b/3.jpg", "4.png"}),
        ("in/[0-3].*", {"1.jpg"}),
        ("in/a/**/3.*", {"b/3.jpg"}),
        ("in/**/.*", {".hidden.jpg"}),  # and none of what macOS writes beside images
    ],
)
def test_patterns_mean_what_they_mean_in_glob(
    pattern: str, expected: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    empty(Path("in"), "1.jpg", "a/2.jpg", "a/b/3.jpg", "4.png", ".hidden.jpg", ".folder/5.jpg", "notes.txt")
    empty(Path("in"), "._1.jpg", "a/._2.jpg", "__MACOSX/a/2.jpg")
    assert set(answers(list_inputs([pattern], "out"))) == expected


def test_several_folders_keep_their_names_and_patterns_of_one_folder_are_one_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    empty(Path(), "a/1.jpg", "b/1.jpg", "b/2.png", "c/a/1.jpg", "file.png")
    assert [each.answer_stem for each in list_inputs(["a", "b", "file.png"], "out")] == ["file", "a/1", "b/1", "b/2"]
    assert [each.answer_stem for each in list_inputs(["b/*.jpg", "b/*.png"], "out")] == ["1", "2"]
    with pytest.raises(OSError, match="a and c/a would both go to a/"):
        list_inputs(["a", "c/a"], "out")
    with pytest.raises(OSError, match="would both become 1"):
        list_inputs(["a/1.jpg", "b/1.jpg"], "out")
    with pytest.raises(OSError, match="is a web address, to which nothing can be written"):
        list_inputs(["a"], "https://host/out/")
    for names, out in ([""], "out"), (["a", ""], "out"), (["a"], ""):
        with pytest.raises(OSError, match="a name is empty, perhaps from a variable that is not set"):
            list_inputs(names, out)


def test_a_list_is_mirrored_and_images_of_the_output_folder_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(empty(tmp_path / "here", "a/1.jpg", "out/2.jpg"))
    empty(tmp_path, "else/3.jpg")
    Path("list").write_text(
        f"a/1.jpg\r\n\n./a/../a/1.jpg\nout/2.jpg\n{tmp_path}/else/3.jpg\n../else/3.jpg\na/notes.txt\nnone.jpg"
    )
    inputs = list(list_names("list", "out"))
    absolute = f"{tmp_path}/else/3".lstrip("/")
    assert [each.answer_stem for each in inputs if not each.problem] == ["a/1", absolute, "none"]
    assert set(problems(inputs)) == {"out/2.jpg", "a/notes.txt"}


def test_a_second_name_for_an_answer_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = empty(tmp_path / "here", "2.jpg")
    monkeypatch.chdir(here)
    name = f"{empty(tmp_path / 'data', '1.jpg')}/1.jpg"
    empty(here, relative := name.lstrip("/"))
    Path("list").write_text(f"{name}\n{relative}\n2.jpg\n./2.jpg\n")
    inputs = list(list_names("list", "out"))
    assert [bool(each.problem) for each in inputs] == [False, True, False], "a name that comes again is done once"
    assert f"an earlier name of the list has its answer, {relative.removesuffix('.jpg')};" in str(inputs[1].problem)


def test_a_listing_pulls_no_more_than_is_asked_for(tmp_path: Path) -> None:
    """A list of names is read as it is needed: the first ten of an endless one come."""
    source, target = os.pipe()
    with open(target, "wb") as names, open(source, "rb") as lines:
        names.write(b"".join(b"%d.jpg\n" % number for number in range(10)))
        names.flush()
        fd_path = f"/dev/fd/{lines.fileno()}"
        if not Path(fd_path).exists():
            pytest.skip("the system has no /dev/fd")
        names.close()
        assert len(list(islice(list_names(fd_path, str(tmp_path)), 10))) == 10


def test_where_an_answer_would_overwrite_an_image_is_known(tmp_path: Path) -> None:
    empty(tmp_path, "in/a.png", "in/b.jpg", "in/masks/c.png")
    folder = list_inputs([str(tmp_path / "in")], str(tmp_path / "in" / "masks"))
    pattern = list_inputs([str(tmp_path / "in" / "*.jpg")], str(tmp_path / "in"))
    file = list_inputs([str(tmp_path / "in" / "a.png")], str(tmp_path))
    holds = {
        name: [each.holds(tmp_path / "in" / name) for each in (folder, pattern, file)] for name in ("a.png", "b.jpg", "x.png")
    }
    assert holds == {"a.png": [True, False, True], "b.jpg": [True, True, False], "x.png": [False, False, False]}
    assert not folder.holds(tmp_path / "in" / "masks" / "c.png")
