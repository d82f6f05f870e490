"""The reference: every public name once, by task, each found from wherever it is spoken of.

``public`` lists names, see ``public_names``: it shows them as a table, one line each, then one by
one. ``public-index`` shows the tables of the pages that it names, and puts the pages into the tree.
A name is linked wherever a docstring or a page says it in any of its forms: as it is imported, from
its room, by the private file it stands in, or alone beside what it belongs to.
"""

from __future__ import annotations

import functools
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from docutils import nodes
from docutils.statemachine import StringList
from inventories import MAPPED, write_inventories
from public_names import Entry, all_entries, locate, read_lines, read_page, shown_value
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.domains.python import PythonDomain
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import make_refnode, nested_parse_with_titles

AUTODOC = {"class": "autoclass", "function": "autofunction"}
# Types that stand in signatures and are not public: those of private files, and some by name.
PRIVATE = [
    (r"py:.*", r"fsr\.([\w.]+\.)?_\w+\.\w+"),
    (r"py:.*", r"\w*Changes|CRF|ConfidentMasks|(fsr\.teacher\.)?Network|Panel|ReliableRegion|Rows"),
    (r"py:.*", r"TeacherFactory|TiledViews|types\.PresetFields"),
]


class Public(SphinxDirective):
    """Names by task."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Return the table and the documentation of the names."""
        try:
            entries = read_lines(list(self.content))
            lines = table_lines(entries) if len(entries) > 2 else []
            for entry in entries:
                lines += documented_lines(entry)
        except (AttributeError, ImportError, ValueError) as error:
            raise self.error(f"public: {error}") from error
        return _parsed(self, lines)


class PublicIndex(SphinxDirective):
    """All names of some pages."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Return a section for each page, its title a link, and the hidden tree."""
        folder = Path(self.env.doc2path(self.env.docname)).parent
        pages = [line.strip() for line in self.content if line.strip()]
        lines = [".. toctree::", "   :hidden:", "", *(f"   {page}" for page in pages), ""]
        for page in pages:
            path = folder / f"{page}.rst"
            self.env.note_dependency(str(path))
            lines += [f":doc:`{page}`", "~" * (len(page) + 20), "", *table_lines(read_page(path))]
        return _parsed(self, lines)


def table_lines(entries: list[Entry]) -> list[str]:
    """Return a table of names, each a link, with a sentence on each; constants share a row."""
    lines = [".. list-table::", "   :class: public-names", "   :widths: 2 3", ""]
    constants = [f":py:obj:`{entry.name}`" for entry in entries if entry.kind == "data"]
    rows = [entry for entry in entries if entry.kind != "data"]
    if not rows:
        return []
    for entry in rows:
        lines += [f"   * - :py:obj:`{entry.name}`", f"     - {entry.summary}"]
    if constants:
        lines += ["   * - constants and types", f"     - {' '.join(constants)}"]
    return [*lines, ""]


def documented_lines(entry: Entry) -> list[str]:
    """Return the directive that documents a name."""
    if entry.kind in AUTODOC:
        return [f".. {AUTODOC[entry.kind]}:: {entry.name}", ""]
    if entry.kind == "module":
        return [f".. py:module:: {entry.name}", "", f"``{entry.name}``", f"   {entry.summary}", ""]
    value = shown_value(entry.value)
    options = [f"   :value: {value}"] if value else []
    return [f".. py:data:: {entry.name}", *options, "", f"   {entry.summary}", ""]


def _parsed(directive: SphinxDirective, lines: list[str]) -> list[nodes.Node]:
    parent = nodes.Element()
    source = directive.get_source_info()[0]
    nested_parse_with_titles(directive.state, StringList(lines, source), parent)
    return parent.children


class Names:
    """Where each name is documented, whatever it is called."""

    def __init__(self) -> None:
        """Read the pages."""
        self.by_object: dict[str, str] = {}
        self.by_module: dict[str, str] = {}
        listed = [(page, entry) for page, entries in all_entries().items() for entry in entries]
        counted = Counter(entry.name.rpartition(".")[2] for _, entry in listed)
        self.alone = {
            last: entry.name
            for _, entry in listed
            if counted[last := entry.name.rpartition(".")[2]] == 1
        }
        for page, entry in listed:
            self.by_object.setdefault(_own_name(entry.value), entry.name)
            self.by_module.setdefault(entry.name.rpartition(".")[0], page)
            self.by_module.setdefault(
                getattr(entry.value, "__module__", entry.name).partition("._")[0], page
            )

    def find(self, target: str, module: str | None, inside: str | None) -> Iterator[str]:
        """Yield what a name may mean that something in a module or class says."""
        scopes = [".".join(filter(None, scope)) for scope in ((module, inside), (module,), ())]
        for scope in scopes:
            yield from self._documented(f"{scope}.{target}" if scope else target)
        first, _, rest = target.partition(".")
        if first in self.alone:
            yield ".".join(filter(None, (self.alone[first], rest)))

    def _documented(self, dotted: str) -> Iterator[str]:
        """Yield the names of what a dotted name goes through, with the rest of it."""
        parts = dotted.split(".")
        for end in range(len(parts) - 1, 0, -1):
            module = sys.modules.get(".".join(parts[:end]))
            if module is None:
                continue
            value: Any = module
            for place, name in enumerate(parts[end:], start=end + 1):
                value = getattr(value, name, None)
                known = self.by_object.get(_own_name(value))
                if known:
                    yield ".".join([known, *parts[place:]])
            return


