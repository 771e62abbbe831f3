"""Files are written whole or not at all, through links, and into what a rename must not replace."""

from __future__ import annotations

import errno
import os
import re
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from common import whole_file as module
from common.whole_file import PARTIAL, STALE_S, begins_with, check_output, open_descriptor, whole_file, write_file
from tests.support.polling import HANG_S


def write(target: str | Path, data: bytes = b"new", folder: Path | None = None) -> None:
    with whole_file(target, folder) as partial:
        partial.write_bytes(data)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and not path.is_symlink()}


@pytest.fixture
def umask() -> Iterator[None]:
    former = os.umask(0o022)
    yield
    os.umask(former)


@pytest.mark.parametrize("own", [False, True])
def test_a_file_is_replaced_at_the_end_of_the_block(tmp_path: Path, own: bool) -> None:
    target, folder = tmp_path / "file", tmp_path / "own" if own else tmp_path
    target.write_bytes(b"former")
    folder.mkdir(exist_ok=True)
    with whole_file(target, folder if own else None) as partial:
        partial.write_bytes(b"new")
        assert (target.read_bytes(), partial.parent) == (b"former", folder)
    assert content(tmp_path) == {"file": b"new"}
    assert sorted(os.listdir(tmp_path)) == (["file", "own"] if own else ["file"])
    assert not own or not os.listdir(folder)


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
@pytest.mark.parametrize("former", [{}, {"file": b"former"}], ids=["none", "former"])
def test_after_an_error_the_former_file_stays_and_nothing_else(
    tmp_path: Path, error: type[BaseException], former: dict[str, bytes]
) -> None:
    for name, data in former.items():
        (tmp_path / name).write_bytes(data)

    def write_half() -> None:
        with whole_file(tmp_path / "file") as partial:
            partial.write_bytes(b"half")
            raise error

    with pytest.raises(error), whole_file(tmp_path / "file"):
        raise error
    with pytest.raises(error):
        write_half()
    assert content(tmp_path) == former


@pytest.mark.parametrize("link", ["../real/file", "../real/new", "absolute", "second"])
def test_a_link_stays_and_what_it_leads_to_is_written(tmp_path: Path, link: str) -> None:
    real, folder = tmp_path / "real", tmp_path / "links"
    real.mkdir()
    folder.mkdir()
    (real / "file").write_bytes(b"former")
    (folder / "second").symlink_to("../real/file")
    (folder / "link").symlink_to(real / "file" if link == "absolute" else link)
    write(folder / "link")
    assert (folder / "link").is_symlink()
    assert content(real) == ({"file": b"former", "new": b"new"} if link.endswith("new") else {"file": b"new"})
    assert sorted(os.listdir(folder)) == ["link", "second"]


def test_a_circle_of_links_and_a_folder_are_named(tmp_path: Path) -> None:
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    for name, number in (("circle", errno.ELOOP), ("folder", errno.EISDIR), ("link", errno.EISDIR)):
        for action in (write, check_output):
            with pytest.raises(OSError, match=name) as info:
                action(tmp_path / name)
            assert info.value.errno == number
    assert sorted(os.listdir(tmp_path)) == ["circle", "folder", "link"]


def test_a_device_stays_a_device(tmp_path: Path) -> None:
    (tmp_path / "null").symlink_to(os.devnull)
    for target in (os.devnull, tmp_path / "null"):
        check_output(target)
        write(target)
        assert stat.S_ISCHR(os.stat(target).st_mode)
    with pytest.raises(OSError, match=r"No space left on device: '/dev/full'"):
        write("/dev/full")


def test_a_pipe_gets_the_content(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    check_output(pipe)
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(pipe.read_bytes)
        write(pipe, b"x" * 300_000)
        assert future.result() == b"x" * 300_000
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert os.listdir(tmp_path) == ["pipe"]


@pytest.mark.parametrize(
    ("name", "append"), [("/dev/stdout", True), ("/dev/fd/1", False), ("/proc/self/fd/1", True), ("link", False)]
)
def test_an_open_descriptor_is_written_where_it_stands(tmp_path: Path, name: str, append: bool) -> None:
    (tmp_path / "link").symlink_to("/dev/stdout")
    target = tmp_path / "link" if name == "link" else name
    code = f"""if True:
        import sys
        from common.whole_file import check_output, whole_file
        print("before")
        check_output({str(target)!r})
        with whole_file({str(target)!r}) as partial:
            partial.write_text("new\\n")
        print("after", flush=True)
    """
    log = tmp_path / "log"
    log.write_bytes(b"former\n")
    with log.open("ab" if append else "wb") as file:
        subprocess.run([sys.executable, "-c", code], stdout=file, check=True, timeout=HANG_S)
    assert log.read_bytes().splitlines() == [*([b"former"] if append else []), b"before", b"new", b"after"]
    result = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True, timeout=HANG_S)
    assert result.stdout.splitlines() == [b"before", b"new", b"after"]


