"""Several outputs of one job: the scene comes once, the network sees each of its tiles once, and each output has its link."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.serving.jobs.folders import strip
from app.serving.jobs.job import MEDIA_TYPES, WORK, Job, now
from tests.app.jobs.test_failures import process_of
from tests.support.app.exchanges import assert_problem, service_of
from tests.support.app.jobs import ended, result_of, status_of, submit
from tests.support.app.services import hold_model
from tests.support.polling import wait_until

KINDS = {"tif": ".tif", "gpkg": ".gpkg", "geojson": ".geojson"}
ALL = ",".join(KINDS)


@pytest.fixture
def tiles(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The tiles that jobs have sent to the network."""
    (model,), seen = service_of(client).registry.models.values(), list[object]()
    submit_tile = model.scheduler.submit
    monkeypatch.setattr(model.scheduler, "submit", lambda queue, tile: seen.append(tile) or submit_tile(queue, tile))
    return seen


def links_of(client: TestClient, id: str) -> dict[str, dict[str, str]]:
    """The links of a job's results, by title, once it is successful."""
    assert ended(client, id)["status"] == "successful", status_of(client, id)
    response = client.get(f"/jobs/{id}/results")
    assert response.headers["content-type"] == "application/json"
    return {link["title"]: link for link in response.json()["links"]}


@pytest.mark.parametrize(
    ("outputs", "query"),
    [
        (ALL, {}),
        ("geojson,cog", {"classes": "1,2", "min_area": "9m2", "min_confidence": "0.3", "overlap": "0.5"}),
        ("gpkg,tif", {"format": "confidence", "tolerance": "0.3", "extent": "448030,5411850,448100,5411950,EPSG:32632"}),
    ],
)
def test_each_output_has_the_bytes_of_its_own_job_and_the_network_sees_each_tile_once(
    client: TestClient, scene: Path, tiles: list[object], outputs: str, query: dict[str, str]
) -> None:
    alone, counts = dict[str, bytes](), set[int]()
    for output in outputs.split(","):
        foreign = {"classes", "min_area", "tolerance"} if output in ("tif", "cog") else {"format"}
        own = {name: value for name, value in query.items() if name not in foreign}
        alone[output] = result_of(client, submit(client, scene.read_bytes(), output=output, **own))
        counts.add(len(tiles))
        tiles.clear()
    id = submit(client, scene.read_bytes(), output=outputs, **query)
    links = links_of(client, id)
    assert {len(tiles)} == counts != {0}
    assert list(links) == outputs.split(",")
    for output, link in links.items():
        assert (link["href"], link["rel"]) == (f"/jobs/{id}/results/{output}", "item")
        response = client.get(link["href"])
        assert response.content == alone[output], output
        assert response.headers["content-type"] == link["type"] == MEDIA_TYPES[output][1]
        assert f'filename="segment-{id[:8]}{MEDIA_TYPES[output][0]}"' in response.headers["content-disposition"]
        assert client.get(link["href"], headers={"Range": "bytes=9-"}).content == alone[output][9:]
    (_, link) = status_of(client, id)["links"]
    assert (link["href"], link["type"], len(link)) == (f"/jobs/{id}/results", "application/json", 3)


NAMES = "cog", "TIF", "%2e%2e%2fjob.json", "job.json", "work", "result.tif", "tif%00", "tif%0d%0aa:", "tif,gpkg", "a" * 9000


def test_links_are_there_from_success_to_removal_and_no_others(client: TestClient, scene: Path) -> None:
    jobs = service_of(client).jobs
    assert jobs
    with hold_model(service_of(client)):
        id = submit(client, scene.read_bytes(), output="tif,gpkg")
        for end in ("", "/gpkg"):
            assert_problem(client.get(f"/jobs/{id}/results{end}"), 404, "and has no result")
    links, folder = links_of(client, id), jobs.root / id
    wait_until(lambda: sorted(os.listdir(folder)) == ["job.json", "result.gpkg", "result.tif"])
    wait_until(lambda: jobs.used_bytes() > sum(path.stat().st_size for path in folder.glob("result.*")))
    for name in NAMES:
        response = client.get(f"/jobs/{id}/results/{name}")
        assert_problem(response, 404)
        assert len(response.content) < 2000
    assert client.delete(f"/jobs/{id}").status_code == 204
    assert not folder.exists()
    assert all(client.get(link["href"]).status_code == 404 for link in links.values())


def test_a_failed_job_leaves_none_of_its_results(tmp_path: Path) -> None:
    job = Job("0" * 32, "", "a", ALL, {}, "m", "0", "failed", now(), finished=now())  # type: ignore[arg-type]
    for ending in KINDS.values():
        (tmp_path / f"result{ending}").touch()
    strip(tmp_path, job)
    assert not list(tmp_path.iterdir())


@pytest.mark.long
def test_a_kill_between_two_outputs_runs_no_tile_again_and_gives_the_same_bytes(
    client: TestClient, long_scene: Path, tiles: list[object], bytes_of: Callable[..., bytes]
) -> None:
    id, jobs = submit(client, long_scene.read_bytes(), output=ALL), service_of(client).jobs
    assert jobs
    work = jobs.root / id / WORK
    wait_until((work / "result.tif").exists)
    os.kill(process_of(id), signal.SIGKILL)
    assert not (work / "result.geojson").exists(), "it was too late"
    count, written = len(tiles), (work / "result.tif").stat().st_mtime_ns
    links = links_of(client, id)
    assert (len(tiles), (jobs.root / id / "result.tif").stat().st_mtime_ns) == (count, written)
    for output, ending in KINDS.items():
        assert client.get(links[output]["href"]).content == bytes_of(long_scene, ending), output


def test_the_document_describes_both_answers(client: TestClient) -> None:
    paths: dict[str, Any] = client.get("/openapi.json").json()["paths"]
    assert paths["/jobs/{id}/results"]["get"]["responses"]["200"]["content"].keys() == {
        each for _, each in MEDIA_TYPES.values()
    }
    assert "404" in paths["/jobs/{id}/results/{output}"]["get"]["responses"]
    assert "tif,gpkg" in str([each for each in paths["/jobs"]["post"]["parameters"] if each["name"] == "output"])
