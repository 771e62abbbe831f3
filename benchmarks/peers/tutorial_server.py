"""The network as tutorials serve one: FastAPI, a global float32 model, one image at a time in the handler.

After FastAPI's tutorial "Request Files" (`UploadFile`, `await file.read()`, form field `file`) and PyTorch's FCN-ResNet
page on PyTorch Hub (transforms, whole image through the model under `no_grad`, `argmax`, `resize`, `putpalette`). Threads
are PyTorch's default: all cores for each image. An image is worked on at the size that the weights advise.
"""

from __future__ import annotations

import io

import numpy as np
import torch
import uvicorn
from fastapi import FastAPI, Response, UploadFile
from PIL import Image
from torchvision import transforms
from torchvision.transforms import functional

from benchmarks.peers.predictor import port
from model.scaling import working_size
from model.weights_file import DEFAULT_WEIGHTS, find_weights, load_weights

app = FastAPI()

weights = load_weights(find_weights(DEFAULT_WEIGHTS))
preprocessing = weights.manifest.preprocessing
model = weights.network().float().eval()
preprocess = transforms.Compose([transforms.ToTensor(), transforms.Normalize(preprocessing.mean, preprocessing.std)])
palette = np.asarray(weights.manifest.labels.palette, np.uint8).tobytes()


@app.post("/segment")
async def segment(file: UploadFile) -> Response:
    image = Image.open(io.BytesIO(await file.read())).convert("RGB")
    size = working_size((image.height, image.width), "auto", preprocessing.side)
    batch = preprocess(functional.resize(image, list(size))).unsqueeze(0)
    with torch.no_grad():
        output = model(batch)[0]
    mask = Image.fromarray(output.argmax(0).byte().numpy()).resize(image.size, Image.Resampling.NEAREST)
    mask.putpalette(palette)
    buffer = io.BytesIO()
    mask.save(buffer, "PNG")
    return Response(buffer.getvalue(), media_type="image/png")


def main() -> None:
    """Serves until SIGTERM."""
    uvicorn.run(app, host="127.0.0.1", port=port(), log_level="warning")


if __name__ == "__main__":
    main()
