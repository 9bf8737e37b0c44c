"""The HTML page of a comparison, with the images of most disagreement where they can be read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tagbox.data.dataset import Dataset
from tagbox.errors import TagboxError
from tagbox.images.decode import read_image
from tagbox.reports.comparison import ComparisonReport, named_images
from tagbox.reports.page import metric_name
from tagbox.reports.report import write_report


def write_comparison_page(result: Mapping[str, Any], dataset: Dataset, path: Path) -> None:
    """Write the page of `compare_models`' `result` on `dataset`.

    Raises
    ------
    TagboxError
        ``cannot-write``.
    """
    rows = {name: row for row, name in enumerate(dataset.images.files.tolist())}
    pictures = {}
    for name in named_images(result):
        try:
            pictures[name] = read_image(dataset.images.path(rows[name]))
        except (TagboxError, KeyError):
            continue  # A dataset of labels alone has no images.
    report = ComparisonReport(
        title=f"Comparison by {metric_name(result['metric'])}",
        categories=dataset.categories.names,
        metrics=result,
        pictures=pictures,
    )
    write_report(report, path)
