"""What the site needs beside `docs/`: the model cards and the charts of measurements, which lie where programs write them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
BESIDE = ("weights/*.md", "weights/*.png")


def on_files(files: Files, *, config: Any) -> Files:
    """Adds them under their own paths."""
    for pattern in BESIDE:
        for path in sorted(ROOT.glob(pattern)):
            files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Links that leave `docs/` in the repository stay on the site."""
    markdown = re.sub(r"\]\(\.\./(weights|benchmarks/results)/", r"](\1/", markdown)
    return re.sub(r"\]\(\.\./README\.md[^)]*\)", "](accuracy.md)", markdown)
