"""Tables of labels as programs write them: index columns, encodings, separators, odd heads."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest

from fsr.data import LabelTable, _label_file, read_labels
from fsr.errors import DataError


def read(folder: Path, text: str | bytes, **options: tuple[str, ...]) -> LabelTable:
    path = folder / "labels.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_labels(path, **options)


def test_columns_that_number_the_rows_are_left_out(tmp_path: Path) -> None:
    rows = ["0,a,1,0", "1,b,0,1", "2,c,1,1"]
    for head in ("", "Unnamed: 0", "Unnamed: 0.1", "index", "id", "#", "level_0", "row", "counted"):
        for count in (1, 2, 3):
            # A column of another name counts the rows for sure where it holds more than 0 and 1.
            if head == "counted" and count < 3:
                continue
            text = "\n".join([f"{head},image,cat,dog", *rows[:count]])
            table = read(tmp_path, text)
            assert table.class_names == ("cat", "dog"), head
            assert [row.labels for row in table.rows] == [("cat",), ("dog",), ("cat", "dog")][
                :count
            ]


def test_numbers_of_rows_need_no_order(tmp_path: Path) -> None:
    assert read(tmp_path, ",image,cat\n17,a,1\n3,b,0\n").class_names == ("cat",)
    assert read(
        tmp_path, "Unnamed: 0.1,Unnamed: 0,image,labels\n5,0,a,cat\n9,1,b,\n"
    ).class_names == ("cat",)
    assert read(tmp_path, "id,image,labels\n1001,a,cat\n1002,b,\n").class_names == ("cat",)


def test_classes_of_few_rows_are_no_index(tmp_path: Path) -> None:
    table = read(tmp_path, "image,yes,no\na,1,0\nb,0,1\n")
    assert table.class_names == ("yes", "no")


def test_empty_columns_without_a_name_are_left_out(tmp_path: Path) -> None:
    assert read(tmp_path, "image,cat,,\na,1,,\n,,,\nb,0,,\n").class_names == ("cat",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            ",image,cat\nx,a,1\n",
            r"line 1: column 1 is an unnamed column \(''\): .* index, leave it",
        ),
        ("Unnamed: 0,image,cat\n1,a,1\n1,b,0\n", r"unnamed column \('Unnamed: 0'\)"),
        ("image,cat\n0,a,1\n1,b,0\n", r"line 2: expected 2 values, got 3; .* row number, an index"),
        (",cat,dog\na,1,0\n", r"column without a name holds the images, call it 'image'"),
        ("file_name,labels\na,cat\n", r"call the column 'file_name' 'image'"),
        ("Image,cat\na,1\n", r"call the column 'Image' 'image'"),
        ("image cat\na 1\n", r"separate columns by commas, semicolons or tabs"),
        ("image,label\na,cat\n", r"the column 'label' is no class; call it 'labels'"),
        ("image,Labels\na,cat\n", r"the column 'Labels' is no class; call it 'labels'"),
        ("image,cat,cat.1\na,1,0\n", r"each class once, got 'cat' and 'cat\.1', as pandas names"),
        ("image,cat,Cat\na,1,0\n", r"'cat' and 'Cat' look alike"),
        ("image,cat,cat\u200b\na,1,0\n", r"'cat' and 'cat\\u200b' look alike"),
        ("image,cat\u200b,dog\na,1,0\n", r"'cat\\u200b' .* holds a character that cannot be seen"),
        ('image,labels\n"a,cat\nb,dog\n', r"cannot be read as CSV in UTF-8 \(line 2: "),
        ('image,labels\na,cat\n"b"x,dog\n', r"cannot be read as CSV in UTF-8 \(line 3: "),
    ],
)
def test_doubtful_columns_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read(tmp_path, text)
    assert str(caught.value).startswith(str(tmp_path / "labels.csv"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "image;labels\na.jpg;k\u00e4se\n",
        '"image";"labels"\n"a.jpg";"k\u00e4se"\n',
        "image\tlabels\na.jpg\tk\u00e4se\n",
        "sep=;\r\nimage;labels\r\na.jpg;k\u00e4se\r\n",
        "image;k\u00e4se\na.jpg;1\n",
        "image,k\u00e4se\na.jpg,1.0\n",
        "image,k\u00e4se\na.jpg,True\n",
        "image,labels\ra.jpg,k\u00e4se\r",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_what_spreadsheets_write_is_read(tmp_path: Path, text: str, encoding: str) -> None:
    table = read(tmp_path, text.encode(encoding))
    assert (table.class_names, table.rows[0][:2]) == (("k\u00e4se",), ("a.jpg", ("k\u00e4se",)))


def test_big_endian_utf_16_is_read(tmp_path: Path) -> None:
    data = codecs.BOM_UTF16_BE + "image,labels\na,cat\n".encode("utf-16-be")
    assert read(tmp_path, data).class_names == ("cat",)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"PK\x03\x04rest", r"it is a spreadsheet \(\.xlsx, \.ods\).*save it as 'CSV UTF-8'"),
        (b"\xd0\xcf\x11\xe0rest", r"it is a spreadsheet \(\.xls\).*save it as 'CSV UTF-8'"),
        (b"\x1f\x8brest", r"compressed by gzip"),
        (
            "image,labels\na,cat\nb,caf\u00e9\n".encode("latin-1"),
            r"line 3 holds the byte 0xe9, .*ic",
        ),
        ("image,labels\n".encode("utf-16-le"), r"zero bytes, as UTF-16 without a byte-order mark"),
        (codecs.BOM_UTF16_LE + b"i", r"cannot be read as CSV in UTF-8: line 1"),
    ],
)
def test_other_files_and_encodings_name_the_way_out(
    tmp_path: Path, data: bytes, message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read(tmp_path, data)
    assert "labels.csv: cannot be read as CSV in UTF-8: " in str(caught.value)


def test_lines_are_numbered_as_an_editor_does(tmp_path: Path) -> None:
    text = 'image,cat\n\n"a\nb",1\n   \nc,2\n'
    with pytest.raises(DataError, match=r"line 6: expected 0 or 1 in column 'cat', got '2'"):
        read(tmp_path, text)
    assert [row.line for row in read(tmp_path, text.replace(",2", ",0")).rows] == [3, 6]


def test_one_text_in_two_forms_of_unicode_is_one_class(tmp_path: Path) -> None:
    table = read(tmp_path, "image,labels\na,caf\u00e9\nb,cafe\u0301\n")
    assert (table.class_names, [row.labels for row in table.rows]) == (
        ("caf\u00e9",),
        [("caf\u00e9",), ("caf\u00e9",)],
    )
    alone = read(tmp_path, "image,labels\nb,cafe\u0301\n")
    assert alone.class_names == ("cafe\u0301",), "what was sound stays as it was"
    known = read(tmp_path, "image,cafe\u0301\nb,1\n", class_names=("dog", "caf\u00e9"))
    assert known.rows[0].labels == ("caf\u00e9",)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("cat", "Cat"),
        ("cat", "cat\u200b"),
        ("cat", "ca\u00adt"),
        ("dining table", "dining  table"),
        ("dining table", "dining\u00a0table"),
        ("dining table", "dining_table"),
        ("dining table", "Dining-Table"),
        ("cat", "\uff43\uff41\uff54"),
        ("cat", "\u0441at"),
    ],
)
def test_names_that_look_alike_are_shown_with_their_lines(
    tmp_path: Path, one: str, other: str
) -> None:
    with pytest.raises(
        DataError, match=r"labels\.csv: lines [23] and [23]: .* look alike"
    ) as caught:
        read(tmp_path, f"image,labels\na,{one}\nb,{other}\n")
    message = str(caught.value)
    for name in (one, other):
        assert ascii(name) in message or repr(name) in message


def test_a_known_class_in_another_spelling_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"line 2: unknown class 'CAT'; did you mean 'cat'\?"):
        read(tmp_path, "image,labels\na,CAT\n", class_names=("dog", "cat"))
    with pytest.raises(DataError, match=r"unknown class 'x y'; .* are separated by ';'"):
        read(tmp_path, "image,labels\na,x y\n", class_names=("dog", "cat"))


@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_however_many_records_are_read_at_once(
    tmp_path: Path, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_label_file, "_AT_ONCE", at_once)
    text = '\n  \nimage,cat,dog\n,,\n\n"a\nb",1,0\n ,,\nc, 0 ,1\n'
    assert [tuple(row) for row in read(tmp_path, text).rows] == [
        ("a\nb", ("cat",), 6),
        ("c", ("dog",), 9),
    ]
    with pytest.raises(DataError, match=r"line 11: expected 3 values, got 1; put a value"):
        read(tmp_path, f"{text}d,0,0\ne\nf,1,1,1\n")
    with pytest.raises(DataError, match=r"cannot be read as CSV in UTF-8 \(line 11: "):
        read(tmp_path, f'{text}d,0,0\n"e,0,0\n')
    with pytest.raises(DataError, match=r"line 10: 'c' is listed in line 9 already"):
        read(tmp_path, f"{text}c,0,0\n")
    with pytest.raises(DataError, match=r"line 10: expected the path of an image, got nothing"):
        read(tmp_path, f"{text},0,1\n")
    with pytest.raises(DataError, match=r"line 10: expected 0 or 1 in column 'dog', got 'x'"):
        read(tmp_path, f"{text}d,0,x\ne,y,0\n")
    with pytest.raises(DataError, match=r"columns 'image', 'labels'; it is empty"):
        read(tmp_path, "\n ,\n\n")
