"""What the pages state, beside the code: files and links, options and settings, folders and figures."""

from __future__ import annotations

import re
import struct
from pathlib import Path
from urllib.parse import parse_qs

import fcn_client.label_studio.command
import pytest
from fcn_client.parameters import Options as ClientOptions

from app.serving.admission import Admission
from app.serving.clients import Clients
from app.settings import Settings
from app.variables import FOREIGN, PREFIX
from benchmarks.harness.results import Row, Section, save
from docs import sizing
from imaging.rendering import ANSWER_FORMATS, Format, Rendering
from model.inference.loading import load_runtime
from model.inference.plan import PARAMETERS, Options
from model.inference.segmenter import Segmenter
from model.weights_file import DEFAULT_WEIGHTS, find_files
from tests.support.checkout import ROOT
from tests.support.commands import COMMANDS, parser_of
from tests.support.images import encode, make_photo

FOLDERS_OF_PAGES = (".", "docs", "client", "weights", "benchmarks", "benchmarks/peers")
PAGES = sorted(page for folder in FOLDERS_OF_PAGES for page in (ROOT / folder).glob("*.md"))
NOW = [page for page in PAGES if page.name != "CHANGELOG.md"]  # which names what is gone
FOREIGN_OPTIONS = {
    "curl": {"--data-binary", "--fail-with-body"}, "docker": {"--profile", "--scale", "--cpus", "--memory", "--pids-limit"},
    "docker build": {"--target", "--build-arg", "--platform"}, "docker run": {"--rm", "--entrypoint"},
    "kubectl": {"--from-file"},
    "cvat-cli": {
        "--server-host", "--auth", "--function-module", "--allow-unmatched-labels", "--conf-threshold", "--conv-mask-to-poly",
    },
    "torchrun": {"--nproc-per-node"}, "mmdeploy": {"--dump-info"},
    "paddle2onnx": {"--output_op", "--model_dir", "--model_filename", "--params_filename", "--save_file"},
    "benchmarks.peers": {"--port"},
    "benchmarks.commits": {"--former"},
    "systemctl": {"--now"}, "pip": {"--extra-index-url"},
    "aws": {
        "--model-name", "--execution-role-arn", "--primary-container", "--endpoint-config-name", "--production-variants",
        "--endpoint-name", "--content-type", "--accept", "--custom-attributes", "--body",
    },
    "gcloud": {
        "--region", "--display-name", "--container-image-uri", "--container-ports", "--container-health-route",
        "--container-predict-route", "--json-request", "--image", "--cpu", "--timeout", "--startup-probe", "--set-env-vars",
    },
}  # fmt: skip
KUBERNETES = "SEGMENT_SERVICE_HOST"
DESIGN = (ROOT / "docs" / "design.md").read_text()
OPERATE = (ROOT / "docs" / "operate.md").read_text()


def page_ids(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def prose(page: Path) -> str:
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """Those of a page's headings, as Git hosts and mkdocs make them."""
    headings = (re.sub(r"[`*]", "", heading).lower() for heading in re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE))
    return {re.sub(r"[^\w\- ]", "", heading).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=page_ids)
def test_links_lead_to_files_and_headings_that_are_there(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"https?:", target):
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


@pytest.mark.parametrize("page", NOW, ids=page_ids)
def test_options_and_settings_that_a_page_names_are_there(page: Path) -> None:
    parsers = [*map(parser_of, COMMANDS), fcn_client.label_studio.command.parser()]
    options = {option for parser in parsers for option in parser._option_string_actions}
    options |= {option for foreign in FOREIGN_OPTIONS.values() for option in foreign}
    text = page.read_text()
    assert set(re.findall(r"(?<![\w-])--[a-z][\w-]+", text)) <= options
    settings = {f"{PREFIX}{name}".upper() for name in (*Settings.model_fields, *FOREIGN)} | {KUBERNETES}
    assert set(re.findall(r"SEGMENT_[A-Z0-9_]*[A-Z0-9]", text)) <= settings


OTHERS = {"decoding", "geo", "load"}  # names in these rows: a file of another folder, an extra, a function
FOLDERS = re.findall(r"^\| `((?:app|cli|cluster|common|imaging|model)(?:/\w+)*)/` \|", DESIGN, re.MULTILINE)


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_design_names_every_file_of_a_folder(folder: str) -> None:
    (row,) = re.findall(rf"^\| `{folder}/` \| (.*?) \| [^|]* \|$", DESIGN, re.MULTILINE)
    files = {path.stem for path in (ROOT / folder).glob("*.py")} - {"__init__"}
    assert files <= (names := set(re.findall(r"`(\w+)`", row)))
    assert names - files <= OTHERS