@functools.cache
def public_names() -> Names:
    """Return the names of all pages, read once in a build."""
    return Names()


def _own_name(value: Any) -> str:
    module, name = getattr(value, "__module__", ""), getattr(value, "__qualname__", "")
    return f"{module}.{name}" if module and name else f"id {id(value)}"


def resolve(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.TextElement
) -> nodes.Element | None:
    """Return the link that a name stands for where Sphinx does not find it by itself."""
    if node.get("refdomain") != "py":
        return None
    names = public_names()
    target = node["reftarget"]
    objects = cast("PythonDomain", env.get_domain("py")).objects
    for found in names.find(target, node.get("py:module"), node.get("py:class")):
        owner, _, field = found.rpartition(".")
        # A field of a named tuple is told of where the tuple is.
        place = found if found in objects or not hasattr(_value(owner), field) else owner
        if place in objects:
            at = objects[place]
            shown = _as_imported(content, target, found)
            return make_refnode(app.builder, node["refdoc"], at.docname, at.node_id, shown, found)
    if target in names.by_module:
        page = f"api/{names.by_module[target]}"
        return make_refnode(app.builder, node["refdoc"], page, "", content, target)
    return None


def _as_imported(content: nodes.TextElement, target: str, documented: str) -> nodes.TextElement:
    """Return what a link shows: where it spells a name out, the name as users import it."""
    text = content.astext()
    if not target.startswith("fsr.") or text.removesuffix("()") != target:
        return content
    shown = content.copy()
    shown += nodes.Text(text.replace(target, documented))
    return shown


def _value(dotted: str) -> Any:
    """Return what a documented name stands for; None if there is no such name."""
    try:
        return locate(dotted)
    except (AttributeError, ImportError, ValueError):
        return None


def public_bases(app: Sphinx, name: str, obj: Any, options: Any, bases: list[Any]) -> None:
    """Show what a private base stands on in its place."""
    shown: list[Any] = []
    for base in bases:
        private = re.match(r"fsr\._core\b", getattr(base, "__module__", ""))
        shown += base.__bases__ if private else [base]
    bases[:] = [base for base in shown if base is not object] or [object]


def skipped(app: Sphinx, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """Leave out what no user calls, and what only says that a field is one."""
    said = getattr(obj, "__doc__", None) or ""
    return True if name == "extra_repr" or said.startswith("Alias for field number") else None


def _configure(app: Sphinx, config: Config) -> None:
    folder = Path(app.doctreedir) / "inventories"
    write_inventories(folder)
    config.nitpicky = True
    config.toc_object_entries_show_parents = "hide"
    config.nitpick_ignore_regex = [*config.nitpick_ignore_regex, *PRIVATE]
    config.intersphinx_mapping = {
        project: (address, str(folder / f"{project}.inv")) for project, address in MAPPED.items()
    }


def link_sources_back(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object
) -> None:
    """Let the pages of sources link names as they are listed.

    Sphinx knows one room for each file, but of one file a name may be imported from ``fsr`` and
    another from its room.
    """
    if page.startswith("_modules/"):
        context["body"] = mended_links(context["body"], all_entries())


def mended_links(body: str, entries: Mapping[str, Sequence[Entry]]) -> str:
    """Return a page's HTML with the anchors of listed names that it spells otherwise put right.

    Args:
        body: HTML.
        entries: listed names by page.
    """

    def mend(found: re.Match[str]) -> str:
        page, anchor = found.groups()
        listed = [entry.name for entry in entries.get(page, ())]
        if any(anchor == name or anchor.startswith(f"{name}.") for name in listed):
            return found[0]
        for name in listed:
            head, _, rest = anchor.rpartition(f".{name.rpartition('.')[2]}")
            if head and (not rest or rest.startswith(".")):
                return f'api/{page}.html#{name}{rest}"'
        return found[0]

    return re.sub(r'api/(\w+)\.html#([\w.]+)"', mend, body)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives, the links, and what is known of other projects."""
    app.setup_extension("sphinx.ext.intersphinx")
    app.connect("config-inited", _configure, priority=1)
    app.connect("missing-reference", resolve, priority=600)  # after other projects
    app.connect("autodoc-process-bases", public_bases)
    app.connect("autodoc-skip-member", skipped)
    app.connect("html-page-context", link_sources_back)
    app.add_css_file("reference.css")
    app.add_directive("public", Public)
    app.add_directive("public-index", PublicIndex)
    return {"parallel_read_safe": True}
