"""HEIC files by x265, where the extra `heif` is installed, and by kvazaar, which are kept."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

KVAZAAR = {path.stem: path.read_bytes() for path in sorted(Path(__file__).with_name("kvazaar").iterdir())}
"""Files of kvazaar 2.3.1, an encoder of its own, by name: Debian 13's heif-enc 1.23.6 with libheif-plugin-kvazaar.

`heif-enc -e kvazaar -q 60 IN.png -o OUT.heic` of `make_photo(40, 70)`: `plain`; `grey`, of its red; `alpha`, with its green
upside down as opacity; `turned`, with `--rotate-cw 90 --flip-h`. `grid`, of `make_photo(120, 180)`, with
`-q 40 --cut-tiles 64`. The encoder has 8 bits alone, in 4:2:0 or grey.
"""


def heic_of(image: Image.Image, *, bits: int = 8, **options: Any) -> bytes:
    """A HEIC of an image, in samples of 8 or 10 bits. options: as pillow-heif names them."""
    from pillow_heif import encode, from_pillow

    file, options = io.BytesIO(), {"enc_params": {"preset": "ultrafast"}, **options}
    if bits == 8:
        whole = from_pillow(image)
        for other in options.pop("append_images", ()):
            whole.add_from_pillow(other)
        whole.save(file, **options)
    else:
        samples = np.asarray(image).astype("<u2") * 257
        encode(f"{image.mode};16", image.size, samples.tobytes(), file, **options)
    return file.getvalue()
