"""Regional compilation: an encoder's blocks are compiled, and once for all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from timm.layers import DropPath
from torch import Tensor, nn

from fsr._core.arguments import check_module
from fsr._core.module import TypedModule
from fsr.backbone._vit import ViTBackbone


def compile_blocks(model: nn.Module, **options: Any) -> None:
    """Compile the blocks of every transformer encoder within a network, in place.

    Blocks run the same code, so that a block compiled is all of them compiled: the first step is
    delayed by one block's compilation for each way in which it is called (with gradient or
    without, in training or evaluation, in another type), not by the network's. What lies between
    them, such as reading a block's output, stays as it is. Names of weights and files do not
    change. A copy of the network, such as a teacher made later, is not compiled.

    Stochastic depth stays out of the compiled code, as its rate differs from block to block and
    would have each compiled apart; it draws the same numbers as before. Compiled blocks have these
    breaks in them, so the option ``fullgraph`` is of no use. Ways beyond the eighth
    (``torch._dynamo.config.recompile_limit``), as of images of many sizes, run as they were.

    Args:
        model: a :class:`ViTBackbone`, or a module that holds some.
        options: options of ``torch.compile``, such as ``mode="max-autotune-no-cudagraphs"``.

    Raises:
        TypeError: ``model`` is no module.
        ValueError: there is no :class:`ViTBackbone` in it.

    Example:
        >>> small = {"embed_dim": 32, "depth": 2, "num_heads": 2}
        >>> backbone = ViTBackbone("vit_tiny_patch16_224", image_size=32, options=small)
        >>> compile_blocks(backbone, backend="eager")
        >>> backbone(torch.zeros(1, 3, 32, 32)).tokens.shape
        torch.Size([1, 4, 32])
    """
    check_module("model", model)
    encoders = [module for module in model.modules() if isinstance(module, ViTBackbone)]
    if not encoders:
        raise ValueError(
            "model: expected a transformer encoder (ViTBackbone) in it, whose blocks can be "
            f"compiled, got {type(model).__name__} without"
        )
    for encoder in encoders:
        blocks = list(encoder.model.blocks)
        # The first block's rate is 0, and its module another: all are put apart or none.
        parts = [block.named_children() for block in blocks]
        apart = {name for named in parts for name, part in named if isinstance(part, DropPath)}
        for block in blocks:
            for name in apart:
                setattr(block, name, _Apart(block.get_submodule(name)))
            block.compile(**options)


class _Apart(TypedModule):
    """A module without weights that compiled code calls and does not look into."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, tokens: Tensor) -> Tensor:
        """Return what the module returns."""
        return _not_compiled(self.inner, tokens)


def _call(module: nn.Module, tokens: Tensor) -> Tensor:
    result: Tensor = module(tokens)
    return result


_not_compiled: Callable[[nn.Module, Tensor], Tensor] = torch.compiler.disable(_call)
