"""Scores and temperatures as a weights file records them, with the network that was measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from model.inference.instructions import int8_sums
from model.inference.runtime import ModelIdentity, Runtime
from model.manifest import INT8_SCORES, Int8Sums
from training.scoring.calibration import Calibration


@dataclass(frozen=True)
class MeasuredNetwork:
    """The network that was measured.

    identity: the weights file's name and sha256, the runtime and the precision. network_sha256: the digest of the export's
    network; empty for a master. sums: how the processor sums int8 products; `vnni` for other precisions.
    """

    identity: ModelIdentity
    network_sha256: str
    sums: Int8Sums = "vnni"

    @classmethod
    def of(cls, runtime: Runtime) -> MeasuredNetwork:
        sums = int8_sums() if runtime.identity.precision == "int8" else None
        return cls(runtime.identity, runtime.network_sha256, sums or "vnni")

    @property
    def precision(self) -> str:
        """The precision as the names of scores spell it."""
        precision = self.identity.precision
        return INT8_SCORES[self.sums] if precision == "int8" else precision


@dataclass(frozen=True)
class RecordedScore:
    """A score to record.

    name: without the precision. values: as a weights file stores them. network: the network that was scored.
    """

    name: str
    values: Mapping[str, Any]
    network: MeasuredNetwork


@dataclass(frozen=True)
class RecordedCalibration:
    """A temperature to record, the name of the split it was fitted on, and the network it was fitted for."""

    calibration: Calibration
    split: str
    network: MeasuredNetwork
