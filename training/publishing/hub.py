"""A folder in the layout of the Hugging Face Hub: the model card as README.md, and the files of the weights."""

from __future__ import annotations

from pathlib import Path

from model.weights_file import MASTER_SUFFIX, find_files, load_weights
from model.whole_file import copy_file, write_file
from training.publishing.card import card


def write_hub_folder(master: Path, folder: Path) -> list[Path]:
    """Writes README.md and copies the master, its exports, its chart and its curves; gives the written paths.

    Files of these names are replaced. Nothing is uploaded. Raises `ValueError` for the master's own folder.
    """
    if folder.resolve() == master.resolve().parent:
        raise ValueError(f"--hub must be another folder than that of the weights, got {folder}")
    folder.mkdir(parents=True, exist_ok=True)
    readme = folder / "README.md"
    write_file(readme, card(load_weights(master)), follow=False)
    name = master.name.removesuffix(MASTER_SUFFIX)
    pictures = [master.with_name(f"{name}{ending}") for ending in (".png", ".curves.csv")]
    files = [master, *find_files(str(master)).exports.values(), *(path for path in pictures if path.exists())]
    for path in files:
        copy_file(path, folder / path.name)
    return [readme, *(folder / path.name for path in files)]
