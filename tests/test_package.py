"""The package as a whole: what importing it does, what it exports, and what its code never does."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import inspect
import json
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import fsr
from fsr._core.moved import MOVED
from tests.helpers import code_that_hides
from tests.processes import run_code

ROOT = Path(__file__).parent.parent
PACKAGE = Path(fsr.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))

# Packages that only an extra, or a lazily used core dependency, may bring in.
LAZY = [
    "accelerate",
    "tifffile",
    "matplotlib",
    "omegaconf",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "pillow_heif",
    "pycocotools",
    "pydensecrf",
    "shapely",
    "skimage",
    "tensorboard",
    "torchmetrics",
]
PICKLES = ("pickle", "joblib", "dill")
EXTRAS = [name for name in LAZY if name != "torchmetrics"]

COMPONENTS = [
    "EMATeacher",
    "MaskedCrossAttentionAggregator",
    "PTCLoss",
    "SelfReinforcementLoss",
    "SingleStageSegmenter",
    "UncertainMasker",
]


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter that finds this checkout."""
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


def module_names() -> list[str]:
    """Every module of the package, private ones included."""
    found = pkgutil.walk_packages(fsr.__path__, prefix="fsr.")
    return ["fsr", *sorted(module.name for module in found)]


def public_objects(module: ModuleType) -> list[tuple[str, object]]:
    """Public functions and classes that a module defines itself."""
    return [
        (name, value)
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isfunction(value) or inspect.isclass(value))
        and value.__module__ == module.__name__
    ]


# -- importing ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def first_import(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What one new process reports about loading all components; it goes to a file."""
    report = tmp_path_factory.mktemp("import") / "report.json"
    # torch and timm come first, since their own time and warnings are not ours to answer for.
    code = f"""
import torch, torchvision, timm
import json, logging, pathlib, random, sys, time, warnings

def state():
    return [torch.initial_seed(), hash(random.getstate()), str(torch.get_default_dtype()),
            torch.get_num_threads(), len(logging.getLogger().handlers)]

before, loaded, start = state(), set(sys.modules), time.process_time()
warnings.simplefilter("error")
import fsr
for name in fsr.__all__:
    getattr(fsr, name)
pathlib.Path({str(report)!r}).write_text(json.dumps({{
    "seconds": time.process_time() - start,
    "state_kept": before == state(),
    "lazy": [name for name in {LAZY!r} if name in sys.modules and name not in loaded],
}}))
"""
    done = run_code(code)
    found: dict[str, Any] = json.loads(report.read_text()) if report.exists() else {}
    return found | {"code": done.returncode, "stdout": done.stdout, "stderr": done.stderr}


def test_import_prints_nothing_and_warns_of_nothing(first_import: dict[str, Any]) -> None:
    assert (first_import["code"], first_import["stdout"], first_import["stderr"]) == (0, "", "")


def test_import_changes_no_global_state(first_import: dict[str, Any]) -> None:
    assert first_import["state_kept"]


def test_import_loads_no_optional_package(first_import: dict[str, Any]) -> None:
    assert first_import["lazy"] == []


def test_import_adds_little_time_to_torch_and_timm(first_import: dict[str, Any]) -> None:
    assert first_import["seconds"] < 3.0


def test_the_package_alone_loads_no_torch_and_its_components_bring_it() -> None:
    # The console command tells its version and its commands at once, without the seconds of torch.
    code = """
import sys
import fsr
print("torch" in sys.modules, "numpy" in sys.modules)
from fsr import UncertainMasker
print("torch" in sys.modules, UncertainMasker is fsr.masking.UncertainMasker)
"""
    done = run_python(code)
    assert done.stdout.split() == ["False", "False", "True", "True"], done.stderr


def test_every_module_imports_without_any_extra() -> None:
    imports = f"import importlib\nfor name in {module_names()!r}: importlib.import_module(name)"
    done = run_code(code_that_hides(EXTRAS) + imports)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# -- what it exports ------------------------------------------------------------------------------


def test_all_lists_exactly_the_public_names() -> None:
    assert sorted(fsr.__all__, key=str.casefold) == fsr.__all__ or fsr.__all__ == sorted(
        fsr.__all__
    )
    public = {
        name
        for name, value in ((name, getattr(fsr, name)) for name in dir(fsr))
        if not name.startswith("_") and not inspect.ismodule(value)
    }
    assert public == set(fsr.__all__) - {"__version__"}


