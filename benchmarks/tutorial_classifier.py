"""Baseline: a multi-label classifier trained the way the tutorials train one.

    python benchmarks/tutorial_classifier.py TRAIN.json VAL.json --epochs 20

Frozen EfficientNet-Lite0 with a new head, Adam 1e-3, weight decay 1e-6, two loader workers, eager fp32,
as many threads as torch takes by default. An epoch is a training pass, then a pass over the training
set and one over the validation set to measure both; each pass opens every picture again and runs the
backbone on it. `net.train()` puts the frozen backbone's BatchNorm layers in training mode too, so their
statistics drift toward the new pictures; that is how the tutorials do it and it is left so.

`--measure-epochs M` stops after M epochs and multiplies; the result says so. Accuracy is of the last
epoch that ran, and the best of all epochs; `--test` adds a set that neither saw, scored after the clock
has stopped.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

from scores import challenge_f1, mean_average_precision
from timing import process_seconds, report, say
from tutorial_model import LOGIT_THRESHOLD, CocoLabels, build_model

EPOCHS_SHOWN = (2, 5, 20, 50)


def train_pass(
    net: nn.Module,
    loader: DataLoader,
    criterion: nn.Module,
    optimizer: torch.optim.Optimizer,
) -> None:
    net.train()
    for pictures, labels in loader:
        optimizer.zero_grad()
        loss = criterion(net(pictures), labels)
        loss.backward()
        optimizer.step()


@torch.no_grad()
def measuring_pass(
    net: nn.Module, loader: DataLoader, criterion: nn.Module
) -> tuple[float, np.ndarray, np.ndarray]:
    """Mean loss, truth (N, K) and logits (N, K)."""
    net.eval()
    total, truths, logits = 0.0, [], []
    for pictures, labels in loader:
        outputs = net(pictures)
        total += criterion(outputs, labels).item() * len(pictures)
        truths.append(labels)
        logits.append(outputs)
    return total / len(loader.dataset), torch.cat(truths).numpy(), torch.cat(logits).numpy()


def accuracy(truth: np.ndarray, logits: np.ndarray) -> dict[str, float]:
    return {
        "map": round(mean_average_precision(truth, logits), 4),
        "challenge_f1_at_logit_0.5": round(challenge_f1(truth, logits > LOGIT_THRESHOLD), 4),
        "challenge_f1_at_probability_0.5": round(challenge_f1(truth, logits > 0), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("train", type=Path)
    parser.add_argument("val", type=Path)
    parser.add_argument("--images", type=Path, help="folder of the training pictures")
    parser.add_argument("--val-images", type=Path)
    parser.add_argument("--test", type=Path, help="score this set too, outside the timing")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--measure-epochs", type=int, help="run only this many and multiply")
    parser.add_argument("--batch-size", type=int, default=512, help="the tutorials have 512 and 16")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", type=Path, help="write the last epoch's state_dict here")
    parser.add_argument(
        "--accuracy-only",
        action="store_true",
        help="leave out the pass that only measures the training set: the weights are trained all "
        "the same, and the times say nothing",
    )
    options = parser.parse_args()
    torch.manual_seed(options.seed)

    train_set = CocoLabels(options.train, options.images)
    val_set = CocoLabels(options.val, options.val_images)
    net = build_model(len(train_set.column))
    criterion = nn.BCEWithLogitsLoss()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, weight_decay=1e-6)
    train_loader = DataLoader(
        train_set, batch_size=options.batch_size, shuffle=True, num_workers=options.workers
    )
    val_loader = DataLoader(val_set, batch_size=options.batch_size, num_workers=options.workers)
    started_up = process_seconds()

    phases: dict[str, list[float]] = {"train": [], "measure_train": [], "measure_val": []}
    history: list[dict[str, float]] = []
    ran = min(options.epochs, options.measure_epochs or options.epochs)
    for epoch in range(ran):
        marks = [time.perf_counter()]
        train_pass(net, train_loader, criterion, optimizer)
        marks.append(time.perf_counter())
        train_loss = float("nan")
        if not options.accuracy_only:
            train_loss, _, _ = measuring_pass(net, train_loader, criterion)
        marks.append(time.perf_counter())
        val_loss, truth, logits = measuring_pass(net, val_loader, criterion)
        marks.append(time.perf_counter())
        for phase, begin, end in zip(phases, marks, marks[1:], strict=False):
            phases[phase].append(end - begin)
        history.append({"epoch": epoch + 1, **accuracy(truth, logits)})
        say(
            f"epoch {epoch + 1}/{ran}: {marks[-1] - marks[0]:.1f} s, loss {train_loss:.4f} / "
            f"{val_loss:.4f}, mAP {history[-1]['map']:.4f}"
        )
    if options.save:
        torch.save(net.state_dict(), options.save)

    test = {}
    if options.test:
        loader = DataLoader(CocoLabels(options.test), batch_size=64, num_workers=options.workers)
        test = {"test": accuracy(*measuring_pass(net, loader, criterion)[1:])}

    epoch_seconds = sum(map(sum, phases.values())) / ran
    report(
        {
            "settings": {
                "images": len(train_set),
                "val_images": len(val_set),
                "batch_size": options.batch_size,
                "workers": options.workers,
                "threads": torch.get_num_threads(),
                "precision": "fp32",
            },
            "epochs_run": ran,
            "extrapolated": ran < max(EPOCHS_SHOWN),
            "start_up_seconds": round(started_up, 3),
            "epoch_seconds": round(epoch_seconds, 3),
            "phase_seconds": {name: round(sum(took) / ran, 3) for name, took in phases.items()},
            "total_seconds_of_epochs": {
                str(epochs): round(started_up + epochs * epoch_seconds, 2)
                for epochs in EPOCHS_SHOWN
            },
            "note": f"totals are start-up plus that many times the mean of {ran} measured epochs",
            "last_epoch": history[-1],
            "best_map": max(row["map"] for row in history),
            "best_challenge_f1": max(
                max(row["challenge_f1_at_logit_0.5"], row["challenge_f1_at_probability_0.5"])
                for row in history
            ),
            **test,
        }
    )


if __name__ == "__main__":
    main()
