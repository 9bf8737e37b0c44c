from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from history_rows import history_rows
from tagbox.training.history import write_history


def test_columns_are_stable_and_empty_cells_are_none(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    rows = [
        {"val_map": 0.25, "epoch": 1, "val_loss": 0.5, "train_loss": 1.0},
        {"val_map": math.nan, "epoch": 2, "val_loss": None, "train_loss": 0.1, "learning_rate": 1},
    ]
    write_history(rows, path)
    assert path.read_text() == (
        "epoch,train_loss,val_loss,val_map,learning_rate\n1,1.0,0.5,0.25,\n2,0.1,,,1\n"
    )
    assert history_rows(path) == [
        {"epoch": 1, "train_loss": 1.0, "val_loss": 0.5, "val_map": 0.25, "learning_rate": None},
        {"epoch": 2, "train_loss": 0.1, "val_loss": None, "val_map": None, "learning_rate": 1},
    ]


def test_parts_of_a_loss_stand_beside_each_other(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    rows = [
        {"epoch": 1, "train_loss": 3.0, "train_loss_box": 1.0, "val_loss": 2.0, "val_ap": None},
        {
            "epoch": 2,
            "train_loss": 2.5,
            "train_loss_box": 0.5,
            "train_loss_class": 2.0,
            "val_loss": 2.25,
            "val_loss_box": 0.25,
            "val_loss_class": 2.0,
            "val_ap": 0.125,
            "val_ap50": 0.25,
            "learning_rate": 0.002,
        },
    ]
    write_history(rows, path)
    assert path.read_text().splitlines() == [
        "epoch,train_loss,val_loss,train_loss_box,train_loss_class,val_loss_box,val_loss_class,"
        "val_ap,val_ap50,learning_rate",
        "1,3.0,2.0,1.0,,,,,,",
        "2,2.5,2.25,0.5,2.0,0.25,2.0,0.125,0.25,0.002",
    ]
    assert [row["val_loss_box"] for row in history_rows(path)] == [None, 0.25]


numbers = st.none() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False)


@given(st.lists(st.fixed_dictionaries({"epoch": numbers, "val_loss": numbers}), min_size=1))
def test_numbers_read_back_to_the_same_value(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, float | int | None]]
) -> None:
    path = tmp_path_factory.mktemp("history") / "history.csv"
    write_history(rows, path)
    assert history_rows(path) == rows
