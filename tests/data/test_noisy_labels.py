"""Image labels that are partly wrong: how many, which, and always the same ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from fsr.data import NoisyLabels, Sample


class Fixed:
    """Images with labels by a table."""

    def __init__(self, labels: torch.Tensor) -> None:
        self.labels = labels
        self.class_names = tuple(f"class{number}" for number in range(labels.shape[1]))

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Sample:
        return Sample(Image.new("RGB", (4, 4)), self.labels[index].clone(), None, f"image{index}")


def test_half_of_the_errors_drop_a_class_and_half_name_another() -> None:
    labels = torch.zeros(4000, 5)
    labels[torch.arange(4000), torch.arange(4000) % 5] = 1
    noisy = NoisyLabels(Fixed(labels), 0.2)
    found = torch.stack([noisy[index].labels for index in range(4000)])
    kept = (found * labels).sum(1)
    dropped = found.sum(1) == 0
    swapped = (kept == 0) & (found.sum(1) == 1)
    # Three standard deviations of 4,000 draws at 0.1 are 0.014.
    assert dropped.float().mean() == pytest.approx(0.1, abs=0.014)
    assert swapped.float().mean() == pytest.approx(0.1, abs=0.014)
    assert kept.mean() == pytest.approx(0.8, abs=0.019)
    assert set(found.unique().tolist()) == {0.0, 1.0}


def test_the_same_errors_every_time_and_others_of_another_seed() -> None:
    labels = (torch.rand(200, 6, generator=torch.Generator().manual_seed(1)) < 0.3).float()
    first, again, other = (NoisyLabels(Fixed(labels), 0.3, seed=seed) for seed in (0, 0, 1))
    read = [torch.stack([d[i].labels for i in range(200)]) for d in (first, again, other)]
    assert torch.equal(read[0], read[1])
    assert not torch.equal(read[0], read[2])
    assert torch.equal(first[-1].labels, first[199].labels)


def test_no_share_changes_nothing_and_the_whole_leaves_no_class_where_it_was() -> None:
    labels = torch.tensor([[1.0, 0.0, 1.0], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
    clean = NoisyLabels(Fixed(labels), 0.0)
    assert torch.equal(torch.stack([clean[i].labels for i in range(3)]), labels)
    wrong = torch.stack([NoisyLabels(Fixed(labels), 1.0)[i].labels for i in range(3)])
    assert float((wrong * labels).sum()) == 0
    assert float(wrong[2].sum()) == 0  # nothing to get wrong
    assert np.array_equal(wrong[1], np.zeros(3))  # and none that is absent


def test_image_mask_and_name_stay() -> None:
    data = Fixed(torch.ones(1, 2))
    noisy, sample = NoisyLabels(data, 1.0), data[0]
    assert (noisy[0].name, noisy[0].target, len(noisy)) == (sample.name, None, 1)
    assert noisy.class_names == data.class_names


@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
def test_a_share_out_of_range_is_named(share: float) -> None:
    with pytest.raises(ValueError, match=r"share: expected a number in \[0.0, 1.0\]"):
        NoisyLabels(Fixed(torch.ones(1, 2)), share)
