"""Small seeded networks of `transformers` that classify masks, and that library's own classes of a photo."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from common.arrays import Integers, Pixels
from tests.support.images import make_photo
from tests.support.training.conversions import imagenet_pixels

SIDE = 384  # pixels: Mask2Former's own post-processing enlarges masks to this size, whatever the network's
CLASSES = 5
SWIN: dict[str, Any] = {
    "image_size": SIDE,
    "embed_dim": 24,
    "depths": [1, 1, 1, 1],
    "num_heads": [1, 2, 2, 4],
    "out_features": ["stage1", "stage2", "stage3", "stage4"],
}
DECODER: dict[str, Any] = {"hidden_dim": 32, "encoder_layers": 1, "num_attention_heads": 2, "num_queries": 20}


def mask2former() -> torch.nn.Module:
    from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, SwinConfig

    sizes = {"feature_size": 32, "mask_feature_size": 32, "encoder_feedforward_dim": 64, "dim_feedforward": 64}
    config = Mask2FormerConfig(backbone_config=SwinConfig(**SWIN), decoder_layers=2, num_labels=CLASSES, **DECODER, **sizes)
    return Mask2FormerForUniversalSegmentation(config)


def maskformer() -> torch.nn.Module:
    from transformers import DetrConfig, MaskFormerConfig, MaskFormerForInstanceSegmentation, SwinConfig

    layers = {
        f"{part}_{name}": size for part in ("encoder", "decoder") for name, size in (("layers", 1), ("attention_heads", 2))
    }
    decoder = DetrConfig(d_model=32, encoder_ffn_dim=64, decoder_ffn_dim=64, num_queries=20, **layers)
    sizes = {"fpn_feature_size": 32, "mask_feature_size": 32}
    config = MaskFormerConfig(backbone_config=SwinConfig(**SWIN), decoder_config=decoder, num_labels=CLASSES, **sizes)
    return MaskFormerForInstanceSegmentation(config)


def oneformer() -> torch.nn.Module:
    """Of one task, whose words the file holds, as ids."""
    from transformers import OneFormerConfig, OneFormerForUniversalSegmentation, SwinConfig

    class OneTask(OneFormerForUniversalSegmentation):
        def forward(self, pixel_values: torch.Tensor) -> Any:
            task = torch.arange(77)[None] * 101 % 49_000
            return super().forward(pixel_values, task)

    sizes = {"conv_dim": 32, "mask_dim": 32, "encoder_feedforward_dim": 64, "dim_feedforward": 64, "text_encoder_width": 32}
    layers = {"decoder_layers": 2, "query_dec_layers": 1, "text_encoder_num_layers": 1}
    return OneTask(OneFormerConfig(backbone_config=SwinConfig(**SWIN), num_labels=CLASSES, **DECODER, **sizes, **layers))


def eomt() -> torch.nn.Module:
    from transformers import EomtConfig, EomtForUniversalSegmentation

    sizes = {"hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 2, "num_blocks": 1, "mlp_ratio": 2}
    return EomtForUniversalSegmentation(EomtConfig(image_size=SIDE, num_queries=20, num_labels=CLASSES, **sizes))


NETWORKS: dict[str, Callable[[], torch.nn.Module]] = {
    "mask2former": mask2former,
    "maskformer": maskformer,
    "oneformer": oneformer,
    "eomt": eomt,
}


def query_network(name: str) -> torch.nn.Module:
    """A network with seeded weights that are large enough for sharp masks, and whose queries are of several classes."""
    torch.manual_seed(0)
    network = NETWORKS[name]().eval()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 1.5 / parameter[0].numel() ** 0.5)
        scores = network(torch.from_numpy(imagenet_pixels(make_photo(SIDE, SIDE)))).class_queries_logits[0]
        factor = 4 / (scores - scores.mean(0)).std()
        head = getattr(network, "class_predictor", None) or network.get_submodule(
            "model.transformer_module.decoder.class_embed"
        )
        assert isinstance(head, torch.nn.Linear)
        head.bias.copy_((head.bias - scores.mean(0)) * factor)
        head.weight.mul_(factor)
    return network


def library_classes(name: str, network: torch.nn.Module, photo: Pixels) -> Integers:
    """The classes (height, width) of a photo of the network's size, by the library's `post_process_semantic_segmentation`."""
    from transformers import EomtImageProcessor, Mask2FormerImageProcessor, MaskFormerImageProcessor, OneFormerImageProcessor

    processors = {
        "mask2former": Mask2FormerImageProcessor(),
        "maskformer": MaskFormerImageProcessor(),
        "oneformer": OneFormerImageProcessor(),
        "eomt": EomtImageProcessor(size={"shortest_edge": SIDE, "longest_edge": SIDE}),
    }
    with torch.inference_mode():
        output = network(torch.from_numpy(imagenet_pixels(photo)))
    output.patch_offsets = None  # of photos that EoMT's processor has cut into pieces
    (classes,) = processors[name].post_process_semantic_segmentation(output, target_sizes=[photo.shape[:2]])
    result: Integers = classes.numpy()
    return result