def test_no_cell_of_the_design_has_more_than_sixty_words() -> None:
    cells = [cell for line in DESIGN.splitlines() if line.startswith("|") for cell in re.split(r" \| |^\| | \|$", line)]
    assert max(len(cell.split()) for cell in cells) <= 60


def jpeg_of(width: int, height: int) -> bytes:
    """A JPEG whose header announces this size."""
    data = encode(make_photo(16, 16), "JPEG")
    frame = data.index(b"\xff\xc0") + 5
    return data[:frame] + struct.pack(">HH", height, width) + data[frame + 4 :]


def test_the_operating_page_states_the_memory_that_jpegs_count_with() -> None:
    segmenter = Segmenter(load_runtime(find_files(DEFAULT_WEIGHTS), "openvino", "cpu", "float32", 1))

    def megabytes(size: tuple[int, int], format: Format, side: str = "auto") -> str:
        data, options = jpeg_of(*size), Options(side="native" if side == "native" else "auto", rendering=Rendering(format))
        return f"{segmenter.memory_bytes(data, segmenter.plan(data, options)) / 1e6:,.0f}"

    one, twelve, hundred = (1152, 864), (4000, 3000), (12247, 8165)
    (stated,) = re.findall(r"A JPEG of 1 megapixel counts .*?\)\.", OPERATE, re.DOTALL)
    counted = [megabytes(size, format) for size in (one, twelve, hundred) for format in ("png", "overlay")]
    counted.append(megabytes(hundred, "png", "native"))
    assert [number for number in re.findall(r"[\d,]+\d", stated) if number not in ("12", "100")] == counted


