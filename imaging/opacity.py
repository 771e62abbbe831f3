"""Tells opacity from other samples, such as near infrared, in a band that a file calls opacity."""

MOST_BETWEEN = 0.1  # of all pixels, at soft edges


def is_opacity(between: int, full: int, pixels: int) -> bool:
    """Whether the values of a band are 0 and the fullest one nearly everywhere, as opacity is.

    between: the number of pixels with another value. full: those with the fullest. pixels: all.
    """
    return between <= min(MOST_BETWEEN * pixels, full)
