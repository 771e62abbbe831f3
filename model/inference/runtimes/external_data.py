"""Finds tensors of an ONNX file that keep their values in other files. A runtime would read any file that the model names."""

from __future__ import annotations

from collections.abc import Iterator

# the message type of each field that may contain a tensor, by the enclosing message and field number (onnx.proto3, 1.20)
MESSAGES = {
    ("model", 7): "graph",
    ("model", 25): "function",
    ("graph", 1): "node",
    ("graph", 5): "tensor",
    ("graph", 15): "sparse",
    ("function", 7): "node",
    ("node", 5): "attribute",
    ("attribute", 5): "tensor",
    ("attribute", 6): "graph",
    ("attribute", 10): "tensor",
    ("attribute", 11): "graph",
    ("attribute", 22): "sparse",
    ("attribute", 23): "sparse",
    ("sparse", 1): "tensor",
    ("sparse", 2): "tensor",
}
EXTERNAL_DATA, DATA_LOCATION = 13, 14  # fields of a tensor
VARINT, FIXED64, LENGTH_DELIMITED, FIXED32 = 0, 1, 2, 5  # wire types (protobuf.dev, "Encoding")
DEEPEST = 64  # levels of nested messages


def has_external_data(model: bytes) -> bool:
    """Whether any tensor of this ONNX model keeps its values in another file; raises `ValueError` for invalid protobuf."""
    return _has_external_data(memoryview(model), "model", 0)


def _has_external_data(message: memoryview, kind: str, depth: int) -> bool:
    if depth > DEEPEST:
        raise ValueError(f"its messages are nested more than {DEEPEST} levels deep")
    for field, value in _fields(message):
        if kind == "tensor" and (field == EXTERNAL_DATA or (field == DATA_LOCATION and value != 0)):
            return True
        inner = MESSAGES.get((kind, field))
        if inner and isinstance(value, memoryview) and _has_external_data(value, inner, depth + 1):
            return True
    return False


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """The number and value of each field: an integer, or the bytes of a length-delimited field. Skips fixed-width fields."""
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        field, wire_type = key >> 3, key & 7
        if wire_type == VARINT:
            value, position = _varint(message, position)
            yield field, value
        elif wire_type == LENGTH_DELIMITED:
            length, position = _varint(message, position)
            if position + length > len(message):
                raise ValueError("a field reaches beyond the end of the file")
            yield field, message[position : position + length]
            position += length
        elif wire_type in (FIXED32, FIXED64):
            position += 4 if wire_type == FIXED32 else 8
        else:
            raise ValueError(f"a field has the wire type {wire_type}")


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    """A variable-length integer, and the position after it."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(message):
            break
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("a number does not end")
