"""What encoders offer, as data, so that a bad combination is refused when it is put together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from fsr._core.checks import check_choice

# Each with what it is, for messages and documentation.
OFFERS = {
    "mask_token": "a mask token",
    "blocks": "tokens of every block, all of one width",
    "prefix_tokens": "some token before the patches",
    "class_token": "a class token",
    "class_tokens": "one class token per class",
    "distillation_token": "a distillation token",
    "register_token": "register tokens",
    "attention": "attention of every block",
    "stages": "feature maps of several strides",
}


def offers_of(
    prefix_names: Sequence[str], *, attention: bool, per_class: bool = False
) -> frozenset[str]:
    """Return what a transformer offers by its prefix tokens and whether its attention can be had.

    Several class tokens stand for a class each, and none of them for the whole image.

    Args:
        prefix_names: what each prefix token is.
        attention: whether every block's attention can be formed.
        per_class: whether the class tokens are one per class.

    Example:
        >>> sorted(offers_of(["class"], attention=False))
        ['blocks', 'class_token', 'mask_token', 'prefix_tokens']
    """
    found = {"mask_token", "blocks", *(f"{name}_token" for name in prefix_names)}
    found |= {"class_tokens"} if per_class else set()
    found -= {"class_token"} if list(prefix_names).count("class") > 1 else set()
    found |= {"prefix_tokens"} if prefix_names else set()
    found |= {"attention"} if attention else set()
    return frozenset(found)


def check_offers(encoder: Any, needs: Iterable[str], name: str = "backbone") -> None:
    """Raise unless an encoder offers all that a method needs.

    What may be needed: ``"mask_token"``, ``"blocks"`` (tokens of every block, of one width),
    ``"prefix_tokens"`` (any), ``"class_token"``, ``"class_tokens"`` (one per class),
    ``"distillation_token"``, ``"register_token"``, ``"attention"`` of every block, ``"stages"``
    (feature maps of several strides).

    Args:
        encoder: a :class:`ViTBackbone` or :class:`FeatureBackbone`.
        needs: what is needed.
        name: who needs it, for the message.

    Raises:
        ValueError: it lacks something, or there is no such thing to need.

    Example:
        >>> from fsr.backbone import ViTBackbone
        >>> encoder = ViTBackbone("fsr_scenes_tiny", image_size=96)
        >>> check_offers(encoder, ["attention", "mask_token"])
        >>> check_offers(encoder, ["class_token"], "toco")
        Traceback (most recent call last):
        ValueError: toco: needs a class token (class_token), which VisionTransformer does not \
offer; it offers attention, blocks, mask_token
    """
    if not hasattr(encoder, "offers"):
        raise TypeError(
            f"encoder: expected a backbone of this package, got {type(encoder).__name__}"
        )
    if not isinstance(needs, Iterable):
        raise TypeError(f"needs: expected names in a sequence, got {type(needs).__name__}")
    lacking = []
    for need in needs:
        check_choice("needs", need, tuple(OFFERS))
        if need not in encoder.offers:
            lacking.append(f"{OFFERS[need]} ({need})")
    if lacking:
        raise ValueError(
            f"{name}: needs {', '.join(lacking)}, which {encoder.description} does not offer; "
            f"it offers {', '.join(sorted(encoder.offers))}"
        )