@pytest.mark.parametrize("name", COMPONENTS)
def test_component_is_exported_with_its_module_as_home(name: str) -> None:
    component = getattr(fsr, name)
    assert inspect.isclass(component)
    home = importlib.import_module(component.__module__)
    assert getattr(home, name) is component


@pytest.mark.parametrize("module", module_names())
def test_public_names_have_a_docstring_with_a_summary_line(module: str) -> None:
    imported = importlib.import_module(module)
    named = [(module, imported), *public_objects(imported)]
    for name, value in public_objects(imported):
        if inspect.isclass(value):
            named += [
                (f"{name}.{method}", function)
                for method, function in vars(value).items()
                if not method.startswith("_") and inspect.isfunction(function)
            ]
    for name, value in named:
        summary = (inspect.getdoc(value) or "").partition("\n")[0]
        # NamedTuple and dataclass give themselves a docstring that says nothing.
        assert summary, f"{module}: {name}"
        assert not summary.startswith(f"{name}("), f"{module}: {name}"
        assert summary.endswith((".", "?")), f"{module}: {name}: {summary!r}"


def test_annotated_everywhere_and_marked_as_typed() -> None:
    assert (PACKAGE / "py.typed").is_file()
    missing = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            bare = [a.arg for a in given if a.annotation is None and a.arg not in ("self", "cls")]
            if bare or node.returns is None:
                missing.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name} {bare}")
    assert missing == []


# -- what its code never does ---------------------------------------------------------------------


def forbidden(tree: ast.AST) -> list[str]:
    """Name what a syntax tree holds of the things that the package never does."""
    found = []
    for node in ast.walk(tree):
        # Catching is fine: torch raises this for files that it refuses to unpickle.
        if isinstance(node, ast.Attribute) and node.attr == "UnpicklingError":
            continue
        if isinstance(node, ast.Assert):
            found.append(f"{node.lineno}: assert")
        if isinstance(node, ast.ExceptHandler) and node.type is None:
            found.append(f"{node.lineno}: bare except")
        if isinstance(node, ast.Global):
            found.append(f"{node.lineno}: global")
        if isinstance(node, ast.ImportFrom) and node.module in PICKLES:
            found.append(f"{node.lineno}: {node.module}")
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in PICKLES:
            found.append(f"{node.lineno}: {ast.unparse(node)}")
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        if name == "print":
            found.append(f"{node.lineno}: print")
        if name.endswith(".cuda"):
            found.append(f"{node.lineno}: .cuda()")
        given = {k.arg: k.value.value for k in node.keywords if isinstance(k.value, ast.Constant)}
        if given.get("allow_pickle") is True:
            found.append(f"{node.lineno}: allow_pickle=True")
        if given.get("weights_only") is False:
            found.append(f"{node.lineno}: weights_only=False")
        if name == "torch.load" and given.get("weights_only") is not True:
            found.append(f"{node.lineno}: torch.load without weights_only=True")
    return found


@pytest.mark.parametrize(
    "code",
    [
        "assert x",
        "x.cuda()",
        "model.to(y).cuda(0)",
        "np.load(p, allow_pickle=True)",
        "torch.load(p, weights_only=False)",
        "torch.load(p)",
        "print(x)",
        "from pickle import loads",
        "def f():\n    global x",
        "try:\n    x\nexcept:\n    pass",
    ],
)
def test_the_scan_finds_what_it_looks_for(code: str) -> None:
    assert forbidden(ast.parse(code))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_source_holds_nothing_forbidden(path: Path) -> None:
    found = forbidden(ast.parse(path.read_text()))
    # The commands print: nothing else is their business.
    prints = room_of(path) == "cli"
    assert [what for what in found if not (prints and what.endswith(": print"))] == []


def floors() -> dict[str, int]:
    """Floor of every room, from the table of the documentation's page on the house."""
    page = (ROOT / "docs" / "house.md").read_text()
    rows = re.findall(r"^\| (\d) \| (.+?) \|", page, re.MULTILINE)
    return {room: int(floor) for floor, rooms in rows for room in re.findall(r"`(\w+)/?`", rooms)}


def room_of(path: Path) -> str:
    """The top-level module or folder that a source file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_modules(path: Path) -> set[str]:
    """Modules of the package that a file imports, at the top or inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            module = node.module or ""
            found |= {f"fsr.{a.name}" for a in node.names} if module == "fsr" else {module}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name.startswith("fsr.")}


