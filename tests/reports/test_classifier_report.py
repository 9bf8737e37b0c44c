"""The page in a real browser: no error on its console, nothing wider than the screen, nothing fetched."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from classifier_samples import HOSTILE, exclusive_data, report_data, words
from page_browser import PageReader, open_browser

from tagbox.reports.classifier_sections import ClassifierReport
from tagbox.reports.report import render_report, write_report

PAGES: dict[str, Callable[[], ClassifierReport]] = {
    "usual": lambda: report_data(words(20), 60),
    "hostile names": lambda: report_data(HOSTILE, 40),
    "no positives": lambda: report_data(words(5), 20, share=0.0),
    "one category": lambda: report_data(words(1), 30),
    "one image": lambda: report_data(words(4), 1, share=0.6),
    "no image": lambda: report_data(words(4), 0),
    "label sets": lambda: report_data(words(12), 40, label_sets=True),
    "unknown labels": lambda: report_data(words(12), 40, unknown=0.3),
    "200 categories": lambda: report_data(words(200), 80, share=0.05),
    "exclusive": lambda: exclusive_data(words(10), 200),
    "exclusive hostile": lambda: exclusive_data(HOSTILE, 60),
    "exclusive 80": lambda: exclusive_data(words(80), 400),
    "exclusive 200": lambda: exclusive_data(words(200), 300),
    "exclusive sets": lambda: exclusive_data(words(3), 40, label_sets=True),
    "exclusive none": lambda: exclusive_data(words(4), 0),
    "exclusive perfect": lambda: exclusive_data(words(4), 30, skill=60.0),
}


@pytest.mark.parametrize("case", PAGES)
def test_the_page_refers_to_nothing_outside(case: str) -> None:
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


def test_texts_are_text() -> None:
    page = render_report(report_data(HOSTILE, 40))
    links = PageReader()
    links.feed(page)
    assert set(HOSTILE) <= set(links.row_headers)
    assert "<script>alert" not in page
    assert "<img" not in page
    assert "&lt;script&gt;alert(3)&lt;/script&gt;&lt;img src=x onerror=alert(4)&gt;.jpg" in page
    assert "see http://example.invalid/&lt;x&gt;" in page


def test_the_same_data_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.html", "b.html"):
        write_report(report_data(words(6), 30), tmp_path / name)
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_headline_says_what_the_metrics_say() -> None:
    data = report_data(words(6), 50)
    page = render_report(data)
    for key in ("map", "challenge_f1", "micro_f1", "hamming_loss"):
        assert f'<p class="value">{data.metrics[key]:.3f}</p>' in page


def test_exclusive_labels_have_their_own_page() -> None:
    data = exclusive_data(words(10), 200)
    page = render_report(data)
    names = re.findall(r"<h3>(.*?)</h3>\n<p class=\"value\">(.*?)</p>", page)
    low, high = (data.metrics["intervals"]["accuracy"][end] for end in ("low", "high"))
    assert names[0] == ("accuracy", f"{data.metrics['accuracy']:.3f}")
    assert f"95% interval {low:.3f} to {high:.3f}" in page
    assert [name for name, _ in names] == [
        *("accuracy", "top-5 accuracy", "macro F1", "log loss", "calibration error", "mAP")
    ]
    assert "hreshold" not in page
    captions = re.findall(r"<figcaption><b>(.*?)</b>", page)
    assert captions[:4] == ["Loss", "Accuracy", "Macro F1", "mAP"]
    assert "Confusion matrix" in captions
    for i, row in enumerate(data.metrics["confusion_matrix"]):
        for j, count in enumerate(row):
            name, other = f"category {i}", f"category {j}"
            words_of = f"{name} correct" if i == j else f"{name} predicted as {other}"
            tip = f"<title>{words_of}: {count} of {sum(row)} images</title>"
            assert (tip in page) == (count > 0)


CASES = [(case, 390) for case in PAGES]
CASES += [(case, 1280) for case in ("usual", "hostile names", "200 categories", "exclusive 80")]


@pytest.fixture(scope="module")
def browser(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[dict[str, tuple[str, int]]], Any]:
    return open_browser(tmp_path_factory.mktemp("browser"))


@pytest.fixture(scope="module")
def looked(browser: Callable[[dict[str, tuple[str, int]]], Any]) -> dict[str, Any]:
    pages = {case: render_report(make()) for case, make in PAGES.items()}
    found: dict[str, Any] = browser(
        {f"{case.replace(' ', '-')}-{width}": (pages[case], width) for case, width in CASES}
    )
    return found


@pytest.mark.parametrize(("case", "width"), CASES)
def test_the_page_in_a_browser(case: str, width: int, looked: dict[str, Any]) -> None:
    seen = looked[f"{case.replace(' ', '-')}-{width}"]
    assert seen["errors"] == []
    assert seen["console"] == []
    assert seen["screen"] == width
    assert seen["wide"] <= width
    assert seen["sorted"] == sorted(seen["sorted"], reverse=True)
    assert seen["sorted"] or case in ("no image", "exclusive none")


def test_the_browser_sees_faults(browser: Callable[[dict[str, tuple[str, int]]], Any]) -> None:
    page = render_report(report_data(words(3), 10))
    faults = {
        "script": "<script>missing()</script>",
        "drawing": '<svg><path d="M NaN"/></svg>',
        "wide": "<div style='width:800px'>wide</div>",
        "outside": "<img src='http://127.0.0.1:9/x.png'>",
    }
    seen = browser({n: (page.replace("<main>", f"<main>{f}", 1), 390) for n, f in faults.items()})
    assert "missing is not defined" in seen["script"]["errors"][0]
    assert seen["drawing"]["console"]
    assert seen["wide"]["wide"] > 390
    assert seen["outside"]["errors"] == ["http://127.0.0.1:9/x.png"]
