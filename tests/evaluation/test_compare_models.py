"""Models and recipes against each other: values, intervals, verdicts, groups, categories, images; by hand and simulated."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from box_data import boxed, detected
from tagbox.errors import TagboxError
from tagbox.evaluation.compare_models import compare_models
from tagbox.evaluation.comparison import paired_label_differences, paired_map_difference
from tagbox.evaluation.detection_intervals import box_intervals
from tagbox.evaluation.evaluate_detections import evaluate_boxes
from tagbox.evaluation.evaluate_labels import evaluate_labels
from tagbox.evaluation.model_outcomes import (
    ModelOutcomes,
    ScoredImages,
    box_outcomes,
    label_outcomes,
    recipe_outcomes,
)
from tagbox.metrics.multilabel import LABEL_METRICS

NAMES = ("cat", "dog", "hat", "owl")


def labels(images: int = 200, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).random((images, 4)) < [0.5, 0.3, 0.2, 0.1]).astype(np.int8)


def scores(truth: np.ndarray, seed: int, skill: float = 2.0) -> np.ndarray:
    random = np.random.default_rng(seed)
    logits = skill * (truth - 0.5) + random.normal(size=truth.shape)
    return (1 / (1 + np.exp(-logits))).astype(np.float32)


def images_of(truth: np.ndarray) -> ScoredImages:
    names = [f"{row}.jpg" for row in range(len(truth))]
    return ScoredImages(names=names, categories=NAMES, support=(truth == 1).sum(axis=0))


def outcomes(truth: np.ndarray, **tables: np.ndarray) -> list[ModelOutcomes]:
    return [label_outcomes(name, truth, probabilities=p) for name, p in tables.items()]


def only(models: list[ModelOutcomes], *metrics: str) -> list[ModelOutcomes]:
    """Without the other metrics, whose corrections take the time."""
    return [replace(m, without={k: m.without[k] for k in metrics}) for m in models]


def compared(truth: np.ndarray, **tables: np.ndarray) -> dict[str, Any]:
    return compare_models(outcomes(truth, **tables), images_of(truth))


def test_two_models_have_the_metrics_and_differences_of_their_own() -> None:
    truth = labels()
    tables = {"a": scores(truth, 1, 3.0), "b": scores(truth, 2)}
    result = compared(truth, **tables)
    json.dumps(result, allow_nan=False)
    assert (result["question"], result["metric"]) == ("models", "map")
    (pair,) = result["pairs"]
    for side, name in (("first", "a"), ("second", "b")):
        expected = evaluate_labels(truth, categories=NAMES, probabilities=tables[name])
        for metric in ("map", *LABEL_METRICS):
            assert pair["metrics"][metric][side] == expected[metric]
    own = paired_label_differences(truth, tables["b"] >= 0.5, tables["a"] >= 0.5)
    own["map"] = paired_map_difference(truth, [tables["b"]], [tables["a"]])
    for metric, found in pair["metrics"].items():
        ends = [own[metric].low, own[metric].high]
        assert [found["low"], found["high"]] == pytest.approx(ends, abs=1e-9)
        assert found["reliable"] == own[metric].reliable
    assert [model["name"] for model in result["models"]] == ["a", "b"]
    # A loss is better where it is lower.
    assert pair["metrics"]["hamming_loss"]["difference"] < 0
    assert pair["metrics"]["hamming_loss"]["p_first_better"] > 0.99
    assert pair["metrics"]["hamming_loss"]["verdict"] == "first"


def test_the_other_way_round_says_the_same() -> None:
    truth = labels()
    a, b = scores(truth, 1), scores(truth, 2)
    there = compared(truth, a=a, b=b)["pairs"][0]["metrics"]
    back = compared(truth, b=b, a=a)["pairs"][0]["metrics"]
    for metric, found in there.items():
        other = back[metric]
        assert found["difference"] == -other["difference"]
        assert found["low"] == pytest.approx(-other["high"])
        assert found["p_first_better"] == pytest.approx(1 - other["p_first_better"])
        assert found["p_value"] == pytest.approx(other["p_value"])


def test_equal_models_share_a_group_and_no_number_of_images_settles_it() -> None:
    truth = labels()
    a = scores(truth, 1)
    result = compared(truth, a=a, b=a, worse=scores(truth, 3, 0.2))
    by_name = {model["name"]: model for model in result["models"]}
    assert {n: m["groups"]["map"] for n, m in by_name.items()} == {"a": "a", "b": "a", "worse": "b"}
    assert {n: m["rank"]["map"] for n, m in by_name.items()} == {"a": 1, "b": 1, "worse": 3}
    same = result["pairs"][0]
    assert same["metrics"]["map"]["more_images"] is None
    assert same["metrics"]["map"]["p_first_better"] == 0.5
    assert same["categories"]["equal"] == 4 and same["categories"]["first_better"] == 0
    assert "max-T over 3 pairs" in result["correction"]


def test_further_images_are_counted_to_a_power_of_eighty_percent() -> None:
    """In a population with the difference of the sample, that many images find it about four times in five."""
    population = labels(20_000, seed=5)
    tables = scores(population, 1, 2.15), scores(population, 2, 2.0)

    def verdict(rows: np.ndarray) -> dict[str, Any]:
        truth = population[rows]
        models = [
            label_outcomes(name, truth, decisions=each[rows] > 0.5)
            for name, each in zip("ab", tables, strict=True)
        ]
        found = compare_models(only(models, "micro_f1"), images_of(truth), metric="micro_f1")
        return found["pairs"][0]["metrics"]["micro_f1"]

    whole = verdict(np.arange(20_000))["difference"]
    random = np.random.default_rng(0)
    # A sample whose difference is about that of the population.
    samples = (random.choice(20_000, 400) for _ in range(200))
    found = next(f for f in map(verdict, samples) if abs(f["difference"] / whole - 1) < 0.1)
    needed = 400 + found["more_images"]
    hits = [verdict(random.choice(20_000, needed))["verdict"] == "first" for _ in range(60)]
    assert 0.62 <= np.mean(hits) <= 0.95


def test_categories_are_told_apart_by_the_sign_test() -> None:
    truth = np.zeros((40, 4), np.int8)
    truth[:, 0] = 1
    first, second = truth == 1, truth == 1
    second = second.copy()
    second[:20, 0] = False  # 20 images of cat that only the first has right,
    first = first.copy()
    first[:3, 1] = True  # and 3 of dog that only the second has right.
    models = [label_outcomes(n, truth, decisions=d) for n, d in (("a", first), ("b", second))]
    found = compare_models(models, images_of(truth))["pairs"][0]["categories"]
    assert [found[key] for key in ("first_ahead", "second_ahead", "equal")] == [1, 1, 2]
    assert [found["first_better"], found["second_better"]] == [1, 0]
    cat, dog, hat, _ = found["rows"]
    assert (cat["images_first"], cat["images_second"], cat["better"]) == (20, 0, "first")
    assert cat["p_corrected"] == pytest.approx(4 * stats.binomtest(0, 20).pvalue)
    assert (dog["images_second"], dog["better"], dog["second"]) == (3, "cannot tell", None)
    assert dog["p_corrected"] == pytest.approx(3 * 0.25)
    assert cat["second"] == pytest.approx(2 / 3) and hat["support"] == 0


def test_label_sets_have_no_map_and_it_is_named() -> None:
    truth = labels()
    models = outcomes(truth, a=scores(truth, 1))
    models.append(label_outcomes("sets", truth, decisions=scores(truth, 2) > 0.5))
    result = compare_models(models, images_of(truth))
    assert result["metric"] == "challenge_f1" and "map" not in result["pairs"][0]["metrics"]
    assert "sets" in result["absent"]["map"] and "label sets" in result["absent"]["map"]
    with pytest.raises(TagboxError, match="sets: needs probabilities") as refused:
        compare_models(models, images_of(truth), metric="map")
    assert refused.value.code == "metric-missing"


def test_the_images_of_most_disagreement_come_first() -> None:
    truth = labels(6)
    right = truth == 1
    wrong = right.copy()
    wrong[4] = ~wrong[4]
    wrong[2, 0] = ~wrong[2, 0]
    models = [label_outcomes(n, truth, decisions=d) for n, d in (("a", right), ("b", wrong))]
    found = compare_models(models, images_of(truth))["disagreements"]
    assert [(row["image"], row["disagreement"]) for row in found] == [("4.jpg", 4), ("2.jpg", 1)]
    a, b = found[0]["models"]
    assert (a["errors"], b["errors"]) == (0, 4)
    assert {*b["missed"], *b["false"]} == set(NAMES) and not a["missed"]


def test_exclusive_labels_have_accuracies_and_a_log_loss() -> None:
    random = np.random.default_rng(0)
    rows = random.integers(0, 4, 300)
    truth = np.eye(4, dtype=np.int8)[rows]
    tables = []
    for skill in (2.5, 1.0):
        odds = np.exp(skill * truth + random.normal(size=truth.shape))
        tables.append((odds / odds.sum(axis=1, keepdims=True)).astype(np.float32))
    models = [
        label_outcomes(n, truth, probabilities=p, labels="exclusive")
        for n, p in zip("ab", tables, strict=True)
    ]
    result = compare_models(models, images_of(truth))
    found = result["pairs"][0]["metrics"]
    assert result["metric"] == "accuracy"
    hits = [p.argmax(axis=1) == rows for p in tables]
    difference = hits[0].mean() - hits[1].mean()
    assert found["accuracy"]["difference"] == pytest.approx(difference)
    assert found["accuracy"]["low"] == found["micro_f1"]["low"] or found["accuracy"]["reliable"]
    # The log loss is a plain mean: the interval of Student's paired test, with the normal quantile.
    losses = [-np.log(p[np.arange(300), rows].astype(np.float64)) for p in tables]
    apart = losses[0] - losses[1]
    half = 1.959964 * apart.std(ddof=1) / np.sqrt(300)
    assert found["log_loss"]["high"] - found["log_loss"]["low"] == pytest.approx(2 * half, rel=1e-3)
    assert found["log_loss"]["verdict"] == "first" and found["log_loss"]["difference"] < 0
    assert "calibration_error" in result["absent"] and "top5_accuracy" in result["absent"]


def test_recipes_count_the_spread_between_their_runs() -> None:
    truth = labels(400)
    runs = [
        outcomes(
            truth, **{f"{n}": scores(truth, 10 * n + s, skill) for n, skill in enumerate(skills)}
        )
        for s, skills in ((1, (2.0, 2.4, 1.7)), (2, (2.1, 2.0, 2.3)))
    ]
    recipes = [recipe_outcomes(name, each) for name, each in zip("ab", runs, strict=True)]
    result = compare_models(recipes, images_of(truth))
    assert result["question"] == "recipes" and "Holm" not in result["correction"]
    found = result["pairs"][0]["metrics"]["micro_f1"]
    values = [[run.values["micro_f1"] for run in each] for each in runs]
    assert found["difference"] == pytest.approx(np.mean(values[0]) - np.mean(values[1]))
    # Welch and Satterthwaite, with the variance over images beside those of the two groups of runs.
    between = [np.var(each, ddof=1) / 3 for each in values]
    fixed = compare_models(
        [recipe_outcomes(n, [e[0], e[0]]) for n, e in zip("ab", runs, strict=True)],
        images_of(truth),
    )["pairs"][0]["metrics"]["micro_f1"]
    assert found["high"] - found["low"] > fixed["high"] - fixed["low"]
    without = recipes[0].without["micro_f1"] - recipes[1].without["micro_f1"]
    images = 399 * without.var()
    total = images + sum(between)
    degrees = total**2 / (images**2 / 399 + sum(v**2 / 2 for v in between))
    half = stats.t.ppf(0.975, degrees) * np.sqrt(total)
    # Two more images on which the recipes differ are assumed, which is little of 400.
    assert (found["high"] - found["low"]) / 2 == pytest.approx(half, rel=0.02)
    assert "better" not in result["pairs"][0]["categories"]["rows"][0]


def test_runs_that_vary_much_are_no_better_recipe() -> None:
    """Each run of a is better than each of b beyond doubt on these images, and the recipes cannot be told apart."""
    truth = labels(2000)
    a = outcomes(truth, x=scores(truth, 1, 2.5), y=scores(truth, 2, 4.5))
    b = outcomes(truth, x=scores(truth, 3, 1.2), y=scores(truth, 4, 2.2))
    for pair in compare_models([*a, *b], images_of(truth))["pairs"][1:5]:
        assert pair["metrics"]["map"]["verdict"] == "first"
    recipes = [recipe_outcomes("a", a), recipe_outcomes("b", b)]
    found = compare_models(recipes, images_of(truth))["pairs"][0]["metrics"]["map"]
    assert found["verdict"] == "cannot tell" and found["more_images"] is None


def test_boxes_have_the_figures_of_their_evaluation() -> None:
    random = np.random.default_rng(0)
    boxes, sides = [], {"a": [], "b": []}
    for image in range(30):
        for category in range(2):
            x, y = random.uniform(0, 120, 2)
            boxes.append((image, category, x, y, 40, 40))
            for name, noise in (("a", 2.0), ("b", 9.0)):
                dx, dy = random.normal(0, noise, 2)
                sides[name].append((image, category, x + dx, y + dy, 40, 40, random.random()))
    data = boxed(boxes, images=30, categories=2)
    found = {name: detected(rows, data) for name, rows in sides.items()}
    models = [box_outcomes(name, data, each) for name, each in found.items()]
    images = ScoredImages(
        names=data.images.files.tolist(),
        categories=data.categories.names,
        support=np.array([30, 30]),
        unit="boxes",
    )
    result = compare_models(models, images)
    json.dumps(result, allow_nan=False)
    pair = result["pairs"][0]["metrics"]
    assert set(pair) == {"ap", "ap50", "ap75"} and result["metric"] == "ap"
    for side, name in (("first", "a"), ("second", "b")):
        scored = evaluate_boxes(data, found[name])
        assert pair["ap"][side] == scored["ap"] and pair["ap50"][side] == scored["ap50"]
        at = scored["at_cuts"]
        model = models[list(found).index(name)]
        assert (int(model.missed.sum()), int(model.false.sum())) == (at["fn"], at["fp"])
    assert pair["ap"]["verdict"] == "first"
    assert "ar100" in result["absent"] and box_intervals is not None
    assert result["models"][0]["metrics"]["ar100"] > result["models"][1]["metrics"]["ar100"]


@pytest.mark.parametrize(
    ("images", "members", "draws"), [(133, 2, 100), (470, 2, 40), (133, 12, 25)]
)
def test_models_that_do_not_differ_are_seldom_told_apart(
    images: int, members: int, draws: int
) -> None:
    """The short form of `benchmarks/false_verdicts.py`: members draw each image's output from the same four models."""
    random = np.random.default_rng(images + members)
    rate = np.geomspace(0.5, 0.02, 12)
    truth = (random.random((3000, 12)) < rate).astype(np.int8)
    base = np.stack([scores(truth, seed, 2.5) for seed in range(4)])
    metrics = ("map", "challenge_f1", "micro_f1", "macro_f1", "hamming_loss")
    told = dict.fromkeys(metrics, 0)
    for _ in range(draws):
        rows = random.choice(3000, images)
        models = [
            label_outcomes(
                str(m), truth[rows], probabilities=base[random.integers(0, 4, images), rows]
            )
            for m in range(members)
        ]
        support = (truth[rows] == 1).sum(axis=0)
        names, categories = [str(row) for row in rows], [str(k) for k in range(12)]
        result = compare_models(
            only(models, *metrics),
            ScoredImages(names=names, categories=categories, support=support),
        )
        for metric in metrics:
            told[metric] += any(
                pair["metrics"][metric]["verdict"] != "cannot tell" for pair in result["pairs"]
            )
    # 5 % are expected at most; the bound leaves room for the chance of so few draws.
    assert max(told.values()) <= stats.binom.ppf(0.999, draws, 0.05)
