"""The saved ensemble: what is written comes back, and nothing else passes for it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tagbox.atomic_io import sha256_of
from tagbox.data.dataset import Categories
from tagbox.errors import TagboxError
from tagbox.models.backbones import BackboneSpec
from tagbox.models.bundle import ClassifierBundle
from tagbox.models.ensembles import (
    Ensemble,
    Member,
    View,
    combine_runs,
    differing_name,
    is_ensemble,
    load_ensemble,
    save_ensemble,
    views_of,
)
from tagbox.predictions.thresholds import Thresholds


def bundle(seed: int = 0, names: tuple[str, ...] = ("elk", "yak")) -> ClassifierBundle:
    """A model whose numbers are its seed's; its backbone has no weights, nothing is computed here."""
    random = np.random.default_rng(seed)
    spec = BackboneSpec(
        name="efficientnet_lite0",
        source="packaged",
        size=64,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        dim=8,
        weights="none",
        weights_sha256="0" * 64,
        mean_pooled=True,
    )
    return ClassifierBundle(
        backbones=((spec, {"stem": random.random((3, 3), np.float32)}),),
        head={
            "mean": np.zeros(8, np.float32),
            "scale": np.ones(8, np.float32),
            "output.weight": random.random((len(names), 8), np.float32),
            "output.bias": random.random(len(names), np.float32),
        },
        head_kind="linear",
        categories=Categories.from_names(names),
        geometry="squash",
        pooling="mean",
        thresholds=Thresholds(value=0.25),
        base_rates=(0.1,) * len(names),
    )


def pair() -> Ensemble:
    return Ensemble(
        members=(
            Member(bundle=bundle(0), run="runs/a", weight=0.75),
            Member(
                bundle=bundle(1, ("yak", "elk")),
                run="runs/b",
                weight=0.25,
                views=(View(size=96), View(size=96, mirror=True)),
            ),
        ),
        thresholds=Thresholds(value=0.3, per_category=(0.2, 0.4), use_per_category=True),
        versions={"tagbox": "1"},
        data_fingerprint="f",
    )


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_ensemble(pair(), tmp_path / "ens")
    return tmp_path / "ens"


def test_what_is_written_comes_back(saved: Path) -> None:
    found, given = load_ensemble(saved), pair()
    assert is_ensemble(saved) and not is_ensemble(saved / "members" / "0")
    assert replace(found, members=()).__dict__ == replace(given, members=()).__dict__
    assert found.categories == ("elk", "yak")
    for one, other in zip(found.members, given.members, strict=True):
        assert (one.run, one.weight, one.views) == (other.run, other.weight, other.views)
        assert one.bundle.categories.names == other.bundle.categories.names
        assert one.bundle.base_rates == (0.1, 0.1)
        for name, value in other.bundle.head.items():
            assert np.array_equal(one.bundle.head[name], value)


def test_a_member_is_a_run_and_its_weights_are_named(saved: Path) -> None:
    assert ClassifierBundle.load(saved / "members" / "1").categories.names == ("yak", "elk")
    description = json.loads((saved / "ensemble.json").read_text())
    for index, member in enumerate(description["members"]):
        weights = saved / "members" / str(index) / "model.safetensors"
        assert member["weights_sha256"] == sha256_of(weights)


def test_runs_are_put_together_and_ensembles_taken_apart(saved: Path, tmp_path: Path) -> None:
    bundle(2, ("yak", "elk")).save(tmp_path)
    views = views_of((96, 64, 96), mirrored=True)
    assert views == (
        View(size=96),
        View(size=96, mirror=True),
        View(size=64),
        View(size=64, mirror=True),
    )
    assert views_of((), mirrored=False) == (View(),)
    found = combine_runs([tmp_path, saved], views)
    assert [m.run for m in found.members] == [
        str(tmp_path),
        str(saved / "members" / "0"),
        str(saved / "members" / "1"),
    ]
    assert found.categories == ("yak", "elk")
    assert {m.weight for m in found.members} == {1 / 3}
    assert all(m.views == views for m in found.members)


