"""The HTML report of a run: what every kind of model reports, and the page that shows its sections."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from markupsafe import Markup

from tagbox.atomic_io import atomic_write
from tagbox.reports.examples import Example
from tagbox.reports.page import block, setting, templates


@dataclass(frozen=True, eq=False, kw_only=True)
class Section:
    """A section of the page.

    Attributes
    ----------
    id
        Anchor of its heading.
    label, title
        Its name in the navigation bar, and its heading.
    blocks
        HTML from top to bottom; a section without any is left out, and so are empty blocks.
    """

    id: str
    label: str
    title: str
    blocks: Sequence[Markup]


@dataclass(frozen=True, eq=False, kw_only=True)
class Report(ABC):
    """What the report of every kind of model shows; only the first three are required.

    Attributes
    ----------
    title
        The run's name.
    categories
        K names.
    metrics
        Metrics on the validation images; a section whose keys are missing or None is left out.
    out_of_fold
        Whether the metrics and examples are of the training images themselves, each predicted by a model that was
        trained in folds without it.
    history
        The rows of ``history.csv``; ``train_NAME`` and ``val_NAME`` share a chart.
    best_epoch
        The epoch whose weights were kept.
    images
        Example predictions.
    statistics
        `checks.statistics.statistics` of the training data.
    config
        Every setting of the run.
    defaults
        The defaults of the settings; those that differ are shown, the others on demand.
    notes
        Sentences, such as which images were left out and why.
    versions
        Library to version.
    command
        The command that reproduces the run.
    """

    title: str
    categories: Sequence[str]
    metrics: Mapping[str, Any]
    out_of_fold: bool = False
    history: Sequence[Mapping[str, float | int | None]] = ()
    best_epoch: int | None = None
    images: Sequence[Example] = ()
    statistics: Mapping[str, Any] | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    command: str = ""

    @abstractmethod
    def facts(self) -> list[str]:
        """What the header counts: images, categories, labels."""

    @abstractmethod
    def sections(self) -> list[Section]:
        """The sections between the header and the configuration."""


def render_report(report: Report) -> str:
    """The report as one HTML document without a reference to anything outside it."""
    sections = [*report.sections(), _configuration_section(report)]
    return (
        templates()
        .get_template("page.html.j2")
        .render(
            title=report.title,
            facts=report.facts(),
            sections=[section for section in sections if any(section.blocks)],
        )
    )


def write_report(report: Report, path: Path) -> None:
    """Write the report to `path`, atomically.

    Raises
    ------
    TagboxError
        ``cannot-write`` when the operating system refuses.
    """
    # A file name that is not UTF-8 brings in lone surrogates.
    atomic_write(path, render_report(report).encode("utf-8", "replace"))


def _configuration_section(report: Report) -> Section:
    """The command, the settings that differ from their defaults, then all of them and the versions, folded."""
    config, defaults = flat(report.config), flat(report.defaults)
    changed = {name: value for name, value in config.items() if defaults.get(name, ...) != value}
    folded = [
        (rows, caption, summary)
        for rows, caption, summary in (
            (
                config if len(changed) < len(config) else {},
                "Settings",
                f"All {len(config)} settings",
            ),
            (report.versions, "Library versions", "Library versions"),
        )
        if rows
    ]
    blocks = []
    if report.command:
        blocks += [block("subtitle", text="Command"), block("code", text=report.command)]
    if changed:
        title = "Settings that differ from the defaults" if defaults else "Settings"
        blocks += [block("subtitle", text=title), _settings_table(changed, title)]
    blocks += [
        block("details", summary=summary, block=_settings_table(rows, caption))
        for rows, caption, summary in folded
    ]
    return Section(id="configuration", label="Configuration", title="Configuration", blocks=blocks)


def _settings_table(settings: Mapping[str, Any], label: str) -> Markup:
    rows = [(name, setting(value)) for name, value in settings.items()]
    return block("table", rows=rows, label=label, text=(1,), style="compact words")


def flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings whose groups are written as ``group.name``."""
    plain: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            plain |= {f"{name}.{inner}": each for inner, each in flat(value).items()}
        else:
            plain[name] = value
    return plain
