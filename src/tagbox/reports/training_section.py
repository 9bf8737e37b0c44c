"""The section of a report on the history of the training."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from tagbox.reports.charts import history_chart
from tagbox.reports.page import block, metric_name
from tagbox.reports.report import Report, Section

_SAME = {
    "of1": "micro_f1",
    "op": "micro_precision",
    "or": "micro_recall",
    "cp": "macro_precision",
    "cr": "macro_recall",
    "weighted_recall": "micro_recall",
}
"""Metrics that equal another one whatever the predictions are."""
_LOSS_PARTS = {
    "score": "Classification loss",
    "classifier": "Classification loss",
    "classification": "Classification loss",
    "vfl": "Classification loss",
    "box_reg": "Box loss",
    "bbox_regression": "Box loss",
    "bbox": "Box loss (distance)",
    "giou": "Box loss (overlap)",
    "fgl": "Box loss (edges)",
    "ddf": "Box loss (distillation)",
    "bbox_ctrness": "Centre loss",
    "objectness": "Objectness loss of the proposals",
    "rpn_box_reg": "Box loss of the proposals",
}
"""Names of the parts of torchvision's and transformers' losses in words."""


def training_section(
    report: Report,
    metric: str,
    *,
    together: Sequence[str] = (),
    only: Sequence[str] | None = None,
) -> Section:
    """The loss and a metric over the epochs, and every other column of the history in charts to choose from.

    A loss has an axis from zero that holds training and validation: a part is neither scaled to the others
    nor lost beside them.

    Parameters
    ----------
    metric
        The metric beside the loss.
    together
        Validation metrics that are shown in one chart in its place.
    only
        The metrics to choose from, in their order; all when not given.
    """
    rows, best = report.history, report.best_epoch
    columns = dict.fromkeys(column for row in rows for column in row)
    names = list(
        dict.fromkeys(
            column.partition("_")[2] for column in columns if column.startswith(("train_", "val_"))
        )
    )
    names = [name for name in names if _SAME.get(name) not in names]

    def chart(name: str) -> Markup:
        title = _title(name)
        sides = {f"val_{name}": "validation", f"train_{name}": "training"}
        label = "loss" if name.startswith("loss") else metric_name(name)
        return history_chart(title, label, sides, rows, best)

    side = {f"val_{name}": metric_name(name) for name in together}
    title = "Average precision and recall on the validation images"
    large = [
        chart("loss"),
        history_chart(title, "score", side, rows, best) if together else chart(metric),
    ]
    parts = [name for name in names if name.startswith("loss_")]
    others = [name for name in names if not name.startswith("loss") and name != metric]
    if only is not None:
        others = [name for name in only if name in others]
    rest = {_title(name): chart(name) for name in (*others, *parts) if name not in together}
    rate = {"learning_rate": "learning rate"}
    rest["Learning rate"] = history_chart("Learning rate", "learning rate", rate, rows, best)
    large = [figure for figure in large if figure]
    rest = {name: figure for name, figure in rest.items() if figure}
    return Section(
        id="training",
        label="Training",
        title="Training history",
        blocks=[
            block("charts", figures=large, style=" large") if large else Markup(),
            block("picker", label="More metrics", figures=rest) if rest else Markup(),
        ],
    )


def _title(name: str) -> str:
    if name.startswith("loss_"):
        part = name.removeprefix("loss_").removeprefix("loss_")
        title = _LOSS_PARTS.get(part, f"{part.replace('_', ' ')} loss")
    else:
        title = metric_name(name)
    return title if title.startswith("mAP") else title[:1].upper() + title[1:]
