"""Pretrained weights: read safely, brought to the prefix tokens and grid of the model."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import timm
from timm.layers.patch_embed import resample_patch_embed
from timm.models import adapt_input_conv
from torch import Tensor, nn

from fsr.backbone._hub import check_weights_at_hand
from fsr.backbone._kinds import kind_of
from fsr.backbone._prefix_tokens import PREFIX_TOKENS, adapt_prefix_tokens
from fsr.backbone._relative_positions import resize_relative_tables
from fsr.backbone._weights_file import read_state_dict

# What a checkpoint holds for its former task and a dense backbone has no use for.
HEADS = ("head.", "head_dist.", "attn_pool.", "pre_logits.")
# Modules that register the supported models.
FAMILIES = ("vision_transformer", "deit", "eva", "beit", "scenes_encoder")
# Options that decide prefix tokens and the place of the final norm, not the weights of the blocks.
FORM = (
    "class_token",
    "reg_tokens",
    "num_reg_tokens",
    "no_embed_class",
    "global_pool",
    "fc_norm",
    "use_fc_norm",
)


def load_pretrained(
    model: Any, name: str, source: str | Path | bool, options: Mapping[str, Any]
) -> None:
    """Load weights into an encoder whose input size and prefix tokens may differ from theirs.

    Args:
        model: the network, built as wanted.
        name: its timm name, with or without a tag.
        source: True for timm's weights, or the path of a checkpoint.
        options: options that the model was built with.

    Raises:
        ConnectionError: timm's weights are not here and the hub cannot be reached.
        FileNotFoundError: there is no file at the path.
        ValueError: timm has no weights of that name, or the file does not hold weights of this
            architecture or would run code when read.
    """
    # timm resizes position embeddings by the number of prefix tokens of the model, not of the
    # checkpoint, so its weights are first loaded into the form they were made in.
    plain = {key: value for key, value in options.items() if key not in FORM}
    if isinstance(source, bool):
        if not timm.is_model_pretrained(name):
            raise ValueError(f"pretrained: timm has no weights for {name!r}")
        overlay = plain.get("pretrained_cfg_overlay") or {}
        if not overlay.get("file"):  # else timm reads that file
            check_weights_at_hand(name)
        origin = f"pretrained: timm's weights of {name!r}"
        state = timm.create_model(name, pretrained=True, num_classes=0, **plain).state_dict()
    else:
        origin = f"pretrained: {str(source)!r}"
        state = read_state_dict(Path(source), _core(model.state_dict()))
        if _core(state) != _core(model.state_dict()):
            original: Any = timm.create_model(name, num_classes=0, **plain)
            state = _translated(state, original)
    load_adapted(model, state, origin)


def load_adapted(model: Any, state: Mapping[str, Tensor], origin: str) -> None:
    """Load a state with timm's names strictly, heads apart, adapted to the model's form."""
    expected = model.state_dict()
    state = {key: value for key, value in state.items() if not key.startswith(HEADS)}
    # What the model has for such a task, attention pooling for one, goes after loading.
    state |= {key: value for key, value in expected.items() if key.startswith(HEADS)}
    for key in [key for key in state if key.startswith(("norm.", "fc_norm."))]:
        place, _, leaf = key.partition(".")
        other = f"{'fc_norm' if place == 'norm' else 'norm'}.{leaf}"
        if key not in expected and other in expected:
            state[other] = state.pop(key)
    kernel = state.get("patch_embed.proj.weight")
    if kernel is not None and kernel.ndim == 4 and "patch_embed.proj.weight" in expected:
        size = list(expected["patch_embed.proj.weight"].shape[-2:])
        kernel = resample_patch_embed(kernel, size)
        # As timm does with its own weights: those of the colours are shared out among the bands.
        bands = int(expected["patch_embed.proj.weight"].shape[1])
        if kernel.shape[1] == 3 != bands:
            kernel = adapt_input_conv(bands, kernel)
        state["patch_embed.proj.weight"] = kernel
    state = resize_relative_tables(model, adapt_prefix_tokens(model, state, origin))
    load_exactly(model, state, origin)


def load_exactly(model: nn.Module, state: Mapping[str, Tensor], origin: str) -> None:
    """Load a state whose names and shapes are the model's, or raise with those that differ."""
    expected = model.state_dict()
    missing = sorted(expected.keys() - state.keys())
    unexpected = sorted(state.keys() - expected.keys())
    misshapen = [
        f"{key} {tuple(value.shape)} for {tuple(expected[key].shape)}"
        for key, value in state.items()
        if key in expected and value.shape != expected[key].shape
    ]
    if missing or unexpected or misshapen:
        raise ValueError(
            f"{origin} does not fit the backbone; "
            f"missing: {_few(missing)}; unexpected: {_few(unexpected)}; "
            f"of another shape: {_few(misshapen)}"
        )
    model.load_state_dict(state)


def check_timm_name(name: str) -> None:
    """Raise ``ValueError`` with the nearest name unless timm has a model of this name."""
    if timm.is_model(name):
        return
    names = [each for family in FAMILIES for each in timm.list_models(module=family)]
    near = difflib.get_close_matches(name, names, n=1)
    near = near or difflib.get_close_matches(name, timm.list_models(), n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    raise ValueError(f"backbone: expected the name of a timm model, got {name!r}{hint}")


def final_norm_name(model: nn.Module) -> str:
    """Return where a ViT keeps its final norm: ``norm``, or ``fc_norm`` if that is an identity."""
    return "fc_norm" if isinstance(model.norm, nn.Identity) else "norm"


def _core(names: Iterable[str]) -> set[str]:
    """Return the names that every form of a ViT has in common."""
    apart = (*HEADS, *PREFIX_TOKENS, "norm.", "fc_norm.", "pos_embed")
    return {name for name in names if not name.startswith(apart)}


def _translated(state: dict[str, Tensor], original: Any) -> dict[str, Tensor]:
    """Return a state of other code, such as DINOv2's, under timm's names; else as it is."""
    try:
        translated = kind_of(original).translate(dict(state), original)
    except Exception:  # A foreign file may fail timm anywhere; the check that follows names it.
        return state
    return translated if _core(translated) == _core(original.state_dict()) else state


def _few(names: list[str], limit: int = 5) -> str:
    """Spell the first few names of a list."""
    rest = f" and {len(names) - limit} more" if len(names) > limit else ""
    return (", ".join(names[:limit]) or "none") + rest
