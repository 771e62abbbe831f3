"""The Indexed Job is Kubernetes', strictly, and its command is one of `fcn-segment`, which reads status 3 as done."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from cli.arguments import parser
from tests.support.checkout import ROOT
from tests.support.deploy.files import assert_confined

JOB: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / "kubernetes" / "job.yaml").read_text())
SPEC = JOB["spec"]
POD = SPEC["template"]["spec"]
(CONTAINER,) = POD["containers"]
VALUES = {entry["name"]: entry["value"] for entry in CONTAINER["env"]}
(SCRIPT,) = CONTAINER["args"]


def test_kubernetes_knows_every_field() -> None:
    for version in ("1.29", kubernetes_validate.latest_version()):
        kubernetes_validate.validate(JOB, version, strict=True)


def test_each_index_does_its_shard() -> None:
    assert SPEC["completionMode"] == "Indexed"
    assert int(VALUES["SHARDS"]) == SPEC["completions"]
    words = re.sub(r"\|\|.*", "", SCRIPT).replace('"', "").split()
    for index in range(SPEC["completions"]):
        values = VALUES | {"JOB_COMPLETION_INDEX": str(index)}
        arguments = [re.sub(r"\$(\w+)", lambda match: values[match[1]], word) for word in words[1:]]  # noqa: B023
        args = parser().parse_args(arguments)
        assert (args.shard.index, args.shard.count, args.resume) == (index, SPEC["completions"], True)
        assert (args.inputs, args.out, args.results) == ([VALUES["PHOTOS"]], VALUES["MASKS"], VALUES["RESULTS"])


@pytest.mark.parametrize(("status", "index_status"), [(0, 0), (3, 0), (2, 1), (137, 1)])
def test_photos_that_cannot_be_read_do_not_fail_an_index(status: int, index_status: int, tmp_path: Path) -> None:
    command = tmp_path / "fcn-segment"
    command.write_text(f"#!/bin/sh\nexit {status}\n")
    command.chmod(0o755)
    variables = os.environ | VALUES | {"JOB_COMPLETION_INDEX": "0", "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    assert subprocess.run([*CONTAINER["command"], SCRIPT], env=variables, check=False).returncode == index_status


def test_a_disruption_is_no_failure_and_an_index_fails_alone() -> None:
    (rule,) = SPEC["podFailurePolicy"]["rules"]
    assert (rule["action"], rule["onPodConditions"][0]["type"]) == ("Ignore", "DisruptionTarget")
    assert SPEC["backoffLimitPerIndex"] > 0
    assert POD["restartPolicy"] == "Never"  # both need it


def test_the_process_may_do_nothing_but_its_work() -> None:
    assert_confined(POD)
