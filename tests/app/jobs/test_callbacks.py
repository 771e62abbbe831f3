"""A receiver that a job's sender names is told that it has ended: signed, at least once, at the cost of nobody else."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import signal
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.serving import webhook
from app.serving.jobs import callbacks
from app.serving.jobs.job import Job, now
from app.serving.webhook import parse_address
from tests.support.app.exchanges import PHOTO, assert_problem, service_of
from tests.support.app.jobs import status_of, stored_jobs, submit_photos
from tests.support.app.services import Serve, hold_model
from tests.support.disks import disk_for_files_of
from tests.support.http_servers import Handler, LoopbackServer, running
from tests.support.polling import HANG_S, wait_until
from tests.support.servers import fcn_serve

KEY = bytes(range(32))
SECRET = f"whsec_{base64.b64encode(KEY).decode()}"
PHOTOS = {"a.png": PHOTO}


class Receiver(LoopbackServer):
    """Keeps what comes. statuses: of its answers in turn; then 200. A path that begins with /slow waits for `release`.

    before_answer, after_answer: what it does then.
    """

    def __init__(self, *statuses: int) -> None:
        super().__init__(Receiving)
        self.calls, self.statuses, self.release = list[tuple[str, dict[str, str], bytes]](), list(statuses), threading.Event()
        self.before_answer = self.after_answer = lambda: None


class Receiving(Handler):
    server: Receiver

    def post(self) -> None:
        self.server.calls.append((self.path, dict(self.headers), self.body()))
        if self.path.startswith("/slow"):
            self.server.release.wait(60)
        status = self.server.statuses.pop(0) if self.server.statuses else HTTPStatus.OK
        self.server.before_answer()
        self.answer(status, b"", {"Location": f"{self.server.url}/elsewhere"} if status == HTTPStatus.FOUND else {})
        self.server.after_answer()


@contextmanager
def receiver(*statuses: int) -> Iterator[Receiver]:
    with running(Receiver(*statuses)) as server:
        try:
            yield server
        finally:
            server.release.set()


def settings(folder: Path, *receivers: Receiver, **others: Any) -> dict[str, Any]:
    return {
        "jobs_dir": folder,
        "callback_origins": ",".join(each.url for each in receivers),
        "callback_secret": SECRET,
    } | others


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callbacks, "FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr(callbacks, "LONGEST_PAUSE_S", 1.0)
    monkeypatch.setattr(callbacks, "FAILED_S", 0.0)


def test_a_receiver_gets_the_state_of_the_job_signed_and_once(
    serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with receiver() as server, serve(**settings(tmp_path, server)) as client, caplog.at_level(logging.INFO):
        to = {"successUri": f"{server.url}/done?token=s3cret", "failedUri": f"{server.url}/failed"}
        id = submit_photos(client, PHOTOS, output="jsonl", **to)
        wait_until(lambda: bool(server.calls))
        state = client.get(f"/jobs/{id}")
        wait_until(lambda: not any(job.success_uri for job in stored_jobs(tmp_path)))
    ((path, headers, body),) = server.calls
    assert path == "/done?token=s3cret"
    assert json.loads(body) | {"updated": ""} == state.json() | {"updated": ""}
    assert json.loads(body)["status"] == "successful"
    assert (headers["webhook-id"], headers["Content-Type"]) == (f"job_{id}", "application/json")
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    assert headers["webhook-signature"] == f"v1,{base64.b64encode(hmac.digest(KEY, signed, hashlib.sha256)).decode()}"
    lines = [str(vars(record)) for record in caplog.records if record.name == "segment"]
    assert lines
    assert "s3cret" not in state.text + "".join(lines)


@pytest.mark.parametrize(("statuses", "count"), [((500, 302, 404), 4), ((410,), 1)])
def test_a_call_that_failed_comes_again_with_its_id_and_no_redirect_is_followed(
    serve: Serve, tmp_path: Path, statuses: tuple[int, ...], count: int
) -> None:
    with receiver(*statuses) as server, serve(**settings(tmp_path, server)) as client:
        submit_photos(client, PHOTOS, output="jsonl", successUri=f"{server.url}/a")
        wait_until(lambda: stored_jobs(tmp_path)[0].status == "successful" and not stored_jobs(tmp_path)[0].callback)
    assert [path for path, *_ in server.calls] == ["/a"] * count
    assert len({headers["webhook-id"] for _, headers, _ in server.calls}) == 1


def test_a_job_that_fails_calls_its_other_address(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with receiver() as server, serve(**settings(tmp_path, server)) as client, hold_model(service_of(client)) as hold:
        to = {"successUri": f"{server.url}/done", "failedUri": f"{server.url}/failed"}
        submit_photos(client, PHOTOS, output="jsonl", **to)
        monkeypatch.setattr("app.serving.jobs.store.RESERVE_BYTES", 1 << 60)
        wait_until(lambda: bool(server.calls))
        hold.open()
    assert [(path, json.loads(body)["status"]) for path, _, body in server.calls] == [("/failed", "failed")]


@pytest.mark.parametrize("path", ["/slow", "/a"])
def test_what_waits_for_a_removed_job_ends_at_once_and_calls_nobody(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    """While its receiver is slow, and in the pause after a call that failed."""
    monkeypatch.setattr(callbacks, "FIRST_PAUSE_S", 5.0)
    monkeypatch.setattr(callbacks, "LONGEST_PAUSE_S", 5.0)
    with receiver(500) as server, serve(**settings(tmp_path, server)) as client:
        id = submit_photos(client, PHOTOS, output="jsonl", successUri=f"{server.url}{path}")
        wait_until(lambda: bool(server.calls) and (path == "/slow" or "a callback failed" in caplog.text))
        client.delete(f"/jobs/{id}")
        assert not client.app.state.jobs.on_end.__self__._tasks  # type: ignore[attr-defined]
    assert len(server.calls) == 1


def test_slow_receivers_hold_neither_jobs_nor_the_calls_to_others(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of each client, one call at a time; and as many clients as there are, a receiver that answers gets its calls."""
    monkeypatch.setattr(webhook, "TIMEOUT_S", 20.0)
    names, keys = (several := [f"key{number}" for number in range(12)]), ",".join(several)
    with receiver() as slow, receiver() as server, serve(**settings(tmp_path, slow, server, api_keys=keys)) as client:
        for name in names[:2] + names:
            client.headers["X-API-Key"] = name
            submit_photos(client, PHOTOS, output="jsonl", successUri=f"{slow.url}/slow/{name}")
        submit_photos(client, PHOTOS, output="jsonl", successUri=f"{server.url}/b")
        wait_until(lambda: bool(server.calls))
        assert len({path for path, *_ in slow.calls}) == len(slow.calls) == callbacks.MOST_AT_ONCE


