"""From another program's ONNX file to a weights file of ours: read, probe, wrap, write, prove."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx

from model.architecture import Grid
from model.imported_network import ImportedNetwork, Layout, OutputKind
from model.inference.runtime import RuntimeUnavailable
from model.inference.runtimes.openvino_runtime import OpenVINORuntime
from model.inference.tiling import Size
from model.labels import LabelSet, numbered_labels
from model.manifest import Manifest, WeightsError
from model.preprocessing import Preprocessing
from model.printable import printable
from model.regular_file import read_regular_file
from training.converting.graph import (
    LONGEST_NAME,
    ConversionError,
    RunError,
    before_resize,
    ends_in_resize,
    one_line,
    origin,
    producer,
    read_graph,
    with_output,
)
from training.converting.half import in_float32
from training.converting.ids import check_ids, choice_of_ids, scores_name
from training.converting.inputs import NetworkInput, find_input
from training.converting.outputs import NetworkOutput, probe
from training.converting.pixels import (
    QUESTION,
    Normalisation,
    model_type,
    read_class_names,
    read_normalisation,
    refuse_other_tasks,
)
from training.converting.proof import LEAST_AGREEMENT, Original, photographs, prove
from training.converting.queries import find_queries
from training.converting.samples import SEED, noise, sample
from training.converting.wrapping import UNIT, wrap
from training.data.label_files import class_name
from training.data.layouts import repeated
from training.publishing.onnx_files import imported_facts, write_onnx

TILE = 512  # of networks whose sides may vary
COMPARISONS = ("Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal", "Not")
SIDE = (32, 1024)  # pixels; the longer side at which a network works that says nothing
IDENTITY = Normalisation((0, 0, 0), (1, 1, 1), 1.0, source="the network takes uint8 pixels")


@dataclass(frozen=True)
class ConversionRequest:
    """What the user says of a network; None for what the file itself shall tell.

    layout: of the input. bgr: a network of uint8 pixels takes blue first. tile: (height, width). side: the (lowest, highest)
    longer side of images, in pixels. photos: a folder to compare on.
    """

    source: Path
    target: Path
    labels: LabelSet | None = None
    normalisation: Normalisation | None = None
    layout: Layout | None = None
    bgr: bool = False
    output: str | None = None
    kind: OutputKind | None = None
    grid: Grid | None = None
    before_resize: bool = False
    tile: Size | None = None
    side: tuple[int, int] | None = None
    license: str = "unknown"
    notes: Sequence[str] = ()
    photos: Path | None = None


def convert(request: ConversionRequest, tell: Callable[[str], None]) -> Manifest:
    """Writes the converted file and gives its document. tell: takes lines about what was read and measured.

    Runs the network: call it in a process that may die. Raises `ConversionError`, `LabelError` and `OSError`; then no file is
    written, and one that was there stays.
    """
    data = read_regular_file(request.source)
    model = read_graph(request.source, data)
    refuse_other_tasks(request.source, model)
    is_half = in_float32(model)
    network_input = find_input(model, request.layout)
    tell(f"input   {network_input.describe()}")
    normalisation = _normalisation(request, network_input, model)
    tell(f"pixels  {normalisation.describe()}")
    if is_half:
        tell("        it computes in float16; it is served, and compared, in float32")
    original = Original(model, network_input, normalisation, b"" if is_half else data)
    stated = _stated_labels(request, model)
    first, classes = sample(original, network_input.sides), None if stated is None else len(stated)
    library_type = model_type(request.source)
    if queries := find_queries(first, model, library_type, request.output, request.kind, classes):
        tell(f"masks   {queries.describe()}")
        original.model = model = queries.added_to(model)
        original.derive = queries.with_sums
        request = replace(request, output=queries.name, kind="masks")
    output = whole = _probe(request, original, request.output)
    tell(f"output  {whole.describe()}")
    is_placed = request.grid is not None or bool(library_type)
    if whole.kind == "class_ids" and request.kind is None:
        output = _scores(request, original, whole, tell)
    if request.before_resize and whole.stride != 1:
        raise ConversionError(
            f"--before-resize needs an output of the image's size; {whole.name} has a cell for {whole.stride}x{whole.stride} "
            "pixels: leave it out"
        )
    if request.before_resize or (output is not whole and whole.stride == 1 and ends_in_resize(model, output.name)):
        name, grid = before_resize(model, output.name)
        model, is_placed = with_output(model, name), True
        kind = output.kind if output.kind.startswith("binary") else request.kind
        output = _probe(replace(request, kind=kind, grid=grid), Original(model, network_input, normalisation), name)
        tell(f"cut     {output.describe()}")
    elif ends_in_resize(model, whole.name):
        tell("        it ends in a resize, which the service can do itself in a fraction of the memory: --before-resize")
    if output.stride > 1 and not is_placed:
        tell(
            "        where its cells lie is a choice, which the proof cannot judge: in the middle of their pixels, as "
            "PyTorch's align_corners=False; --grid corner puts them on the first"
        )
    labels = _labels(stated, _number_of_classes(original, output))
    manifest = _manifest(request, labels, original, output, hashlib.sha256(data).hexdigest())
    model = wrap(model, network_input, normalisation, output, classes=len(labels))
    with TemporaryDirectory() as folder:
        file = Path(folder) / request.target.name
        write_onnx(file, model, imported_facts(manifest, "float32", output.stride, output.grid))
        proof = prove(
            _runtime(file),
            original,
            output,
            whole=None if output is whole else whole,
            multiple=max(output.multiple, UNIT),
            photographs=photographs(request.photos),
        )
    tell(f"proof   {proof.describe()}; it cannot judge how pixels are normalised, which is the same in both")
    if proof.agreement < LEAST_AGREEMENT:
        advice = "; --kind class_ids serves the network's own ids" if whole.kind == "class_ids" and output is not whole else ""
        raise ConversionError(
            f"the converted file gives other classes than the original: {proof.describe()}; at least {LEAST_AGREEMENT} are "
            f"needed. Nothing was written{advice}"
        )
    if proof.classes == 1:
        tell("        one class says little: compare on photographs that show others: --photos FOLDER")
    manifest = replace(manifest, training={**manifest.training, "proof": asdict(proof)})
    write_onnx(request.target, model, imported_facts(manifest, "float32", output.stride, output.grid))
    return manifest


def _probe(request: ConversionRequest, original: Original, name: str | None) -> NetworkOutput:
    def operator(output: str) -> str:
        node = origin(original.model, output)
        return node.op_type if node else "nothing"

    grid = request.grid or "half_pixel"  # as PyTorch's and transformers' interpolation with align_corners=False
    return probe(original, original.input.sides, name=name, kind=request.kind, grid=grid, origin=operator)


def _scores(request: ConversionRequest, original: Original, ids: NetworkOutput, tell: Callable[[str], None]) -> NetworkOutput:
    """The scores whose largest ones these ids are, or the ids themselves where that is not sure. Tells which, and why."""
    try:
        name = scores_name(original.model, ids.name)
        both = Original(with_output(original.model, name), original.input, original.normalisation)
        scores = _probe(request, both, name)
        check_ids(both(noise(_size(original, ids), SEED)), ids, scores)
    except ConversionError as error:
        tell(f"        without scores, and so without confidence: the ids stay ids, since {error}")
        return ids
    tell(f"scores  {scores.describe()}; the ids are those of the largest; --kind class_ids serves the ids alone")
    return scores


def _size(original: Original, output: NetworkOutput) -> Size:
    """A (height, width) that the network takes."""
    height, width = original.input.sides
    least = max(UNIT, output.multiple)
    return height or 3 * least, width or 5 * least


def _runtime(file: Path) -> OpenVINORuntime:
    try:
        return OpenVINORuntime(file, threads=1)
    except (WeightsError, RuntimeUnavailable) as error:
        text = str(error).removeprefix(f"{file} is no file of fcn-export: ").split("; fcn-convert", maxsplit=1)[0]
        raise RunError(f"OpenVINO cannot run the converted network: {one_line(text)}") from error


def _number_of_classes(original: Original, output: NetworkOutput) -> int | None:
    """The number of classes; of ids, that of the channels of which they are the largest; None if nothing says it."""
    if output.kind != "class_ids":
        return output.classes
    choice = choice_of_ids(original.model, output.name)
    if choice is None:
        node = origin(original.model, output.name)
        return 2 if node is not None and node.op_type in COMPARISONS else None
    name, axis = choice
    scores = Original(with_output(original.model, name), original.input, original.normalisation)
    return int(scores(np.zeros((*_size(original, output), 3), np.uint8))[name].shape[axis])


def _normalisation(request: ConversionRequest, network_input: NetworkInput, model: onnx.ModelProto) -> Normalisation:
    if network_input.takes_pixels:
        if request.normalisation:
            raise ConversionError(
                "the network takes uint8 pixels and normalises them itself: leave out --mean, --std and --scale"
            )
        return replace(IDENTITY, bgr=request.bgr)
    if request.bgr and request.normalisation is None:
        raise ConversionError("--bgr goes with --mean and --std where the network takes no uint8 pixels: give these too")
    normalisation = request.normalisation or read_normalisation(request.source, model)
    if normalisation is None:
        raise ConversionError(QUESTION)
    return normalisation


def _stated_labels(request: ConversionRequest, model: onnx.ModelProto) -> LabelSet | None:
    """The classes: those that the user gives, else those of the file; None if nothing names them."""
    labels = request.labels
    if labels is None and (names := read_class_names(request.source, model)):
        labels = numbered_labels([class_name(name) for name in names])
        if duplicates := repeated(labels.names):
            raise ConversionError(f"each class needs a name of its own, got {', '.join(duplicates)} twice; give --classes")
    return labels


def _labels(labels: LabelSet | None, number: int | None) -> LabelSet:
    """The classes. Raises `ConversionError` without any, and if their number is another."""
    if labels is None:
        count = "" if number is None else f", {number} of them"
        raise ConversionError(
            f"nothing names the classes{count}: give --classes FILE, such as a JSON file with "
            '{"classes": ["background", "leaf"]}'
        )
    if number is not None and len(labels) != number:
        first_names = ", ".join(labels.names[:4])
        raise ConversionError(
            f"the network has {number} classes, and {len(labels)} are named ({first_names}, ...): each needs one name"
        )
    return labels


def _manifest(request: ConversionRequest, labels: LabelSet, original: Original, output: NetworkOutput, sha256: str) -> Manifest:
    """The document of the converted file. sha256: of the original."""
    sides, normalisation = original.input.sides, original.normalisation
    height, width = (TILE if side is None else side // UNIT * UNIT for side in sides)
    if not height or not width:
        raise ConversionError(f"the network takes {original.input.size} alone; at least {UNIT}x{UNIT} are needed")
    largest = None if sides == (None, None) else (height, width)
    if largest and request.tile and request.tile != largest:
        raise ConversionError(f"the network takes {original.input.size} alone: leave out --tile")
    tile = largest or request.tile or (TILE, TILE)
    # queries are of the whole photo, which their libraries scale to the network's size
    lowest, highest = (max(tile),) * 2 if largest and output.kind == "masks" else SIDE
    side = request.side or (min(lowest, max(tile)), max(highest, max(tile)))
    network = ImportedNetwork(
        num_classes=len(labels),
        source=printable(request.source.name, LONGEST_NAME),
        source_sha256=sha256,
        producer=producer(original.model),
        output=output.kind,
        largest_tile=largest,
    )
    preprocessing = Preprocessing(normalisation.rgb_mean, normalisation.rgb_std, normalisation.scale, side, tile)
    training = {
        "notes": list(request.notes),
        "normalisation": normalisation.describe(),
        "input": original.input.describe(),
        "output": output.describe(),
    }
    return Manifest(network, labels, preprocessing, request.license, training)
