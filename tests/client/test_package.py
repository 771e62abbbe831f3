"""What the distribution needs, and that it needs nothing of the service."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib

from tests.support.checkout import ROOT


def test_it_needs_three_packages_and_none_of_the_service() -> None:
    project = tomllib.loads((ROOT / "client" / "pyproject.toml").read_text())["project"]
    assert {re.split(r"\W", dependency)[0] for dependency in project["dependencies"]} == {"httpx", "numpy", "pillow"}
    code = "import sys, fcn_client; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    modules = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    assert "fcn_client" in modules
    assert not {"torch", "pycocotools", "app", "common", "imaging", "model", "fastapi", "pydantic"} & set(modules)


def test_the_table_of_errors_names_them_all() -> None:
    from fcn_client import errors

    section = (ROOT / "docs" / "python.md").read_text().split("### Errors")[1]
    table = set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))
    kinds = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.SegmentError)}
    assert table == {kind.__name__ for kind in kinds - {errors.SegmentError}}
