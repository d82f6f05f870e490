"""Drawing of one scene: background, objects with their parts, distractors."""

from __future__ import annotations

import colorsys
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

# (name, body texture, emblem pattern, emblem hue); each body texture serves two classes.
SCENE_CLASSES = (
    ("ladybird", "striped", "ring", 0.00),
    ("hornet", "striped", "cross", 0.14),
    ("lizard", "dotted", "halves", 0.32),
    ("kingfisher", "dotted", "bullseye", 0.50),
    ("jay", "woven", "bars", 0.64),
    ("orchid", "woven", "quarters", 0.84),
)


def label_map(drawn: list[tuple[int, Mask]], side: int) -> Tensor:
    """Return the label map ``(side, side)`` of objects given back to front."""
    target = np.zeros((side, side), np.int64)
    for c, body in drawn:
        target[body] = c + 1
    return torch.from_numpy(target)


class Canvas:
    """Float image in [0, 1] with the drawing steps of one scene."""

    def __init__(self, rng: np.random.Generator, side: int) -> None:
        self.rng = rng
        self.side = side
        self.image: Floats = np.empty((side, side, 3), np.float32)
        # Coordinates in units of the image side, so that every size shows the same scene.
        axis = (np.arange(side, dtype=np.float32) + 0.5) / side
        self.y: Floats
        self.x: Floats
        self.y, self.x = np.meshgrid(axis, axis, indexing="ij")

    def background(self) -> None:
        """Fill with two muted colours mixed by smooth noise, plus fine grain."""
        rng = self.rng
        mix = self._smooth_noise(int(rng.integers(3, 7)))[..., None]
        first, second = (
            _rgb(rng.random(), rng.uniform(0.05, 0.35), rng.uniform(0.25, 0.8)) for _ in "ab"
        )
        self.image[:] = first * mix + second * (1 - mix)
        # Grain has its own stream: its length depends on the size, the layout must not.
        grain = rng.spawn(1)[0].standard_normal(self.image.shape[:2], dtype=np.float32)
        self.image += 0.03 * grain[..., None]
        for _ in range(int(rng.integers(2, 5))):
            self._distractor()

    def objects(self, count: int) -> list[tuple[int, Mask]]:
        """Draw ``count`` objects back to front and return class and visible-at-drawing mask."""
        rng = self.rng
        drawn: list[tuple[int, Mask]] = []
        emblems: list[tuple[float, float]] = []
        for c in rng.permutation(len(SCENE_CLASSES))[:count]:
            for _attempt in range(12):
                shape = _Shape.draw(rng, count)
                emblem = shape.emblem_centre()
                # An object may cover another's body, but not the emblem that names it.
                if all(shape.distance(y, x) > 1.25 for y, x in emblems) and all(
                    np.hypot(emblem[0] - y, emblem[1] - x) > 2.4 * shape.emblem for y, x in emblems
                ):
                    break
            else:
                continue
            emblems.append(emblem)
            drawn.append((int(c), self._object(int(c), shape, emblem)))
        return drawn

    def _object(self, c: int, shape: _Shape, emblem: tuple[float, float]) -> Mask:
        rng = self.rng
        _, texture, pattern, hue = SCENE_CLASSES[c]
        distance = shape.distance(self.y, self.x)
        body: Mask = distance < 1.0
        base = _rgb(rng.random(), rng.uniform(0.45, 0.8), rng.uniform(0.5, 0.9))
        weave = self._texture(texture, shape.angle)[..., None]
        colour = base * (0.72 + 0.28 * weave) * (1.08 - 0.25 * distance[..., None].clip(0, 1))
        self.image[body] = colour[body]

        y, x = self.y - emblem[0], self.x - emblem[1]
        turn = rng.uniform(0, 2 * np.pi)
        u = (np.cos(turn) * x + np.sin(turn) * y) / shape.emblem
        v = (-np.sin(turn) * x + np.cos(turn) * y) / shape.emblem
        disc: Mask = (u * u + v * v < 1.0) & body
        bright = _rgb((hue + rng.uniform(-0.025, 0.025)) % 1.0, 0.95, 0.95)
        ink = np.where(_pattern(pattern, u, v)[..., None], bright, np.float32(0.08))
        self.image[disc] = ink[disc]
        return body

    def _distractor(self) -> None:
        """Draw a thin bar or a small disc that belongs to no class."""
        rng = self.rng
        colour = _rgb(rng.random(), rng.uniform(0.1, 0.8), rng.uniform(0.2, 0.9))
        y, x = self.y - rng.random(), self.x - rng.random()
        if rng.random() < 0.5:
            angle = rng.uniform(0, np.pi)
            across = np.cos(angle) * x + np.sin(angle) * y
            along = -np.sin(angle) * x + np.cos(angle) * y
            where = (np.abs(across) < rng.uniform(0.012, 0.03)) & (
                np.abs(along) < rng.uniform(0.15, 0.5)
            )
        else:
            where = x * x + y * y < rng.uniform(0.03, 0.07) ** 2
        self.image[where] = colour

    def _smooth_noise(self, cells: int) -> Floats:
        noise = Image.fromarray(self.rng.random((cells, cells), dtype=np.float32))
        side = (self.side, self.side)
        return np.asarray(noise.resize(side, Image.Resampling.BICUBIC), np.float32).clip(0, 1)

    def _texture(self, kind: str, angle: float) -> Floats:
        """Return the body texture in [0, 1] at the period of one class pair."""
        rng = self.rng
        turn = angle + rng.uniform(-0.4, 0.4)
        period = rng.uniform(0.055, 0.075)
        u = (np.cos(turn) * self.x + np.sin(turn) * self.y) * (2 * np.pi / period)
        v = (-np.sin(turn) * self.x + np.cos(turn) * self.y) * (2 * np.pi / period)
        if kind == "striped":
            wave = np.sin(u)
        elif kind == "dotted":
            wave = np.sin(u) * np.sin(v) * 2 - 0.6
        else:
            wave = np.sign(np.sin(u / 1.6)) * np.sign(np.sin(v / 1.6))
        return np.asarray((0.5 + 0.5 * wave).clip(0, 1), np.float32)


