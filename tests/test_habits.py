"""The project's habits: commands, hosted workflows, lowest versions and the release check agree."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from packaging.version import Version

ROOT = Path(__file__).parent.parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
TARGETS = set(
    re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
)


def parsed(path: Path) -> Any:
    """What a YAML file holds."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def commands(workflow: Path) -> list[str]:
    """Every shell command that a workflow runs."""
    jobs = parsed(workflow)["jobs"].values()
    return [step["run"] for job in jobs for step in job.get("steps", []) if "run" in step]


def made(text: str) -> list[str]:
    """Targets that a text hands to make, in code or at the start of a command."""
    return re.findall(r"(?:^|`)make ([a-z]+)", text, re.MULTILINE)


def project() -> str:
    """The part of ``pyproject.toml`` that names dependencies and extras."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    dependencies = text[text.index("\ndependencies = [") : text.index("\ndynamic = ")]
    return (
        dependencies
        + text[text.index("\n[project.optional-dependencies]") : text.index("\n[project.scripts]")]
    )


def requirements() -> list[str]:
    """Every package that the project or an extra of it asks for, with its bound."""
    quoted = re.findall(r'"([^"]+)"', project())
    return [name for name in quoted if not name.startswith("fsr-wsss")]


def loaded(name: str) -> ModuleType:
    """A script of the checks as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / ".ci" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def release() -> ModuleType:
    """The script that the release workflow runs first."""
    return loaded("release_version")


# -- commands -------------------------------------------------------------------------------------


def test_make_alone_lists_every_command() -> None:
    done = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert {line.split()[1] for line in done.stdout.splitlines()} == TARGETS
    assert {"test", "lint", "fix", "types", "docs", "ci", "all", "lowest"} <= TARGETS


