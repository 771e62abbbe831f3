"""Jobs by the page's commands, the command line and the client, over a socket."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import rasterio
from fcn_client import AsyncSegmentClient, BadRequest, Job, JobFailed, SegmentClient, SegmentError, WrongParameter

from app.serving.jobs.job import Job as StoredJob
from app.serving.jobs.job import Status, now
from cli.main import main
from tests.support.app.services import Serve
from tests.support.checkout import ROOT, run
from tests.support.images import encode, make_photo
from tests.support.imaging.scenes import write_scene
from tests.support.pages import blocks
from tests.support.servers import over_http


@pytest.fixture(scope="module")
def address(serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serve(jobs_dir=tmp_path_factory.mktemp("jobs")) as client, over_http(client) as port:
        yield f"http://127.0.0.1:{port}"


def test_a_command_that_was_interrupted_goes_on_with_its_job(
    address: str, scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    words = [str(scene), "-o", str(tmp_path / "a.tif"), "--server", address, "--job", "--scale", "0,1"]
    with monkeypatch.context() as patch:
        patch.setattr("cli.job._wait", interrupt)
        assert main(words) == 130
    job = capsys.readouterr().err.partition(f"the job goes on, and --resume waits for it: {address}/jobs/")[2].split()[0]
    assert main([*words, "--resume", "--overlap", "0.5"]) == 2
    assert "is of a job with another scene, service or other options" in capsys.readouterr().err
    monkeypatch.setattr("cli.job._submit", interrupt)  # it sends nothing again
    assert main([*words, "--resume"]) == 0
    begin, end = capsys.readouterr().err.splitlines()
    assert re.fullmatch(rf"fcn-segment: job {job}: \w+, \d+%; it goes on: {address}/jobs/{job}", begin)
    told = f"fcn-segment: job {job}: successful, 100%; its result is ready; the file: the scale 0 to 1 gives nearly all samples"
    assert end.startswith(told)
    assert (tmp_path / "a.tif").stat().st_size


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-o", "a.tif", "--job"], "--job is for a service; give --server URL"),
        (["-o", "a.png", "--job", "--server", "{}"], "--job takes one scene of this machine and one output"),
        (["-o", "a.tif", "--style", "--job", "--server", "{}"], "--style is not for --job"),
        (["-o", "a.tif", "--tile", "96", "--job", "--server", "{}"], "--tile is set by the service"),
        (["-o", "a.tif", "--bands", "9", "--job", "--server", "{}"], "422 Wrong parameter: the file has no band 9"),
    ],
)
def test_what_does_not_go_with_a_job_is_said_in_a_line(
    address: str, scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    words: list[str], message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main([str(scene), *(word.format(address) for word in words)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not list(tmp_path.iterdir())


def test_both_clients_send_wait_and_fetch(address: str, scene: Path, bytes_of: Callable[..., bytes], tmp_path: Path) -> None:
    looks: list[Job] = []
    with SegmentClient(address, sleep=lambda _: None) as client:
        job = client.wait(client.submit(scene, output="tif"), looks.append)
        client.results(job, tmp_path / "1.tif")
        with pytest.raises(WrongParameter, match=r"must be one of"):
            client.submit(scene, output="png")  # type: ignore[arg-type]
        with pytest.raises(BadRequest, match="there is no job"):
            client.job("0")
        client.dismiss(job)
        with pytest.raises(BadRequest, match="there is no job"):
            client.results(job, tmp_path / "2.tif")
    assert (job.status, job.progress, {look.is_open for look in looks}) == ("successful", 100, {True})
    assert (tmp_path / "1.tif").read_bytes() == bytes_of(scene, ".tif")
    assert sorted(path.name for path in tmp_path.glob("?.tif*")) == ["1.tif"]

    photos = [tmp_path / f"{name}.png" for name in "ab"]
    for photo in photos:
        photo.write_bytes(encode(make_photo(40, 50)))

    async def send() -> None:
        async with AsyncSegmentClient(address) as client:
            job = await client.wait(await client.submit(photos, output="jsonl", mask="array"))
            await client.results(job.id, tmp_path / "a.jsonl")
            long = await client.submit(photos, output="zip")
            await client.dismiss(long)

    asyncio.run(send())
    assert len((tmp_path / "a.jsonl").read_bytes().splitlines()) == 2


def test_several_outputs_are_sent_once_and_fetched_by_the_command_and_both_clients(
    address: str, scene: Path, bytes_of: Callable[..., bytes], tmp_path: Path
) -> None:
    words = ("--min-area", "9m2", "--topology", "shared", "--scale", "0,200", "--bands", "2,1,3")
    wanted = {".tif": bytes_of(scene, ".tif", *words[4:]), ".geojson": bytes_of(scene, ".geojson", *words)}
    outs = [word for ending in wanted for word in ("-o", str(tmp_path / f"1{ending}"))]
    assert main([str(scene), *outs, "--server", address, "--job", *words]) == 0
    assert not list(tmp_path.glob("*.job"))
    with SegmentClient(address, sleep=lambda _: None) as client:
        options = {"min_area": "9m2", "topology": "shared", "scale": (0, 200), "bands": [2, 1, 3]}
        job = client.wait(client.submit(scene, output=["tif", "geojson"], **options))
        with pytest.raises(SegmentError, match='the job has several results; name one, such as output="tif"'):
            client.results(job, tmp_path / "2.geojson")
        assert not list(tmp_path.glob("2*"))
        client.results(job, tmp_path / "2.tif", "tif")

    async def fetch() -> None:
        async with AsyncSegmentClient(address) as client:
            with pytest.raises(SegmentError, match="several results"):
                await client.results(job, tmp_path / "2.geojson")
            await client.results(job, tmp_path / "2.geojson", output="geojson")

    asyncio.run(fetch())
    assert all((tmp_path / f"{id}{ending}").read_bytes() == wanted[ending] for id in (1, 2) for ending in wanted)


def test_a_job_that_was_dismissed_raises() -> None:
    with pytest.raises(JobFailed, match="job 1: it was dismissed"):
        Job("1", "dismissed", 4, "it was dismissed").checked()


def test_the_commands_of_the_page_send_a_scene_and_fetch_its_classes(serve: Serve, tmp_path: Path) -> None:
    with serve(jobs_dir=tmp_path / "jobs") as client, over_http(client) as port:
        for shape in ((60, 90), (40, 70)):
            write_scene(tmp_path / "scene.tif", make_photo(*shape))
            for block in blocks((ROOT / "docs" / "jobs.md").read_text())[1:]:  # the first installs and starts the service
                run(block.replace("http://127.0.0.1:8000", f"http://127.0.0.1:{port}"), tmp_path)
            with rasterio.open(tmp_path / "classes.tif") as result:
                assert result.shape == shape


@pytest.mark.parametrize("status", ["failed", "dismissed", None])
def test_the_page_s_wait_ends_with_a_job_that_has_no_result(serve: Serve, tmp_path: Path, status: Status | None) -> None:
    id = "0" * 32
    if status:
        (tmp_path / id).mkdir()
        StoredJob(id, "", "client", "tif", {}, "narrow", "", status, now(), finished=now()).save(tmp_path / id)
    block = blocks((ROOT / "docs" / "jobs.md").read_text())[1]
    wait = block[block.index("until") : block.index("done") + len("done")]
    with serve(jobs_dir=tmp_path) as client, over_http(client) as port:
        run(f"JOB={id}; {wait.replace(':8000', f':{port}')}", tmp_path)
