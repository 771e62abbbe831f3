"""From another program's ONNX file to a weights file of ours: read, find its ending, wrap, prove, write."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx

from common.printable import printable
from common.regular_file import read_regular_file
from model.imported_network import ImportedNetwork
from model.inference.runtime import RuntimeUnavailable
from model.inference.runtimes.openvino_runtime import OpenVINORuntime
from model.inference.segmenter import Segmenter
from model.inference.tiling import WHOLE
from model.labels import LabelSet, numbered_labels
from model.manifest import Manifest, WeightsError
from model.preprocessing import Preprocessing
from training.converting.cost import measured, whole_sides
from training.converting.endings import Ending, find_ending
from training.converting.graph import LONGEST_NAME, ConversionError, RunError, in_float32, one_line, producer, read_graph
from training.converting.inputs import NetworkInput, find_input
from training.converting.outputs import NetworkOutput
from training.converting.pixels import QUESTION, Normalisation, read_class_names, read_normalisation, refuse_other_tasks
from training.converting.proof import LEAST_AGREEMENT, Proof, prove
from training.converting.request import ConversionRequest
from training.converting.samples import Original, photographs
from training.converting.whole_pictures import compare_whole
from training.converting.wrapping import UNIT, wrap
from training.data.label_files import class_name
from training.data.layouts import repeated
from training.data.problems import first_names
from training.publishing.onnx_files import write_export

TILE = 512  # of networks whose sides may vary
SIDE = (32, 1024)  # pixels; the longer side at which a network works that says nothing
IDENTITY = Normalisation((0, 0, 0), (1, 1, 1), 1.0, source="the network takes uint8 pixels")


def convert(request: ConversionRequest, tell: Callable[[str], None]) -> tuple[Manifest, Ending]:
    """Writes the converted file; gives its document, and where it ends. tell: takes lines about what was read and measured.

    Runs the network: call it in a process that may die. Raises `ConversionError`, `LabelError` and `OSError`; then no file is
    written, and one that was there stays.
    """
    data = read_regular_file(request.source)
    original = _read(request, data, tell)
    own_labels = _own_labels(request, original.model)
    ending = find_ending(request, original, None if own_labels is None else len(own_labels), tell)
    labels = _labels(own_labels, ending.classes)
    manifest = _manifest(request, labels, original, ending, hashlib.sha256(data).hexdigest())
    model, proof = _prove(request, original, ending, manifest)
    if (whole := manifest.whole) and isinstance(manifest.architecture, ImportedNetwork):
        with TemporaryDirectory() as folder:
            file = _write(Path(folder), request, model, manifest, ending.output)
            whole = measured(file, whole, request.memory_mb)
        manifest = replace(manifest, architecture=replace(manifest.architecture, whole=whole))
        tell(f"whole   {whole.describe()}")
    tell(f"proof   {proof.describe()}; it cannot judge how pixels are normalised, which is the same in both")
    if proof.classes == 1:
        tell("        one class says little: compare on photographs that show others: --photos FOLDER")
    manifest = replace(manifest, training={**manifest.training, "proof": asdict(proof)})
    _write(request.target.parent, request, model, manifest, ending.output)
    may_be_resized = ending.whole is None and ending.output.kind != "masks"
    if may_be_resized and _is_converted(replace(request, before_resize=True), original, manifest):
        tell("        it ends in a resize, which the service can do itself in a fraction of the memory: --before-resize")
    return manifest, ending


def compare(request: ConversionRequest, ending: Ending, tell: Callable[[str], None]) -> None:
    """Tells how much of the original's classes the file that `convert` has written gives on whole pictures."""
    segmenter = Segmenter(_runtime(request.target))

    def as_whole() -> Segmenter:
        others, labels, data = replace(request, tile=WHOLE), segmenter.labels, read_regular_file(request.source)
        original = _read(others, data, lambda _: None)
        whole_ending = find_ending(others, original, len(labels), lambda _: None)
        manifest = _manifest(others, labels, original, whole_ending, "")
        with TemporaryDirectory() as folder:
            model = wrap(whole_ending.model, original.input, original.normalisation, whole_ending.output, manifest)
            return Segmenter(_runtime(_write(Path(folder), others, model, manifest, whole_ending.output)))

    compare_whole(segmenter, as_whole, ending, list(photographs(request.photos)), tell)


def _read(request: ConversionRequest, data: bytes, tell: Callable[[str], None]) -> Original:
    """The network, with the input and the pixels that it takes. data: the file's bytes."""
    model = read_graph(request.source, data)
    refuse_other_tasks(request.source, model)
    former_types = in_float32(model)
    network_input = find_input(model, request.layout)
    tell(f"input   {network_input.describe()}")
    normalisation = _normalisation(request, network_input, model)
    tell(f"pixels  {normalisation.describe()}")
    if former_types:
        tell(f"        it computes in {former_types}; it is served, and compared, in float32")
    return Original(model, network_input, normalisation, b"" if former_types else data)


