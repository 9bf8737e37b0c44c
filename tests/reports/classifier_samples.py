"""Reports of simulated runs, with everything a real one has."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tagbox.evaluation.evaluate_labels import evaluate_labels
from tagbox.evaluation.tuning import tune
from tagbox.reports.classifier_examples import choose_examples, make_example
from tagbox.reports.classifier_sections import ClassifierReport

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(2)>',
    "{{ 7 * 7 }} {row} %s",
    "]]></style></script><b>",
    "naïve 日本語 🐈 العربية",
    "a_very_long_name_without_any_place_to_break_" * 6,
    "",
)

COLUMNS = ("challenge_f1", "micro_f1", "of1", "micro_precision", "op", "cf1", "a_new_metric")
"""Metrics of the history; OF1 is micro F1, and OP micro precision."""


def report_data(
    names: tuple[str, ...],
    images: int,
    *,
    seed: int = 0,
    share: float = 0.3,
    label_sets: bool = False,
    unknown: float = 0.0,
    examples: int = 6,
) -> ClassifierReport:
    """A report of simulated probabilities, with everything a real run has."""
    random = np.random.default_rng(seed)
    categories = len(names)
    truth = (random.random((images, categories)) < share).astype(np.int8)
    truth[random.random(truth.shape) < unknown] = -1
    logits = random.normal(size=truth.shape) + 2.0 * (truth == 1) - 1.5
    probabilities = (1 / (1 + np.exp(-logits))).astype(np.float32)
    tuned = tune(truth, probabilities)
    predicted = tuned.thresholds.decide(probabilities)
    scored = {"decisions": predicted} if label_sets else {"probabilities": probabilities}
    metrics = evaluate_labels(
        truth,
        categories=names,
        thresholds=None if label_sets else tuned.thresholds,
        **scored,
    )
    best, worst = choose_examples(truth, predicted, probabilities, examples)
    shown = [
        make_example(
            random.integers(0, 255, (24 + 7 * (row % 3), 40, 3), dtype=np.uint8),
            f"{row:012d}<script>alert(3)</script><img src=x onerror=alert(4)>.jpg",
            int(row),
            kind,
            truth=truth,
            decisions=predicted,
            probabilities=None if label_sets else probabilities,
            categories=names,
            evidence=[
                (name, random.normal(size=(7, 9)).astype(np.float32))
                for name, true, said in zip(names, truth[row], predicted[row], strict=True)
                if true == 1 or said
            ],
        )
        for kind, rows in (("best", best), ("worst", worst))
        for row in rows
    ]
    history = [
        {
            "epoch": e,
            "train_loss": 1 / e,
            "val_loss": 1.1 / e,
            "val_map": None if e < 3 else 0.1 * e,
            **{f"{side}_{key}": 1 - 0.5 / e for side in ("train", "val") for key in COLUMNS},
        }
        for e in range(1, 9)
    ]
    return ClassifierReport(
        title="run <i>1</i>",
        categories=names,
        truth=truth,
        metrics=metrics,
        history=history,
        best_epoch=7,
        images=shown,
        config={
            "backbone": "<b>x</b>",
            "images": None,
            "mirror": True,
            "keep": ["a", "b"],
            "augment": {"flip": True, "rotate": 9.0},
        },
        defaults={
            "backbone": "lite",
            "images": None,
            "mirror": True,
            "keep": [],
            "augment": {"flip": True, "rotate": 0.0},
        },
        baselines={"colour <i>": {"map": 0.1}},
        notes=["see http://example.invalid/<x>"],
        versions={"tagbox": "0"},
        command="tagbox train classifier 'a & b.json'",
        **(
            scored
            | ({} if label_sets else {"thresholds": tuned.thresholds.to_dict()})
            | {"tuning": tuned.report}
        ),
    )


def words(count: int) -> tuple[str, ...]:
    return tuple(f"category {i}" for i in range(count))


def exclusive_data(
    names: tuple[str, ...], images: int, *, skill: float = 3.0, label_sets: bool = False
) -> ClassifierReport:
    """The same with one category an image, named by the softmax of noisy logits."""
    random = np.random.default_rng(0)
    rows = random.integers(0, len(names), images)
    logits = random.normal(0, 1.2, (images, len(names)))
    logits[np.arange(images), rows] += skill
    powers = np.exp(logits)
    probabilities = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
    truth = (rows[:, None] == np.arange(len(names))).astype(np.int8)
    predicted = probabilities >= probabilities.max(axis=1, keepdims=True)
    scored = {"decisions": predicted} if label_sets else {"probabilities": probabilities}
    best, worst = choose_examples(truth, predicted, probabilities, 4)
    shown = [
        make_example(
            random.integers(0, 255, (24, 32, 3), dtype=np.uint8),
            f"{row}.png",
            int(row),
            kind,
            truth=truth,
            decisions=predicted,
            probabilities=None if label_sets else probabilities,
            categories=names,
        )
        for kind, chosen in (("best", best), ("worst", worst))
        for row in chosen
    ]
    figures = ("map", "accuracy", "macro_f1", "micro_f1", "challenge_f1")
    history = [
        {"epoch": e, "train_loss": 1 / e, "val_loss": 1.1 / e}
        | {f"{side}_{name}": 1 - 0.5 / e for side in ("train", "val") for name in figures}
        for e in range(1, 6)
    ]
    return replace(
        report_data(("a", "b", "c"), 9),
        categories=names,
        truth=truth,
        metrics=evaluate_labels(truth, categories=names, labels="exclusive", **scored),
        probabilities=scored.get("probabilities"),
        decisions=scored.get("decisions"),
        thresholds=None,
        tuning=None,
        history=history,
        images=shown,
    )
