"""timm's networks of feature maps by name, and their weights."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor

from fsr.backbone._build import cannot_build, check_options, checked_size
from fsr.backbone._hub import check_weights_at_hand
from fsr.backbone._pretrained import check_timm_name, load_exactly
from fsr.backbone._weights_file import read_state_dict
from fsr.backbone._window_tables import fit_window_tables, keep_trained_offsets

# Options of the networks that are built for one image size, tried from the most to the least.
SIZES: tuple[tuple[str, ...], ...] = (("img_size", "strict_img_size"), ("img_size",), ())


def build_features(name: str, image_size: int | tuple[int, int], options: Mapping[str, Any]) -> Any:
    """Build one of timm's networks by name, so that it returns the map of every stage.

    Args:
        name: its timm name, with or without a tag.
        image_size: input size, for networks that are built for one.
        options: options of ``timm.create_model``.

    Raises:
        ValueError: the name is unknown, or timm cannot build it so.
    """
    check_timm_name(name)
    check_options(options)
    sizes: dict[str, Any] = {"img_size": checked_size(image_size), "strict_img_size": False}
    for keys in SIZES:
        chosen = {key: sizes[key] for key in keys}
        try:
            network = timm.create_model(name, features_only=True, **chosen, **options)
            break
        except TypeError as error:  # No such option.
            fault: Exception = error
        except (AssertionError, AttributeError, RuntimeError, ValueError) as error:
            raise cannot_build(name, options, error) from error
    else:
        raise cannot_build(name, options, fault) from fault
    if any(hasattr(module, "pretrained_window_size") for module in network.modules()):
        keep_trained_offsets(network, _form(name, features_only=True, **options))
    return network


def load_features(
    network: Any, name: str, source: str | Path | bool, options: Mapping[str, Any]
) -> None:
    """Load weights of the whole network into its stages, tables of offsets cut to their windows.

    Args:
        network: the stages, from :func:`build_features`.
        name: its timm name, with or without a tag.
        source: True for timm's weights, or the path of a checkpoint under timm's names.
        options: options that it was built with.

    Raises:
        ConnectionError: timm's weights are not here and the hub cannot be reached.
        FileNotFoundError: there is no file at the path.
        ValueError: timm has no weights of that name, or they do not fit.
    """
    if isinstance(source, bool):
        if not timm.is_model_pretrained(name):
            raise ValueError(f"pretrained: timm has no weights for {name!r}")
        if not (options.get("pretrained_cfg_overlay") or {}).get("file"):
            check_weights_at_hand(name)
        loaded = timm.create_model(name, pretrained=True, features_only=True, **options)
        origin, state = f"pretrained: timm's weights of {name!r}", loaded.state_dict()
    else:
        origin = f"pretrained: {str(source)!r}"
        whole = _whole(name, options)
        state = stage_names(network.state_dict(), read_state_dict(Path(source), whole), whole)
    load_exactly(network, fit_window_tables(network, state), origin)


def stage_names(
    expected: Collection[str], state: Mapping[str, Tensor], whole: Collection[str]
) -> dict[str, Tensor]:
    """Bring a state of a whole network to the names of its stages; what only it has goes.

    timm flattens the outermost sequences of a network of stages: ``stages.0.`` is ``stages_0.``;
    of other networks it hands out maps through a wrapper that has the network as its ``model``.

    Args:
        expected: names of the stages.
        state: weights under the names of the whole network, or of the stages already.
        whole: names of the whole network.

    Example:
        >>> state = {"stages.0.weight": 1, "head.fc.weight": 2, "extra": 3}
        >>> stage_names(["stages_0.weight"], state, ["stages.0.weight", "head.fc.weight"])
        {'stages_0.weight': 1, 'extra': 3}
    """
    result: dict[str, Tensor] = {}
    for key, value in state.items():
        forms = (key, key.replace(".", "_", 1), f"model.{key}")
        name = next((form for form in forms if form in expected), key)
        if name in expected or key not in whole:
            result[name] = value
    return result


def _whole(name: str, options: Mapping[str, Any]) -> Collection[str]:
    """Return the names of the weights of a whole network, its head included."""
    kept = {key: value for key, value in options.items() if key != "out_indices"}
    names: Collection[str] = _form(name, **kept).state_dict().keys()
    return names


def _form(name: str, **options: Any) -> Any:
    """Return a network for the size that timm builds by default, without values where it can be."""
    try:
        with torch.device("meta"):
            return timm.create_model(name, **options)
    except (NotImplementedError, RuntimeError):  # Not every model can be built without memory.
        return timm.create_model(name, **options)
