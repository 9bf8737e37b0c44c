"""The detector's page: what it says, what it leaves out, and how it stands in a real browser."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from classifier_samples import HOSTILE, words
from detector_samples import (
    detector_examples,
    detector_history,
    detector_metrics,
    detector_report,
)
from page_browser import PageReader, assert_enlarges, open_browser

from tagbox.reports.detector_sections import DetectorReport
from tagbox.reports.report import render_report, write_report


def without_detections(names: tuple[str, ...]) -> DetectorReport:
    """What a detector that finds nothing leaves: zeros, empty columns, missing keys."""
    data = detector_report(names)
    metrics = detector_metrics(names)
    matrix = np.array(metrics["confusion"]["matrix"])
    truth = matrix[:-1].sum(axis=1)
    matrix[:] = 0
    matrix[:-1, -1] = truth
    nothing = dict.fromkeys(("ap", "ap50", "ap75", "ap_small", "ap_medium", "ar100"), 0.0)
    rows = [
        row | dict.fromkeys(("ap", "ap50", "ap75", "ar100", "precision", "recall", "f1"), 0.0)
        for row in metrics["per_category"]
    ]
    gone = ("calibration", "intervals")
    metrics = {key: value for key, value in metrics.items() if key not in gone} | nothing
    metrics |= {
        "detections": 0,
        "per_category": rows,
        "confusion": {"names": metrics["confusion"]["names"], "matrix": matrix.tolist()},
        "errors": {"missed": {"ap50": 0.0, "count": int(truth.sum())}},
        "curves": {
            "recall": np.linspace(0, 1, 101).tolist(),
            "precision_at_50": [0.0] * 101,
            "precision_over_ious": None,
            "scores": [],
            "score_precision": [],
            "score_recall": [],
            "score_f1": [],
        },
        "reasons": ["There are no detections at all, and 9 boxes to find."],
    }
    return replace(data, metrics=metrics, images=detector_examples(names, found=0.0))


def bare(names: tuple[str, ...]) -> DetectorReport:
    """Nothing but what a report must have, of images without a box."""
    absent = {"ap": "there is no box to find", "intervals": "they need two images"}
    return DetectorReport(title="bare", categories=names, metrics={"ap": None, "absent": absent})


def one_epoch(names: tuple[str, ...]) -> DetectorReport:
    return replace(detector_report(names), history=detector_history(1), best_epoch=1)


PAGES: dict[str, Callable[[], DetectorReport]] = {
    "usual": lambda: detector_report(words(12)),
    "hostile names": lambda: detector_report(HOSTILE),
    "one category": lambda: detector_report(words(1)),
    "80 categories": lambda: detector_report(words(80)),
    "no detection": lambda: without_detections(words(5)),
    "bare": lambda: bare(words(3)),
    "one epoch": lambda: one_epoch(words(4)),
    "no history": lambda: replace(detector_report(words(4)), history=(), best_epoch=None),
    "no statistics": lambda: replace(detector_report(words(4)), statistics=None),
}


@pytest.mark.parametrize("case", PAGES)
def test_the_detector_s_page_refers_to_nothing_outside(case: str) -> None:
    page = render_report(PAGES[case]())
    links = PageReader()
    links.feed(page)
    assert all(r.startswith(("#", "data:")) for r in links.references)
    assert {r[1:] for r in links.references if r.startswith("#")} <= set(links.ids)
    assert len(links.ids) == len(set(links.ids))
    assert links.handlers == []
    assert links.tags.count("script") == 1
    assert not {"img", "iframe", "object", "embed", "base", "form"} & set(links.tags)
    assert re.search(r"\b(nan|NaN|None|Undefined|inf)\b", re.sub(r"data:[^\"]*", "", page)) is None


class Elements(HTMLParser):
    """Which elements are open when the page ends, and which were closed without being open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "link", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        if self.open and self.open[-1] == tag:
            self.open.pop()
        else:
            self.wrong.append(tag)


@pytest.mark.parametrize("case", PAGES)
def test_every_element_is_closed(case: str) -> None:
    elements = Elements()
    elements.feed(render_report(PAGES[case]()))
    assert (elements.open, elements.wrong) == ([], [])


def headings(page: str) -> list[str]:
    return re.findall(r"<h2 id=\"(.*?)-title\">", page)


ALL = ["metrics", "examples", "training", "scores", "categories", "errors", "confusion", "data"]


def test_every_section_is_there_and_in_the_contents() -> None:
    page = render_report(detector_report(words(12)))
    assert headings(page) == [*ALL, "configuration"]
    assert re.findall(r'<a href="#(.*?)">', page) == headings(page)


@pytest.mark.parametrize(
    ("case", "missing"),
    [
        ("no history", {"training"}),
        ("bare", {*ALL, "configuration"} - {"metrics"}),
        ("no statistics", set()),
        ("one category", set()),
        ("no detection", set()),
    ],
)
def test_what_is_missing_is_left_out(case: str, missing: set[str]) -> None:
    page = render_report(PAGES[case]())
    assert set(headings(page)) == {*ALL, "configuration"} - missing
    assert re.findall(r'<a href="#(.*?)">', page) == headings(page)


def test_names_and_sentences_are_text() -> None:
    page = render_report(detector_report(HOSTILE))
    links = PageReader()
    links.feed(page)
    assert set(HOSTILE) <= set(links.row_headers)
    assert "<script>alert" not in page
    assert "<img" not in page
    assert "<h1>run &lt;i&gt;1&lt;/i&gt;</h1>" in page
    assert "3 boxes &lt;of&gt; no area left out.</p>" in page
    assert "see https://example.invalid/&lt;y&gt;.</p>" in page


