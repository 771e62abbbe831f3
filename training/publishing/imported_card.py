"""The card of an imported network, beside its file."""

from __future__ import annotations

from model.imported_network import ImportedNetwork
from model.manifest import Manifest
from training.publishing.card_sections import calibration_section, score_tables
from training.reporting.markdown import literal


def imported_card(name: str, manifest: Manifest) -> str:
    """The card's text in Markdown; it depends only on the document in the file."""
    network, preprocessing, facts = manifest.architecture, manifest.preprocessing, manifest.training
    assert isinstance(network, ImportedNetwork)
    proof = facts.get("proof", {})
    difference = proof.get("largest_difference")
    low, high = preprocessing.side
    sections = [*score_tables(manifest.scores), *calibration_section(facts)]
    scores = (
        "## Scores\n\nOf the served path, as `fcn-evaluate` measures them.\n\n" + "\n\n".join(sections) + "\n\n"
        if manifest.scores
        else ""
    )
    confidence = "" if network.has_logits else "The network gives class ids, so there is no confidence.\n\n"
    return f"""\
# {literal(name)}

A network of {len(manifest.labels)} classes, converted from `{network.source}`. Licence: {literal(manifest.license)}.

{"".join(f"{literal(note)}{chr(10)}{chr(10)}" for note in facts.get("notes", []))}{confidence}## Conversion

| fact | value |
|---|---|
| original | `{network.source}`, sha256 `{network.source_sha256}` |
| written by | {literal(network.producer)} |
| input | {literal(facts.get("input", "unknown"))} |
| pixels | {literal(facts.get("normalisation", "unknown"))} |
| output | {literal(facts.get("output", "unknown"))} |
| same classes as the original | {proof.get("agreement", 0):.5f}, on {proof.get("pictures", 0)} pictures |
| largest difference of logits | {"not compared" if difference is None else f"{difference:.3g}"} |

{scores}## Use

The advised longer side is {low} to {high} pixels, in tiles of {preprocessing.tile[0]}x{preprocessing.tile[1]} (height x width).

Classes: {", ".join(f"{entry.id} {literal(entry.name)}" for entry in manifest.labels.classes)}.
"""
