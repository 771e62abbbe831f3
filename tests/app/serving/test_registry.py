"""Models by name, and how they are replaced, also by reloads that come while one is in progress."""

from __future__ import annotations

import hashlib
import re
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from app.serving.errors import NotServing, UnknownModel
from app.serving.registry import Registry
from app.settings import Settings
from model.manifest import WeightsError
from tests.support.polling import HANG_S, wait_until
from tests.support.runtimes import RUNTIMES


def registry_of(weights: str, **changes: Any) -> Registry:
    common = {"device": "cpu", "precision": "float32", "tile": "96", "threads": 1, "runtime": "openvino"}
    settings = Settings(weights=weights, **(common | changes))
    return Registry(settings, on_batch=lambda *_: None, fail=lambda reason: None)


@pytest.fixture
def copy(narrow_file: Path, tmp_path: Path) -> Path:
    """The narrow network under another name."""
    path = tmp_path / "copy.onnx"
    shutil.copy(narrow_file.with_suffix(".onnx"), path)
    return path


def test_the_first_is_the_default_and_others_are_picked_by_name(narrow_file: Path, copy: Path) -> None:
    registry = registry_of(f"{narrow_file}, {copy}")
    with pytest.raises(NotServing, match="starting"):
        registry.get()
    registry.load()
    assert [registry.get(name).name for name in (None, "narrow", "copy")] == ["narrow", "narrow", "copy"]
    with pytest.raises(UnknownModel, match="narrow, copy, got 'third'"):
        registry.get("third")
    assert all(model.scheduler.alive for model in registry.models.values())
    registry.stop()
    assert not any(model.scheduler.alive for model in registry.models.values())


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_file_of_another_digest_than_the_expected_ones_is_refused(narrow_file: Path, runtime: str) -> None:
    file, other = narrow_file.with_suffix(".onnx"), narrow_file
    if runtime == "torch":
        file, other = other, file
    actual, expected = (hashlib.sha256(path.read_bytes()).hexdigest() for path in (file, other))
    for good in (actual.upper(), f"{expected}/{actual}"):
        registry = registry_of(str(narrow_file), weights_sha256=good, runtime=runtime)
        registry.load()
        assert registry.get().segmenter.runtime.describe()["file_sha256"] == actual
        registry.stop()
    registry = registry_of(str(narrow_file), weights_sha256=expected, runtime=runtime)
    with pytest.raises(ValueError, match=f"{actual}.*SEGMENT_WEIGHTS_SHA256.*{expected}"):
        registry.load()
    assert registry.models == {}


def test_a_new_model_is_served_at_once_and_the_old_one_until_its_last_request_ends(narrow_file: Path) -> None:
    registry = registry_of(str(narrow_file))
    registry.load()
    with ThreadPoolExecutor() as pool, registry.using() as old:
        with registry.using() as same:
            assert same is old
            loading = pool.submit(registry.load)
            wait_until(lambda: registry.get() is not old)
            with registry.using() as new:
                assert new is not old
        with pytest.raises(TimeoutError):
            loading.result(0.05)
        assert old.scheduler.alive
        assert registry.schedulers() == [new.scheduler, old.scheduler]  # both are watched
    loading.result(HANG_S)
    assert not old.scheduler.alive
    assert registry.schedulers() == [new.scheduler]
    assert new.scheduler.alive
    registry.stop()


def test_a_load_that_fails_leaves_all_as_it_was(copy: Path, narrow_file: Path) -> None:
    registry = registry_of(f"{narrow_file},{copy}")
    registry.load()
    before = registry.models
    copy.write_bytes(b"broken")
    with pytest.raises(WeightsError):
        registry.load()
    assert registry.models is before
    assert all(model.scheduler.alive for model in before.values())
    registry.stop()


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"max_megapixels": 0.004}, "MAX_MEGAPIXELS"),
        ({"memory_mb": 1}, "MEMORY_MB"),
        ({"max_queued_tiles": 3}, "MAX_QUEUED_TILES"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_limit_that_refuses_every_image_stops_the_start_with_its_least_value(
    changes: dict[str, Any], name: str, narrow_file: Path
) -> None:
    """The narrow network works at 64x64 at least, which is four tiles of 32 with an overlap."""
    common = {"device": "cpu", "precision": "float32", "tile": "32", "overlap": 0.5, "threads": 1, "runtime": "openvino"}

    def load(limits: dict[str, Any]) -> None:
        settings = Settings(weights=str(narrow_file), **common).model_copy(update=limits)
        registry = Registry(settings, on_batch=lambda *_: None, fail=lambda reason: None)
        try:
            registry.load()
        finally:
            registry.stop()

    with pytest.raises(
        ValueError, match=rf"SEGMENT_{name} is .*, and narrow takes no image with less than [\d.]+"
    ) as error_info:
        load(changes)
    least = float(re.findall(r"less than ([\d.]+);", str(error_info.value))[0])
    load(dict.fromkeys(changes, least))
    with pytest.raises(ValueError, match=name):
        load(dict.fromkeys(changes, least * 0.98))


def loaders() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "loader"]


def test_thirty_reloads_are_the_one_in_progress_and_one_more_that_reads_the_last_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys, loads, go = tmp_path / "keys", list[None](), threading.Event()

    def load(_: Registry) -> None:
        loads.append(None)
        assert go.wait(HANG_S)

    monkeypatch.setattr(Registry, "load", load)
    keys.write_text("key-0")
    registry = Registry(Settings(api_keys_file=str(keys)), lambda *_: None, lambda _: None)
    registry.reload()
    wait_until(lambda: len(loads) == 1)
    for number in range(1, 31):
        keys.write_text(f"key-{number}")
        registry.reload()
    wait_until(lambda: len(loaders()) == 2)
    assert registry.api_keys == ("key-30",)  # keys do not wait for the weights
    go.set()
    wait_until(lambda: not loaders())
    assert len(loads) == 2
    registry.reload()
    wait_until(lambda: len(loads) == 3 and not loaders())
