"""The process of a scene whose plan has no end, with little processor time for it."""

from __future__ import annotations

from itertools import count

from model.inference.processes import scene_program


def main(descriptor: int, parent: int) -> None:
    vars(scene_program).update(PLAN_SECONDS=0.5, plan_works=lambda *_: sum(count()))
    scene_program.main(descriptor, parent)
