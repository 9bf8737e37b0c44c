"""What `tagbox tune` prints of a study."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tagbox.cli.console import print_table, say

if TYPE_CHECKING:
    from tagbox.api import Study


def show_study(done: Study[Any]) -> None:
    """The best five trials, what decided them, and what other seeds and images say of the best."""
    result = done.result
    metric, names = result["metric"], list(result["search"])
    counts = result["trials"]
    print_table(
        f"the best of {counts['total']} trials ({counts['pruned']} pruned, {counts['failed']} failed)",
        ("trial", metric, "epochs", *names),
        [
            (
                row["trial"],
                row["value"],
                row["epochs"],
                *(_cell(row["parameters"][n]) for n in names),
            )
            for row in result["five_best"]
        ],
    )
    if result["importance"]:
        shares = ", ".join(f"{k} {v:.0%}" for k, v in result["importance"].items())
        say(f"what set the best tenth apart: {shares}")
    if "again" in result:
        _show_again(result["again"], result["best"], metric)
    if "test" in result:
        _show_test(result["test"])
    else:
        say("the search has seen the validation pictures: --test judges the best on others")


def _show_again(again: Mapping[str, Any], best: Mapping[str, Any], metric: str) -> None:
    """The best trial's figure beside what other seeds make of the same settings."""
    said = [f"trial {best['trial']} had {metric} {best['value']:.4f}"]
    seeds = len(again["seeds"])
    if again["best"]["mean"] is not None:
        others = "another seed gives" if seeds == 1 else f"the mean of {seeds} other seeds is"
        said.append(f"{others} {again['best']['mean']:.4f}")
    if again["start"]["mean"] is not None:
        said.append(f"and {again['start']['mean']:.4f} with the settings at the start")
    say(", ".join(said))


def _show_test(test: Mapping[str, Any]) -> None:
    rows: list[tuple[object, ...]] = []
    paired = test["differences"]
    for name, value in test["best"].items():
        rows.append((name, test["start"].get(name, "-"), value, _difference(paired.get(name))))
    print_table(
        f"{test['images']:,} test pictures",
        ("", "at the start", "best", "difference (95 %)"),
        rows,
    )
    if not any("low" in each for each in paired.values()):
        say("differences of AP have no interval here: whether they are chance is not said")


def _difference(paired: Mapping[str, float] | None) -> str:
    """A difference with its interval; a dash for what there is not."""
    if paired is None:
        return "-"
    ends = f"{paired['low']:+.4f} to {paired['high']:+.4f}" if "low" in paired else "-"
    return f"{paired['difference']:+.4f} ({ends})"


def _cell(value: object) -> object:
    return f"{value:.3g}" if isinstance(value, float) else value
