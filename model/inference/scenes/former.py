"""What lies beside a scene's result and would be read with the next one, and whether a program has the former one open."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from model.inference.scenes.request import SceneRequest

OF_GDAL = (".aux.xml", ".msk", ".msk.ovr", ".ovr", ".vat.dbf")
"""Endings behind a raster's name: facts such as nodata and names, a mask, smaller versions, and a table of its values."""
JOURNALS = ("-journal", "-wal")
STYLE, MOST_STYLE = ".qml", 1 << 20  # bytes of a style that are looked at
VERSION = "3.22"  # of QGIS, whose elements styles of ours have; later ones read them
DOCTYPE = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
STYLE_HEAD = f'{DOCTYPE}<qgis version="{VERSION}"'.encode()
"""What every style of ours begins with."""
OF_KIND = {True: b"<renderer-v2", False: b"<rasterrenderer"}
"""What a style of polygons, and one of pixels, has."""


def remove_former(request: SceneRequest, style: str | None = None) -> list[str]:
    """Removes what is beside a result and describes the one that it replaces; gives a line for each file, also for those that
    stay. Call it before the result is replaced.

    style: the one that the result would have, which may stay; None if that is not known. Raises `OSError` as `refuse_open`.
    """
    refuse_open(Path(request.out))
    lines = []
    for out in {Path(request.out), Path(os.path.realpath(request.out))}:
        names = {(out.name + ending).lower() for ending in OF_GDAL} if request.kind == "tif" else set()
        for path in [each for each in out.parent.iterdir() if each.name.lower() in names] if out.parent.is_dir() else []:
            if path.is_file() or path.is_symlink():
                path.unlink()
                lines.append(f"{path} described the former {out.name}, and is removed")
        path = out.with_suffix(STYLE)
        if not request.style and path.is_file():
            with path.open("rb") as file:
                content = file.read(MOST_STYLE)
            if OF_KIND[request.is_polygons] not in content or (style is not None and content == style.encode()):
                continue
            if content.startswith(STYLE_HEAD):
                path.unlink()
                lines.append(f"{path} has the classes of the former {out.name}, and is removed; --style writes one")
            else:
                lines.append(f"{path} stays, which this command did not write: QGIS shows the new {out.name} with its classes")
    return lines


def refuse_open(out: Path) -> None:
    """Raises `OSError` for a GeoPackage that another program has open, whose changes would go to the file that replaces it."""
    if out.suffix.lower() != ".gpkg":
        return
    path, is_locked = os.path.realpath(out), False
    if os.path.isfile(path):
        try:
            uri = f"{Path(path).as_uri()}?mode=rw"
            with closing(sqlite3.connect(uri, uri=True, timeout=0, isolation_level=None)) as database:
                database.execute("BEGIN EXCLUSIVE")  # which also ends what a killed program began
        except sqlite3.Error as error:  # also of what is no database
            is_locked = getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
    if is_locked or any(os.path.exists(path + ending) for ending in JOURNALS):
        raise OSError(f"{out} is open in another program, or has its changes beside it ({', '.join(JOURNALS)}); close it there")
