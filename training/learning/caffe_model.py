"""Reads the tensors of a `.caffemodel` file: a protocol buffer of Caffe's `NetParameter`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from torch import Tensor

KINDS = ("weight", "bias")
FIELD = descriptor_pb2.FieldDescriptorProto
SCALARS = {"int64": FIELD.TYPE_INT64, "bytes": FIELD.TYPE_BYTES, "string": FIELD.TYPE_STRING}
# name, number and type of the fields that hold tensors, from Caffe's caffe.proto; a star: the field repeats. `layers` are the
# layers of older files. Packed numbers are read as bytes, which NumPy takes as they are.
MESSAGES = {
    "BlobShape": [("dim", 1, "int64*")],
    "BlobProto": [
        ("num", 1, "int64"), ("channels", 2, "int64"), ("height", 3, "int64"), ("width", 4, "int64"),
        ("data", 5, "bytes"), ("shape", 7, "BlobShape"), ("double_data", 8, "bytes"),
    ],
    "LayerParameter": [("name", 1, "string"), ("blobs", 7, "BlobProto*")],
    "V1LayerParameter": [("name", 4, "string"), ("blobs", 6, "BlobProto*")],
    "NetParameter": [("layers", 2, "V1LayerParameter*"), ("layer", 100, "LayerParameter*")],
}  # fmt: skip


def parse_caffe_model(path: Path, data: bytes) -> dict[str, Tensor]:
    """The weights and biases of a Caffe network by name, such as `conv1_1.weight`, in the shapes of the file.

    path: where the file's bytes were read.

    Raises `ValueError` naming a file that is damaged or holds no tensors.
    """
    net = _message_class("NetParameter")()
    try:
        net.ParseFromString(data)
        tensors = {
            f"{layer.name}.{kind}": _tensor(blob)
            for layer in (*net.layers, *net.layer)
            for kind, blob in zip(KINDS, layer.blobs, strict=False)
        }
    except (DecodeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path} is not a file of Caffe, or is damaged: {error}") from error
    if not tensors:
        raise ValueError(
            f"{path} holds no tensors of Caffe's layers; give the .caffemodel file of a network, not its .prototxt"
        )
    return tensors


def _tensor(blob: Any) -> Tensor:
    """The float32 tensor of a `BlobProto`; raises `ValueError` if its numbers do not fill its shape."""
    numbers = np.frombuffer(blob.data or blob.double_data, "<f4" if blob.data else "<f8").astype(np.float32)
    four_axes = (blob.num, blob.channels, blob.height, blob.width)
    shape = tuple(blob.shape.dim) if blob.HasField("shape") else four_axes
    return torch.from_numpy(numbers.reshape(shape))


def _message_class(name: str) -> Any:
    """The class of a message of `MESSAGES`."""
    file = descriptor_pb2.FileDescriptorProto(name="caffe_tensors.proto", package="caffe", syntax="proto2")
    for message_name, fields in MESSAGES.items():
        message = file.message_type.add(name=message_name)
        for field_name, number, kind in fields:
            scalar = SCALARS.get(kind.rstrip("*"), FIELD.TYPE_MESSAGE)
            label = FIELD.LABEL_REPEATED if kind.endswith("*") else FIELD.LABEL_OPTIONAL
            field = message.field.add(name=field_name, number=number, type=scalar, label=label)
            if scalar == FIELD.TYPE_MESSAGE:
                field.type_name = f".caffe.{kind.rstrip('*')}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"caffe.{name}"))
