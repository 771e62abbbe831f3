"""What is told of a data set before it is used: all errors at once, and what may be wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from imaging.decoding import Limits, decode
from model.labels import LabelClass, LabelSet
from tests.support.images import make_photo
from tests.support.imaging.samples import oriented, upright
from tests.support.training.data_sets import FOUR, IDS, Ids, in_palette, write_frame, write_voc
from tests.support.training.invocations import on_shapes
from training.commands.evaluate import main as evaluate
from training.commands.train import main
from training.data.demo import write_demo_data
from training.data.masks import DrawnOn, turn_upright
from training.data.problems import DataError
from training.data.split import Split, get_split
from training.survey.inspection import meaning, notes
from training.survey.records import survey_all


def save(path: Path, ids: Ids) -> None:
    Image.fromarray(ids).save(path)


def test_both_commands_tell_all_errors(
    shapes: Path, tiny_recipe: Path, tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    write_demo_data(tmp_path, train=3, val=3)
    for name in ("train_000", "val_001", "val_002"):
        save(tmp_path / "SegmentationClass" / f"{name}.png", np.full((96, 96), 77, np.uint8))
    assert main(on_shapes(tmp_path, tiny_recipe, tmp_path / "out")) == 2
    stderr = capsys.readouterr().err
    assert "fcn-train: 3 errors in the data set:" in stderr
    assert all(f"{name}.png: ids [77]" in stderr for name in ("train_000", "val_001", "val_002"))
    data = str(shapes)
    assert evaluate([str(tmp_path) if value == data else value for value in arguments]) == 2
    assert "fcn-evaluate: 2 errors in the data set:" in capsys.readouterr().err


def told_of(split: Split) -> list[str]:
    return notes(*survey_all([split], details=True))


def reading_of(split: Split) -> str:
    return meaning(*survey_all([split]))


def test_a_class_that_is_never_shown_is_told(tmp_path: Path) -> None:
    write_voc(tmp_path, {"a": np.array([[0, 2, 2]], np.uint8)})
    assert told_of(get_split(tmp_path, "train", FOUR)) == ["2 of 4 classes are never shown in 'train': circle, triangle"]
    write_voc(tmp_path, {"a": IDS})
    assert told_of(get_split(tmp_path, "train", FOUR)) == []


def test_masks_without_an_image_and_images_without_a_mask_are_told(tmp_path: Path) -> None:
    """The latter where masks are the list."""
    write_frame(tmp_path / "plain/images/train/a.jpg", tmp_path / "plain/masks/train/a.png", IDS)
    save(tmp_path / "plain/masks/train/c.png", IDS)
    expected = f"1 masks have no image and are left out: {tmp_path}/plain/masks/train/c.png"
    assert told_of(get_split(tmp_path / "plain", "train", FOUR)) == [expected]
    write_frame(tmp_path / "train" / "a.png", tmp_path / "trainannot" / "a.png", IDS)
    write_frame(tmp_path / "train" / "b.png", tmp_path / "elsewhere" / "b.png", IDS)
    assert told_of(get_split(tmp_path, "train", FOUR)) == [f"1 images in {tmp_path / 'train'} have no mask and are left out: b"]


@pytest.mark.parametrize(
    ("orientation", "side", "is_told"),
    [(2, (4, 6), True), (3, (6, 6), True), (4, (4, 6), True), (6, (6, 6), True), (6, (4, 6), False), (8, (4, 6), False)],
)
def test_images_that_exif_turns_are_told_where_sizes_do_not_tell(
    tmp_path: Path, orientation: int, side: tuple[int, int], is_told: bool
) -> None:
    """A mask of one that EXIF lays on its side fits either the upright or the stored one."""
    write_turned(tmp_path, orientation, side, "upright")
    expected = (
        f"1 images of 'train' are turned by EXIF, such as {tmp_path}/images/train/a.png: masks are read as drawn on the "
        "upright image; if they were drawn on the stored one, --masks-orientation stored"
    )
    assert told_of(get_split(tmp_path, "train", FOUR)) == ([expected] if is_told else [])


def write_turned(root: Path, orientation: int, side: tuple[int, int], drawn_on: DrawnOn) -> Ids:
    """A photo that EXIF turns, and its mask; gives the mask of the upright photo."""
    photo = make_photo(*side)
    stored = (np.arange(photo[..., 0].size).reshape(side) % 4).astype(np.uint8)
    right = upright(stored, orientation)
    image = root / "images" / "train" / "a.png"
    write_frame(image, root / "masks" / "train" / "a.png", right if drawn_on == "upright" else stored, photo)
    image.write_bytes(oriented(photo, "PNG", orientation))
    return right


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("side", [(4, 6), (6, 6)])
@pytest.mark.parametrize("drawn_on", ["upright", "stored"])
def test_masks_are_turned_where_they_were_drawn_on_the_stored_photo(
    tmp_path: Path, orientation: int, side: tuple[int, int], drawn_on: DrawnOn
) -> None:
    """Photos are upright, as the served path sees them."""
    right = write_turned(tmp_path, orientation, side, drawn_on)
    split = get_split(tmp_path, "train", FOUR, drawn_on=drawn_on)
    assert np.array_equal(split.mask(0), right)
    assert np.array_equal(split.image(0), decode(split.frames[0].image.read_bytes(), Limits()))
    assert told_of(split) == [] or drawn_on == "upright"


def test_a_mask_that_lies_on_its_side_is_an_error_that_names_the_switch(tmp_path: Path) -> None:
    write_turned(tmp_path, 6, (4, 6), "stored")
    with pytest.raises(DataError, match=r"a\.png: the mask is \(4, 6\), its image \(6, 4\).*--masks-orientation says"):
        survey_all([get_split(tmp_path, "train", FOUR)])


def test_masks_are_turned_as_the_decoder_turns_photos() -> None:
    photo = make_photo(4, 6)
    for value in range(1, 9):
        assert np.array_equal(turn_upright(photo[..., 0], value), upright(photo[..., 0], value))


def test_how_masks_are_read_is_told_in_a_line(tmp_path: Path) -> None:
    """RGB images that repeat ids in all channels hold ids."""
    write_voc(tmp_path, {"a": IDS, "b": IDS})
    save(tmp_path / "SegmentationClass" / "a.png", np.dstack([IDS] * 3))
    split = get_split(tmp_path, "train", FOUR)
    assert reading_of(split) == "masks: pixel values are class ids"
    assert np.array_equal(split.mask(0), IDS)
    rgb = np.asarray(FOUR.palette, np.uint8)[IDS]
    save(tmp_path / "SegmentationClass" / "a.png", rgb)
    mixed = reading_of(get_split(tmp_path, "train", FOUR))
    assert mixed.startswith("masks: pixel values are class ids; 1 RGB images are read by the classes' colours: ")
    save(tmp_path / "SegmentationClass" / "b.png", rgb)
    assert reading_of(get_split(tmp_path, "train", FOUR)) == "masks: RGB images, read by the classes' colours"
    split = get_split(tmp_path, "train", FOUR, meaning="colors")
    assert reading_of(split) == "masks: read by the classes' colours"
    assert np.array_equal(split.mask(0), IDS)
    ways = [get_split(tmp_path, "train", FOUR, None, "colors", "stored"), get_split(tmp_path, "train", FOUR), split]
    assert len({survey_all([way])[0].contents for way in ways}) == 3  # another reading is another training


def test_palettes_that_contradict_the_classes_are_told_once(tmp_path: Path) -> None:
    colors = [(0, 0, 0), (0, 128, 0), (128, 0, 0)]
    labels = LabelSet(tuple(LabelClass(index, name, colors[index]) for index, name in enumerate(["soil", "leaf", "berry"])))
    frames = {name: np.array([[0, index, 255]], np.uint8) for name, index in (("a", 1), ("b", 2), ("c", 1))}
    write_voc(tmp_path, frames)
    for name, ids in frames.items():
        in_palette(ids).save(tmp_path / "SegmentationClass" / f"{name}.png")
    split = get_split(tmp_path, "train", labels)
    assert [split.mask(index).tolist() for index in range(3)] == [ids.tolist() for ids in frames.values()]
    note, copies = told_of(split)
    assert copies.startswith("1 images of 'train' are copies of another")
    names = ", ".join(f"{tmp_path}/SegmentationClass/{name}.png" for name in "abc")
    assert note == (
        f"3 masks have a palette that contradicts the classes' colours: {names}; in the first, the value 1 is 'leaf' and has "
        "the colour of 'berry'; if colours count, --masks colors"
    )
    swapped = get_split(tmp_path, "train", labels, meaning="colors")
    assert [swapped.mask(index).tolist() for index in range(3)] == [[[0, 2, 255]], [[0, 1, 255]], [[0, 2, 255]]]


def test_both_commands_print_how_masks_are_read(
    tiny_recipe: Path, tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    write_demo_data(tmp_path, train=3, val=1)
    save_file({"other": np.zeros(1, np.float32)}, start := tmp_path / "start.safetensors")
    assert main([*on_shapes(tmp_path, tiny_recipe, tmp_path / "out"), "--epochs", "0", "--start", str(start)]) == 2
    assert capsys.readouterr().out.splitlines()[0] == "masks: pixel values are class ids"
    assert evaluate(arguments) == 0
    output = capsys.readouterr()
    assert "masks: pixel values are class ids\n" in output.err
    assert "masks: pixel values" not in output.out


def test_masks_of_black_and_white_alone_are_told(tmp_path: Path) -> None:
    """Where others show classes, their white would be void without a word."""
    white = np.array([[0, 255, 255], [0, 0, 0]], np.uint8)
    write_voc(tmp_path, {"a": IDS, "b": white, "c": np.full((2, 3), 255, np.uint8)})
    told = told_of(get_split(tmp_path, "train", FOUR))
    path = tmp_path / "SegmentationClass" / "b.png"
    message = f"1 masks of 'train' hold 0 and 255 alone, such as {path}: 255 is void, not an object; save objects as the id"
    assert [note for note in told if note.startswith(message)]
    write_voc(tmp_path, {"a": IDS, "b": white, "c": np.roll(IDS, 1)})  # objects have void borders, so white is none
    assert not any("hold 0 and 255 alone" in note for note in told_of(get_split(tmp_path, "train", FOUR)))
