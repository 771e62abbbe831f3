"""Folds batch normalisation into the preceding convolutions. The network computes the same with fewer operations."""

from __future__ import annotations

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from model.networks.timm_backbone import TimmBackbone


def fold_batch_norm(net: nn.Module) -> None:
    """Folds each batch norm into the convolution directly before it in the same parent module.

    Changes the network in place; the batch norm becomes an identity. The network must be in evaluation mode. Encoders of timm
    stay as they are: their batch norms hold activations, and their modules need not run in the order of their names.
    """
    foreign = {id(module) for each in net.modules() if isinstance(each, TimmBackbone) for module in each.modules()}
    for parent in net.modules():
        if id(parent) in foreign:
            continue
        previous: tuple[str, nn.Module] | None = None
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm2d) and previous and isinstance(previous[1], nn.Conv2d):
                setattr(parent, previous[0], fuse_conv_bn_eval(previous[1], child))
                setattr(parent, name, nn.Identity())
            previous = name, child