def test_descriptors_are_known_by_their_names() -> None:
    names = ["/dev/stdin", "/dev/stdout", "/dev/fd/63", f"/proc/{os.getpid()}/fd/7", "/dev/null", "1", "/proc/1/fd/1"]
    assert [open_descriptor(name) for name in names] == [0, 1, 63, 7, None, None, None]


@pytest.mark.usefixtures("umask")
def test_a_new_file_has_the_usual_permissions_and_another_keeps_its_own(tmp_path: Path) -> None:
    write(tmp_path / "new")
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o644
    for mode in (0o600, 0o664, 0o640):
        (tmp_path / "new").chmod(mode)
        write(tmp_path / "new")
        assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == mode


def test_names_of_255_bytes_are_written(tmp_path: Path) -> None:
    for name in ("x" * 255, "ü" * 127, "写" * 85):
        check_output(tmp_path / name)
        write(tmp_path / name)
        assert (tmp_path / name).read_bytes() == b"new"
    with pytest.raises(OSError, match="File name too long"):
        check_output(tmp_path / ("x" * 256))
    assert len(os.listdir(tmp_path)) == 3


def test_two_that_write_one_file_at_once_do_not_mix(tmp_path: Path) -> None:
    both = threading.Barrier(2)

    def write_slowly(data: bytes) -> None:
        with whole_file(tmp_path / "file") as partial:
            both.wait(timeout=HANG_S)
            partial.write_bytes(data)
            both.wait(timeout=HANG_S)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write_slowly, (b"a" * 100_000, b"b" * 100_000)))
    assert len(set((tmp_path / "file").read_bytes())) == 1
    assert os.listdir(tmp_path) == ["file"]


def test_what_cannot_be_written_is_known_before(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for target in (tmp_path / "file" / "below", "/proc/none/file"):
        with pytest.raises(OSError, match=str(target)):
            check_output(target)
    with pytest.raises(OSError, match="File name too long"):
        check_output(tmp_path / ("x" * 256) / "file")
    check_output(tmp_path / "new" / "folder" / "file")
    assert os.listdir(tmp_path) == ["file"]


def test_the_check_of_one_process_takes_no_folder_from_another(tmp_path: Path) -> None:
    """Shards that start at the same time check and write into the same new folder."""
    folder, is_over = tmp_path / "new", threading.Event()

    def check_again_and_again() -> None:
        while not is_over.is_set():
            with suppress(FileNotFoundError):  # the folder has just gone
                check_output(folder / "answer")

    with ThreadPoolExecutor(1) as pool:
        checking = pool.submit(check_again_and_again)
        try:
            for number in range(300):
                folder.mkdir()
                write(folder / "file")
                folder.rename(tmp_path / str(number))
        finally:
            is_over.set()
        checking.result()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_without_the_right_a_file_stays_and_its_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"former")
    (tmp_path / "file").chmod(0o444)
    tmp_path.chmod(0o555)
    try:
        for name in ("file", "new"):
            for action in (write, check_output):
                with pytest.raises(PermissionError, match=name):
                    action(tmp_path / name)
    finally:
        tmp_path.chmod(0o755)


@pytest.mark.parametrize("failing", ["_create", "replace"])
def test_a_file_whose_folder_takes_no_other_is_written_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    """As a file that is mounted into a container alone."""
    target, temporary = tmp_path / "folder" / "file", tmp_path / "temporary"
    target.parent.mkdir()
    temporary.mkdir()
    target.write_bytes(b"a longer former content")
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    create = module._create

    def refuse_new(path: Path, mode: int) -> Path:
        if path.parent == target.parent:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        return create(path, mode)

    def refuse_rename(self: Path, other: Path) -> None:
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(self), None, str(other))

    if failing == "replace":
        monkeypatch.setattr(Path, "replace", refuse_rename)
    else:
        monkeypatch.setattr(module, "_create", refuse_new)
    write(target)
    assert content(target.parent) == {"file": b"new"}
    assert not list(temporary.iterdir())


