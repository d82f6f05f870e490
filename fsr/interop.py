"""Weights trained with the authors' released code, loaded into the components of this package."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from fsr._core.checks import check_dense
from fsr.aggregation import MaskedCrossAttentionAggregator
from fsr.backbone import adapt_prefix_tokens, final_norm_name
from fsr.segmenter import SingleStageSegmenter

# Released name -> ours, the first that fits; the left side is how a name starts.
NAMES = (
    ("encoder.cls_blocks.", "aggregator.blocks."),
    ("encoder.cls_token", "aggregator.class_token"),
    ("encoder.mask_token", "backbone.mask_token"),
    ("encoder.norm.", "backbone.norm."),
    ("encoder.", "backbone.model."),
    ("top_classifier.", "classifier."),
    ("aux_classifier.", "aux_classifier."),
    ("decoder.conv6.", "decoder.conv1."),
    ("decoder.conv7.", "decoder.conv2."),
    ("decoder.conv8.", "decoder.classifier."),
    ("projector.mlp.", "projector.mlp."),
    ("projector.last_layer.weight_g", "projector.prototypes.parametrizations.weight.original0"),
    ("projector.last_layer.weight_v", "projector.prototypes.parametrizations.weight.original1"),
)
# Wrappers, and the places at which the released network holds its aggregation blocks.
BLOCK_PREFIXES = ("module.", "w.", "encoder.", "cls_blocks.")


def load_reference_state_dict(
    model: SingleStageSegmenter, state_dict: Mapping[str, Tensor]
) -> None:
    """Load a student or teacher that the released code trained.

    The released ViT has no class token inside, so the model needs
    ``backbone_options={"class_token": False, "global_pool": ""}``, and its aggregator sees masked
    tokens: give ``aggregator=MaskedCrossAttentionAggregator(D, num_heads=..., masking="ignore")``
    for the same outputs. Position embeddings are interpolated to the model's grid. The released
    code normalises images with ImageNet's mean and deviation whatever the weights.

    Args:
        model: a segmenter of the same sizes, with the default projector and decoder.
        state_dict: released names and tensors, with or without the ``module.`` of DDP; read a file
            with ``torch.load(path, weights_only=True)``.

    Raises:
        TypeError: ``model`` is no segmenter or ``state_dict`` no mapping of tensors.
        ValueError: the model has prefix tokens, or names or shapes do not fit; all that are
            missing, unexpected or of another shape are named and nothing is loaded.

    Source:
        Jessie459/feature-self-reinforcement at 7f75f1c, the code released with the paper.

    Example:
        >>> import torch
        >>> form = {"class_token": False, "global_pool": "", "depth": 3, "embed_dim": 192}
        >>> model = SingleStageSegmenter(
        ...     2, "vit_tiny_patch16_224", image_size=32, projection_dim=8, backbone_options=form)
        >>> load_reference_state_dict(model, {"top_classifier.weight": torch.zeros(2, 192, 1, 1)})
        Traceback (most recent call last):
        ...
        ValueError: state_dict: does not fit the model; missing: aggregator.blocks.0.attn.k.bias...
    """
    if not isinstance(model, SingleStageSegmenter):
        raise TypeError(f"model: expected a SingleStageSegmenter, got {type(model).__name__}")
    vit: Any = model.backbone.model
    if vit.num_prefix_tokens:
        raise ValueError(
            f"model: expected a backbone without prefix tokens, as the released one, got "
            f'{vit.num_prefix_tokens}; build it with backbone_options={{"class_token": False, '
            f'"global_pool": ""}}'
        )
    state, unknown = {}, []
    for released, value in _tensors(state_dict).items():
        name = _own_name(released.removeprefix("module."), final_norm_name(vit))
        if name is None:
            unknown.append(released)
        else:
            state[name] = value
    if "backbone.mask_token" in state:
        state["backbone.mask_token"] = state["backbone.mask_token"].reshape(1, 1, -1)
    positions = state.get("backbone.model.pos_embed")
    if positions is not None and positions.ndim == 3:
        # Position 0 belongs to a class token that the released encoder never adds it to.
        patches = {"pos_embed": positions[:, 1:]}
        own = adapt_prefix_tokens(vit, patches, "state_dict: encoder.pos_embed")
        state["backbone.model.pos_embed"] = own["pos_embed"]
    _load(model, state, unknown, "model")


def load_reference_aggregator(
    aggregator: MaskedCrossAttentionAggregator,
    state_dict: Mapping[str, Tensor],
    *,
    class_token: Tensor,
) -> None:
    """Load the aggregation blocks of the released code alone.

    Args:
        aggregator: aggregator of the same width, depth and head count.
        state_dict: ``{i}.norm1.weight``, ``{i}.attn.q.weight`` and so on, i the number of the
            block; also with ``cls_blocks.``, ``encoder.cls_blocks.`` or ``module.`` in front.
        class_token: the encoder's ``cls_token``, D values in any shape.

    Raises:
        TypeError: ``aggregator`` is no such aggregator, ``state_dict`` no mapping of tensors, or
            ``class_token`` no tensor.
        ValueError: names or shapes do not fit; all are named and nothing is loaded.

    Source:
        Jessie459/feature-self-reinforcement at 7f75f1c, the code released with the paper.

    Example:
        >>> import torch
        >>> aggregator = MaskedCrossAttentionAggregator(8, depth=1, num_heads=2)
        >>> released = {name.removeprefix("blocks."): torch.zeros_like(value)
        ...             for name, value in aggregator.state_dict().items() if "blocks" in name}
        >>> load_reference_aggregator(aggregator, released, class_token=torch.ones(1, 1, 8))
        >>> aggregator(torch.rand(1, 5, 8))
        tensor([[1., 1., 1., 1., 1., 1., 1., 1.]], grad_fn=...)
    """
    if not isinstance(aggregator, MaskedCrossAttentionAggregator):
        raise TypeError(
            "aggregator: expected a MaskedCrossAttentionAggregator, "
            f"got {type(aggregator).__name__}"
        )
    check_dense("class_token", class_token)
    state = {"class_token": class_token.reshape(1, 1, -1)}
    for released, value in _tensors(state_dict).items():
        name = released
        for prefix in BLOCK_PREFIXES:
            name = name.removeprefix(prefix)
        state[f"blocks.{name}"] = value
    _load(aggregator, state, [], "aggregator")


def _own_name(released: str, final_norm: str) -> str | None:
    """Translate a released name, or return None."""
    for start, own in NAMES:
        if released.startswith(start):
            own = own.replace("backbone.norm.", f"backbone.model.{final_norm}.")
            return own + released.removeprefix(start)
    return None


def _tensors(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the state as a dictionary, or raise unless it maps names to tensors."""
    if not isinstance(state_dict, Mapping):
        raise TypeError(f"state_dict: expected a mapping, got {type(state_dict).__name__}")
    for name, value in state_dict.items():
        if not isinstance(value, Tensor):
            raise TypeError(f"state_dict[{name!r}]: expected a tensor, got {type(value).__name__}")
    return dict(state_dict)


def _load(module: nn.Module, state: dict[str, Tensor], unknown: list[str], kind: str) -> None:
    """Load a translated state, or name everything that does not fit."""
    expected = module.state_dict()
    missing = sorted(expected.keys() - state.keys())
    unexpected = sorted([*unknown, *(state.keys() - expected.keys())])
    misshapen = sorted(
        f"{name} {tuple(value.shape)} for {tuple(expected[name].shape)}"
        for name, value in state.items()
        if name in expected and value.shape != expected[name].shape
    )
    if missing or unexpected or misshapen:
        parts = {"missing": missing, "unexpected": unexpected, "of another shape": misshapen}
        listed = "; ".join(f"{what}: {', '.join(names)}" for what, names in parts.items() if names)
        raise ValueError(f"state_dict: does not fit the {kind}; {listed}")
    module.load_state_dict(state)
