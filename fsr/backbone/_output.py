"""What a pass of an encoder returns, and what may be asked of it on top."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

from torch import Tensor

from fsr._core.checks import check_choice
from fsr._core.shown import shown

AttentionForm = Literal["probabilities", "logits"]
ATTENTION_FORMS: tuple[AttentionForm, ...] = get_args(AttentionForm)


class BackboneOutput(NamedTuple):
    """Patch tokens of one pass, prefix tokens stripped.

    Attributes:
        tokens: output of the last block BEFORE the final norm, ``(B, N, D)``.
        aux_tokens: raw output of the auxiliary block, ``(B, N, D)``.
        grid: patch grid ``(H, W)``, ``H * W = N``.
    """

    tokens: Tensor
    aux_tokens: Tensor
    grid: tuple[int, int]

    def __repr__(self) -> str:
        return shown(self)


class BackboneRequest(NamedTuple):
    """What a pass returns besides its patch tokens; what is not asked for costs nothing.

    Attributes:
        prefix_tokens: the class, distillation and register tokens of the last block.
        blocks: blocks whose whole output is returned; negative numbers count from the end.
        attention: blocks whose attention is returned, likewise.
        attention_form: ``"probabilities"``: rows sum to 1, before dropout; ``"logits"``: the
            products of queries and keys alone, before scale, position bias and softmax.
        stages: whether every stage's map is returned, of an encoder of feature maps.

    Example:
        >>> BackboneRequest(attention=(-2, -1), attention_form="logits").blocks
        ()
    """

    prefix_tokens: bool = False
    blocks: tuple[int, ...] = ()
    attention: tuple[int, ...] = ()
    attention_form: AttentionForm = "probabilities"
    stages: bool = False

    def __or__(self, other: BackboneRequest) -> BackboneRequest:
        """Return what both ask for.

        Raises:
            ValueError: they ask for attention of two forms.
        """
        forms = {asked.attention_form for asked in (self, other) if asked.attention}
        if len(forms) > 1:
            raise ValueError(f"attention_form: expected one, got {sorted(forms)}")
        return BackboneRequest(
            self.prefix_tokens or other.prefix_tokens,
            tuple(dict.fromkeys((*self.blocks, *other.blocks))),
            tuple(dict.fromkeys((*self.attention, *other.attention))),
            forms.pop() if forms else "probabilities",
            self.stages or other.stages,
        )


class BackboneReading(NamedTuple):
    """Patch tokens of one pass and what was asked for; the rest is None or empty.

    T stands for all tokens of the sequence, P prefix tokens before N patches.

    Attributes:
        tokens: output of the last block BEFORE the final norm, ``(B, N, D)``.
        aux_tokens: raw output of the auxiliary block, ``(B, N, D)``.
        grid: patch grid ``(H, W)``, ``H * W = N``.
        prefix_tokens: prefix tokens of the last block BEFORE the final norm, ``(B, P, D)``, in the
            order of ``prefix_names``; the backbone's ``norm`` takes them as it takes ``tokens``.
        block_tokens: raw output ``(B, T, D)`` of each block asked for, in the order asked.
        attention: ``(B, heads, T, T)`` of each block asked for, query by key, in the order asked.
            Parallel attentions of one block stand beside each other as heads.
        stages: map ``(B, width, height, width)`` of each stage, of an encoder of feature maps.
    """

    tokens: Tensor
    aux_tokens: Tensor
    grid: tuple[int, int]
    prefix_tokens: Tensor | None = None
    block_tokens: tuple[Tensor, ...] = ()
    attention: tuple[Tensor, ...] = ()
    stages: tuple[Tensor, ...] = ()

    def __repr__(self) -> str:
        return shown(self)


def check_request(request: BackboneRequest, depth: int, depth_run: int) -> BackboneRequest:
    """Return a request with its blocks counted from 0.

    Args:
        request: what is asked for.
        depth: number of blocks.
        depth_run: number of blocks that the pass runs.

    Raises:
        TypeError: it is no request, or a block no integer.
        ValueError: there is no such block or form, or the pass stops before it.
    """
    if not isinstance(request, BackboneRequest):
        raise TypeError(f"request: expected a BackboneRequest, got {type(request).__name__}")
    check_choice("attention_form", request.attention_form, ATTENTION_FORMS)
    blocks = tuple(check_block("blocks", block, depth) for block in request.blocks)
    attention = tuple(check_block("attention", block, depth) for block in request.attention)
    for block in (*blocks, *attention):
        if block >= depth_run:
            raise ValueError(
                f"request: with aux_only the pass stops after block {depth_run - 1}, got {block}"
            )
    # Not _replace, which torch 2.6 does not compile.
    return BackboneRequest(
        request.prefix_tokens, blocks, attention, request.attention_form, request.stages
    )


def check_block(name: str, block: int, depth: int) -> int:
    """Return the index of a block, or stage, from 0; raise unless there is one."""
    if isinstance(block, bool) or not isinstance(block, int):
        raise TypeError(f"{name}: expected an integer, got {block!r}")
    if not -depth <= block < depth:
        raise ValueError(
            f"{name}: expected -{depth} to {depth - 1} for {depth} blocks, got {block}"
        )
    return block % depth
