"""What the headers of image files say, checked before a decoder sees them."""
