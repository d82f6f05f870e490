"""Networks in folders and on the Hugging Face hub, by the calls that its users know."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from fsr._core.files import whole_file
from fsr.errors import MissingDataError
from fsr.segmenter._card import ModelCard
from fsr.segmenter._checkpoint import KEY, load_network
from fsr.segmenter._hub import CARD, WEIGHTS, hub_file, is_hub_id, push_folder
from fsr.segmenter._parts import PARTS

if TYPE_CHECKING:
    from typing_extensions import Self

CONFIG = "config.json"


class HubMethods:
    """``from_pretrained``, ``save_pretrained`` and ``push_to_hub`` of a network with ``save``.

    The file format is that of :meth:`fsr.SingleStageSegmenter.save`, under the name that the hub's
    tools look for; of what is fetched nothing else is read, and nothing is ever run.
    """

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        force_download: bool = False,
        parts: Mapping[str, nn.Module] | None = None,
    ) -> Self:
        """Build a network from a folder, a file or the hub, on the CPU and in eval mode.

        Args:
            source: folder that :meth:`save_pretrained` wrote, network file, or ``user/name`` on the
                hub, which is asked only where no such folder is here.
            revision: branch, tag or commit on the hub; the main branch if None.
            token: access token; None takes the one that the machine is logged in with.
            cache_dir: where fetched files are kept; the hub's own cache if None.
            local_files_only: take what is cached, and ask nobody.
            force_download: fetch the file again.
            parts: modules to load into where the network was built from some, by argument of the
                constructor, such as ``{"decoder": module}``.

        Returns:
            The network, with its ``class_names``.

        Raises:
            MissingDataError: there is no such file, folder or repository.
            ConnectionError: the hub cannot be reached, and nothing is cached.
            ImportError: ``huggingface_hub`` is needed and not installed.
            ValueError: the file is none of this package, is damaged, or needs a module.
        """
        path = Path(source)
        if path.is_dir():
            path = path / WEIGHTS
        elif not path.exists() and is_hub_id(str(source)) and not path.parent.is_dir():
            path = hub_file(
                str(source),
                revision=revision,
                token=token,
                cache_dir=cache_dir,
                local_files_only=local_files_only,
                force_download=force_download,
            )
        if not path.exists():
            raise MissingDataError(f"{path}: no such file or folder")
        given: dict[str, Any] = dict(parts or {})
        if unknown := sorted(given.keys() - set(PARTS)):
            raise ValueError(f"parts: expected some of {', '.join(PARTS)}, got {unknown}")
        build: Any = cls
        network: Self = load_network(build, path, None, {n: given.get(n) for n in PARTS}, {})
        return network

    def save_pretrained(
        self,
        folder: str | Path,
        *,
        card: ModelCard | None = None,
        repo_id: str | None = None,
    ) -> Path:
        """Write the network, its configuration for readers, and its card into a folder.

        Args:
            folder: made if it is not there. It gets ``model.safetensors``, ``config.json`` and
                ``README.md``; a card that is there already stays unless one is given.
            card: what the card says of data, scores and licence.
            repo_id: ``user/name``, for the card.

        Returns:
            The folder.

        Raises:
            OutputError: a file cannot be written.
            ValueError: the network was built from a module that is not plain data.
        """
        if card is not None and not isinstance(card, ModelCard):
            raise TypeError(f"card: expected a ModelCard, got {type(card).__name__}")
        network: Any = self
        place = Path(folder)
        network.save(place / WEIGHTS)
        arguments = network._arguments
        config = {"library": KEY, "arguments": arguments, "class_names": network.class_names}
        with whole_file(place / CONFIG) as draft:
            draft.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        if card is not None or not (place / CARD).exists():
            names = network.class_names or tuple(
                f"class{label}" for label in range(1, network.num_classes + 1)
            )
            encoder = arguments["backbone"]
            encoder = encoder["module"] if isinstance(encoder, dict) else encoder
            text = (card or ModelCard()).text(names, encoder, repo_id)
            with whole_file(place / CARD) as draft:
                draft.write_text(text, encoding="utf-8")
        return place

    def push_to_hub(
        self,
        repo_id: str,
        *,
        card: ModelCard | None = None,
        token: str | bool | None = None,
        private: bool | None = None,
        branch: str | None = None,
        commit_message: str = "Upload a network of fsr-wsss",
        create_pr: bool = False,
    ) -> str:
        """Upload the network, its configuration and its card to the Hugging Face hub.

        Args:
            repo_id: ``user/name``; the repository is made if it is not there.
            card: what the card says of data, scores and licence; without it a card that the
                repository has stays.
            token: access token; None takes the one that the machine is logged in with.
            private: whether a new repository is private; the account's default if None.
            branch: branch to upload to; the main branch if None.
            commit_message: title of the commit.
            create_pr: open a pull request instead of a commit to the branch.

        Returns:
            Address of the commit, or of the pull request.

        Raises:
            ImportError: ``huggingface_hub`` is not installed.
            MissingDataError: no access to the repository.
            ConnectionError: the hub cannot be reached.
        """
        with tempfile.TemporaryDirectory() as place:
            folder = self.save_pretrained(place, card=card, repo_id=repo_id)
            return push_folder(
                folder,
                repo_id,
                token=token,
                private=private,
                revision=branch,
                message=commit_message,
                create_pr=create_pr,
                keep_card=card is None,
            )
