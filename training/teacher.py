"""The frozen network that a student must not drift from."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from model.fcn import FCN


class Teacher:
    """Mean class probabilities of a frozen network over scales and left-right flips of its input."""

    def __init__(self, net: FCN, scales: tuple[float, ...]) -> None:
        self.net = net.eval().requires_grad_(False)
        self.scales = scales

    @torch.no_grad()
    def log_probabilities(self, images: Tensor) -> Tensor:
        """Log of the mean probabilities (N, C, H, W) for normalised images (N, 3, H, W)."""
        height, width = images.shape[-2:]
        total = torch.zeros(())
        for scale in self.scales:
            scaled = F.interpolate(images, size=(round(height * scale), round(width * scale)), mode="bilinear")
            for flip in (False, True):
                logits = self.net(scaled.flip(3) if flip else scaled)
                logits = F.interpolate(logits, size=(height, width), mode="bilinear")
                total = total.to(logits) + (logits.flip(3) if flip else logits).softmax(1)
        return (total / (2 * len(self.scales))).clamp(min=1e-8).log()
