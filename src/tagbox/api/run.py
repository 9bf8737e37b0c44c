"""`Run`: a finished run, which training and `ensemble` return and `open_run` opens."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tagbox.api.charts import Charts, history_charts
from tagbox.api.evaluation import Evaluation
from tagbox.api.runs import run_names
from tagbox.config import ClassifierConfig, DetectorConfig, EnsembleConfig
from tagbox.config.arguments import checked_arguments
from tagbox.tables import Table

if TYPE_CHECKING:
    from tagbox.inference.box_results import BoxResults
    from tagbox.inference.detector import DetectorModel
    from tagbox.inference.label_results import LabelResults
    from tagbox.inference.predictor import LabelPredictor

_SECTIONS: Mapping[str, type[ClassifierConfig | DetectorConfig | EnsembleConfig]] = {
    "classifier": ClassifierConfig,
    "detector": DetectorConfig,
    "ensemble": EnsembleConfig,
}


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Run:
    """A finished run.

    Attributes
    ----------
    folder
        The run directory.
    metrics
        The content of its ``metrics.json``.
    """

    folder: Path
    metrics: Mapping[str, Any]

    @cached_property
    def model(self) -> LabelPredictor | DetectorModel:
        """The classifier, the ensemble or the detector, loaded from the folder."""
        from tagbox.inference.load import load_model

        return load_model(self.folder)

    @cached_property
    def classifier(self) -> LabelPredictor:
        """The model, or the ensemble, loaded from the folder; ``run-detector`` where it is a detector."""
        from tagbox.inference.load import load_classifier

        return load_classifier(self.folder)

    @cached_property
    def detector(self) -> DetectorModel:
        """The detector, loaded from the folder; ``bundle-version`` where it is a classifier."""
        from tagbox.inference.load import load_detector

        return load_detector(self.folder)

    def predict(self, images: Any, **options: Any) -> LabelResults | BoxResults:
        """`predict` of its model."""
        return self.model.predict(images, **options)

    @property
    def evaluation(self) -> Evaluation:
        """The metrics on its validation images."""
        return Evaluation(self.metrics["validation"])

    @cached_property
    def history(self) -> Table:
        """The rows of ``history.csv``, one an epoch; empty for an ensemble.

        Raises
        ------
        TagboxError
            ``history-unreadable``.
        """
        path = self.folder / "history.csv"
        if not path.is_file():
            return Table(())
        from tagbox.errors import TagboxError
        from tagbox.files import read_file

        try:
            lines = read_file(path).decode().splitlines()
            rows = [{name: _value(cell) for name, cell in r.items()} for r in csv.DictReader(lines)]
        except (OSError, ValueError, csv.Error, AttributeError) as error:
            raise TagboxError(
                "history-unreadable", str(error), file=path, hint="train the run again"
            ) from error
        return Table(rows)

    @property
    def charts(self) -> Charts:
        """Losses and metrics over the epochs."""
        return history_charts(list(self.history), self.metrics.get("best_epoch"))

    @cached_property
    def config(self) -> ClassifierConfig | DetectorConfig | EnsembleConfig:
        """The settings it was trained with, ``auto`` resolved.

        Raises
        ------
        TagboxError
            ``config-missing``, ``config-syntax``, ``config-field``, ``config-value``.
        """
        from tagbox.config.base import read_yaml

        path = self.folder / "config.yaml"
        content = read_yaml(path)
        section = next((name for name in _SECTIONS if name in content), "classifier")
        kind, values = _SECTIONS[section], content.get(section) or {}
        if kind is EnsembleConfig:  # Members and validation data stand beside the settings.
            known = {field.name for field in fields(kind)}
            values = {name: value for name, value in values.items() if name in known}
        return kind.from_dict(values, file=path)

    @property
    def report(self) -> Path:
        """The HTML report."""
        return self.folder / "report.html"

    def __repr__(self) -> str:
        shown = ", ".join(f"{n} {v:.3f}" for n, v in list(self.evaluation.headline.items())[:4])
        return f"<Run {str(self.folder)!r}: {shown}{self._transfer}>"

    @property
    def _transfer(self) -> str:
        """What follows its figures where it uses what was trained on COCO."""
        transfer = self.metrics.get("transfer")
        return f"; {transfer}" if transfer else ""

    def _repr_html_(self) -> str:
        charts = self.charts
        first = {name: charts[name] for name in ("loss", "map", "ap") if name in charts}
        where = f"report: {escape(str(self.report))}"
        return (
            f"<div><p><b>{escape(self.folder.name)}</b> · {where}{escape(self._transfer)}</p>"
            f"{self.evaluation._headline()._repr_html_()}{Charts(first)._repr_html_()}</div>"
        )


@checked_arguments
def open_run(path: Path | str, *, runs: Path | str = Path("runs")) -> Run:
    """A finished run: its metrics, history, settings, model and report.

    Parameters
    ----------
    path
        Its folder, or its name.
    runs
        Where a name is looked for.

    Raises
    ------
    TagboxError
        ``metrics-missing`` where there is no finished run.
    """
    from tagbox.training.saved_run import read_metrics

    folder = Path(path)
    if not folder.is_dir() and (Path(runs) / folder).is_dir():
        folder = Path(runs) / folder
    if not folder.is_dir():
        from tagbox.data.text import near
        from tagbox.errors import TagboxError

        hint = near(str(path), run_names(Path(runs)), noun=f"runs in {runs}")
        raise TagboxError("metrics-missing", "no such run", file=path, hint=hint)
    return Run(folder=folder, metrics=read_metrics(folder))


def _value(cell: str) -> float | int | None:
    if cell == "":
        return None
    return int(cell) if cell.lstrip("-").isdecimal() else float(cell)