def test_partial_files_of_processes_that_were_killed_long_ago_are_removed(tmp_path: Path) -> None:
    names = [f".file.aa-bb{PARTIAL}", f".file.cc-dd{PARTIAL}", f".other.aa-bb{PARTIAL}", f"file{PARTIAL}"]
    for name in names:
        (tmp_path / name).write_bytes(b"half")
    for name in (names[0], names[2], names[3]):
        os.utime(tmp_path / name, (time.time() - 2 * STALE_S,) * 2)
    write(tmp_path / "file")
    assert sorted(os.listdir(tmp_path)) == sorted([*names[1:], "file"])


WRITER = """
import sys
from common.whole_file import whole_file
with whole_file(sys.argv[1], ending=".gpkg") as partial:
    for path in (partial, partial.with_name(partial.name + "-journal")):
        path.write_bytes(b"half")
    print(flush=True)
    sys.stdin.read()
"""


def test_the_next_run_removes_what_a_killed_one_left_and_nothing_of_one_that_still_writes(tmp_path: Path) -> None:
    target = tmp_path / "a.gpkg"
    writers = []
    for _ in range(2):
        words = [sys.executable, "-c", WRITER, str(target)]
        writers.append(subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        assert writers[-1].stdout
        assert writers[-1].stdout.readline()
    assert len(os.listdir(tmp_path)) == 6
    writers[0].kill()
    writers[0].communicate()
    write(target)
    assert len(os.listdir(tmp_path)) == 4, "the target and three files of the living process"
    writers[1].communicate(timeout=HANG_S)
    assert writers[1].returncode == 0
    assert content(tmp_path) == {"a.gpkg": b"half"}


def test_a_link_at_a_name_that_the_command_chose_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"former")
    for name in ("real", "nowhere"):
        (tmp_path / "link").unlink(missing_ok=True)
        (tmp_path / "link").symlink_to(name)
        write_file(tmp_path / "link", "new", follow=False)
        assert content(tmp_path) == {"real": b"former", "link": b"new"}


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives links away")
@pytest.mark.parametrize(
    ("mode", "owner", "is_refused"), [(0o1777, 12345, True), (0o777, 12345, True), (0o755, 12345, False), (0o1777, 0, False)]
)
def test_a_stranger_s_link_in_a_folder_that_all_may_write_is_not_followed(
    tmp_path: Path, mode: int, owner: int, is_refused: bool
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "real").write_bytes(b"former")
    (folder / "link").symlink_to(tmp_path / "real")
    (tmp_path / "own").symlink_to(folder / "link")
    os.lchown(folder / "link", owner, owner)
    folder.chmod(mode)
    for target in (folder / "link", tmp_path / "own"):
        for work in (write, check_output):
            if is_refused:
                with pytest.raises(PermissionError, match="a link of another user"):
                    work(target)
            else:
                work(target)
    assert (tmp_path / "real").read_bytes() == (b"former" if is_refused else b"new")


def test_a_file_that_holds_more_than_the_command_s_own_is_told(tmp_path: Path) -> None:
    own = begins_with(rb"own \d")
    for data in (b"", b"own 1, and more"):
        (tmp_path / "file").write_bytes(data)
        check_output(tmp_path / "file", own)
    for path in ("missing", os.devnull):
        check_output(tmp_path / path, own)
    (tmp_path / "file").write_bytes(b"other")
    with pytest.raises(OSError, match=rf"^{re.escape(str(tmp_path))}.file holds .*, and is kept; move it away"):
        check_output(tmp_path / "file", own)


def test_errors_name_the_file_that_was_asked_for(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"No such file or directory: .*missing"):
        write(tmp_path / "missing" / "file")
    with pytest.raises(OSError, match=r"No space left on device: .*file'"), whole_file(tmp_path / "file"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(OSError, match=r"^only a message$"), whole_file(tmp_path / "file"):
        raise OSError("only a message")
