"""Lists the inputs of a run lazily: files, folders, patterns, URLs of object stores, lists of names, standard input.

How a bulk job uses it, together with `cli.answers`, `cli.resume` and `cli.table`:

    listing = list_inputs(["photos/"], "masks/")       # or list_names("names.txt", "masks/")
    shard = Shard(index=0, count=8)
    for image in listing:                              # `cli.input.Input`; a generator, which never holds all of them
        answer, target = answers.relative(image), answers.target(image)  # `cli.answers.Answers("masks/", ".png")`
        if not shard.holds(image) or done_key(journal.notes, digest, answers, image):
            continue
        if journal.notes.state(answer, target) not in ("missing", "ours"):
            continue                                   # a person has changed it
        data, version = image.read()
        body = segment(data)
        journal.begin(answer, digest_of_body := sha256(body).hexdigest())
        marks = Marks(answers.write(target, body), digest_of_body)
        journal.append(answer, answer_key(digest, image.full_name, version, answer), marks)
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path

from cli.folders import Bucket, Folder
from cli.image_names import ENDINGS, AnswerNames, split_pattern
from cli.input import STDIO, Input, is_stream
from cli.name_lists import NameList
from cli.places import is_path, real
from cli.stores import is_below, is_url, object_version
from cli.web import is_web, web_path


@dataclass(frozen=True)
class Listing:
    """The inputs of a run, in an order that is the same in each shard. Iterating it again lists again.

    files: files, objects, web addresses and stdin that are named one by one; they come first. single: whether the input is one
    of them. Iterating raises `OSError` if a list or store cannot be read.
    """

    files: Sequence[Input] = ()
    sources: Sequence[Folder | Bucket | NameList] = ()
    single: bool = False

    def __iter__(self) -> Iterator[Input]:
        return chain(self.files, chain.from_iterable(self.sources))

    def holds(self, path: Path) -> bool:
        """Whether a path is an existing image among the inputs. An answer must not overwrite it.

        A bucket has no files, and a list none inside the output folder.
        """
        return real(path) in self._places or any(each.holds(path) for each in self.sources if isinstance(each, Folder))

    @cached_property
    def _places(self) -> frozenset[Path]:
        return frozenset(real(each.name) for each in self.files if each.name != STDIO and is_path(each.name))


def list_either(names: Sequence[str], source: str | None, out: str) -> Listing:
    """The listing of `list_inputs` or of `list_names`. Raises `OSError` if both are given, or neither."""
    if bool(names) == (source is not None):
        raise OSError("give IN or --from-file, and not both; see --help")
    return list_names(source, out) if source is not None else list_inputs(names, out)


def list_inputs(names: Sequence[str], out: str) -> Listing:
    """Lists the images that files, folders, patterns, URLs and `-` name.

    Answers of one folder or pattern have its structure below the output folder. Of several folders or patterns, each has a
    folder of its own name there. Raises `OSError` if a name leads to no image, or if two answers would have one name.
    """
    _refuse_web(out)
    if "" in (*names, out):
        raise OSError("a name is empty, perhaps from a variable that is not set; give . for the current folder")
    files: list[str] = []
    roots: dict[str, tuple[str, list[str]]] = {}
    for name in names:
        root, pattern = _root_and_pattern(name)
        if root is None:
            files.append(name)
            continue
        place = root.rstrip("/") if is_url(root) else str(real(root))
        roots.setdefault(place, (root, []))[1].append(pattern)
    folders = {place: _folder(root, patterns, out) for place, (root, patterns) in roots.items()}
    for folder in folders.values():
        if next(iter(folder), None) is None:
            text = names[0] if len(names) == 1 else folder.root
            raise OSError(f"no images in {text!r}; their names end in {', '.join(sorted(ENDINGS))}")
    listing = Listing(_files(files), list(folders.values()), single=len(files) == 1 and not folders)
    if len(folders) + bool(files) == 1:
        return listing
    by_name: dict[str, str] = {}
    for place, folder in folders.items():
        folder.below = place.rpartition("/")[2] or "root"
        if (earlier := by_name.setdefault(folder.below, folder.root)) != folder.root:
            raise OSError(
                f"the answers of {earlier} and {folder.root} would both go to {folder.below}/; give them different -o folders"
            )
    return listing


def list_names(source: str, out: str) -> Listing:
    """The inputs that the lines of a file name; `-` for standard input. Raises `OSError` while it is read."""
    _refuse_web(out)
    return Listing(sources=[NameList(source, out)])


def _refuse_web(out: str) -> None:
    if is_web(out):
        raise OSError(f"-o {out} is a web address, to which nothing can be written; give a file, a folder or an object store")


def _root_and_pattern(name: str) -> tuple[str | None, str]:
    """The folder or URL to list and the pattern below it; no folder for a file, an object, a web address or stdin."""
    if is_web(name):
        return None, ""
    if is_url(name):
        if glob.has_magic(name):
            scheme, _, rest = name.partition("://")
            root, pattern = split_pattern(rest)
            return f"{scheme}://{root}", pattern
        return (None if _is_object(name) else name), ""
    if name == STDIO or os.path.isfile(name) or is_stream(name):
        return None, ""
    if os.path.isdir(name):
        return name, ""
    if glob.has_magic(name):
        root, pattern = split_pattern(name)
        if not os.path.isdir(root):
            raise OSError(f"no images in {name!r}: there is no folder {root!r}")
        return root, pattern
    if os.path.exists(name):
        raise OSError(f"{name!r} is a pipe, a socket or a device; - reads stdin")
    raise OSError(f"no file or folder {name!r}")


def _is_object(url: str) -> bool:
    if os.path.splitext(url)[1].lower() not in ENDINGS:
        return False
    try:
        object_version(url)
    except FileNotFoundError:
        return False
    return True


def _folder(root: str, patterns: Sequence[str], out: str) -> Folder | Bucket:
    """The inputs below a folder or URL that one of the patterns matches; all of them if a pattern is empty."""
    parts = [] if "" in patterns else [tuple(text.split("/")) for text in patterns]
    if not is_url(root):
        return Folder(root, None if is_url(out) else out, parts)
    inside = is_url(out) and is_below(out, root) and not is_below(root, out)
    if is_url(out) and is_below(root, out):
        raise OSError(
            f"the answers in {out} could overwrite images of {root}; give another -o, such as {root.rstrip('/')}-masks"
        )
    return Bucket(root, out if inside else None, parts)


def _files(names: Sequence[str]) -> list[Input]:
    """The inputs that are no folder, prefix or pattern. Raises `OSError` if two answers would have one name."""
    answers: dict[str, str] = {}
    inputs = dict[str, Input]()
    folders: dict[str, dict[str, str]] = {}
    for name in names:
        folder, _, last = (web_path(name) if is_web(name) else name).rpartition("/")
        folders.setdefault(folder, {})[name] = last
    for last_names in folders.values():
        answer_names = AnswerNames()
        for name, last in sorted(last_names.items(), key=lambda item: (os.fsencode(item[1]), os.fsencode(item[0]))):
            answer = "stdin" if name == STDIO else answer_names.name(last)
            if (earlier := answers.setdefault(answer, name)) != name:
                raise OSError(f"{earlier} and {name} would both become {answer}; give them different -o folders")
            inputs[name] = Input(name, "stdin" if name == STDIO else last, answer, is_stream=is_stream(name))
    return [inputs[name] for name in dict.fromkeys(names)]
