"""Networks on the Hugging Face hub: files fetched, folders pushed, and what goes wrong there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fsr._core.optional import import_extra
from fsr._core.reachable import connection_fault
from fsr.errors import MissingDataError

# The name that the hub's own tools look for.
WEIGHTS = "model.safetensors"
CARD = "README.md"
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]*\w", re.ASCII)


def is_hub_id(name: str) -> bool:
    """Tell whether a name can be that of a repository, ``user/name``.

    Args:
        name: what somebody gave.

    Example:
        >>> is_hub_id("user/name"), is_hub_id("runs/x/y"), is_hub_id("model.safetensors")
        (True, False, False)
    """
    if not isinstance(name, str):
        raise TypeError(f"name: expected a string, got {type(name).__name__}")
    known = _NAME.fullmatch(name) is not None and ".." not in name and "--" not in name
    return known and not name.endswith((".safetensors", ".pth", ".pt", ".git"))


def hub_file(
    repo_id: str,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    force_download: bool = False,
) -> Path:
    """Return the network file of a repository of the hub, fetched if it is not cached.

    That one file is fetched, ``model.safetensors``; nothing of a repository is ever run.

    Args:
        repo_id: ``user/name``.
        revision: branch, tag or commit; the main branch if None.
        token: access token; None takes the one that the machine is logged in with.
        cache_dir: where fetched files are kept; the hub's own cache if None.
        local_files_only: take what is cached, and ask nobody.
        force_download: fetch it again.

    Raises:
        ImportError: ``huggingface_hub`` is not installed.
        MissingDataError: there is no such repository, revision or file, or no access to it.
        ConnectionError: the hub cannot be reached, and nothing is cached.
    """
    hub = import_hub()
    fault = "" if local_files_only else _fault(hub)
    with _told(repo_id, revision, fault):
        path: str = hub.hf_hub_download(
            repo_id,
            WEIGHTS,
            revision=revision,
            token=token,
            cache_dir=cache_dir,
            local_files_only=local_files_only or bool(fault),
            force_download=force_download and not fault,
            library_name="fsr-wsss",
        )
    return Path(path)


def push_folder(
    folder: Path,
    repo_id: str,
    *,
    token: str | bool | None = None,
    private: bool | None = None,
    revision: str | None = None,
    message: str = "Upload a network",
    create_pr: bool = False,
    keep_card: bool = False,
) -> str:
    """Upload all files of a folder to a repository of the hub, made if it is not there.

    Args:
        folder: what :meth:`fsr.SingleStageSegmenter.save_pretrained` wrote.
        repo_id: ``user/name``.
        token: access token; None takes the one that the machine is logged in with.
        private: whether a new repository is private; the account's default if None.
        revision: branch to upload to; the main branch if None.
        message: title of the commit.
        create_pr: open a pull request instead of a commit to the branch.
        keep_card: leave a card that the repository has as it is.

    Returns:
        Address of the commit, or of the pull request.

    Raises:
        ImportError: ``huggingface_hub`` is not installed.
        MissingDataError: no access to the repository.
        ConnectionError: the hub cannot be reached.
    """
    hub = import_hub()
    with _told(repo_id, revision):
        api = hub.HfApi(token=token, library_name="fsr-wsss")
        made = api.create_repo(repo_id, private=private, exist_ok=True)
        # A card that somebody wrote there is not replaced by one that says nothing.
        stays = keep_card and api.file_exists(made.repo_id, CARD, revision=revision)
        commit = api.upload_folder(
            repo_id=made.repo_id,
            folder_path=folder,
            revision=revision,
            commit_message=message,
            ignore_patterns=[CARD] if stays else None,
            create_pr=create_pr,
        )
    return str(commit.pr_url or commit.commit_url)


def import_hub() -> Any:
    """Return the package that speaks with the hub.

    Raises:
        ImportError: it is not installed; the message names the extra.
    """
    return import_extra("huggingface_hub", "hub", "the Hugging Face hub")


def _fault(hub: Any) -> str:
    """Return why the hub is not asked; empty if it takes a connection."""
    if hub.constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    return connection_fault(hub.constants.ENDPOINT)


@contextmanager
def _told(repo_id: str, revision: str | None, fault: str = "") -> Iterator[None]:
    """Turn the hub's errors into one line with the way out."""
    faults: Any = import_extra("huggingface_hub.errors", "hub", "the Hugging Face hub")
    at = "" if revision is None else f" at {revision!r}"
    try:
        yield
    except faults.GatedRepoError as error:
        raise MissingDataError(
            f"{repo_id}: its authors give access on request: ask for it on the hub, then hf auth "
            "login, or token="
        ) from error
    except faults.RepositoryNotFoundError as error:
        raise MissingDataError(
            f"{repo_id}: no such file or folder here, and no such repository on the hub that this "
            "login can see: correct the name, or hf auth login"
        ) from error
    except faults.RevisionNotFoundError as error:
        raise MissingDataError(f"{repo_id}: the hub has no revision {revision!r} of it") from error
    except faults.LocalEntryNotFoundError as error:
        raise ConnectionError(
            f"{repo_id}: {WEIGHTS}{at} is not cached, and the hub "
            + (f"cannot be reached ({fault})" if fault else "was not asked, or did not answer")
        ) from error
    except faults.EntryNotFoundError as error:
        raise MissingDataError(
            f"{repo_id}: has no {WEIGHTS}{at}, as save_pretrained and push_to_hub write it"
        ) from error
    except faults.HFValidationError as error:
        raise ValueError(f"repo_id: expected user/name, got {repo_id!r} ({error})") from error
    # Of the clients that the hub's package has had, one tells a lost connection by its own kind of
    # error and one by a kind of the system's without a number.
    except (faults.HTTPError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        why = " ".join(str(error).split())
        raise ConnectionError(f"{repo_id}: the hub refuses or cannot be reached ({why})") from error
