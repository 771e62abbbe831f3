"""The photo that an export means is found however tools write its name, and it is known whether the name is its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.importing.coco import ImageFinder


@pytest.mark.parametrize(
    ("written", "stored", "has_name"),
    [
        ("a.png", "a.png", True),
        ("./a.png", "a.png", True),
        ("sub/../a.png", "a.png", True),
        ("../export/a.png", "a.png", True),
        ("{folder}/a.png", "a.png", True),
        ("file://{folder}/a.png", "a.png", True),
        ("a.PNG", "a.png", True),
        ("a", "a.png", True),
        ("leaf.gif", "leaf.gif", True),
        ("leaf.jpg", "leaf.JPG", True),
        ("100%.jpg", "100%.jpg", True),
        ("Bl\u00e4tter.jpg", "Bla\u0308tter.jpg", True),
        ("Bla\u0308tter.jpg", "Bl\u00e4tter.jpg", True),
        ("my%20leaf.jpg", "my leaf.jpg", True),
        ("my%20leaf.jpg", "my%20leaf.jpg", True),
        ("/data/upload/3/a.png", "a.png", True),
        ("/data/upload/3/0a1b2c3d-a.png", "0a1b2c3d-a.png", True),
        ("http://localhost:8080/data/upload/3/a.png", "a.png", True),
        ("a.jpg", "a.png", False),
        ("camera2/a.png", "a.png", False),
        ("20240115-a.png", "a.png", False),
        ("/data/upload/3/0a1b2c3d-a.png", "a.png", False),
        ("/data/upload/3/day/a.png", "a.png", False),
        ("../../label-studio/data/media/upload/1/a.jpg", "a.jpg", False),
        ("/data/local-files/?d=sub/my%20leaf.jpg", "my leaf.jpg", False),
        ("https://host.example/data/my%20leaf.jpg?sig=a/b", "my leaf.jpg", False),
        ("media/leaf.jpg?v=3", "leaf.jpg", False),
        ("//[leaf]/leaf.jpg", "leaf.jpg", False),
        ("images\\my leaf.jpg", "my leaf.jpg", False),
        ("C:\\photos\\my leaf.jpg", "my leaf.jpg", False),
    ],
)
def test_a_photo_is_found_however_tools_write_its_name(written: str, stored: str, has_name: bool, tmp_path: Path) -> None:
    folder = tmp_path / "export"
    (folder / "sub").mkdir(parents=True)
    (folder / stored).touch()
    finder = ImageFinder(folder / "labels.json", None)
    assert finder.find(written.format(folder=folder)) == (folder / stored, has_name)
