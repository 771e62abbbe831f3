"""What can be wrong with an image's bytes. No status codes here: the web layer maps these once."""

from __future__ import annotations


class ImageError(ValueError):
    """Base of the errors about an image."""


class EmptyImage(ImageError):
    """No bytes at all."""


class UnknownImageType(ImageError):
    """Bytes that are no accepted image format."""


class ImageTooLarge(ImageError):
    """An image whose header announces more pixels than the limit."""


class DamagedImage(ImageError):
    """An accepted format whose content cannot be decoded."""