class _Shape(NamedTuple):
    """Wavy ellipse with an emblem near one of its ends, in units of the image side."""

    y: float
    x: float
    long: float
    short: float
    angle: float
    waves: tuple[float, float, float, float]
    emblem: float

    @classmethod
    def draw(cls, rng: np.random.Generator, count: int) -> _Shape:
        shrink = {1: 1.0, 2: 0.85}.get(count, 0.72)
        long = rng.uniform(0.27, 0.40) * shrink
        short = long * rng.uniform(0.5, 0.85)
        margin = 0.6 * long
        return cls(
            y=rng.uniform(margin, 1 - margin),
            x=rng.uniform(margin, 1 - margin),
            long=long,
            short=short,
            angle=rng.uniform(0, 2 * np.pi),
            waves=(
                rng.uniform(0, 0.13),
                rng.uniform(0, 6.3),
                rng.uniform(0, 0.09),
                rng.uniform(0, 6.3),
            ),
            emblem=rng.uniform(0.062, 0.08) * (0.5 + 0.5 * shrink),
        )

    def emblem_centre(self) -> tuple[float, float]:
        reach = 0.5 * self.long
        y, x = self.y + reach * np.sin(self.angle), self.x + reach * np.cos(self.angle)
        return float(np.clip(y, 0.08, 0.92)), float(np.clip(x, 0.08, 0.92))

    def distance(self, y: Floats | float, x: Floats | float) -> Floats:
        """Return the distance from the centre in units of the outline's radius: inside is < 1."""
        dy, dx = y - np.float32(self.y), x - np.float32(self.x)
        u = (np.cos(self.angle) * dx + np.sin(self.angle) * dy) / self.long
        v = (-np.sin(self.angle) * dx + np.cos(self.angle) * dy) / self.short
        theta = np.arctan2(v, u)
        a, p, b, q = self.waves
        radius = 1 + a * np.sin(3 * theta + p) + b * np.sin(5 * theta + q)
        return np.asarray(np.hypot(u, v) / radius, np.float32)


def _pattern(kind: str, u: Floats, v: Floats) -> Mask:
    """Return where an emblem shows its bright colour; ``u``, ``v`` span the unit disc."""
    radius = np.hypot(u, v)
    patterns: dict[str, Mask] = {
        "ring": radius > 0.5,
        "cross": (np.abs(u) < 0.33) | (np.abs(v) < 0.33),
        "halves": u > 0,
        "bullseye": (radius < 0.4) | (radius > 0.75),
        "bars": np.abs(v) > 0.35,
        "quarters": u * v > 0,
    }
    return patterns[kind]


def _rgb(hue: float, saturation: float, value: float) -> Floats:
    return np.asarray(colorsys.hsv_to_rgb(hue, saturation, value), np.float32)
