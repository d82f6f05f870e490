"""Tables of image-level labels from annotations of objects: VOC's XML, COCO's JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from fsr.data._coco_json import CocoJson, read_coco_json
from fsr.data._folders import existing_folder, files_below
from fsr.data._found_classes import found_table
from fsr.data._label_table import LabelTable
from fsr.data._relative import check_inside, turned
from fsr.data._voc_xml import names_image, read_voc_xml
from fsr.errors import DataError, MissingDataError


def labels_from_voc(
    annotations: str | Path,
    class_names: Sequence[str] | None = None,
    *,
    filename: bool = False,
) -> LabelTable:
    """Labels of images with bounding boxes in VOC's XML: the classes of all objects.

    Args:
        annotations: folder of the XML files; an image has the name of its file, without extension.
        class_names: the classes to keep, in order, others are left out; by default all, sorted.
        filename: take the image that ``<filename>`` names instead. Where images were renamed once
            they were annotated that is their old name; a note tells how many files differ.

    Returns:
        One row per file.

    Raises:
        MissingDataError: there is no such folder, or no XML file in it.
        DataError: a file cannot be read or declares entities, an object has no name or one that no
            class can have, no object has the name of a class to keep, or two files name one image.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> text = "<annotation><object><name>dog</name></object></annotation>"
        >>> _ = (folder / "0001.xml").write_text(text)
        >>> labels_from_voc(folder).rows
        (LabelRow(image='0001', labels=('dog',), line=0),)
    """
    annotations = existing_folder(annotations)
    found: dict[str, list[str]] = {}
    sources: dict[str, Path] = {}
    differing: list[str] = []
    for path in files_below(annotations, ".xml"):
        boxes = read_voc_xml(path)
        image = path.relative_to(annotations).with_suffix("").as_posix()
        if boxes.filename and not names_image(boxes.filename, image):
            differing.append(f"{path}: {boxes.filename}")
        if filename:
            image = _named(path, annotations, boxes.filename)
        if image in sources:
            raise DataError(f"{path}: its <filename> is {image!r}, as in {sources[image]}")
        found[image], sources[image] = list(boxes.classes), path
    if not found:
        raise MissingDataError(f"{annotations}: expected XML files, found none")
    table = found_table(annotations, found, class_names)
    if not differing:
        return table
    taken = "<filename> was taken" if filename else "the XML's name was taken"
    way_out = "without --filename its name is" if filename else "--filename takes <filename>"
    note = (
        f"in {len(differing)} of {len(found)} files <filename> is another image than the XML's "
        f"name says, the first {differing[0]}; {taken}, {way_out}"
    )
    return table._replace(notes=(note,))


def labels_from_coco(
    annotations: str | Path,
    class_names: Sequence[str] | None = None,
    *,
    merge: bool = False,
    strip_folders: bool = False,
) -> LabelTable:
    r"""Labels of images with annotations in COCO's JSON: the categories of all of them.

    Slashes of Windows in ``file_name`` are turned. A category that no annotation has is left out,
    with a note, where it stands for no class: ``background``, and the parent of all others.

    Args:
        annotations: the JSON file; only ``images``, ``annotations`` and ``categories`` are read.
        class_names: the categories to keep, in order, others are left out; by default all, in the
            order of their ids.
        merge: take categories of one name for one class, as files made of several may have them.
        strip_folders: take the last part of each ``file_name``, where it is a path of the machine
            that the file was made on.

    Returns:
        One row per image, those without annotations included.

    Raises:
        MissingDataError: there is no such file.
        DataError: it is no such JSON, two images have one file name, one leaves the folder of
            images, two categories have one name, an annotation names an image or category that is
            not there, or none has a category to keep.

    Example:
        >>> import json, tempfile
        >>> path = Path(tempfile.mkdtemp()) / "instances.json"
        >>> _ = path.write_text(json.dumps({
        ...     "images": [{"id": 7, "file_name": "in\\a.jpg"}],
        ...     "categories": [{"id": 90, "name": "cat"}, {"id": 3, "name": "dog"}],
        ...     "annotations": [{"image_id": 7, "category_id": 3}]}))
        >>> labels_from_coco(path)[:2]
        (('dog', 'cat'), (LabelRow(image='in/a.jpg', labels=('dog',), line=0),))
    """
    coco = read_coco_json(Path(annotations).expanduser())
    files = _files(coco, strip_folders)
    found: dict[str, list[str]] = {file: [] for file in files.values()}
    for item in coco.annotations:
        found[files[item["image_id"]]].append(coco.categories[item["category_id"]])
    shared = _sharing_names(coco)
    if shared and not merge and class_names is None:
        raise DataError(f"{coco.path}: {shared}; --merge (merge=True) takes them for one class")
    every = list(dict.fromkeys(coco.categories.values()))
    table = found_table(coco.path, found, every if class_names is None else class_names)
    notes = [f"{shared} and were taken for one class"] if shared else []
    if class_names is None and coco.unused:
        notes.append(
            f"left out {', '.join(map(repr, coco.unused))}, which no annotation has and which "
            "stands for no class; --classes names the classes to keep"
        )
    return table._replace(notes=tuple(notes))


def _named(path: Path, annotations: Path, filename: str | None) -> str:
    """Return the image that an XML file names, beside it unless it says where."""
    if filename is None:
        raise DataError(f"{path}: expected the name of its image in <filename>, got none")
    pure = PurePosixPath(turned(check_inside(f"{path}: <filename>", filename)))
    beside = path.relative_to(annotations).parent
    return pure.as_posix() if len(pure.parts) > 1 else (beside / pure).as_posix()


def _files(coco: CocoJson, strip_folders: bool) -> dict[int, str]:
    """Return the path of each image; raise if two are one."""
    files: dict[int, str] = {}
    first: dict[str, int] = {}
    for number, image in coco.images.items():
        where = f"{coco.path}: image {number}: 'file_name'"
        pure = PurePosixPath(turned(image["file_name"]))
        try:
            path = check_inside(where, pure.name if strip_folders else str(pure))
        except DataError as error:
            raise DataError(
                f"{error}; where all images lie in one folder --strip-folders (strip_folders=True) "
                "takes their names alone"
            ) from None
        if path in first:
            raise DataError(
                f"{coco.path}: images {first[path]} and {number} both have the file_name {path!r}"
            )
        files[number], first[path] = path, number
    return files


def _sharing_names(coco: CocoJson) -> str:
    """Say which categories have the name of another, empty if none has."""
    first: dict[str, int] = {}
    pairs = [
        f"categories {first[name]} and {number} are both named {name!r}"
        for number, name in coco.categories.items()
        if first.setdefault(name, number) != number
    ]
    return "; ".join(pairs)
