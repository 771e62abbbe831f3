"""Names of files that clients send, and the outcomes of many photos, at the limits of what clients may send."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from app.api.body import DEFAULT_NAME
from app.api.form_parser import FormParser
from app.api.job_upload import MOST_FILES
from app.serving.photos import Outcome
from app.serving.results import WRITERS, distinct_names
from imaging.coco import HEAD
from imaging.object_facts import image_row
from tests.support.costs import compares_times, cpu_seconds

LONG = "\U0001f600" * 251 + ".jpg"


def assert_linear(work: Callable[[int], object]) -> None:
    """What takes the number of files takes at most 25 times as long for ten times as many."""
    few, many = (cpu_seconds(partial(work, count)) for count in (MOST_FILES // 10, MOST_FILES))
    assert many <= 25 * few


@compares_times
@pytest.mark.parametrize("numbered", [0, 2])
def test_the_time_to_tell_equal_names_apart_grows_with_their_number(numbered: int) -> None:
    def tell_apart(count: int) -> None:
        names = [f"{LONG[:-4]} ({number}).jpg" if numbered else LONG for number in range(count // 2)]
        assert len(set(distinct_names([LONG] * (count // 2) + names))) == count

    assert_linear(tell_apart)


@compares_times
@pytest.mark.parametrize("output", WRITERS)
def test_the_time_to_write_outcomes_grows_with_their_number(output: str) -> None:
    coco = HEAD + b',"images":[{"id":1}],"categories":[],"annotations":[{"id":1,"image_id":1,"area":1}]}'
    bodies = [coco if output == "coco" else b"{}", b"{}"]

    def write(count: int) -> None:
        writer = WRITERS[output]()
        outcomes = (Outcome(i, f"{i}.jpg", "", 415 if i % 2 else 200, {}, image_row(), bodies[i % 2]) for i in range(count))
        assert b"".join([*map(writer.add, outcomes), *writer.rest()]).count(b'.jpg"') == count

    assert_linear(write)


def form(name: bytes) -> list[str]:
    parser = FormParser(b"B", lambda _: len, ["file"], ())
    parts = b'--B\r\nContent-Disposition: form-data; name="file"; filename="%b"\r\n\r\na\r\n--B--\r\n' % name
    parser.write(parts)
    return parser.images


@pytest.mark.parametrize(
    ("name", "expected"),
    [(b"x/a.png", "a.png"), (rb"C:\x\a.png", "a.png"), (b"a" * 4000, "a" * 255), (b"x/", DEFAULT_NAME)],
)
def test_a_name_has_no_folder_and_at_most_255_characters(name: bytes, expected: str) -> None:
    assert form(name) == [expected]


@compares_times
def test_the_time_to_read_a_name_grows_with_its_length() -> None:
    short, long = (cpu_seconds(partial(form, b"a" * length), tries=5) for length in (400, 4000))
    assert long <= 25 * short
