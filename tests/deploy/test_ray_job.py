"""The RayJob: its pods are Kubernetes', its fields are KubeRay's, and its command is one of `fcn-bulk`."""

from __future__ import annotations

import re
import shlex
from typing import Any

import kubernetes_validate
import yaml

from cluster.bulk import parser
from tests.support.checkout import ROOT

JOB: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / "ray" / "job.yaml").read_text())
SPEC = JOB["spec"]
CLUSTER = SPEC["rayClusterSpec"]
(WORKERS,) = CLUSTER["workerGroupSpecs"]


def command() -> list[str]:
    shell, option, script = shlex.split(SPEC["entrypoint"])
    assert (shell, option) == ("/bin/sh", "-c")
    assert script.endswith("|| [ $? -eq 3 ]"), "photos that cannot be read do not fail the job"
    return shlex.split(script.partition("||")[0])


def test_kubernetes_knows_every_field_of_the_pods() -> None:
    assert (JOB["apiVersion"], JOB["kind"]) == ("ray.io/v1", "RayJob")
    for template in (CLUSTER["headGroupSpec"]["template"], WORKERS["template"]):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"} | template["metadata"], "spec": template["spec"]}
        kubernetes_validate.validate(pod, kubernetes_validate.latest_version(), strict=True)


def test_the_command_is_one_of_fcn_bulk_and_its_actors_fit_on_the_workers() -> None:
    name, *words = command()
    args = parser().parse_args(words)
    assert (name, args.resume) == ("fcn-bulk", True)
    (container,) = WORKERS["template"]["spec"]["containers"]
    assert args.cpus <= int(container["resources"]["limits"]["cpu"])
    assert args.max_actors <= WORKERS["maxReplicas"] * int(container["resources"]["limits"]["cpu"]) // args.cpus


def test_ray_is_the_version_of_the_image() -> None:
    (version,) = re.findall(r"^ray==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert CLUSTER["rayVersion"] == version
