"""Computes the running statistics of batch normalization anew, from images that pass through the network."""

import copy
from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from models.network import Network


def has_batch_norm(network: Network) -> bool:
    """Whether any layer has running statistics."""
    return any(isinstance(module, _BatchNorm) for module in network.modules())


def with_statistics_of(images: Iterable[Tensor], network: Network) -> Network:
    """The network with other running statistics, those of these images, in evaluation mode.

    It shares its parameters with `network` and has separate buffers and modes: whatever changes the weights
    of one changes the other's.

    images: uint8 (B, C, H, W), on the network's device, at least one batch. Each statistic is the plain mean
    over the batches: mean and unbiased variance of each channel in training mode, each layer fed by the ones
    before it as normalized with the batch's own statistics. The idea is that of
    torch.optim.swa_utils.update_bn, which puts the whole network into training mode: its dropout would draw
    random numbers here and change what comes after it. Here every other layer is in evaluation mode, the
    linear layers behind the image's features are not computed, and `network` is left as it is.
    """
    shared = {id(parameter): parameter for parameter in network.parameters()}
    network = copy.deepcopy(network, shared).eval()
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's word for the plain mean over all batches
        norm.train()
    with torch.no_grad():
        for image in images:
            network.picture(network.normalize(image))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return network.eval()
