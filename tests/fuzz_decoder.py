"""Fuzzes the decoder, guided by the code that is reached: `python -m tests.fuzz_decoder [LIBFUZZER
OPTION...] CORPUS`.

It needs atheris (`pip install atheris`), which there is for Linux and macOS. A PNG's checksums are
put right first, without which hardly any mutation would get past them.
"""

import io
import struct
import sys
import warnings
import zlib
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["PIL", "mnist_nb.vision.preprocessing"]):
    from PIL import (  # noqa: F401
        BmpImagePlugin,
        GifImagePlugin,
        Image,
        JpegImagePlugin,
        PngImagePlugin,
        WebPImagePlugin,
    )

    from mnist_nb.vision.preprocessing import prepare

from mnist_nb.core import ImageError

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def mended(content):
    "A PNG with the checksums that its chunks should have; anything else as it is."
    if not content.startswith(SIGNATURE):
        return content
    parts, at = [SIGNATURE], 8
    while at + 12 <= len(content):
        size = min(int.from_bytes(content[at : at + 4], "big"), len(content) - at - 12)
        body = content[at + 4 : at + 8 + size]
        parts += [struct.pack(">I", size), body, struct.pack(">I", zlib.crc32(body))]
        at += 12 + size
    return b"".join(parts)


def one_input(content):
    "Either a picture of 28 x 28 or an ImageError; whatever else is raised ends the run."
    try:
        picture = prepare(mended(content)).picture
    except ImageError:
        return
    assert picture.shape == (28, 28)


def seeds(folder):
    "A small picture of each kind and of several modes."
    for kind in ("PNG", "JPEG", "GIF", "BMP", "WEBP"):
        for mode in ("1", "L", "P", "RGB", "RGBA", "LA", "I;16", "CMYK"):
            file = io.BytesIO()
            try:
                Image.new("L", (8, 8), 99).convert(mode.replace("I;16", "I")).save(
                    file, kind, save_all=kind != "BMP"
                )
            except (OSError, ValueError, KeyError):
                continue
            (Path(folder) / f"{kind}-{mode.replace(';', '')}").write_bytes(file.getvalue())


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    seeds(sys.argv[-1])
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