@pytest.mark.parametrize("target", ["test", "lint", "types", "docs", "fix", "package", "coverage"])
def test_a_command_makes_its_environment_and_calls_the_tools_in_it(
    target: str, tmp_path: Path
) -> None:
    environment = tmp_path / "environment"
    done = subprocess.run(
        ["make", "-n", target, f"VENV={environment}", "TORCH_INDEX=https://index.example"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line for line in done.stdout.splitlines() if not line.startswith("make[")]
    assert lines[0].endswith(f"python3 -m venv {environment}")
    assert lines[1].endswith("-m pip install torch torchvision --index-url https://index.example")
    assert lines[2].endswith("-m pip install -e '.[dev,docs]'")
    tools = [line for line in lines[4:] if not line.startswith("rm ")]
    assert tools
    assert all(line.startswith(f"{environment}/bin/python -m ") for line in tools)


def test_contributing_and_the_pull_request_form_name_commands_that_exist() -> None:
    texts = [ROOT / "CONTRIBUTING.md", ROOT / ".github" / "pull_request_template.md"]
    named = [target for path in texts for target in made(path.read_text(encoding="utf-8"))]
    assert {"test", "lint", "fix", "types", "docs", "all", "ci", "lowest"} <= set(named)
    assert set(named) <= TARGETS


@pytest.mark.parametrize("script", ["run", "lowest"])
def test_a_script_of_the_checks_parses(script: str) -> None:
    subprocess.run(["bash", "-n", str(ROOT / ".ci" / script)], check=True)


def test_the_checks_name_test_files_that_exist() -> None:
    named = re.findall(r"tests/[\w/]+(?:\.py)?", (ROOT / ".ci" / "run").read_text("utf-8"))
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


# -- hosted workflows -----------------------------------------------------------------------------


def test_the_workflows_run_commands_of_the_makefile() -> None:
    named = {workflow.stem: made("\n".join(commands(workflow))) for workflow in WORKFLOWS}
    every_push = {"lint", "types", "test", "site", "lowest", "coverage", "package", "audit"}
    assert set(named["ci"]) == every_push
    assert named["release"] == ["package"]
    assert {target for targets in named.values() for target in targets} <= TARGETS


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_is_complete(workflow: Path) -> None:
    content = parsed(workflow)
    # YAML 1.1 reads the key "on" as true.
    assert content[True]
    assert content["permissions"] == {"contents": "read"}
    for name, job in content["jobs"].items():
        assert job["runs-on"], name
        assert job["timeout-minutes"] <= 60, name
        assert all(("run" in step) != ("uses" in step) for step in job["steps"]), name
        assert all("@" in step["uses"] for step in job["steps"] if "uses" in step), name
        needed = job.get("needs", [])
        assert set([needed] if isinstance(needed, str) else needed) <= set(content["jobs"]), name


def test_the_tests_run_on_every_python_that_the_project_names() -> None:
    named = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', project_head())
    matrix = parsed(ROOT / ".github" / "workflows" / "ci.yml")["jobs"]["tests"]["strategy"][
        "matrix"
    ]
    assert matrix["python"] == named
    assert f'requires-python = ">={named[0]}"' in project_head()


def project_head() -> str:
    """The part of ``pyproject.toml`` above the dependencies."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    return text[: text.index("\ndependencies = [")]


def test_a_release_publishes_what_was_checked_and_stores_no_token() -> None:
    text = (ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8")
    jobs = parsed(ROOT / ".github" / "workflows" / "release.yml")["jobs"]
    assert commands(ROOT / ".github" / "workflows" / "release.yml") == [
        'python .ci/release_version.py "$GITHUB_REF_NAME"',
        "make package",
    ]
    assert jobs["publish"]["needs"] == "build"
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    assert "secrets." not in text


@pytest.mark.parametrize("form", FORMS, ids=lambda path: path.stem)
def test_an_issue_form_has_what_a_form_needs(form: Path) -> None:
    content = parsed(form)
    assert content["name"]
    assert content["description"]
    names = [part["id"] for part in content["body"]]
    assert len(set(names)) == len(names) > 0
    assert all(part["attributes"]["label"] for part in content["body"])


def test_the_commit_hooks_parse_and_name_their_tools_versions() -> None:
    hooks = parsed(ROOT / ".pre-commit-config.yaml")["repos"][0]["hooks"]
    names = [hook["id"] for hook in hooks]
    assert {"ruff-check", "ruff-format", "end-of-file-fixer", "check-yaml", "check-toml"} <= set(
        names
    )
    assert all("==" in tool for hook in hooks for tool in hook["additional_dependencies"])


# -- the release's version ------------------------------------------------------------------------

VERSION = '"""The version."""\n\n__version__ = "1.2.0"\n'
CHANGES = "# Changelog\n\n## [Unreleased]\n\n## [1.2.0] - 2026-01-01\n"


def test_a_tag_that_names_the_version_passes(release: ModuleType) -> None:
    assert release.mismatch("v1.2.0", VERSION, CHANGES) is None


@pytest.mark.parametrize(
    ("tag", "version", "changes", "message"),
    [
        (
            "v1.2.1",
            VERSION,
            CHANGES,
            "tag v1.2.1: the package's version is 1.2.0, expected tag v1.2.0",
        ),
        ("1.2.0", VERSION, CHANGES, "tag 1.2.0: the package's version is 1.2.0"),
        ("v1.2.0", VERSION, "## [Unreleased]\n## [1.1.0]\n", "CHANGELOG.md: no section for 1.2.0"),
        ("v1.2.0", "", CHANGES, "fsr/_core/version.py: no line __version__"),
    ],
)
def test_another_tag_says_what_is_wrong(
    release: ModuleType, tag: str, version: str, changes: str, message: str
) -> None:
    assert release.mismatch(tag, version, changes).startswith(message)


def test_the_script_reads_this_checkout() -> None:
    script = str(ROOT / ".ci" / "release_version.py")
    wrong = subprocess.run(
        [sys.executable, script, "v0.0.0.dev0"], capture_output=True, text=True, check=False
    )
    assert wrong.returncode == 1
    assert wrong.stderr.startswith("tag v0.0.0.dev0: the package's version is ")
    bare = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert (bare.returncode, bare.stderr) == (2, "usage: release_version.py TAG\n")


# -- lowest versions ------------------------------------------------------------------------------


def test_every_dependency_has_a_lower_bound_and_no_upper() -> None:
    assert [name for name in requirements() if not re.fullmatch(r"[\w-]+>=[\d.]+", name)] == []


def test_the_lowest_versions_are_those_of_the_project() -> None:
    lines = (ROOT / ".ci" / "lowest.txt").read_text(encoding="utf-8").splitlines()
    pinned = [line for line in lines if line and not line.startswith("#")]
    assert pinned == sorted({name.replace(">=", "==") for name in requirements()})


# -- known faults of packages ---------------------------------------------------------------------


def test_packages_older_than_their_first_sound_version_are_named() -> None:
    audit = loaded("audit")
    version = importlib.metadata.version("numpy")
    lines = ["# a comment", "", f"numpy {version} X-1 none", "numpy 999.1 X-2 adds up wrongly"]
    told = f"numpy {version}: adds up wrongly (X-2); take 999.1 or later"
    assert audit.compare("\n".join([*lines, "no-such-package 1.0 X-3 nothing"])) == [told]


def test_the_lowest_versions_have_none_of_the_known_faults() -> None:
    lowest = dict(
        line.split("==")
        for line in (ROOT / ".ci" / "lowest.txt").read_text("utf-8").splitlines()
        if "==" in line
    )
    for line in (ROOT / ".ci" / "advisories.txt").read_text("utf-8").splitlines():
        name, sound = (*line.split(), "", "")[:2]
        if name in lowest:
            assert Version(lowest[name]) >= Version(sound), line