# What stands before the rooms: the face of the package, and `python -m fsr`.
OUTSIDE = {"__init__", "__main__"}
ROOMS = sorted({room_of(path) for path in SOURCES} - OUTSIDE)
INSIDE = [path for path in SOURCES if room_of(path) not in OUTSIDE]


def test_the_house_has_a_floor_for_every_room_and_no_others() -> None:
    assert sorted(floors()) == ROOMS


@pytest.mark.parametrize("path", INSIDE, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_imports_only_faces_of_rooms_below_its_own(path: Path) -> None:
    public, room = floors(), room_of(path)
    for module in imported_modules(path):
        _, other, *inner = module.split(".")
        if other == room:
            continue
        assert public[other] < public[room], f"{room} imports {module}"
        # What is behind a room's face is nobody else's; _core is there for all.
        assert other == "_core" or not inner, f"{room} reaches into {module}"


def test_every_room_of_the_package_is_reached_after_importing_it_alone() -> None:
    rooms = [room for room in ROOMS if not room.startswith("_")]
    names = ", ".join(f"fsr.{room}.__name__" for room in rooms)
    done = run_code(f"import fsr\nassert set({rooms!r}) <= set(dir(fsr))\nprint({names})")
    assert done.stdout.split() == [f"fsr.{room}" for room in rooms], done.stderr


@pytest.mark.parametrize("room", [room for room in ROOMS if (PACKAGE / room).is_dir()])
def test_a_folders_files_are_private_to_it_and_its_face_lists_what_is_public(room: str) -> None:
    if room == "_core":
        return
    # A folder of a folder has a face of its own, and `python -m` wants its `__main__`.
    files = [path.name for path in (PACKAGE / room).glob("*.py")]
    assert [name for name in files if not name.startswith("_")] == []
    face = importlib.import_module(f"fsr.{room}")
    assert all(hasattr(face, name) for name in face.__all__)
    public = {
        name
        for name, value in vars(face).items()
        if not name.startswith("_") and name != "annotations" and not inspect.ismodule(value)
    }
    modules = {name for name in face.__all__ if inspect.ismodule(getattr(face, name))}
    assert public == set(face.__all__) - modules


# -- names of the release before ------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(MOVED))
def test_a_moved_module_still_imports_and_names_its_room(name: str) -> None:
    sys.modules.pop(name, None)
    room = ".".join(MOVED[name].split(".")[:2])
    with pytest.warns(
        DeprecationWarning, match=rf"{name} has moved: import its names from {room};"
    ):
        old = importlib.import_module(name)
    new = importlib.import_module(MOVED[name])
    assert public_objects(new)
    assert all(getattr(old, key) is value for key, value in public_objects(new))


@pytest.mark.parametrize(
    "name", ["fsr.data.label_table", "fsr.refine.mean_field", "fsr.refine.pseudo_labels"]
)
def test_a_function_stays_callable_where_a_moved_module_has_its_name(name: str) -> None:
    room, _, last = name.rpartition(".")
    face = importlib.import_module(room)
    sys.modules.pop(name, None)
    function = getattr(face, last)
    try:
        with pytest.warns(DeprecationWarning, match="has moved"):
            importlib.import_module(name)
        with pytest.raises(TypeError, match=rf"{last}\(\) missing"):
            getattr(face, last)()
    finally:
        setattr(face, last, function)


def test_a_module_that_never_was_is_not_found() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'fsr\.losses\.nothing'"):
        importlib.import_module("fsr.losses.nothing")
    with pytest.raises(AttributeError, match="module 'fsr' has no attribute 'nothing'"):
        fsr.nothing  # noqa: B018


# -- what is installed ----------------------------------------------------------------------------


def test_version_is_the_one_of_the_installed_distribution() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+([a-z0-9.]*)", fsr.__version__)
    try:
        installed = importlib.metadata.version("fsr-wsss")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("the distribution is not installed, only its source is on the path")
    assert installed == fsr.__version__


def test_citation_and_changelog_name_the_version() -> None:
    assert f"version: {fsr.__version__}" in (ROOT / "CITATION.cff").read_text()
    assert fsr.__version__ in (ROOT / "CHANGELOG.md").read_text()


def test_the_repository_holds_no_generated_or_pickled_files() -> None:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    suffixes = {".pyc", ".pkl", ".pt", ".pth", ".npy", ".so", ".egg-info"}
    assert [name for name in listed.stdout.split() if Path(name).suffix in suffixes] == []
