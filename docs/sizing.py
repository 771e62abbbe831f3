"""Writes the table of `docs/performance.md` that says what each kind of processor answers, from the results of the benches.

`python -m docs.sizing` fills it. `benchmarks/results/served*.json` are "Served" on one kind of processor each.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import ceil
from pathlib import Path

from benchmarks.harness.results import FOLDER, Section, load
from training.publishing.card_sections import table_row

PAGE = Path(__file__).with_name("performance.md")
HEAD = "machine"
MEASURED = {
    "images a second, one client": ("1 client", "served on the GPU, 1 clients"),
    "images a second, 16 clients": ("16 clients", "served on the GPU, 16 clients"),
    "`fcn-segment`, images a second": ("one process",),
    "processor time of an image, ms": ("served, processor time, in all",),
    "of it, the event loop": ("served, processor time, event loop",),
    "of it, workers: decoding, merging, encoding": ("served, processor time, workers",),
    "of it, the network": ("served, processor time, network",),
    "memory, idle, MB": ("memory, idle",),
    "memory, at most with 16 clients, MB": ("memory, at most with 16 clients",),
    "memory, afterwards, MB": ("memory, after photos of mixed sizes", "served on the GPU, memory afterwards"),
}
"""The rows of the table, each with the names that its figure has in the results."""
TILES = "GPU, torch bfloat16, batches of 8"
CORES = 8
"""Cores of the machine that the table calculates."""
LOAD = 0.8
"""The share of its highest rate for which a machine is planned."""
IMAGES = (1000, 100_000)
"""Images a second for which the table calculates machines."""
MISSING = "-"


def main() -> None:
    PAGE.write_text(page(PAGE.read_text()))


def page(text: str, folder: Path = FOLDER) -> str:
    """The page with the table as the results have it. Raises `ValueError` where it has no such table."""
    table = "".join(f"{line}\n" for line in rows(folder))
    new, count = re.subn(rf"^\| {HEAD} \|.*\n(?:\|.*\n)*", lambda _: table, text, flags=re.MULTILINE)
    if count != 1:
        raise ValueError(
            f"{count} tables of {PAGE.name} begin with `| {HEAD} |`; write one, and `python -m docs.sizing` fills it"
        )
    return new


def rows(folder: Path) -> Iterator[str]:
    """The lines of the table, which has a column for each kind of processor and one for the GPU."""
    paths = [*sorted(folder.glob("served*.json")), folder / "gpu.json"]
    sections = [section for path in paths if (section := load(path.stem, folder))]
    bulk = load("bulk", folder)
    machines = [section.machine for section in sections]
    if len({*machines}) < len(machines):
        raise ValueError(f"two results in {folder} are of one machine: {machines}; delete the older one")
    if bulk and bulk.machine in machines:
        sections[machines.index(bulk.machine)].rows.extend(bulk.rows)
    figures = [{row.what: row.median for row in section.rows} for section in sections]
    yield table_row(HEAD, *(_name(section) for section in sections))
    yield f"|{'---|' * (len(sections) + 1)}"
    for title, names in MEASURED.items():
        yield table_row(title, *(_short(next((each[name] for name in names if name in each), None)) for each in figures))
    rates = [_rates(section, each) for section, each in zip(sections, figures, strict=True)]
    yield table_row("calculated: images a second, at most", *(_short(most) for most, _ in rates))
    yield table_row(f"calculated: images a second on {CORES} cores", *(_short(rate) for _, rate in rates))
    for images in IMAGES:
        cells = (_machines(images, rate, each.get(TILES)) for (_, rate), each in zip(rates, figures, strict=True))
        yield table_row(f"calculated: for {images:,} images a second", *cells)
    of_bulk = [f"; `fcn-segment` {bulk.commit}" if bulk and bulk.machine == machine else "" for machine in machines]
    yield table_row("measured at commit", *(section.commit + more for section, more in zip(sections, of_bulk, strict=True)))


def _name(section: Section) -> str:
    """The machine without trademarks, and what runs the network."""
    return re.sub(r"\(R\)| Processor", "", section.machine).replace("; served with", ":").replace(" in ", ", ")


def _rates(section: Section, figures: dict[str, float]) -> tuple[float | None, float | None]:
    """Images a second of one service: those that its event loop bears, and those on `CORES` cores. None where unknown."""
    (loop,), threads = MEASURED["of it, the event loop"], re.search(r"(\d+) threads", section.machine)
    if loop not in figures or not threads:
        return None, None
    most = 1000 / figures[loop]
    return most, min(most, figures["16 clients"] * CORES / int(threads[1]))


def _machines(images: int, rate: float | None, tiles: float | None) -> str:
    """The machines that answer so many images a second at `LOAD`. rate: of one machine; tiles: a second, of one GPU."""
    if rate:
        return f"{ceil(images / LOAD / rate):,} of {CORES} cores"
    return f"GPUs: {ceil(images / LOAD / tiles):,}" if tiles else MISSING


def _short(value: float | None) -> str:
    """Two significant digits below 10, else the whole number."""
    return MISSING if value is None else f"{value:,.{0 if value >= 10 else 1}f}"


if __name__ == "__main__":
    main()
