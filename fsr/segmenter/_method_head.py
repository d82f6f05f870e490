"""Heads of a method's own: modules over one reading of the encoder, beside the standard heads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn

from fsr._core.arguments import check_module
from fsr._core.checks import check_choice
from fsr._core.module import TypedModule
from fsr.backbone import BackboneRequest, check_offers

#: Standard heads that a network may be built without.
OPTIONAL = ("aux_class_logits", "segmentation", "projections")
#: Kinds of heads by name, for configurations and files.
HEAD_KINDS: dict[str, type[MethodHead]] = {}


class HeadInput(NamedTuple):
    """What a head reads of one forward, for its slice of the batch.

    Attributes:
        images: ``(B, 3, height, width)``, normalised.
        tokens: patch tokens after the final norm, ``(B, N, D)``.
        raw_tokens: the same before it.
        aux_tokens: output of the auxiliary block, ``(B, N, D)``.
        grid: patch grid ``(H, W)``.
        norm: the encoder's final norm.
        prefix_tokens: tokens before the patches, before the norm, ``(B, P, D)``, where asked for.
        block_tokens: output ``(B, T, D)`` of each block that the head asked for.
        attention: ``(B, heads, T, T)`` of each block that the head asked for.
        stages: maps of each stage, where asked for.
        classifier: the network's classifier of the final tokens, a 1x1 convolution without bias.
        other: gives another head of the same slice by its name; each is computed once.
    """

    images: Tensor
    tokens: Tensor
    raw_tokens: Tensor
    aux_tokens: Tensor
    grid: tuple[int, int]
    norm: nn.Module
    prefix_tokens: Tensor | None = None
    block_tokens: tuple[Tensor, ...] = ()
    attention: tuple[Tensor, ...] = ()
    stages: tuple[Tensor, ...] = ()
    classifier: nn.Conv2d | None = None
    other: Callable[[str], Tensor] | None = None

    def head(self, name: str) -> Tensor:
        """Return another head of the same images."""
        if self.other is None:
            raise ValueError(f"other: expected a function of names of heads, to read {name!r}")
        return self.other(name)

    def as_map(self, tokens: Tensor) -> Tensor:
        """Return tokens ``(B, N, D)`` as a map ``(B, D, H, W)``."""
        found: Tensor = tokens.transpose(1, 2).unflatten(2, self.grid)
        return found


class MethodHead(TypedModule):
    """Something that a segmenter computes from one reading of its encoder, for a method's terms.

    A head has the gradient and the rate of the network's other heads, is saved with it and found by
    its name: ``step.student("affinity", view=1)``. Under the name ``"class_logits"`` or
    ``"segmentation"`` it takes the place of that standard head, so that evaluation and prediction
    read it; ``"maps"``, ``(B, C, H, W)``, takes the place of the CAM of the final layer.

    Subclasses say how they are :meth:`build`, and register under a name of a kind:
    ``class Affinity(MethodHead, kind="affinity")``. Configurations and saved files name that.

    Attributes:
        request: what the head reads of the encoder beside its patch tokens.
        offers: what the encoder must offer for that, see :func:`fsr.backbone.check_offers`.
        reads: names of other heads that it reads by ``read.head(name)``.
        encoders: names of its own submodules that learn at the encoder's rate.

    Example:
        >>> class Brightness(MethodHead, kind="brightness_of_the_example"):
        ...     @classmethod
        ...     def build(cls, backbone, num_classes):
        ...         return cls()
        ...
        ...     def forward(self, read):
        ...         return read.images.mean(dim=(1, 2, 3))
        >>> HEAD_KINDS.pop("brightness_of_the_example").kind
        'brightness_of_the_example'
    """

    kind: ClassVar[str] = ""
    request: BackboneRequest = BackboneRequest()
    offers: ClassVar[frozenset[str]] = frozenset()
    reads: tuple[str, ...] = ()
    encoders: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, kind: str = "", **options: Any) -> None:
        super().__init_subclass__(**options)
        if kind:
            if kind in HEAD_KINDS:
                raise ValueError(f"kind: expected a new name, got {kind!r}, which is taken")
            cls.kind = kind
            HEAD_KINDS[kind] = cls

    @classmethod
    def build(cls, backbone: Any, num_classes: int, **options: Any) -> MethodHead:
        """Return a head for an encoder and a number of classes.

        Args:
            backbone: a :class:`fsr.backbone.ViTBackbone` or :class:`fsr.backbone.FeatureBackbone`.
            num_classes: number C of foreground classes.
            options: options of the head.
        """
        raise NotImplementedError(f"{cls.__name__}: expected a classmethod build(...)")

    def forward(self, read: HeadInput) -> Tensor:
        """Return the head's output for a batch."""
        raise NotImplementedError(f"{type(self).__name__}: expected a method forward(read)")


HeadSpec = str | Mapping[str, Any] | MethodHead | None


def build_heads(
    specs: Mapping[str, HeadSpec], backbone: Any, num_classes: int
) -> tuple[dict[str, MethodHead], frozenset[str]]:
    """Return the heads that a mapping describes, and the standard heads that it leaves out.

    Args:
        specs: by name a kind, a mapping with ``kind`` and options, a :class:`MethodHead`, or None
            for a standard head that the network is built without.
        backbone: the encoder.
        num_classes: number C of foreground classes.

    Raises:
        TypeError: something else is given.
        ValueError: a name cannot be, there is no such kind or option, or the encoder lacks
            something that a head reads.
    """
    built: dict[str, MethodHead] = {}
    left: set[str] = set()
    for name, spec in specs.items():
        if not isinstance(name, str) or not name.isidentifier():
            raise ValueError(f"heads: expected names that are identifiers, got {name!r}")
        if spec is None:
            check_choice("heads: left out", name, OPTIONAL)
            left.add(name)
            continue
        head = _build_head(name, spec, backbone, num_classes)
        check_offers(backbone, head.offers, f"heads[{name!r}]")
        built[name] = head
    return built, frozenset(left)


def encoder_names(network: nn.Module) -> tuple[str, ...]:
    """Return the dotted names of a segmenter's encoders: its own, and those that its heads hold.

    Example:
        >>> from fsr.segmenter import SingleStageSegmenter
        >>> small = {"embed_dim": 32, "depth": 3, "num_heads": 2}
        >>> network = SingleStageSegmenter(2, "vit_tiny_patch16_224", backbone_options=small,
        ...     projection_dim=8, heads={"second": "second_segmenter"})
        >>> encoder_names(network)
        ('backbone', 'heads.second.backbone')
    """
    check_module("network", network)
    found = ["backbone"]
    for name, module in network.named_modules():
        if isinstance(module, MethodHead):
            found += [f"{name}.{part}" for part in module.encoders]
    return tuple(found)


def _build_head(name: str, spec: HeadSpec, backbone: Any, num_classes: int) -> MethodHead:
    """Return one head."""
    if isinstance(spec, MethodHead):
        return spec
    options = {"kind": spec} if isinstance(spec, str) else spec
    if not isinstance(options, Mapping):
        raise TypeError(
            f"heads[{name!r}]: expected a kind, a mapping, a MethodHead or None, "
            f"got {type(spec).__name__}"
        )
    options = dict(options)
    kind = str(options.pop("kind", None))
    check_choice(f"heads[{name!r}].kind", kind, tuple(HEAD_KINDS))
    cls = HEAD_KINDS[kind]
    check_offers(backbone, cls.offers, f"heads[{name!r}]")
    try:
        return cls.build(backbone, num_classes, **options)
    except TypeError as error:
        raise ValueError(f"heads[{name!r}]: {error}") from None
