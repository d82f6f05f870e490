"""The heads over the encoder: what the segmenter reads from its tokens."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from operator import or_
from typing import Any, cast

from einops import rearrange
from torch import Tensor, nn

from fsr._core.checks import check_floating, check_shape
from fsr._core.numerics import like_weights
from fsr.backbone import BackboneReading, BackboneRequest
from fsr.pooling import max_pool
from fsr.projection import project_tokens
from fsr.segmenter._method_head import HeadInput
from fsr.segmenter._output import HEADS, MethodOutput, SegmenterOutput

# Heads that no block after the auxiliary one is needed for, and no norm.
_EARLY = {"aux_tokens", "aux_class_logits"}


def heads_of(
    network: Any, images: Tensor, mask: Tensor | None, wanted: Mapping[str, slice]
) -> SegmenterOutput:
    """Encode images and compute the heads asked for, each for its slice of the batch.

    Args:
        network: the segmenter, of which backbone and heads are used.
        images: ``(B, 3, height, width)``.
        mask: ``(B, H, W)`` boolean, True = masked; None masks nothing.
        wanted: slice of the batch by head.
    """
    check_shape("images", images, "B channels H W", channels=network.backbone.in_chans)
    check_floating("images", images, finite=False)
    images = like_weights("images", images, network.classifier.weight)
    # Name by name: torch 2.6 compiles no difference of sets and keys.
    aux_only = all(name in _EARLY and name not in network.heads for name in wanted)
    requests = [network.heads[name].request for name in _needed(network, wanted)]
    request = reduce(or_, requests, BackboneRequest())
    if request == BackboneRequest():
        read = BackboneReading(
            *network.backbone(images, mask, aux_block=network.aux_block, aux_only=aux_only)
        )
    else:
        read = network.backbone.read(images, mask, request, aux_block=network.aux_block)
    tokens = read.tokens if aux_only else network.backbone.norm(read.tokens)
    heads = Heads(network, images, mask, read, request, tokens)
    made = {name: heads.get(name, part) for name, part in wanted.items()}
    standard = {name: made.pop(name, None) for name in HEADS}
    if not network.heads:
        return SegmenterOutput(**standard, grid=read.grid)
    # Not a subclass: the seven fields of plain networks can be unpacked.
    return cast(SegmenterOutput, MethodOutput(**standard, grid=read.grid, extra=made))


def _needed(network: Any, wanted: Mapping[str, slice]) -> list[str]:
    """Return the method's heads among those asked for, and those that they read in turn."""
    found = [name for name in wanted if name in network.heads]
    for name in found:
        found += [n for n in network.heads[name].reads if n in network.heads and n not in found]
    return found


class Heads:
    """The heads of one forward, each computed once for a slice of the batch.

    Args:
        network: the segmenter.
        images: ``(B, 3, height, width)``.
        mask: ``(B, H, W)`` boolean, or None.
        read: what the encoder returned.
        request: what it was asked for on top.
        tokens: patch tokens after the final norm; of a pass that stopped early before it.
    """

    def __init__(
        self,
        network: Any,
        images: Tensor,
        mask: Tensor | None,
        read: BackboneReading,
        request: BackboneRequest,
        tokens: Tensor,
    ) -> None:
        self.network, self.images, self.mask = network, images, mask
        self.read, self.request, self.tokens = read, request, tokens
        self._made: dict[tuple[Any, ...], Tensor] = {}

    def get(self, name: str, part: slice) -> Tensor:
        """Return a head for a slice of the batch."""
        key = (name, part.start, part.stop, part.step)
        if key not in self._made:
            own = name in self.network.heads
            self._made[key] = self._own(name, part) if own else self._standard(name, part)
        return self._made[key]

    def _standard(self, name: str, part: slice) -> Tensor:
        """Return a head that every segmenter has."""
        network, tokens = self.network, self.tokens
        if name == "tokens":
            return tokens[part]
        if name == "aux_tokens":
            return self.read.aux_tokens[part]
        if name == "class_logits":
            return class_logits(network.classifier, tokens[part])
        if name == "aux_class_logits":
            return class_logits(network.aux_classifier, self.read.aux_tokens[part])
        if name == "segmentation":
            return segmentation(network, tokens[part], self.read.grid)
        flat = None if self.mask is None else self.mask[part].flatten(1)
        aggregated = network.backbone.norm(network.aggregator(self.read.tokens[part], flat))
        projected: Tensor = project_tokens(aggregated, tokens[part], network.projector)
        return projected

    def _own(self, name: str, part: slice) -> Tensor:
        """Return a head of the method."""
        head = self.network.heads[name]
        read, prefix = self.read, self.read.prefix_tokens
        blocks = dict(zip(self._numbers(self.request.blocks), read.block_tokens, strict=True))
        attention = dict(zip(self._numbers(self.request.attention), read.attention, strict=True))
        asked = head.request
        output: Tensor = head(
            HeadInput(
                self.images[part],
                self.tokens[part],
                read.tokens[part],
                read.aux_tokens[part],
                read.grid,
                self.network.backbone.norm,
                prefix[part] if asked.prefix_tokens and prefix is not None else None,
                tuple(blocks[number][part] for number in self._numbers(asked.blocks)),
                tuple(attention[number][part] for number in self._numbers(asked.attention)),
                tuple(each[part] for each in read.stages) if asked.stages else (),
                self.network.classifier,
                lambda name: self.get(name, part),
            )
        )
        return output

    def _numbers(self, blocks: tuple[int, ...]) -> list[int]:
        """Return numbers of blocks, counted from 0."""
        return [block % self.network.backbone.depth for block in blocks]


def class_logits(classifier: nn.Conv2d, tokens: Tensor) -> Tensor:
    """Logits ``(B, C)`` of a 1x1 convolution on the maximum over tokens ``(B, N, D)``."""
    logits: Tensor = classifier(rearrange(max_pool(tokens), "b d -> b d 1 1"))
    return logits.flatten(1)


def segmentation(network: Any, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """Decode final tokens ``(B, N, D)`` into logits ``(B, C + 1, H, W)``."""
    # Not by einops, whose first releases take no sizes that torch.export leaves open.
    logits: Tensor = network.decoder(tokens.transpose(1, 2).unflatten(2, grid))
    check_shape("the decoder's output", logits, "B C H W", C=network.num_classes + 1)
    return logits
