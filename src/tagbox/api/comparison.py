"""`Comparison`: what `compare` found, with tables that show themselves and a page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tagbox.reports.page import metric_name
from tagbox.tables import Table

if TYPE_CHECKING:
    from pandas import DataFrame

    from tagbox.data.dataset import Dataset


class Comparison(Mapping[str, Any]):
    """What ``tagbox compare --json`` prints, as a mapping; `docs/comparing.md` has the keys.

    Parameters
    ----------
    result
        The mapping.
    dataset
        The images, for the page.
    """

    def __init__(self, result: Mapping[str, Any], dataset: Dataset) -> None:
        self._result = dict(result)
        self._dataset = dataset

    def __getitem__(self, key: str) -> Any:
        return self._result[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._result)

    def __len__(self) -> int:
        return len(self._result)

    @property
    def models(self) -> Table:
        """The models or recipes, the best first; those that share a letter in ``group`` cannot be told apart."""
        metric = self["metric"]
        rows = [
            {
                "name": model["name"],
                **({"runs": model["runs"]} if self["question"] == "recipes" else {}),
                metric: model["metrics"][metric],
                "group": model["groups"][metric],
                "rank": model["rank"][metric],
                **{key: value for key, value in model["metrics"].items() if key != metric},
            }
            for model in self["models"]
        ]
        return Table(rows, title=self["answers"])

    @property
    def pairs(self) -> Table:
        """The pairs in the metric that the models are ranked by; `metrics_of` has the other metrics."""
        return self.metrics_of(self["metric"])

    def metrics_of(self, metric: str) -> Table:
        """The pairs in one metric: difference, interval, probability that the first is better, verdict."""
        columns = ("first", "second", "difference", "low", "high", "p_first_better", "p_corrected")
        return Table(
            [row for row in self._rows() if row["metric"] == metric],
            (*columns, "verdict", "reliable", "more_images"),
            metric_name(metric),
        )

    @property
    def per_category(self) -> Table:
        """Wins and losses of each pair in each category."""
        return Table(
            [
                {
                    "category": row["name"],
                    "support": row["support"],
                    "first": pair["first"],
                    "second": pair["second"],
                    "first_value": row["first"],
                    "second_value": row["second"],
                    "images_first": row["images_first"],
                    "images_second": row["images_second"],
                    "better": pair.get(row.get("better"), row.get("better")),
                }
                for pair in self["pairs"]
                for row in pair["categories"]["rows"]
            ]
        )

    @property
    def disagreements(self) -> Table:
        """The images in whose errors the models differ most, with the errors of each model."""
        return Table(
            [
                {"image": row["image"], "disagreement": row["disagreement"]}
                | {model["name"]: model["errors"] for model in row["models"]}
                for row in self["disagreements"]
            ]
        )

    def to_pandas(self) -> DataFrame:
        """Every pair in every metric, a row each.

        Raises
        ------
        TagboxError
            ``extra-missing`` without pandas.
        """
        return Table(self._rows()).to_pandas()

    def write_page(self, path: Path | str) -> None:
        """Write the comparison as one HTML page, which nothing outside is part of.

        Raises
        ------
        TagboxError
            ``cannot-write``.
        """
        from tagbox.api.comparison_page import write_comparison_page

        write_comparison_page(self, self._dataset, Path(path))

    def _rows(self) -> list[dict[str, Any]]:
        return [
            {"metric": metric, "first": pair["first"], "second": pair["second"]}
            | {f"{side}_value": found[side] for side in ("first", "second")}
            | {key: value for key, value in found.items() if key not in ("first", "second")}
            # In a table the name says more than its side.
            | {"verdict": pair.get(found["verdict"], found["verdict"])}
            for pair in self["pairs"]
            for metric, found in pair["metrics"].items()
        ]

    def __repr__(self) -> str:
        return f"{self.models[:]!r}\n\n{self.pairs!r}"

    def _repr_html_(self) -> str:
        return self.models._repr_html_() + self.pairs._repr_html_()
