"""What the searches of these tests vary."""

from __future__ import annotations

from typing import Any

SEARCH: dict[str, dict[str, Any]] = {
    "learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
    "dropout": {"low": 0.0, "high": 0.5},
    "batch_size": {"choices": [16, 32]},
    "loss": {"choices": ["bce", "focal", "asymmetric"]},
    "patience": {"low": 3, "high": 9},
}
TRIALS = 16
