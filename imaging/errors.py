"""What can be wrong with an image's bytes, or with the answer that is wanted. The web layer maps these to status codes."""

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


class AnswerTooLarge(ValueError):
    """An image, or its class map, that is too large for the form of answer."""


class UnknownClass(ValueError):
    """A class that the label set lacks."""


class UnusedParameter(ValueError):
    """A parameter that the form of answer does not use."""