def test_runs_with_other_categories_are_refused_by_name(tmp_path: Path) -> None:
    for name, categories in (("a", ("elk", "yak")), ("b", ("elk", "yak", "gnu"))):
        (tmp_path / name).mkdir()
        bundle(0, categories).save(tmp_path / name)
    for order in (["a", "b"], ["b", "a"]):
        with pytest.raises(TagboxError) as caught:
            combine_runs([tmp_path / name for name in order], (View(),))
        assert caught.value.code == "categories-differ"
        sentence = f"{tmp_path / 'b'} has the category 'gnu', {tmp_path / 'a'} has not"
        assert sentence in str(caught.value)
    with pytest.raises(TagboxError, match="at least one run"):
        combine_runs([], (View(),))
    assert differing_name(("a", "b"), ("b", "a")) is None


def edited(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        path = folder / "ensemble.json"
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return spoil


def swapped(folder: Path) -> None:
    """The two members' folders exchanged, each whole."""
    members = folder / "members"
    (members / "0").rename(members / "x")
    (members / "1").rename(members / "0")
    (members / "x").rename(members / "1")


@pytest.mark.parametrize(
    ("spoil", "code", "where"),
    [
        (lambda f: (f / "ensemble.json").write_text("{"), "bundle-json", "ensemble.json"),
        (edited(lambda d: d.update(surprise=1)), "bundle-json", "surprise"),
        (edited(lambda d: d.pop("thresholds")), "bundle-json", "thresholds"),
        (edited(lambda d: d.update(format_version=2)), "bundle-version", "format_version"),
        (edited(lambda d: d.update(format="tagbox-classifier")), "bundle-version", "format"),
        (edited(lambda d: d.update(members=[])), "bundle-json", "members"),
        (edited(lambda d: d["members"].pop()), "bundle-json", "sum to 0.75"),
        (edited(lambda d: d["members"][0].update(weight=-1)), "bundle-json", "members[0].weight"),
        (edited(lambda d: d["members"][0].update(weight="1")), "bundle-json", "members[0].weight"),
        (edited(lambda d: d["members"][1].update(views=[])), "bundle-json", "members[1].views"),
        (
            edited(lambda d: d["members"][1]["views"][1].update(size=9)),
            "bundle-json",
            "members[1].views[1].size",
        ),
        (edited(lambda d: d["categories"].reverse()), "bundle-mismatch", "categories"),
        (edited(lambda d: d["categories"].append("gnu")), "bundle-mismatch", "categories"),
        (
            edited(lambda d: d["thresholds"].update(per_category=[0.1])),
            "bundle-json",
            "thresholds.per_category",
        ),
        (edited(lambda d: d["thresholds"].update(value=7)), "thresholds-invalid", "value"),
        (swapped, "bundle-mismatch", "members[0].weights_sha256"),
        (lambda f: shutil.rmtree(f / "members" / "1"), "bundle-missing", "model.json"),
        (
            lambda f: (f / "members" / "1" / "model.safetensors").unlink(),
            "bundle-missing",
            "model.safetensors",
        ),
        (
            lambda f: (f / "members" / "0" / "model.safetensors").write_bytes(b"\0" * 99),
            "bundle-weights",
            "model.safetensors",
        ),
    ],
)
def test_damage_is_named(
    saved: Path, spoil: Callable[[Path], object], code: str, where: str
) -> None:
    spoil(saved)
    with pytest.raises(TagboxError) as caught:
        load_ensemble(saved)
    assert caught.value.code == code
    assert where in str(caught.value)
    assert str(saved) in str(caught.value)


def test_base_rates_are_optional_and_checked(tmp_path: Path) -> None:
    bundle().save(tmp_path)
    path = tmp_path / "model.json"
    content = json.loads(path.read_text())
    for rates, fine in (((0.1, 0.2), True), (None, True), ((0.1,), False), ((0.1, 0.0), False)):
        path.write_text(json.dumps({**content, "base_rates": rates}))
        if fine:
            assert ClassifierBundle.load(tmp_path).base_rates == rates
        else:
            with pytest.raises(TagboxError, match="base_rates"):
                ClassifierBundle.load(tmp_path)
    del content["base_rates"]
    path.write_text(json.dumps(content))
    assert ClassifierBundle.load(tmp_path).base_rates is None
