"""The gallery: sphinx-gallery runs `examples/gallery` at build time and asks no other host.

Everything about it stands here, so that `conf.py` names one extension. Figures have a clear ground
and grey ink, which read on a light page as on a dark one; their alternative text is the comment
``# sphinx_gallery_alt = "..."`` in the block that draws them. On API pages the examples
that use a name stand below it.
"""

from __future__ import annotations

import inspect
import logging
import re
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from sphinx.application import Sphinx
from sphinx_gallery.scrapers import figure_rst

SECTIONS = ("maps", "masks", "refinement", "teaching", "networks", "data")
# Examples that an API page names; all use the scenes, and a list of all would say nothing.
MOST = 4
INK = "#7a8088"
COLOURS = ("#d9822b", "#3b8ed0", "#4da35a", "#b565a7", "#8a8f98")
STYLE = {
    "figure.figsize": (5.2, 3.2),
    "figure.facecolor": "none",
    "figure.constrained_layout.use": True,
    "savefig.facecolor": "none",
    "savefig.dpi": 200,
    "font.size": 12,
    "axes.facecolor": "none",
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 12,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": mpl.cycler(color=COLOURS),
    "grid.color": INK,
    "grid.alpha": 0.3,
    "legend.facecolor": "none",
    "legend.frameon": False,
    "lines.linewidth": 2.2,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}
LINK = re.compile(r":(?:doc|ref):`[^`]+`")
ALT = re.compile(r'^# sphinx_gallery_alt = "(.+)"$', re.MULTILINE)


def style(_: dict[str, Any], __: str | Path) -> None:
    """Give every example the same figures, whatever the one before it set."""
    plt.close("all")
    mpl.rcdefaults()
    mpl.rcParams.update(STYLE)
    # Where a logger prints everything, timm would tell each page the path of the weights.
    logging.getLogger("timm").setLevel(logging.WARNING)


def scrape(block: Any, variables: dict[str, Any], conf: dict[str, Any]) -> str:
    """Save the figure that a block drew, with pyplot or as `fsr.visualize` returns it."""
    drawn = [plt.figure(number) for number in plt.get_fignums()]
    seen = variables.setdefault("figures", [])
    for value in variables["example_globals"].values():
        if isinstance(value, Figure) and not any(value is known for known in (*drawn, *seen)):
            drawn.append(value)
    found = ALT.findall(block.content)
    if len(found) != len(drawn):
        where = f"{variables['src_file']}:{block.lineno}"
        raise ValueError(f"{where}: {len(drawn)} figures and {len(found)} lines {ALT.pattern}")
    rst = ""
    for figure, alt in zip(drawn, found, strict=True):
        for axes in figure.axes:  # the sheets of `fsr.visualize` have a size of their own
            axes.title.set_fontsize(mpl.rcParams["axes.titlesize"])
            axes.yaxis.label.set_fontsize(mpl.rcParams["axes.titlesize"])
        path = Path(next(variables["image_path_iterator"])).with_suffix(".webp")
        figure.savefig(path, pil_kwargs={"quality": 90})
        seen.append(figure)
        rst += figure_rst([path], conf["src_dir"], alt)
    plt.close("all")
    return rst


def add_examples(app: Sphinx, _: str, name: str, item: Any, __: Any, lines: list[str]) -> None:
    """Name the examples that use a name below what its docstring says."""
    folder = Path(app.srcdir) / app.config.sphinx_gallery_conf["backreferences_dir"]
    if inspect.ismodule(item):
        return
    short = name.rpartition(".")[2]
    for called in (name, f"fsr.{short}"):
        path = folder / f"{called}.examples"
        found = LINK.findall(path.read_text()) if path.exists() else []
        if found:
            # An example about it comes before those that only use it.
            ranked = sorted(dict.fromkeys(found), key=lambda link: short.lower() not in link)
            links = " · ".join(ranked[:MOST])
            lines += ["", f"**In the gallery:** {links}", ""]
            return


def setup(app: Sphinx) -> dict[str, Any]:
    """Set sphinx-gallery up."""
    app.setup_extension("sphinx_gallery.gen_gallery")
    app.config.sphinx_gallery_conf = {
        "examples_dirs": "../examples/gallery",
        "gallery_dirs": "gallery",
        "subsection_order": [f"../examples/gallery/{name}" for name in SECTIONS],
        "within_subsection_order": "FileNameSortKey",
        "filename_pattern": r"\.py$",
        "image_scrapers": ("gallery.scrape",),
        "reset_modules": ("gallery.style",),
        "capture_repr": (),
        "remove_config_comments": True,
        "abort_on_example_error": True,
        "show_signature": False,
        "write_computation_times": False,
        "min_reported_time": 3600,
        "doc_module": ("fsr",),
        "backreferences_dir": "gallery/backreferences",
        "inspect_global_variables": False,
        "thumbnail_size": (400, 280),
    }
    # Notebooks and scripts beside the pages are for readers to take away, not pages themselves.
    app.config.exclude_patterns += ["gallery/**.ipynb", "gallery/**.py"]
    app.add_css_file("gallery.css", priority=900)  # after sphinx-gallery's own
    app.connect("autodoc-process-docstring", add_examples)
    return {"parallel_read_safe": True}
