"""What results were made of: contents, not names or times, and only what is written to its end."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import pytest
import torch
from PIL import Image

from fsr.errors import SettingsError
from fsr.inference import _made_of as made_module
from fsr.inference import record_settings
from fsr.inference._made_of import Made, made_of_file, stamp_of
from fsr.inference._records import RECORDS, Records

OLD = 10**9  # nanoseconds: times long past


def aged(path: Path) -> Path:
    os.utime(path, ns=(OLD, OLD))
    return path


def picture(path: Path, value: int = 0, size: tuple[int, int] = (9, 7)) -> Path:
    path.parent.mkdir(exist_ok=True)
    Image.new("L", size, value).save(path)
    return path


def recorded(folder: Path) -> Records:
    records = Records(folder)
    records.finish("a", Made("one"), [picture(folder / "masks" / "a.png")])
    return records


# -- images ---------------------------------------------------------------------------------------


def test_an_image_of_the_same_content_is_the_same_whatever_its_times(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"pixels")
    before = made_of_file(path, ["cat"])
    aged(path)
    assert made_of_file(path, ["cat"], before).digest == before.digest
    path.write_bytes(b"others")  # of the same size
    assert made_of_file(path, ["cat"], before).digest != before.digest
    assert made_of_file(aged(path), ["cat"], before).digest != before.digest


def test_a_content_is_read_once_while_the_system_says_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"pixels")
    monkeypatch.setattr("time.time_ns", lambda: 2 * max(stamp_of(path) or ()))
    before = made_of_file(path, ["cat"])
    assert before.stamp == stamp_of(path)
    read: list[Path] = []

    def other(file: Path) -> str:
        read.append(file)
        return "other"

    monkeypatch.setattr(made_module, "file_hash", other)
    assert made_of_file(path, ["cat"], before) == before
    assert read == []
    aged(path)
    assert made_of_file(path, ["cat"], before).content == "other"
    assert read == [path]


def test_a_file_that_was_just_written_is_read_again_next_time(tmp_path: Path) -> None:
    # Another content of the same size, within the grain of the clock, would show the same times.
    path = tmp_path / "a.jpg"
    path.write_bytes(b"pixels")
    assert made_of_file(path, []).stamp is None


# -- results --------------------------------------------------------------------------------------


def test_a_result_stays_if_it_is_made_of_the_same_and_whole(tmp_path: Path) -> None:
    recorded(tmp_path)
    mask = tmp_path / "masks" / "a.png"
    records = Records(tmp_path)  # as another run reads them
    assert records.keeps("a", Made("one"), [mask])
    assert not records.keeps("a", Made("two"), [mask])
    assert not records.keeps("a", Made(""), [mask])
    assert not records.keeps("b", Made("one"), [mask])
    assert not records.keeps("a", Made("one"), [mask, tmp_path / "overlays" / "a.jpg"])
    aged(mask)
    assert records.keeps("a", Made("one"), [mask])
    mask.unlink()
    assert not records.keeps("a", Made("one"), [mask])


@pytest.mark.parametrize("damage", ["empty", "half", "tail", "zeros", "flipped"])
def test_a_damaged_file_does_not_stay(tmp_path: Path, damage: str) -> None:
    records = recorded(tmp_path)
    mask = tmp_path / "masks" / "a.png"
    whole = mask.read_bytes()
    middle = whole.index(b"IDAT") + 8
    mask.write_bytes(
        {
            "empty": b"",
            "half": whole[: len(whole) // 2],
            "tail": whole[:-1],
            "zeros": bytes(len(whole)),
            "flipped": whole[:middle] + bytes([whole[middle] ^ 4]) + whole[middle + 1 :],
        }[damage]
    )
    assert not records.keeps("a", Made("one"), [mask])


def test_a_mask_that_was_changed_by_hand_stays_and_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    records = recorded(tmp_path)
    mask = picture(tmp_path / "masks" / "a.png", 1)
    with caplog.at_level(logging.WARNING):
        assert records.keeps("a", Made("one"), [mask])
    assert caplog.messages == [f"{mask}: was changed since it was written; it is kept as it is"]
    records.begin("a")
    assert mask.is_file()  # nobody else has it


def test_a_result_that_is_begun_anew_counts_for_nothing_until_it_is_done(tmp_path: Path) -> None:
    records = recorded(tmp_path)
    mask = tmp_path / "masks" / "a.png"
    overlay = picture(tmp_path / "overlays" / "a.png")
    records.finish("a", Made("one"), [mask, overlay])
    records.begin("a", [mask])
    assert (mask.is_file(), overlay.exists()) == (True, False)
    # A kill here leaves the old mask: it is not taken for one of the old image again.
    assert not Records(tmp_path).keeps("a", Made("one"), [mask])


def test_lines_that_are_torn_or_none_of_ours_count_as_not_there(tmp_path: Path) -> None:
    recorded(tmp_path)
    path, mask = tmp_path / RECORDS, tmp_path / "masks" / "a.png"
    whole = path.read_text()
    for wrong in (
        whole.strip()[:-5],
        "[]",
        "3",
        '{"name": []}',
        '{"name": "a", "made_of": 1}',
        '{"name": "a", "made_of": "one", "image": [], "files": {}}',
        whole.replace("masks/a.png", "../../a.png").strip(),
        "[" * 100_000,
    ):
        path.write_text(wrong)
        assert Records(tmp_path).known == {}, wrong[:60]
        # What is appended after a torn line is whole.
        recorded(tmp_path)
        assert Records(tmp_path).keeps("a", Made("one"), [mask])


def test_tidied_records_say_the_same(tmp_path: Path) -> None:
    records = recorded(tmp_path)
    records.finish("b", Made("two"), [picture(tmp_path / "masks" / "b.png")])
    records.finish("a", Made("three"), [tmp_path / "masks" / "a.png"])
    before = Records(tmp_path).known
    records.tidy(["b", "a", "none"])
    lines = [json.loads(line)["name"] for line in (tmp_path / RECORDS).read_text().splitlines()]
    assert lines == ["b", "a"]
    assert Records(tmp_path).known == before


# -- settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "expected a JSON object, got list"),
        ("3", "expected a JSON object, got int"),
        ("null", "expected a JSON object, got NoneType"),
        ('"flip"', "expected a JSON object, got str"),
        ("", "cannot be read as JSON"),
        ('{"flip": tr', "cannot be read as JSON"),
        ("[" * 100_000, "cannot be read as JSON"),
        ('{"flip": [true]}', r"flip was \[True\], now True; take the same settings"),
        ('{"flip": {"a": null}}', r"flip was \{'a': None\}, now True"),
        ("{}", "flip was None, now True"),
    ],
)
def test_settings_of_any_shape_are_told_in_one_line_with_the_file(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "settings.json"
    path.write_text(text)
    with pytest.raises(SettingsError, match=message) as error:
        record_settings(tmp_path, {"flip": True})
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)
    assert "another folder" in str(error.value)
    assert path.read_text() == text


def test_bytes_that_are_no_text_are_told(tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_bytes(b"\xff\xfe{}")
    with pytest.raises(SettingsError, match=r"settings\.json: cannot be read as JSON"):
        record_settings(tmp_path, {})


def test_labels_with_nan_have_a_digest() -> None:
    assert made_module.spelled_labels(torch.tensor([torch.nan])) == made_module.spelled_labels(
        torch.tensor([torch.nan])
    )
