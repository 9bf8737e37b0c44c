"""scikit-learn's handwritten digits, from a folder a class to the report, beside a logistic regression.

    python benchmarks/digits.py [--ways frozen finetune] [--keep FOLDER]

1,797 pictures of 8x8 grays are written as PNGs of one channel, 70 % to train on and 30 % to test, every
digit in proportion. The installed `tagbox train classifier` and `tagbox evaluate` are run on them as a user would
type them; beside them, scikit-learn's LogisticRegression is fitted on the raw pixels of the same pictures
(its default strength, which does better on the test pictures than the one that cross-validation picks). tagbox
keeps a tenth of its training pictures to choose the best epoch by, and trains on the rest.

Each way is trained once, with and without mirror images, which are no digits. Settings were chosen by the accuracy on that
tenth, not on the test pictures.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from timing import machine, report, run, say, tagbox_command

FROZEN = ("--backbone", "efficientnet_lite0@96+efficientnet_lite0@160", "--learning-rate", "2e-3")
FINETUNE = (
    *("--backbone", "efficientnet_lite0@32", "--recipe", "finetune"),
    *("--finetune.epochs", "8", "--finetune.ema", "0"),
)
WAYS: dict[str, tuple[str, ...]] = {
    "frozen": (*FROZEN, "--recipe", "frozen", "--no-mirror"),
    "frozen_mirrored": (*FROZEN, "--recipe", "frozen"),
    "finetune": (*FINETUNE, "--no-mirror", "--augment.no-flip"),
    "finetune_mirrored": FINETUNE,
}
FIGURES = ("accuracy", "log_loss", "calibration_error", "macro_f1")


def export(folder: Path, seed: int) -> dict[str, Any]:
    """Write the two sides as a folder a digit; pixels (N, 64) in 0..1 and digits of both."""
    pixels, digits = load_digits(return_X_y=True)
    rows = train_test_split(
        np.arange(len(digits)), test_size=0.3, stratify=digits, random_state=seed
    )
    for side, chosen in zip(("train", "test"), rows, strict=True):
        for row in chosen.tolist():
            path = folder / side / str(digits[row]) / f"{row:04d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            # Sixteen steps of gray.
            gray = np.round(pixels[row].reshape(8, 8) * (255 / 16)).astype(np.uint8)
            Image.fromarray(gray).save(path)
    return {
        side: (pixels[chosen] / 16, digits[chosen])
        for side, chosen in zip(("train", "test"), rows, strict=True)
    }


def trained(name: str, flags: tuple[str, ...], folder: Path, seed: int) -> dict[str, Any]:
    """One run of the installed commands: its figures on the test pictures, its seconds and its report."""
    say(f"{name}: tagbox train classifier train {' '.join(flags)}")
    env = {"TAGBOX_CACHE": str(folder / "cache")}
    words = ("train", "classifier", "train", "--name", name, "--seed", seed, *flags)
    training = run([*tagbox_command(), *words], cwd=folder, env=env)
    words = ("evaluate", f"runs/{name}", "test", "--json")
    found = run([*tagbox_command(), *words], cwd=folder, env=env).json()
    assert found["labels"] == "exclusive"
    interval = found["intervals"]["accuracy"]
    return {
        "flags": " ".join(flags),
        **{key: round(found[key], 4) for key in FIGURES},
        "accuracy_interval": [round(interval["low"], 4), round(interval["high"], 4)],
        "mistakes": sum(row["fn"] for row in found["per_category"]),
        "train_seconds": round(training.seconds, 1),
        "report_bytes": (folder / "runs" / name / "report.html").stat().st_size,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--seed", type=int, default=0, help="of the split and of the training")
    parser.add_argument("--keep", type=Path, help="folder to leave pictures and runs in")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.keep or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        sides = export(folder, options.seed)
        regression = LogisticRegression(max_iter=5000).fit(*sides["train"])
        found = {name: trained(name, WAYS[name], folder, options.seed) for name in options.ways}
        report(
            {
                "machine": machine(["tagbox", "torch", "openvino", "scikit-learn"]),
                "pictures": {side: len(digits) for side, (_, digits) in sides.items()},
                "logistic_regression": {"accuracy": round(regression.score(*sides["test"]), 4)},
                **found,
            }
        )


if __name__ == "__main__":
    main()