def test_a_client_whose_calls_fail_waits_before_its_next(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else thousands of them, to a receiver that refuses at once, would fill the event loop."""
    monkeypatch.setattr(callbacks, "FAILED_S", HANG_S)
    with receiver(500) as server, serve(**settings(tmp_path, server, api_keys="a:one,b:two")) as client:
        for client.headers["X-API-Key"], path in (("one", "first"), ("one", "second"), ("two", "other")):
            submit_photos(client, PHOTOS, output="jsonl", successUri=f"{server.url}/{path}")
        wait_until(lambda: len(server.calls) >= 2 and not any(job.is_open for job in stored_jobs(tmp_path)))
    assert [path for path, *_ in server.calls] == ["/first", "/other"]


def test_what_is_told_is_on_the_disk_which_a_full_one_delays(
    serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Else the job would run again after a start, and perhaps fail."""
    with receiver() as server, serve(**settings(tmp_path, server)) as client, hold_model(service_of(client)) as hold:
        uri = f"{server.url}/{'a' * 1800}"  # so the job does not fit, and its result does
        id = submit_photos(client, PHOTOS, output="zip", successUri=uri)
        wait_until(lambda: stored_jobs(tmp_path)[0].status == "running")
        with disk_for_files_of(1500):
            hold.open()
            wait_until(lambda: caplog.text.count("could not be written") > 5)
            assert (status_of(client, id)["status"], server.calls) == ("successful", [])
        wait_until(lambda: bool(server.calls) and not stored_jobs(tmp_path)[0].callback)
    assert stored_jobs(tmp_path)[0].status == "successful"


@pytest.mark.parametrize(("tries", "count"), [(callbacks.MOST_TRIES - 3, 3), (10_000, 1)])
def test_tries_go_on_after_a_start_and_no_clock_ends_them(
    serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture, tries: int, count: int
) -> None:
    """The job ended years ago: the clock was wrong then, or the service was down."""
    with receiver(*[500] * 9) as server:
        with serve(**settings(tmp_path, server)) as client:
            id = submit_photos(client, PHOTOS, output="jsonl", successUri=f"{server.url}/slow")
            wait_until(lambda: bool(server.calls))
        server.release.set()
        (job,) = stored_jobs(tmp_path)
        job.finished, job.tries = "2020-01-01T00:00:00Z", tries
        job.save(tmp_path / id)
        with serve(**settings(tmp_path, server, jobs_days=3650)):
            wait_until(lambda: not stored_jobs(tmp_path)[0].callback)
    assert len(server.calls) == 1 + count
    assert "is not sent again" in caplog.text


def test_a_kill_between_the_answer_and_its_record_repeats_the_call(narrow_file: Path, tmp_path: Path) -> None:
    """With the same id and the same end; after that, nobody is called."""
    with receiver() as server:
        start = partial(fcn_serve, narrow_file, tmp_path, **settings(tmp_path / "jobs", server))
        with start() as service:
            server.before_answer = lambda: service.signal(signal.SIGSTOP)
            server.after_answer = service.process.kill
            photo = [("file", ("a.png", PHOTO))]
            httpx.post(f"{service.url}/jobs", params={"output": "jsonl", "successUri": server.url}, files=photo, timeout=HANG_S)
            service.process.wait(HANG_S)
        server.before_answer = server.after_answer = lambda: None
        for _ in range(2):
            with start():
                wait_until(lambda: not stored_jobs(tmp_path / "jobs")[0].callback)
    (first, again) = [(headers["webhook-id"], json.loads(body) | {"updated": ""}) for _, headers, body in server.calls]
    assert first == again
    assert first[1]["status"] == "successful"


def test_a_job_whose_origin_is_no_longer_named_calls_nobody_and_the_log_says_so(
    serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with receiver() as server:
        with serve(**settings(tmp_path, server)) as client:
            submit_photos(client, PHOTOS, output="jsonl", successUri=f"{server.url}/slow?token=s3cret")
            wait_until(lambda: bool(server.calls))
        with serve(jobs_dir=tmp_path):
            wait_until(lambda: not stored_jobs(tmp_path)[0].callback)
    assert f"a callback is not sent: SEGMENT_CALLBACK_ORIGINS of the service does not name {server.url}" in caplog.text
    assert "s3cret" not in caplog.text


def test_calls_that_a_start_gives_up_are_written_in_as_many_passes_of_the_loop(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for index in range(9):
        (folder := tmp_path / f"{index:032x}").mkdir()
        job = Job(folder.name, "", "a", "zip", {}, "m", "0", "successful", now(), finished=now(), success_uri="http://a/")
        job.save(folder)
    saves, passes = list[int](), list[None]()

    def save(*_: object) -> None:
        saves.append(len(passes))
        asyncio.get_running_loop().call_soon(passes.append, None)

    monkeypatch.setattr(Job, "save", save)
    with serve(jobs_dir=tmp_path):
        wait_until(lambda: len(saves) == 9)
    assert len({*saves}) == 9, saves


@pytest.mark.parametrize("name", ["successUri", "failedUri"])
def test_only_named_origins_are_called(serve: Serve, tmp_path: Path, name: str) -> None:
    with receiver() as server, serve(**settings(tmp_path, server)) as client:
        port = server.server_port
        for text in (
            f"http://127.0.0.1:{port + 1}/?q=s3cret", f"https://127.0.0.1:{port}/", f"http://127.0.0.1:{port}@example.com/",
            f"http://user@127.0.0.1:{port}/", f"http://localhost:{port}/", f"http://[::ffff:127.0.0.1]:{port}/",
            f"http://127.1:{port}/", f"http://127.0.0.1:{port}\\@example.com/", f"http://127.0.0.1:{port}/#s3cret", "ftp://a/",
            f"http://127.0.0.1:{port}\r\nx: y", f"//127.0.0.1:{port}/", "", f"http://127.0.0.1:{port}/s3cret{'a' * 2000}",
            f"http://127.0.0.1:{port}/s3cret{'a' * 5000}",
        ):  # fmt: skip
            response = client.post("/jobs", params={"output": "jsonl", name: text}, files=[("file", ("a.png", PHOTO))])
            assert_problem(response, 422)
            detail = response.json()["detail"]
            assert detail.startswith(f"{name}: ")
            assert "s3cret" not in detail
    with serve(jobs_dir=tmp_path / "off") as client:
        response = client.post("/jobs", params={"output": "zip", name: "http://localhost/"}, files=[("file", ("a.png", PHOTO))])
        assert_problem(response, 422, "SEGMENT_CALLBACK_ORIGINS")


def test_an_address_is_what_it_says() -> None:
    origins = ("https://example.com", "http://[::1]:9000")
    assert parse_address("https://EXAMPLE.com:443/a/b?c=d", origins)[1:] == ("example.com", 443, "/a/b?c=d")
    assert parse_address("http://[::1]:9000", origins)[1:] == ("::1", 9000, "/")
    with pytest.raises(ValueError, match="does not name"):
        parse_address("http://[0:0:0:0:0:0:0:1]:9000", origins)


def test_a_name_that_is_not_resolved_holds_its_own_origin_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve, release = socket.getaddrinfo, threading.Event()

    def hang(host: str, *values: Any, **options: Any) -> Any:
        if host == "dead.example":
            release.wait(60)
        return resolve("127.0.0.1", *values, **options)

    async def send(url: str) -> int:
        dead = [webhooks.send(parse_address("http://dead.example/", webhooks.origins), "a", b"{}") for _ in range(9)]
        assert all(isinstance(each, TimeoutError) for each in await asyncio.gather(*dead, return_exceptions=True))
        return await webhooks.send(parse_address(f"{url}/b", webhooks.origins), "b", b"{}")

    with receiver() as server:
        webhooks = webhook.Webhooks(["http://dead.example", server.url], SECRET)
        monkeypatch.setattr(socket, "getaddrinfo", hang)
        monkeypatch.setattr(webhook, "TIMEOUT_S", 1.0)
        try:
            assert asyncio.run(send(server.url)) == 200
        finally:
            release.set()
            webhooks.close()


def test_a_host_that_can_be_no_name_fails_as_others_do() -> None:
    webhooks = webhook.Webhooks(["http://a..b"], SECRET)
    with pytest.raises(ConnectionError, match="no name"):
        asyncio.run(webhooks.send(parse_address("http://a..b/", webhooks.origins), "a", b"{}"))
    webhooks.close()


@pytest.mark.parametrize(
    ("host", "name", "days", "problem"),
    [
        ("receiver.example", "receiver.example", 1, ""), ("receiver.example.", "receiver.example", 1, ""),
        ("receiver.example", "receiver.example", -1, "has expired"), ("receiver.example", "receiver.example", 1, "self-signed"),
        ("receiver.example", "other.example", 1, "Hostname mismatch"),
    ],
)  # fmt: skip
def test_a_certificate_is_that_of_the_name_and_the_address_is_the_resolved_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, name: str, days: int, problem: str
) -> None:
    path = certificate(tmp_path, name, days)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none" if problem == "self-signed" else path))
    context, names = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), list[str | None]()
    context.load_cert_chain(path, tmp_path / "key.pem")
    context.sni_callback = lambda _, name, __: names.append(name)
    resolve = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda _, *values, **options: resolve("127.0.0.1", *values, **options))
    with receiver() as server, pytest.raises(OSError, match=problem) if problem else nullcontext():
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
        origin = f"https://{host}:{server.server_port}"
        webhooks = webhook.Webhooks([origin], SECRET)
        assert asyncio.run(webhooks.send(parse_address(f"{origin}/a", [origin]), "a", b"{}")) == 200
    webhooks.close()
    assert names == ["receiver.example"]
    assert [headers["Host"] for _, headers, _ in server.calls] == ([] if problem else [origin.removeprefix("https://")])


