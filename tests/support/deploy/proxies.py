"""The proxies of `deploy/`, started as they are configured there, in front of services of a test."""

from __future__ import annotations

import grp
import os
import pwd
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import yaml

from benchmarks.harness.serving import free_port
from tests.support.deploy.files import DEPLOY
from tests.support.polling import HANG_S, wait_until
from tests.support.servers import Process

NGINX = """
daemon off;
user {user} {group};
pid {folder}/nginx.pid;
error_log stderr;
events {{ worker_connections 512; }}
http {{
  access_log off;
  client_body_temp_path {folder}/bodies;
  proxy_temp_path {folder}/answers;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  include {folder}/segment.conf;
}}
"""


# as the NGINX Ingress Controller writes them, with its own defaults
INGRESS = """
upstream pods {{
  random two least_conn;
  server 127.0.0.1:8001 max_fails={max_fails} fail_timeout=10s;
  server 127.0.0.1:8002 max_fails={max_fails} fail_timeout=10s;
}}
server {{
  listen 8000;
  location / {{
    proxy_http_version 1.1;
    proxy_set_header Host $host;
    proxy_pass http://pods;
    {directives}
  }}
}}
"""


def haproxy(text: str, folder: Path) -> list[str]:
    (folder / "haproxy.cfg").write_text(text.replace("127.0.0.1:8404", f"127.0.0.1:{free_port()}"))
    return ["haproxy", "-db", "-f", str(folder / "haproxy.cfg")]


def nginx(text: str, folder: Path) -> list[str]:
    (folder / "segment.conf").write_text(text.replace("/var/log/nginx/segment.log", str(folder / "proxy.log")))
    user, group = pwd.getpwuid(os.geteuid()).pw_name, grp.getgrgid(os.getegid()).gr_name  # they may write into the folder
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, user=user, group=group))
    return ["nginx", "-c", str(folder / "nginx.conf"), "-p", str(folder), "-e", "stderr"]


def ingress() -> str:
    """What the controller makes of the annotations, each of which has the name of a directive."""
    text = (DEPLOY / "kubernetes" / "ingress" / "ingress.yaml").read_text()
    annotations = yaml.safe_load(text)["metadata"]["annotations"].items()
    values = {name.removeprefix("nginx.org/").replace("-", "_"): value for name, value in annotations}
    max_fails = values.pop("max_fails", 1)
    directives = "\n    ".join(f"{name} {'off' if value == 'False' else value};" for name, value in values.items())
    return INGRESS.format(max_fails=max_fails, directives=directives)


class Proxy(NamedTuple):
    """A program before services on ports 8001 and 8002: its configuration, and its command with that."""

    program: str
    text: str
    command: Callable[[str, Path], list[str]]


PROXIES = {
    "haproxy": Proxy("haproxy", (DEPLOY / "haproxy" / "haproxy.cfg").read_text(), haproxy),
    "nginx": Proxy("nginx", (DEPLOY / "nginx" / "segment.conf").read_text(), nginx),
}
ALL_PROXIES = PROXIES | {"ingress": Proxy("nginx", ingress(), nginx)}


@contextmanager
def balanced(name: str, first: Process, second: Process, folder: Path) -> Iterator[str]:
    """The proxy as `deploy/` configures it, in front of two services; its address."""
    port = free_port()
    ports = {8000: port, 8001: first.port, 8002: second.port}
    text = re.sub(r"\b(800[0-2])\b", lambda match: str(ports[int(match[1])]), ALL_PROXIES[name].text)
    with (
        (folder / "proxy.log").open("wb") as log,
        subprocess.Popen(ALL_PROXIES[name].command(text, folder), stderr=subprocess.DEVNULL, stdout=log) as proxy,
    ):
        url = f"http://127.0.0.1:{port}"
        try:
            wait_until(lambda: ready(url))
            yield url
        finally:
            proxy.terminate()


def ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/ready", timeout=HANG_S).status_code == 200
    except httpx.TransportError:
        return False
