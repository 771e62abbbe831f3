"""Unpacks the zips that labelling tools export: within limits, and no member outside of the folder."""

from __future__ import annotations

import shutil
import stat
import struct
import zlib
from collections import Counter
from pathlib import Path, PureWindowsPath
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from tqdm import tqdm

from training.data.problems import DataError

MOST_MEMBERS = 200_000
MOST_BYTES = 64 << 30  # of all members
MOST_RATIO = 100  # of all members' bytes to the zip's; photos have about 1, and JSON 10
FEW_BYTES = 100 << 20  # of all members, whose ratio does not matter
ENCRYPTED = 1  # bit of a member's flags
DAMAGES = (BadZipFile, EOFError, OSError, OverflowError, RuntimeError, ValueError, struct.error, zlib.error)
"""What `zipfile` raises for a damaged archive or member."""


def unpack(path: Path, folder: Path) -> Path:
    """Unpacks a zip into a folder; gives the folder of its content, which is the only one in it, or that folder.

    Raises `DataError` for a damaged zip, for one of more members or bytes than the limits or the disk allow, and for a member
    that is a link, a device, a zip, encrypted or damaged, comes twice (case does not count), or whose name is absolute or leads
    out of the folder.
    """
    try:
        with _open(path) as archive:
            members = archive.infolist()
            if problem := _excess(members, path.stat().st_size, shutil.disk_usage(folder.parent).free):
                raise DataError(f"{path} {problem}: if you trust it, unpack it and give the folder")
            counts = Counter(PureWindowsPath(member.orig_filename) for member in members)
            for member in members:
                if reason := _refusal(member, counts):
                    raise DataError(f"{path}: its member {member.orig_filename} {reason}")
            folder.mkdir()
            for member in tqdm(members, desc="unpacking", unit="file", leave=False, disable=None):
                name, member.filename = member.orig_filename, member.orig_filename.replace("\\", "/")
                try:
                    archive.extract(member, folder)
                except DAMAGES as error:
                    raise DataError(f"{path}: its member {name} is damaged: {error}; export or download it again") from error
            entries = [entry for entry in folder.iterdir() if entry.name != "__MACOSX"]
            return entries[0] if len(entries) == 1 and entries[0].is_dir() else folder
    except DataError:
        raise
    except DAMAGES as error:
        raise DataError(f"{path} is no zip, or a damaged one: {error}; export or download it again") from error


def _open(path: Path) -> ZipFile:
    """The zip; names are UTF-8 also where it does not say so, as macOS writes them, if they can be."""
    try:
        return ZipFile(path, metadata_encoding="utf-8")
    except UnicodeDecodeError:
        return ZipFile(path)


def _excess(members: list[ZipInfo], archive_bytes: int, free: int) -> str | None:
    """What a zip of so many bytes has too much of; `zipfile` reads no more of a member than the size it declares."""
    size, most = sum(member.file_size for member in members), min(MOST_BYTES, free)
    if len(members) > MOST_MEMBERS:
        return f"has {len(members):,} members, and at most {MOST_MEMBERS:,} are unpacked"
    if size > most:
        return f"holds {size:,} bytes, and at most {most:,} are unpacked on this disk"
    if size > max(FEW_BYTES, MOST_RATIO * archive_bytes):
        return f"holds {size / archive_bytes:.0f} times its bytes, and at most {MOST_RATIO} times as many are unpacked"
    return None


def _refusal(member: ZipInfo, counts: Counter[PureWindowsPath]) -> str | None:
    """Why a member is not unpacked, and what to do; None for a sound one. counts: of all members' paths.

    Both slashes part folders: older programs for Windows write backslashes.
    """
    path, kind = PureWindowsPath(member.orig_filename), stat.S_IFMT(member.external_attr >> 16)
    reasons = {
        "has an absolute name: pack the folder of the export": path.anchor,
        "leads out of the zip: pack the folder of the export": ".." in path.parts or "\0" in member.orig_filename,
        "comes twice (case does not count): pack the export again": counts[path] > 1,
        "is a link or a device: pack the files themselves": kind not in (0, stat.S_IFREG, stat.S_IFDIR),
        "is encrypted: pack the export without a password": member.flag_bits & ENCRYPTED,
        "is compressed in a rare way: pack the export with Deflate": member.compress_type not in (ZIP_STORED, ZIP_DEFLATED),
        "is a zip in the zip: unpack both, or give each alone": path.suffix.lower() == ".zip",
    }
    return next((reason for reason, is_so in reasons.items() if is_so), None)
