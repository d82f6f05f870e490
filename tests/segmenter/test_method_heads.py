"""Heads of a method's own: what they read, what they replace, how they are saved and refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fsr.backbone import BackboneRequest
from fsr.segmenter import HEAD_KINDS, HeadInput, MethodHead, MethodOutput, SingleStageSegmenter

SIZE = {"patch_size": 8, "embed_dim": 16, "depth": 3, "num_heads": 2}
NAME = "vit_tiny_patch16_224"


class Everything(MethodHead, kind="everything_of_the_tests"):
    """Keeps what it read."""

    request = BackboneRequest(prefix_tokens=True, blocks=(0,), attention=(-1, 1))

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale))
        self.seen: list[HeadInput] = []

    @classmethod
    def build(cls, backbone: Any, num_classes: int, **options: Any) -> Everything:
        return cls(**options)

    def forward(self, read: HeadInput) -> Tensor:
        self.seen.append(read)
        return read.tokens.mean(dim=(1, 2)) * self.scale


class Twice(MethodHead, kind="twice_of_the_tests"):
    """Reads another head."""

    reads = ("everything",)

    @classmethod
    def build(cls, backbone: Any, num_classes: int, **options: Any) -> Twice:
        return cls(**options)

    def forward(self, read: HeadInput) -> Tensor:
        return 2 * read.head("everything")


class Maps(MethodHead, kind="maps_of_the_tests"):
    """A map of three classes with negative values."""

    @classmethod
    def build(cls, backbone: Any, num_classes: int, **options: Any) -> Maps:
        return cls(**options)

    def forward(self, read: HeadInput) -> Tensor:
        return read.as_map(read.tokens)[:, :3]


def network(**options: Any) -> SingleStageSegmenter:
    torch.manual_seed(0)
    options = {"image_size": 32, "projection_dim": 8, "backbone_options": SIZE, **options}
    return SingleStageSegmenter(3, NAME, **options).eval()


def images(count: int = 2) -> Tensor:
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def test_a_head_reads_what_the_encoder_gives_for_its_slice_alone() -> None:
    model = network(heads={"everything": "everything_of_the_tests"})
    x = images(3)
    wanted = {"tokens": slice(0, 3), "aux_tokens": slice(0, 3), "everything": slice(1, 3)}
    output = model(x, outputs=wanted)
    (read,) = model.heads["everything"].seen  # type: ignore[union-attr, misc]
    alone = model.backbone.read(x, request=Everything.request, aux_block=-3)
    assert type(output).__name__ == MethodOutput.__name__
    assert torch.equal(read.images, x[1:])
    assert torch.equal(read.tokens, output.head("tokens")[1:])
    assert torch.equal(read.aux_tokens, output.head("aux_tokens")[1:])
    assert torch.equal(read.raw_tokens, alone.tokens[1:])
    assert torch.equal(read.prefix_tokens, alone.prefix_tokens[1:])
    assert torch.equal(read.block_tokens[0], alone.block_tokens[0][1:])
    assert len(read.attention) == 2
    assert torch.equal(read.attention[0], alone.attention[0][1:])
    assert torch.equal(read.attention[1], alone.attention[1][1:])
    assert not torch.equal(read.attention[0], read.attention[1])  # the last block, then block 1
    assert read.grid == (4, 4)
    assert read.norm is model.backbone.norm
    assert read.classifier is model.classifier
    assert torch.equal(output.head("everything"), output.head("tokens")[1:].mean(dim=(1, 2)))


def test_heads_that_read_each_other_are_computed_once() -> None:
    model = network(heads={"everything": "everything_of_the_tests", "twice": "twice_of_the_tests"})
    output = model(images(), outputs=("twice", "everything"))
    assert torch.equal(output.head("twice"), 2 * output.head("everything"))
    assert len(model.heads["everything"].seen) == 1  # type: ignore[union-attr, arg-type]
    # It is asked for by the other alone: its request still reaches the encoder.
    model(images(), outputs=("twice",))
    assert model.heads["everything"].seen[1].prefix_tokens is not None  # type: ignore[union-attr, index]


def test_a_network_with_heads_gives_what_one_without_gives() -> None:
    plain, model = network(), network(heads={"everything": "everything_of_the_tests"})
    model.load_state_dict(plain.state_dict(), strict=False)
    x = images()
    own, other = plain(x), model(x)
    for name in plain.head_names:
        assert torch.equal(own.head(name), other.head(name)), name
    assert (*plain.head_names, "everything") == model.head_names
    assert len(own) == 7  # may be unpacked as ever


def test_class_logits_and_segmentation_are_replaced_under_their_names() -> None:
    model = network(heads={"class_logits": "segmentation_scores", "aux_class_logits": None})
    output = model(images(), outputs=("class_logits", "segmentation"))
    logits = output.head("segmentation")
    expected = (logits[:, 1:] - logits[:, :1]).amax(dim=(2, 3))
    assert torch.equal(output.head("class_logits"), expected)
    assert "aux_class_logits" not in model.head_names
    assert model.aux_classifier is None
    with pytest.raises(ValueError, match=r"outputs: expected one of .*, got 'aux_class_logits'"):
        model(images(), outputs=("aux_class_logits",))


def test_maps_stand_for_the_cam_of_both_layers_where_one_is_left_out() -> None:
    model = network(heads={"maps": "maps_of_the_tests", "aux_class_logits": None})
    final, auxiliary = model.cam(images(), scales=(1.0,), flip=False)
    raw = model(images(), outputs=("maps",)).head("maps").relu()
    assert torch.equal(final, auxiliary)
    assert final.shape == (2, 3, 32, 32)
    assert torch.equal(final.amax(dim=(2, 3)) > 0, raw.amax(dim=(2, 3)) > 0)
    classifier = network(heads={"maps": "maps_of_the_tests"}).cam(images(), scales=(1.0,))[1]
    assert not torch.equal(classifier, auxiliary)


def test_left_out_parts_are_not_built() -> None:
    model = network(heads={"projections": None, "segmentation": None})
    assert model.aggregator is None
    assert model.projector is None
    assert model.decoder is None
    names = {name.partition(".")[0] for name, _ in model.named_parameters()}
    assert names == {"backbone", "classifier", "aux_classifier"}
    with pytest.raises(ValueError, match="expected a network with a decoder"):
        model.predict(images())
    with pytest.raises(ValueError, match="expected one with attention_maps, got NoneType"):
        model.attention_maps(images())


def test_heads_are_saved_and_loaded(tmp_path: Path) -> None:
    spec = {"everything": {"kind": "everything_of_the_tests", "scale": 3.0}, "projections": None}
    model = network(heads=spec)
    model.save(tmp_path / "model.safetensors")
    loaded = SingleStageSegmenter.load(tmp_path / "model.safetensors")
    x = images()
    assert loaded.state_dict()["heads.everything.scale"] == 3.0
    assert torch.equal(model(x).head("everything"), loaded(x).head("everything"))
    assert loaded.projector is None


def test_a_head_that_was_a_module_is_not_guessed(tmp_path: Path) -> None:
    model, path = network(heads={"everything": Everything(2.0)}), tmp_path / "model.safetensors"
    model.save(path)
    with pytest.raises(ValueError, match=r"heads\['everything'\].*built from a module, Everything"):
        SingleStageSegmenter.load(path)
    loaded = SingleStageSegmenter.load(path, heads={"everything": Everything()})
    assert torch.equal(loaded(images()).head("everything"), model(images()).head("everything"))


@pytest.mark.parametrize(
    ("heads", "error", "message"),
    [
        ({"a b": "class_token"}, ValueError, "heads: expected names that are identifiers"),
        ({"x": "clas_token"}, ValueError, r"heads\['x'\].kind: expected one of .* 'clas_token'"),
        ({"x": {}}, ValueError, r"heads\['x'\].kind: expected one of"),
        ({"x": 3}, TypeError, r"heads\['x'\]: expected a kind, a mapping, a MethodHead or None"),
        ({"tokens": None}, ValueError, "heads: left out: expected one of .*, got 'tokens'"),
        (
            {"x": {"kind": "everything_of_the_tests", "size": 3}},
            ValueError,
            r"heads\['x'\]: .*unexpected keyword argument 'size'",
        ),
    ],
)
def test_heads_are_refused_by_name(
    heads: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        network(heads=heads)


def test_an_encoder_that_lacks_what_a_head_reads_is_refused() -> None:
    options = {**SIZE, "class_token": False, "global_pool": "avg"}
    with pytest.raises(ValueError, match=r"heads\['token'\]: needs a class token"):
        network(heads={"token": "class_token"}, backbone_options=options)


def test_a_kind_is_registered_once() -> None:
    assert HEAD_KINDS["everything_of_the_tests"] is Everything
    with pytest.raises(
        ValueError, match="kind: expected a new name, got 'everything_of_the_tests'"
    ):

        class Other(MethodHead, kind="everything_of_the_tests"):
            pass


def test_two_forms_of_attention_do_not_go_together() -> None:
    logits = BackboneRequest(attention=(0,), attention_form="logits")
    with pytest.raises(ValueError, match="attention_form: expected one, got"):
        logits | Everything.request
    both = logits | BackboneRequest(prefix_tokens=True, blocks=(1,))
    assert both == BackboneRequest(True, (1,), (0,), "logits")


def test_a_head_that_was_not_asked_for_is_named() -> None:
    model = network(heads={"everything": "everything_of_the_tests"})
    output = model(images(), outputs=("tokens",))
    for name in ("everything", "segmentation"):
        with pytest.raises(ValueError, match=f"expected a head that was asked for, got '{name}'"):
            output.head(name)
