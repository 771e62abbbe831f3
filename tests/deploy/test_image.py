"""The Dockerfile: where its files come from."""

from __future__ import annotations

import re
import tomllib

from packaging.utils import canonicalize_name

from tests.support.checkout import ROOT

TEXT = (ROOT / "Dockerfile").read_text()
PAGE = (ROOT / "docs" / "platforms.md").read_text()


def test_every_base_image_is_the_one_that_is_named_by_its_digest() -> None:
    assert re.search(r"^ARG PYTHON_IMAGE=python:[\w.-]+@sha256:[0-9a-f]{64}$", TEXT, re.MULTILINE)
    stages: set[str] = set()
    for image, stage in re.findall(r"^FROM (\S+) AS (\S+)$", TEXT, re.MULTILINE):
        assert image == "${PYTHON_IMAGE}" or image in stages
        stages.add(stage)
    assert len(stages) == TEXT.count("\nFROM ")
    assert set(re.findall(r"^COPY --from=(\S+)", TEXT, re.MULTILINE)) <= stages


def test_what_is_installed_is_pinned() -> None:
    pins = {canonicalize_name(line.split("==")[0]) for line in (ROOT / "constraints.txt").read_text().split()}
    assert "cyclonedx-bom" in pins
    for command in re.findall(r"pip install (?:.*\\\n)*.*", TEXT):
        assert "constraints.txt" in command or "--no-deps" in command, command


def test_each_image_holds_the_bill_of_materials_of_its_own_environment() -> None:
    (path,) = set(re.findall(r"/usr/share/sbom/[\w.-]+", PAGE))
    for target in ("cpu", "gpu"):
        final = TEXT.split(f"FROM base AS {target}\n")[1].split("\nFROM ")[0]
        assert f"COPY --from={target}-environment /opt/venv /opt/venv\n" in final
        assert f"COPY --from={target}-bill /{path.rsplit('/', 1)[1]} {path.rsplit('/', 1)[0]}/\n" in final
        bill = TEXT.split(f"FROM bill AS {target}-bill\n")[1].split("\nFROM ")[0]
        assert f"COPY --from={target}-environment /opt/venv /opt/venv\n" in bill
        assert "cyclonedx-py environment" in bill


def test_the_build_context_holds_what_the_dockerfile_copies() -> None:
    """`.dockerignore` leaves out everything that it does not name with a `!`."""
    lines = (ROOT / ".dockerignore").read_text().split()
    assert lines[0] == "*"
    context = {path for line in lines if line.startswith("!") for path in ROOT.glob(line[1:])}
    for words in re.findall(r"^COPY (?!--from)(.+) \S+$", TEXT, re.MULTILINE):
        for source in (ROOT / word for word in words.split()):
            assert source in context or context & set(source.glob("*")), source


def test_the_wheel_of_the_image_has_every_package() -> None:
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    for package in wheel["packages"]:
        assert f"COPY {package} {package}\n" in TEXT
