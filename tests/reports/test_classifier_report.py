"""The page in a real browser: no error on its console, nothing wider than the screen, nothing fetched."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from classifier_samples import HOSTILE, exclusive_data, report_data, words
from page_browser import PageReader, assert_enlarges, open_browser

from tagbox.evaluation.evaluate_labels import evaluate_labels
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


def test_a_run_in_folds_says_what_its_metrics_are_of() -> None:
    page = render_report(replace(report_data(words(6), 50), out_of_fold=True))
    assert "Metrics of the out-of-fold predictions" in page
    assert "in the saved model, which was trained on all images." in page
    assert "validation image" not in page
    assert "Metrics on the validation images" in render_report(report_data(words(6), 50))


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


def sections(page: str) -> dict[str, str]:
    """The page's sections by their ids."""
    return dict(re.findall(r'<section id="(\w+)".*?>\n(.*?)</section>', page, re.S))


def charts_of(part: str) -> list[str]:
    return re.findall(r"<figure><figcaption><b>(.*?)</b>", part)


def test_loss_and_map_are_large_and_no_chart_is_there_twice() -> None:
    training = sections(render_report(report_data(words(6), 50)))["training"]
    large, _, rest = training.partition('<div class="picker">')
    assert charts_of(large) == ["Loss", "mAP"]
    named = ["Challenge F1", "Micro F1", "Micro precision", "CF1", "A new metric"]
    assert charts_of(rest) == named
    assert re.findall(r"<option>(.*?)</option>", rest) == named


def test_files_have_their_base_names() -> None:
    data = report_data(words(3), 20)
    moved = [replace(image, name=f"deep/in/{i}.jpg") for i, image in enumerate(data.images)]
    page = render_report(replace(data, images=moved))
    for i in range(len(moved)):
        assert f'<span title="deep/in/{i}.jpg">{i}.jpg</span>' in page


def test_categories_with_few_positives_are_faded_and_without_any_folded() -> None:
    data = report_data(words(4), 60)
    truth = data.truth.copy()
    truth[:, 1] = 0
    truth[3:, 2] = 0
    truth[:3, 2] = 1
    metrics = evaluate_labels(truth, categories=words(4), probabilities=data.probabilities)
    part = sections(render_report(replace(data, truth=truth, metrics=metrics)))["categories"]
    rows = re.findall(r'<tr role="row"(?: class="(.*?)")?><th scope="row".*?>(.*?)</th>', part)
    assert {name for style, name in rows if not style} == {"category 0", "category 3"}
    assert rows[2:] == [("thin", "category 2"), ("thin none", "category 1")]
    ap = {row["name"]: row["ap"] for row in metrics["per_category"]}
    assert ap[rows[0][1]] >= ap[rows[1][1]]
    for name, value in ap.items():
        if value is not None:
            cell = re.search(
                f'>{name}</th>.*?data-label="AP" data-value="(.*?)".*?</span>(.*?)</td>', part
            )
            assert cell is not None
            assert (float(cell[1]), cell[2]) == (value, f"{value:.3f}")
    assert "Show 1 category without any" in part
    assert "Faded: fewer than 10 validation images" in part


def test_settings_that_differ_are_shown_and_all_on_demand() -> None:
    part = sections(render_report(report_data(words(3), 20)))["configuration"]
    shown, folded = re.split("<details><summary>All 6 settings</summary>", part)
    settings = r'<tr><th scope="row">(.*?)</th><td class="text">(.*?)</td></tr>'
    assert re.findall(settings, shown) == [
        *(("backbone", "&lt;b&gt;x&lt;/b&gt;"), ("keep", "a, b"), ("augment.rotate", "9.0"))
    ]
    folded = folded.partition("Library versions")[0]
    assert len(re.findall(settings, folded)) == 6


def test_one_note_says_that_intervals_are_not_reliable() -> None:
    data = report_data(words(6), 40)
    part = sections(render_report(data))["metrics"]
    assert part.count("not reliable") == 1 + 2 * part.count('<span class="warn"')
    assert "The intervals are not reliable: there are 40 images, fewer than 100" in part
    unsure = sum(not data.metrics["intervals"][key]["reliable"] for key in ("map", "micro_f1"))
    assert unsure == 2


def test_facts_that_are_none_or_nothing_are_left_out() -> None:
    statistics = {"images": 9, "labelled_images": 9, "empty_images": 0, "annotations": 20}
    statistics |= {"boxes": 20, "crowds": 0, "objects": {"small": 0, "large": 20}}
    page = render_report(replace(report_data(words(3), 20), statistics=statistics))
    facts = re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", sections(page)["data"])
    assert facts == [("images", "9"), ("annotations", "20"), ("large objects", "20")]


def test_every_label_has_its_evidence_to_enlarge() -> None:
    data = report_data(words(12), 40)
    page = render_report(data)
    for image in data.images:
        assert len(image.evidence) == len(image.labels) > 0
    labels = sum(len(image.labels) for image in data.images)
    assert page.count('<svg class="heat"') == labels
    assert page.count('<button type="button" class="zoom"') == labels + len(data.images)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_have_enough_contrast(scheme: str) -> None:
    css = (files("tagbox.reports") / "templates" / "report.css").read_text("utf-8")
    light, dark = re.findall(r":root \{(.*?)\}", css, re.S)[:2]
    colours = dict(re.findall(r"--([\w-]+): (#\w+)", light))
    if scheme == "dark":
        colours |= dict(re.findall(r"--([\w-]+): (#\w+)", dark))

    def luminance(colour: str) -> float:
        digits = colour[1:] if len(colour) == 7 else "".join(2 * c for c in colour[1:])
        parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts]
        return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))

    pairs = [
        (colours[ink], colours[back])
        for ink in ("ink", "quiet", "c0", "warn")
        for back in ("paper", "card")
    ]
    pairs += [("#ffffff", colours[name]) for name in ("true-positive", "false-positive", "missed")]
    for ink, back in pairs:
        high, low = sorted((luminance(ink), luminance(back)), reverse=True)
        assert (high + 0.05) / (low + 0.05) >= 4.5, (ink, back)


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
    assert seen["cut"] == []
    assert seen["picked"] == [[name] for name in seen["options"]]
    assert_enlarges(seen)
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
