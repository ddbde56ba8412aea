"""Images of a known size from files that came from elsewhere: nothing is decoded that is not such an image."""

import io
import struct
import warnings
import zlib

import numpy as np
from PIL import Image

from infwidth.errors import DataError

DECIDES_NUMBERS = False

UNREADABLE = (OSError, SyntaxError, ValueError, TypeError, IndexError, EOFError, struct.error, zlib.error)
"""What the library raises for files that are no image, or a broken one."""


def decoded(content: bytes, mode: str, size: int, where: str) -> Image.Image:
    """The PNG or JPEG image, ``size`` x ``size`` pixels, in this colour mode of the library ('L' or 'RGB').

    Its header is read first, and its pixels only if it has that size. where: the file, for the message of a DataError.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            image = Image.open(io.BytesIO(content), formats=("PNG", "JPEG"))
            found = f"{image.width} x {image.height} pixels"
            if image.size == (size, size):
                return image.convert(mode)
        except (Image.DecompressionBombError, Image.DecompressionBombWarning):
            found = "a far larger image"
        except UNREADABLE as e:
            raise DataError(f"{where} is not a readable image ({e}); fetch the data again.") from e
    raise DataError(f"{where} is {found} instead of {size} x {size}; this is other data, fetch it again.")


def channels_first(image: Image.Image) -> np.ndarray:
    """(3 * size * size,) uint8 of a colour image."""
    return np.asarray(image).transpose(2, 0, 1).reshape(-1)