def test_the_page_says_what_the_metrics_say() -> None:
    data = detector_report(words(12))
    metrics = data.metrics
    page = render_report(data)
    tiles = re.findall(r"<h3>(.*?)</h3>\n<p class=\"value\">(.*?)</p>", page)
    names = {"AP": "ap", "AP50": "ap50", "AP75": "ap75", "AP small": "ap_small"}
    names |= {"AP medium": "ap_medium", "AR 100": "ar100"}
    assert tiles == [(words_of, f"{metrics[key]:.3f}") for words_of, key in names.items()]
    interval = metrics["intervals"]["ap"]
    assert f"90% interval {interval['low']:.3f} to {interval['high']:.3f}" in page
    assert f"The intervals are not reliable: {interval['reason']}." in page
    assert "<b>AP large</b> is missing: there is no large box to find." in page
    assert '<th scope="row">AR 10</th>' in page
    for key in ("tp", "fp", "fn"):
        assert f"<dd>{metrics['at_cuts'][key]:,}</dd>" in page
    rows = re.findall(r'<tr><th scope="row">(\w+)<span class="meaning">.*?</tr>', page)
    assert rows == ["missed", "location", "background", "category", "both", "duplicate"]


def test_the_matrix_has_missed_and_invented_boxes() -> None:
    data = detector_report(words(4))
    page = render_report(data)
    matrix = data.metrics["confusion"]["matrix"]
    for i, row in enumerate(matrix):
        for j, number in enumerate(row):
            name, other = f"category {i}", f"category {j}"
            cell = f"{name} correct" if i == j else f"{name} predicted as {other}"
            cell = f"{name} missed" if j == 4 else cell
            cell = f"{other} predicted on background" if i == 4 else cell
            tip = f"<title>{cell}: {number} of {sum(row)} boxes</title>"
            assert (tip in page) == (number > 0)


def charts(page: str) -> dict[str, str]:
    found = re.findall(r"<figure><figcaption><b>(.*?)</b>.*?</figcaption>(<svg.*?</svg>)", page)
    return dict(found)


def test_losses_are_on_their_true_scale() -> None:
    page = render_report(detector_report(words(3)))
    drawn = charts(page)
    assert list(drawn)[:6] == [
        *("Loss", "Average precision and recall on the validation images"),
        *("Class loss", "Box loss", "Centre loss", "Learning rate"),
    ]
    # The values themselves, on an axis from zero; small ones in a power of ten that the axis names.
    assert "training, epoch 1: 3.41" in drawn["Loss"]
    assert "validation, epoch 1: 3.45" in drawn["Class loss"]
    assert "training, epoch 1: 1</title>" in drawn["Centre loss"]
    assert "loss, in 10⁻²" in drawn["Centre loss"]
    assert "learning rate, in 10⁻³" in drawn["Learning rate"]
    for title in ("Loss", "Class loss", "Box loss", "Centre loss", "Learning rate"):
        assert re.search(r'text-anchor="end">0(\.0+)?</text>', drawn[title]), title
        assert ">best</text>" in drawn[title]


def test_boxes_are_drawn_by_their_outcome_and_the_legend_explains_them() -> None:
    data = detector_report(words(3))
    page = render_report(data)
    legend, _, cards = page.partition('<div class="cards boxes">')
    for style in ("true-positive", "false-positive", "missed", "annotation"):
        assert legend.count(f'<g class="box {style}">') == 1
        outcome = style.replace("-", " ").replace("annotation", "unjudged")
        boxes = sum(box.outcome == outcome for image in data.images for box in image.boxes)
        assert cards.count(f'<g class="box {style}">') == boxes > 0


def test_absent_sizes_have_one_note() -> None:
    data = detector_report(words(3))
    absent = {
        f"{metric}_{size}": f"there is no {size} box to find"
        for size in ("small", "large")
        for metric in ("ap", "ar")
    }
    page = render_report(replace(data, metrics={**data.metrics, "absent": absent}))
    assert (
        "<b>AP small</b>, <b>AR small</b>, <b>AP large</b> and <b>AR large</b> are missing: "
        "there is no small box to find; there is no large box to find." in page
    )
    assert page.count("missing:") == 1


def test_the_same_values_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.html", "b.html"):
        write_report(detector_report(words(3)), tmp_path / name)
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_values_that_do_not_fit_each_other_are_refused() -> None:
    data = detector_report(words(3))
    with pytest.raises(ValueError, match=r"must be \(5, 5\)"):
        replace(data, categories=words(4))
    with pytest.raises(ValueError, match=r"must be \(M, 2\)"):
        replace(data, box_sizes=np.zeros((3, 4)))


CASES = [(case, 390) for case in PAGES]
CASES += [(case, 1280) for case in ("usual", "hostile names", "80 categories")]


@pytest.fixture(scope="module")
def looked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    look = open_browser(tmp_path_factory.mktemp("browser"))
    pages = {case: render_report(make()) for case, make in PAGES.items()}
    return look(
        {f"{case.replace(' ', '-')}-{width}": (pages[case], width) for case, width in CASES}
    )


@pytest.mark.parametrize(("case", "width"), CASES)
def test_the_detector_s_page_in_a_browser(case: str, width: int, looked: dict[str, Any]) -> None:
    seen = looked[f"{case.replace(' ', '-')}-{width}"]
    assert seen["errors"] == []
    assert seen["console"] == []
    assert seen["screen"] == width
    assert seen["wide"] <= width
    assert seen["cut"] == []
    assert seen["picked"] == [[name] for name in seen["options"]]
    assert_enlarges(seen)
    assert seen["sorted"] == sorted(seen["sorted"], reverse=True)
    assert seen["sorted"] or case == "bare"