def certificate(folder: Path, name: str, days: int) -> Path:
    """A certificate of its own authority for a name, which ends after so many days; its key is beside it."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, subject = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    end = datetime.now(UTC) + timedelta(days)
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), 1, end - timedelta(9), end)
    signed = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False).sign(key, hashes.SHA256())
    forms = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, *forms))
    (path := folder / "certificate.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    return path


def test_a_silent_address_does_not_take_the_time_of_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve = socket.getaddrinfo
    with receiver() as server, socket.create_server(("127.0.0.2", server.server_port), backlog=0) as silent:
        full = [socket.socket() for _ in range(4)]  # nobody accepts them, so that further ones get no answer
        for each in full:
            each.setblocking(False)
            each.connect_ex(silent.getsockname())
        both = lambda *values, **options: [*resolve("127.0.0.2", *values[1:], **options), *resolve(*values, **options)]  # noqa: E731
        webhooks = webhook.Webhooks([server.url], SECRET)
        monkeypatch.setattr(socket, "getaddrinfo", both)
        monkeypatch.setattr(webhook, "TIMEOUT_S", 2.0)
        assert asyncio.run(webhooks.send(parse_address(server.url, [server.url]), "a", b"{}")) == 200
        webhooks.close()
        for each in full:
            each.close()


@pytest.mark.parametrize("answer", [b"HTTP/1.1 100 Continue\r\n\r\n", b"x-a: b\r\n", b"POST /s3cret\r\n\r\n", b"\0", b""])
def test_an_endless_or_broken_answer_ends_the_delivery(answer: bytes) -> None:
    """The answer comes again and again, or the connection is closed. What it says, which may be the address, is not told."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=flood, args=(server, answer)).start()
        origin = f"http://127.0.0.1:{server.getsockname()[1]}"
        webhooks = webhook.Webhooks([origin], SECRET)
        with pytest.raises(ConnectionError) as problem:
            asyncio.run(webhooks.send(parse_address(origin, [origin]), "a", b"{}"))
        assert "s3cret" not in str(problem.value)
        webhooks.close()


def flood(server: socket.socket, answer: bytes) -> None:
    connection, _ = server.accept()
    with connection:
        try:
            start = b"" if answer.startswith((b"HTTP", b"\0")) or not answer else b"HTTP/1.1 200 OK\r\n"
            connection.sendall(start)
            while answer:
                connection.sendall(answer * 100)
        except OSError:
            return
