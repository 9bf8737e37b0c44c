"""Exclusive labels in training: when they are chosen, where a head starts, what is learned and how epochs are judged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score
from torch.nn import functional

from tagbox.config import ClassifierConfig
from tagbox.data.dataset import (
    Annotations,
    Categories,
    Dataset,
    Images,
    exclusive,
    memory_source,
    require_single_label,
)
from tagbox.data.load import load_dataset
from tagbox.errors import TagboxError
from tagbox.evaluation.evaluate_labels import tune_and_evaluate
from tagbox.metrics.multilabel import class_priors
from tagbox.metrics.single_label import MOST_PROBABLE, one_hot
from tagbox.models.heads import FeatureScale, HeadKind, activate, create_head
from tagbox.training.classification_task import epoch_scores
from tagbox.training.losses import create_loss
from tagbox.training.resolve_config import kind_sentence, label_kind, resolve
from tagbox.training.train_val import TrainVal

RATES = torch.full((4,), 0.25)
AUTO = ClassifierConfig()


def data(
    labels: list[list[int]],
    *,
    boxes: bool = False,
    labelled: list[bool] | None = None,
    unknown: list[tuple[int, int]] = [],  # noqa: B006
    categories: int = 3,
) -> Dataset:
    """Images with the category rows present in each."""
    pairs = [(row, column) for row, columns in enumerate(labels) for column in columns]
    rows, columns = np.array(pairs, np.int32).reshape(-1, 2).T
    annotations = Annotations.from_labels(rows, columns)
    if boxes:
        shape = (len(pairs), 4)
        annotations = replace(
            annotations, boxes=np.ones(shape), has_box=np.ones(len(pairs), np.bool_)
        )
    count = len(labels)
    return Dataset(
        images=Images(
            ids=np.arange(count),
            files=np.array([f"{n}.png" for n in range(count)]),
            widths=np.zeros(count, np.int32),
            heights=np.zeros(count, np.int32),
            labelled=np.array(labelled or [True] * count, np.bool_),
            root=Path("pictures"),
        ),
        categories=Categories.from_names([f"c{k}" for k in range(categories)]),
        annotations=annotations,
        source=memory_source(count, len(pairs)),
        unknown=np.array(unknown, np.int32).reshape(-1, 2),
    )


ONE_EACH = [[0], [1], [2], [0]]
NOT_EXCLUSIVE = [
    # two labels, none, nobody looked, nobody looked for one category
    data([[0], [1, 2]]),
    data([[0], []]),
    data([[0], []], labelled=[True, False]),
    data([[0], [1]], unknown=[(1, 2)]),
]


def train_val(train: Dataset, validation: Dataset | None = None) -> TrainVal:
    return TrainVal(train=train, validation=train if validation is None else validation, split=None)


def test_one_category_each_without_boxes_is_exclusive() -> None:
    assert exclusive(data(ONE_EACH))
    plan = resolve(AUTO, train_val(data(ONE_EACH)))
    assert (plan.labels, plan.loss, plan.augment.crop) == ("exclusive", "cross_entropy", "none")
    assert "softmax, cross-entropy (--labels multi" in (
        kind_sentence(AUTO, plan, train_val(data(ONE_EACH))) or ""
    )


@pytest.mark.parametrize(
    "other",
    [
        *NOT_EXCLUSIVE,
        # boxes say that objects were annotated, not pictures; one category excludes nothing; nothing there
        data(ONE_EACH, boxes=True),
        data([[0], [0]], categories=1),
        data([]),
    ],
)
def test_other_data_are_not_exclusive(other: Dataset) -> None:
    assert not exclusive(other)
    for both in (train_val(other), train_val(data(ONE_EACH), other)):
        plan = resolve(AUTO, both)
        assert (plan.labels, plan.loss) == ("multi", "bce")
        assert kind_sentence(AUTO, plan, both) is None


@pytest.mark.parametrize("other", NOT_EXCLUSIVE)
def test_exclusive_labels_that_are_asked_for_are_checked(other: Dataset) -> None:
    asked = replace(AUTO, labels="exclusive")
    for both in (train_val(other), train_val(data(ONE_EACH), other)):
        with pytest.raises(TagboxError, match="1 of 2 images do not have exactly one") as raised:
            resolve(asked, both)
        assert raised.value.code == "labels-not-exclusive"
        assert "1.png" in str(raised.value)
    # Boxes do not matter to who asks.
    boxed = train_val(data(ONE_EACH, boxes=True))
    assert resolve(asked, boxed).loss == "cross_entropy"
    assert kind_sentence(asked, resolve(asked, boxed), boxed) is None
    require_single_label(data(ONE_EACH))


def test_a_loss_for_independent_labels_decides_and_is_said() -> None:
    both = train_val(data(ONE_EACH))
    asked = replace(AUTO, loss="asymmetric")
    plan = resolve(asked, both)
    assert (plan.labels, plan.loss) == ("multi", "asymmetric")
    assert "asymmetric treats categories as independent" in (kind_sentence(asked, plan, both) or "")
    assert resolve(replace(AUTO, loss="cross_entropy"), both).labels == "exclusive"
    # What was decided is decided again, as a run's saved settings are.
    assert resolve(plan, both) == plan


@pytest.mark.parametrize(
    ("settings_", "labels", "where"),
    [
        ({"labels": "exclusive", "loss": "bce"}, ONE_EACH, "loss"),
        ({"labels": "multi", "loss": "cross_entropy"}, ONE_EACH, "loss"),
        ({"loss": "cross_entropy"}, [[0, 1], [1]], "loss"),
        ({"best_by": "accuracy"}, [[0, 1], [1]], "best_by"),
        ({"top_k": 2}, ONE_EACH, "top_k"),
        ({"at_least_one": True}, ONE_EACH, "at_least_one"),
    ],
)
def test_settings_that_do_not_go_with_the_labels(
    settings_: dict[str, Any], labels: list[list[int]], where: str
) -> None:
    with pytest.raises(TagboxError) as raised:
        resolve(replace(AUTO, **settings_), train_val(data(labels)))
    assert (raised.value.code, raised.value.where) == ("config-value", where)


def test_formats_as_they_come_from_disk(tmp_path: Path) -> None:
    for name in ("cat/1.png", "cat/2.png", "dog/3.png"):
        path = tmp_path / "folders" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"not opened here")
    assert exclusive(load_dataset(tmp_path / "folders"))
    table = tmp_path / "labels.csv"
    table.write_text("image,labels\na.png,cat\nb.png,dog\n")
    assert exclusive(load_dataset(table))
    table.write_text("image,labels\na.png,cat dog\nb.png,dog\n")
    assert not exclusive(load_dataset(table))


KINDS: list[tuple[HeadKind, dict[str, Any]]] = [
    ("linear", {}),
    ("mlp", {"hidden": 7}),
    ("csra", {"attention_heads": 2}),
    ("ml_decoder", {"hidden": 16}),
]


@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_an_untrained_head_says_the_shares_of_the_categories(
    kind: HeadKind, options: dict[str, Any]
) -> None:
    counts = np.array([70, 20, 9, 1])
    rows = np.repeat(np.arange(4), counts)
    x = np.random.default_rng(0).normal(size=(6, 5, 3, 2)).astype(np.float32)
    x = x if kind in ("csra", "ml_decoder") else x[..., 0, 0]
    scale = FeatureScale.of(x[:, None])
    rates = class_priors(one_hot(rows, 4).astype(np.int8))
    head = create_head(kind, scale, rates, labels="exclusive", **options)
    with torch.no_grad():
        # ML-Decoder's are small at first, not 0.
        head.output.weight.zero_()
        said = activate(head(torch.from_numpy(x)).numpy(), "exclusive")
    # Half an image more of each category, so that none is impossible.
    expected = (counts + 0.5) / (100 + 2)
    np.testing.assert_allclose(said, np.tile(expected, (6, 1)), rtol=1e-5)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 9999), st.integers(1, 9), st.sampled_from([0.0, 0.1, 0.5]))
def test_cross_entropy_is_torchs(seed: int, rows: int, smoothing: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = (torch.randn(rows, 4, generator=generator) * 4).requires_grad_()
    classes = torch.randint(0, 4, (rows,), generator=generator)
    loss = create_loss("cross_entropy", RATES, smoothing=smoothing)
    ours = loss(logits, functional.one_hot(classes, 4).float())
    theirs = functional.cross_entropy(logits, classes, label_smoothing=smoothing)
    torch.testing.assert_close(ours, theirs)
    gradients = [torch.autograd.grad(value, logits)[0] for value in (ours, theirs)]
    torch.testing.assert_close(*gradients)
    # Mixed pictures, a teacher: shares of categories.
    shares = torch.rand(rows, 4, generator=generator).softmax(1)
    torch.testing.assert_close(
        loss(logits, shares), functional.cross_entropy(logits, shares, label_smoothing=smoothing)
    )


def test_a_picture_with_an_unknown_label_takes_no_part() -> None:
    logits = torch.tensor([[1.0, 2.0, 3.0, 4.0], [0.0, 5.0, 0.0, 0.0]])
    targets = torch.tensor([[0.0, 1.0, 0.0, 0.0], [0.0, 1.0, 0.0, -1.0]])
    loss = create_loss("cross_entropy", RATES)
    assert loss.known(targets) == 1
    expected = functional.cross_entropy(logits[:1], torch.tensor([1]))
    torch.testing.assert_close(loss(logits, targets), expected)


def test_the_figures_of_an_epoch() -> None:
    random = np.random.default_rng(0)
    rows = random.integers(0, 5, 90)
    probabilities = random.dirichlet(np.ones(5), 90).astype(np.float32)
    # Equal for all categories, as of a network that gave up: the first one is said, and no other.
    probabilities[:20] = 0.2
    found = epoch_scores(one_hot(rows, 5).astype(np.int8), probabilities, "exclusive")
    expected = accuracy_score(rows, probabilities.argmax(axis=1))
    assert found["accuracy"] == found["micro_f1"] == pytest.approx(expected)


def test_nothing_is_tuned() -> None:
    validation = data([[0], [1], [2], [1]])
    probabilities = np.array(
        [[0.4, 0.3, 0.3], [0.4, 0.3, 0.3], [0.2, 0.2, 0.6], [0.1, 0.8, 0.1]], np.float32
    )
    config = resolve(AUTO, train_val(validation))
    priors = class_priors(validation.labels)
    tuned, metrics = tune_and_evaluate(
        validation.labels,
        probabilities,
        categories=validation.categories.names,
        labels=label_kind(config),
        objective=config.objective,
        rates=priors,
        at_least_one=config.at_least_one,
        top_k=config.top_k,
    )
    assert tuned.thresholds == MOST_PROBABLE
    assert set(tuned.report) == {"reason"}
    assert metrics["labels"] == "exclusive"
    assert metrics["accuracy"] == 3 / 4
