"""Errors about an image's bytes, or about the requested answer. The web layer maps these to status codes."""

from __future__ import annotations


class ImageError(ValueError):
    """Base class of the errors about an image's bytes."""


class EmptyImage(ImageError):
    """The image has no bytes."""


class UnknownImageType(ImageError):
    """The bytes are not in an accepted image format, or are of a kind that is not read."""


class ImageTooLarge(ImageError):
    """The image's header announces more pixels than the limit."""


class DamagedImage(ImageError):
    """The format is accepted, but the content cannot be decoded."""


class AnswerTooLarge(ValueError):
    """The image or its class map is too large for the requested form of answer."""


class WrongParameter(ValueError):
    """The image, the network or the form of answer does not allow what a parameter asks for, or does not use it."""
