"""Networks in folders and on a hub: what is written, what is fetched, what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
import yaml

import fsr
from fsr.errors import MissingDataError
from fsr.segmenter import ModelCard, SingleStageSegmenter, hub_file
from tests import fake_hub
from tests.cli.helpers import tiny_network
from tests.fake_hub import COMMIT, Hub
from tests.helpers import assert_same

NAMES = ("cat", "dog | cow")
CARD = ModelCard(
    license="apache-2.0",
    data="1,464 photographs with image-level labels.",
    dataset_ids=("user/pictures",),
    scores={"prediction_miou": 0.712, "label_f1": 0.9},
    scored_on="the test photographs",
)


@pytest.fixture(scope="module")
def network() -> SingleStageSegmenter:
    return tiny_network(NAMES).eval()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    constants = huggingface_hub.constants
    with fake_hub.serve() as served:
        monkeypatch.setattr(constants, "ENDPOINT", served.url)
        address = served.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        yield served


def head_of(card: str) -> dict[str, Any]:
    """What the hub reads of a card."""
    found: dict[str, Any] = yaml.safe_load(card.split("---\n")[1])
    return found


# -- folders --------------------------------------------------------------------------------------


def test_a_folder_holds_network_configuration_and_card_and_is_loaded(
    network: SingleStageSegmenter, tmp_path: Path
) -> None:
    folder = network.save_pretrained(tmp_path / "out", card=CARD)
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["README.md", "config.json", "model.safetensors"]
    config = json.loads((folder / "config.json").read_text())
    assert config["class_names"] == list(NAMES)
    assert config["arguments"]["num_classes"] == 2
    again = SingleStageSegmenter.from_pretrained(folder)
    assert again.class_names == NAMES
    assert not again.training
    images = torch.randn(1, 3, 32, 40)
    assert_same(again(images).segmentation, network(images).segmentation)
    assert_same(
        fsr.load(folder, device="cpu").model(images).segmentation, network(images).segmentation
    )


def test_a_card_says_classes_data_scores_and_licence(network: SingleStageSegmenter) -> None:
    text = CARD.text(NAMES, "vit_tiny_patch16_224", "user/cats")
    head = head_of(text)
    assert (head["license"], head["pipeline_tag"]) == ("apache-2.0", "image-segmentation")
    assert head["datasets"] == ["user/pictures"]
    (result,) = head["model-index"][0]["results"]
    assert head["model-index"][0]["name"] == "cats"
    assert result["dataset"] == {"name": "the test photographs", "type": "user/pictures"}
    assert [(m["type"], m["value"]) for m in result["metrics"]] == [
        ("mean_iou", 0.712),
        ("label_f1", 0.9),
    ]
    for line in (
        'predictor = fsr.load("user/cats")',
        "| 0 | background |",
        "| 2 | dog \\| cow |",
        "| prediction_miou | 71.2 |",
        "Per cent, on the test photographs.",
        "1,464 photographs with image-level labels.",
    ):
        assert line in text.splitlines(), line
    # The hub's own reader takes the head too.
    read: Any = huggingface_hub.ModelCard(text).data
    assert read.eval_results[0].metric_value == 0.712


def test_a_card_that_says_nothing_says_so(network: SingleStageSegmenter, tmp_path: Path) -> None:
    text = (network.save_pretrained(tmp_path) / "README.md").read_text()
    assert "license" not in head_of(text)
    assert "None was given: ask whoever published it." in text
    assert "Not told by whoever trained it." in text
    assert "None were given." in text


def test_a_card_that_is_there_stays_unless_one_is_given(
    network: SingleStageSegmenter, tmp_path: Path
) -> None:
    (tmp_path / "README.md").write_text("mine")
    network.save_pretrained(tmp_path)
    assert (tmp_path / "README.md").read_text() == "mine"
    network.save_pretrained(tmp_path, card=CARD)
    assert (tmp_path / "README.md").read_text() != "mine"


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        ({"scores": {"miou": 0.5}}, ValueError, "scored_on: expected what the scores were taken"),
        ({"scores": {"miou": "good"}, "scored_on": "a"}, TypeError, "expected a number for 'miou'"),
        ({"scores": {"miou": float("nan")}, "scored_on": "a"}, ValueError, "a finite number"),
    ],
)
def test_a_card_refuses_scores_that_say_nothing(
    given: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        ModelCard(**given)


def test_what_is_no_card_is_refused(network: SingleStageSegmenter, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="card: expected a ModelCard, got dict"):
        network.save_pretrained(tmp_path, card={"license": "mit"})
    with pytest.raises(ValueError, match="parts: expected some of backbone, aggregator"):
        SingleStageSegmenter.from_pretrained(
            network.save_pretrained(tmp_path), parts={"head": torch.nn.Identity()}
        )


# -- the hub --------------------------------------------------------------------------------------


def test_a_network_goes_to_the_hub_and_comes_back(
    network: SingleStageSegmenter, hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    address = network.push_to_hub("user/cats", card=CARD, token="hf_secret")
    assert address == f"{hub.url}/user/cats/commit/{COMMIT}"
    assert sorted(hub.files["user/cats"]) == ["README.md", "config.json", "model.safetensors"]
    assert 'fsr.load("user/cats")' in hub.files["user/cats"]["README.md"].decode()
    assert hub.tokens - {""} == {"hf_secret"}

    hub.asked.clear()
    predictor = fsr.load("user/cats", device="cpu")
    assert predictor.class_names == NAMES
    images = torch.randn(1, 3, 32, 40)
    expected = network(images).segmentation
    assert_same(predictor.model(images).segmentation, expected)
    # One file is fetched, whatever else a repository holds.
    assert {path.rpartition("/")[2] for _, path in hub.asked} == {"model.safetensors"}
    again = SingleStageSegmenter.from_pretrained("user/cats", revision=COMMIT)
    assert_same(again(images).segmentation, expected)


def test_a_card_on_the_hub_stays_unless_one_is_given(
    network: SingleStageSegmenter, hub: Hub
) -> None:
    hub.files["user/cats"] = {"README.md": b"mine"}
    network.push_to_hub("user/cats", token="hf_secret")
    assert hub.files["user/cats"]["README.md"] == b"mine"
    network.push_to_hub("user/cats", card=CARD, token="hf_secret")
    assert hub.files["user/cats"]["README.md"] != b"mine"


def test_what_was_fetched_is_there_without_the_hub(
    network: SingleStageSegmenter, hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    network.save(tmp_path / "model.safetensors")
    hub.files["user/cats"] = {"model.safetensors": (tmp_path / "model.safetensors").read_bytes()}
    fetched = hub_file("user/cats")
    hub.asked.clear()
    assert hub_file("user/cats", local_files_only=True) == fetched
    assert hub.asked == []
    # Nobody answers there: the cached file is taken at once.
    monkeypatch.setattr("fsr.segmenter._hub.connection_fault", lambda url: "Connection refused")
    assert hub_file("user/cats") == fetched
    with pytest.raises(ConnectionError, match=r"not cached, and the hub cannot be reached \(Conn"):
        hub_file("user/dogs")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ConnectionError, match="HF_HUB_OFFLINE is set"):
        hub_file("user/dogs")


def test_what_the_hub_refuses_is_told_in_one_line(
    network: SingleStageSegmenter, hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    hub.files |= {"user/empty": {}, "user/gated": {}}
    hub.gated.add("user/gated")
    for name, revision, message in (
        ("user/none", None, r"^user/none: no such file or folder here, and no such repository"),
        ("user/empty", None, r"^user/empty: has no model.safetensors, as save_pretrained"),
        ("user/empty", "v2", r"^user/empty: the hub has no revision 'v2' of it$"),
        ("user/gated", None, r"^user/gated: its authors give access on request"),
    ):
        with pytest.raises(MissingDataError, match=message):
            fsr.load(name, revision=revision)
    with pytest.raises(ValueError, match="repo_id: expected user/name, got 'a/b/c'"):
        network.push_to_hub("a/b/c", token="hf_secret")


def test_a_fetched_file_is_read_and_never_run(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"weight": torch.zeros(1)}, tmp_path / "pickled")
    hub.files["user/bad"] = {"model.safetensors": (tmp_path / "pickled").read_bytes()}
    with pytest.raises(ValueError, match="a pickled one, which is never loaded"):
        fsr.load("user/bad")


@pytest.mark.parametrize("source", ["runs/none", "none.safetensors", "a/b/c", "runs/x.safetensors"])
def test_no_hub_is_asked_for_what_is_meant_as_a_path(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, source: str
) -> None:
    (tmp_path / "runs").mkdir()
    monkeypatch.chdir(tmp_path)
    for call in (fsr.load, SingleStageSegmenter.from_pretrained):
        with pytest.raises(MissingDataError, match="no such file or folder"):
            call(source)
    assert hub.asked == []
