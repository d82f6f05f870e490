"""Tables of the photographs: each score of a variant beside the baseline's, paired by seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from _ablation_scores import Row
from _ablation_tables import Cells, comparison, interval, signed
from _ablation_variants import Variant

SCORES = {
    "prediction": "prediction, background and six classes",
    "cam_best": "CAM at the threshold chosen on train photographs, the same classes",
    "cam": "CAM at the common threshold, the same classes",
    "trimap": "prediction within 3 px of a boundary, all classes",
    "prediction_all": "prediction, all classes that occur",
    "cam_best_all": "CAM at the chosen threshold, all classes that occur",
    "before_crf": "prediction on the photographs that a dense CRF refines, before it",
    "after_crf": "the same, after it",
    "label_f1": "label F1",
}


def score_table(
    rows: Sequence[Row], variants: Sequence[Variant], score: str, against: str
) -> Cells:
    """Return the table of one score in per cent, its header first."""
    table = [["variant", "seeds", "mean ± sd", "difference", "95% bootstrap", "95% t", "effect"]]
    for variant in variants:
        found = comparison(rows, variant.name, against, "student", score)
        if not found.seeds:
            continue
        gap = ["", "", "", ""]
        if variant.name != against and found.pairs:
            intervals = interval(found.bootstrap), interval(found.student)
            gap = [signed(found.difference), *intervals, found.effect]
        spread = f" ± {found.spread:.1f}" if found.seeds > 1 else ""
        table.append([variant.name, str(found.seeds), f"{found.mean:.1f}{spread}", *gap])
    return table


def all_tables(
    rows: Sequence[Row],
    variants: Sequence[Variant],
    against: str,
    render: Callable[[Cells], str],
) -> str:
    """Return the tables of all scores, each under its title."""
    parts = []
    for score, title in SCORES.items():
        table = score_table(rows, variants, score, against)
        if len(table) > 1:
            parts.append(f"### {title} (%)\n\n{render(table)}")
    return "\n\n".join(parts)