def largest(segmenter: Segmenter, format: Format, work_bytes: int) -> int:
    """The largest JPEG of 4:3 and half a byte a pixel, in whole megapixels up to 100, that takes at most this memory."""

    def needed(megapixels: int) -> int:
        height = int((megapixels * 0.75e6) ** 0.5)
        data = jpeg_of(height * 4 // 3, height)
        plan = segmenter.plan(data, Options(rendering=Rendering(format)))
        return segmenter.memory_bytes(data, plan) + megapixels * 500_000

    return max(megapixels for megapixels in range(1, 101) if needed(megapixels) <= work_bytes)


def test_the_operating_page_states_how_large_a_photo_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    segmenter = Segmenter(load_runtime(find_files(DEFAULT_WEIGHTS), "openvino", "cpu", "float32", 1))
    head, *rows = re.findall(r"^\| (\d+ GiB|limit of memory) \| (.*) \|$", OPERATE, re.MULTILINE)
    formats = re.findall(r"`(\w+)`", head[1])
    assert {"png", "overlay", "cutout", "json"} <= set(formats)
    assert rows
    for limit, cells in rows:
        memory = int(limit.split()[0]) << 30
        monkeypatch.setattr("app.settings.available_memory", lambda memory=memory: memory)
        memory = Settings().memory_bytes
        admission = Admission(max_queued_tiles=9, memory_bytes=memory, workers=1, large_places=1, clients=Clients())
        assert cells.split(" | ") == [str(largest(segmenter, format, admission.most_work)) for format in formats], limit


def cell(name: str) -> str:
    """The formats that a parameter goes with, as `docs/index.md` writes them."""
    others = [format for format in ANSWER_FORMATS if not PARAMETERS[name].is_used(format, "polygons")]
    return "every format" + (f" but {' and '.join(f'`{format}`' for format in others)}" if others else "")


def test_the_page_of_formats_says_with_which_formats_a_parameter_goes() -> None:
    table = (ROOT / "docs" / "index.md").read_text().partition("| goes with |")[2].partition("\n\n")[0]
    cells = re.findall(r"`(\w+)=[^`]*`.*?\| ([^|]*) \|$", table, re.MULTILINE)
    assert len(cells) == 4
    assert dict(cells) == {name: cell(name) for name, _ in cells}


def test_the_page_leaves_out_the_options_that_do_not_go_with_a_format() -> None:
    static = ROOT / "app" / "static"
    offered = re.findall(r"^    (\w+): ", (static / "options.js").read_text().partition("const options = {")[2], re.MULTILINE)
    formats = re.findall(r"^  (\w+): \{ .*query: \"(.*?)\".*\},$", (static / "formats.js").read_text(), re.MULTILINE)
    lines = re.findall(r"^  \w+: \{ .*query: .*$", (static / "formats.js").read_text(), re.MULTILINE)
    assert len(formats) == len(lines) > 0
    assert {"min_confidence", "min_area", "side"} <= set(offered)
    for line, (_, query) in zip(lines, formats, strict=True):
        values = {name: texts[0] for name, texts in parse_qs(query).items() if name in ("format", "mask", "image_format")}
        rendering = Rendering(**values)  # type: ignore[arg-type]
        without = re.findall(r"\"(\w+)\"", line.partition("without:")[2])
        assert without == [name for name in offered if not rendering.uses(name)], query
        assert ("takesClasses: true" in line) == rendering.uses("classes"), query


def test_the_arguments_of_the_client_s_methods_go_with_their_formats() -> None:
    own = {"segment": "json", "overlay": "overlay", "cutout": "cutout", "mask_png": "png"}
    page = (ROOT / "docs" / "python.md").read_text()
    (sentence,) = re.findall(r"^Every method has the arguments .*$", page, re.MULTILINE)
    named, _, excepted = sentence.partition("; ")
    names = set(re.findall(r"`(\w+)`", named))
    assert names == set(ClientOptions.__annotations__)
    unused = {(method, name) for method, format in own.items() for name in names if not Rendering(format).uses(name)}  # type: ignore[arg-type]
    assert {tuple(re.findall(r"`(\w+)`", excepted))} == unused


def test_contributing_names_targets_of_make() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)`", (ROOT / "CONTRIBUTING.md").read_text())) <= targets


FILES = r"(?<![\w/.<-])((?:app|benchmarks|cli|client|cluster|common|deploy|docs|imaging|model|tests|training|"
FILES += r"weights)/[\w./@-]*\w)(?![\w*])"


@pytest.mark.parametrize("page", [page for page in NOW if page.parent in (ROOT, ROOT / "docs")], ids=page_ids)
def test_files_that_a_page_names_are_there(page: Path) -> None:
    texts = re.findall(r"`[^`\n]+`", page.read_text())
    names = {name for text in texts if "://" not in text for name in re.findall(FILES, text) if not re.search("[A-Z]{4}", name)}
    assert {
        name
        for name in names
        if not any((folder / f"{name}{end}").exists() for folder in (ROOT, page.parent) for end in ("", ".py"))
    } == set()


def test_contributing_names_a_test_that_is_there() -> None:
    ((file, word),) = re.findall(r"pytest (\S+) -k (\w+)", (ROOT / "CONTRIBUTING.md").read_text())
    assert re.search(rf"^def test_\w*{word}", (ROOT / file).read_text(), re.MULTILINE)


PERFORMANCE = (ROOT / "docs" / "performance.md").read_text()
SIZING = re.compile(
    r"\d[\d.,]* (?:images|photos|masks)(?: a second|/s)|\d Mi?B(?: when)? idle|[Ii]dle[^.|\n]{0,40}? \d+ Mi?B(?! higher)"
)
MEASURED = {"RESULTS.md", "history.md"}


def sizes_by_hand(text: str) -> list[str]:
    """What a page says of images a second and of the memory of the idle service, outside of tables."""
    return [match[0] for line in text.splitlines() if not line.startswith("| calculated: ") for match in SIZING.finditer(line)]


def test_figures_of_sizing_stand_in_one_table_which_a_program_makes_of_the_results() -> None:
    assert sizing.page(PERFORMANCE) == PERFORMANCE, f"run python -m {sizing.__name__}"
    texts = [*PAGES, *(ROOT / "deploy").rglob("*.*"), ROOT / "Dockerfile", ROOT / "docker-compose.yml"]
    found = {path.name: sizes_by_hand(path.read_text()) for path in texts if path.is_file() and path.name not in MEASURED}
    assert {name: sizes for name, sizes in found.items() if sizes} == {}


def test_a_table_of_sizing_has_a_column_for_each_kind_of_processor(tmp_path: Path) -> None:
    text = "before\n\n| machine |\n\nafter\n"
    for name, machine in (("served", "A, 2 threads; served with openvino in int8"), ("served-b", "B, 4 threads")):
        rows = [Row("16 clients", 50.0, 1, 99, "images/s"), Row("served, processor time, event loop", 4.0, 1, 9, "ms")]
        save(name, Section("Served", "", rows, machine=machine, commit="c"), tmp_path)
    bulk = [Row("one process", 37.0, 1, 99, "images/s")]
    save("bulk", Section("Bulk", "", bulk, machine="A, 2 threads; served with openvino in int8", commit="b"), tmp_path)
    lines = sizing.page(text, tmp_path).splitlines()
    assert lines[2] == "| machine | B, 4 threads | A, 2 threads: openvino, int8 |"
    assert "| calculated: images a second on 8 cores | 100 | 200 |" in lines
    assert "| `fcn-segment`, images a second | - | 37 |" in lines
    assert "| measured at commit | c | c; `fcn-segment` b |" in lines
    assert "| calculated: for 1,000 images a second | 13 of 8 cores | 7 of 8 cores |" in lines
    assert (lines[1], lines[-1]) == ("", "after")
    with pytest.raises(ValueError, match="write one"):
        sizing.page("no table", tmp_path)
    save("served-c", Section("Served", "", machine="B, 4 threads"), tmp_path)
    with pytest.raises(ValueError, match="of one machine"):
        sizing.page(text, tmp_path)