def _prove(request: ConversionRequest, original: Original, ending: Ending, manifest: Manifest) -> tuple[onnx.ModelProto, Proof]:
    """The converted model, compared with the original as it is served. Raises `ConversionError` if too many classes differ."""
    output = ending.output
    model = wrap(ending.model, original.input, original.normalisation, output, manifest)
    with TemporaryDirectory() as folder:
        file = _write(Path(folder), request, model, manifest, output)
        proof = prove(_runtime(file), ending.original, output, whole=ending.whole, photographs=photographs(request.photos))
    if proof.agreement < LEAST_AGREEMENT:
        is_of_ids = ending.whole is not None and ending.whole.kind == "class_ids"
        is_better = is_of_ids and _is_converted(replace(request, kind="class_ids"), original, manifest)
        advice = "; --kind class_ids serves the network's own ids" if is_better else ""
        raise ConversionError(
            f"the converted file gives other classes than the original: {proof.describe()}; at least {LEAST_AGREEMENT} are "
            f"needed. Nothing was written{advice}"
        )
    return model, proof


def _write(folder: Path, request: ConversionRequest, model: onnx.ModelProto, manifest: Manifest, output: NetworkOutput) -> Path:
    """Writes the converted file into a folder, and gives its path."""
    write_export(file := folder / request.target.name, model, manifest, "float32", output.stride, output.grid)
    return file


def _is_converted(request: ConversionRequest, original: Original, manifest: Manifest) -> bool:
    """Whether a conversion as this advice says it passes its proof."""
    try:
        _prove(request, original, find_ending(request, original, len(manifest.labels), lambda _: None), manifest)
    except (ConversionError, MemoryError):
        return False
    return True


def _runtime(file: Path) -> OpenVINORuntime:
    try:
        return OpenVINORuntime(file, threads=1)
    except (WeightsError, RuntimeUnavailable) as error:
        cause = str(error.__cause__ or error).strip()
        raise RunError(f"OpenVINO cannot run the converted network: {one_line(cause.splitlines()[-1])}") from error


def _normalisation(request: ConversionRequest, network_input: NetworkInput, model: onnx.ModelProto) -> Normalisation:
    if network_input.takes_pixels:
        if request.normalisation:
            raise ConversionError("the network takes uint8 pixels as they are: leave out --mean, --std and --scale")
        return replace(IDENTITY, bgr=request.bgr)
    if request.bgr and request.normalisation is None:
        raise ConversionError("--bgr goes with --mean and --std where the network takes no uint8 pixels: give these too")
    normalisation = request.normalisation or read_normalisation(request.source, model)
    if normalisation is None:
        raise ConversionError(QUESTION)
    return normalisation


def _own_labels(request: ConversionRequest, model: onnx.ModelProto) -> LabelSet | None:
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
        raise ConversionError(
            f"the network has {number} classes, and {len(labels)} are named ({first_names(labels.names, 4)}): "
            "each needs one name"
        )
    return labels


def _manifest(request: ConversionRequest, labels: LabelSet, original: Original, ending: Ending, sha256: str) -> Manifest:
    """The document of the converted file. sha256: of the original."""
    output, sides, normalisation = ending.output, original.input.sides, original.normalisation
    whole, tile = None, request.tile
    if tile == WHOLE:
        if sides != (None, None):
            raise ConversionError(f"the network takes {original.input.size} alone, not each photo as a whole: leave out --tile")
        model = original.of(ending.model).giving(output.name) if ending.whole else ending.original
        whole, tile = whole_sides(model, output, request.pad or "zero"), None
    unit = max(output.multiple, UNIT)
    height, width = (TILE // unit * unit if side is None else side // UNIT * UNIT for side in sides)
    if not height or not width:
        raise ConversionError(f"the network takes {original.input.size} alone; at least {UNIT}x{UNIT} are needed")
    largest = None if sides == (None, None) else (height, width)
    if largest and tile and tile != largest:
        raise ConversionError(f"the network takes {original.input.size} alone: leave out --tile")
    tile = largest or tile or (height, width)
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
        whole=whole,
    )
    mean, std = (each[::-1] if normalisation.bgr else each for each in (normalisation.mean, normalisation.std))  # of RGB
    preprocessing = Preprocessing(mean, std, normalisation.scale, side, tile)
    training = {
        "notes": list(request.notes),
        "normalisation": normalisation.describe(),
        "input": original.input.describe(),
        "output": output.describe(),
    }
    return Manifest(network, labels, preprocessing, request.license, training)
