"""Baseline: tag a folder of pictures the way the tutorial's submission program does.

    python benchmarks/tutorial_predict.py FOLDER --state head.pth --truth LABELS.json

One loop over a loader (Pillow, float transforms, two workers, batch 128), eager fp32, logits compared
with 0.5, a JSON of category indices. `--state` is what tutorial_classifier.py wrote with `--save`;
`--truth` (COCO JSON over the same pictures) adds its accuracy. The seconds of decoding (open, resize,
to floats, normalise) and of the forward pass are measured apart afterwards, each alone in one process.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader

from scores import challenge_f1, mean_average_precision
from timing import process_seconds, report, seconds_of
from tutorial_model import LOGIT_THRESHOLD, CocoLabels, Pictures, build_model

SUFFIXES = {".jpg", ".jpeg", ".png"}


@torch.no_grad()
def predict(net: nn.Module, loader: DataLoader) -> dict[str, torch.Tensor]:
    """Logits (K,) of every picture, by name."""
    net.eval()
    logits: dict[str, torch.Tensor] = {}
    for pictures, names in loader:
        logits.update(zip(names, net(pictures), strict=True))
    return logits


def decided(logits: dict[str, torch.Tensor]) -> dict[str, list[int]]:
    return {
        name: (row > LOGIT_THRESHOLD).nonzero().flatten().tolist() for name, row in logits.items()
    }


@torch.no_grad()
def shares(net: nn.Module, pictures: Pictures, batch_size: int) -> dict[str, float]:
    """Seconds of decoding every picture, and of the forward pass over as many, each on its own."""
    decode, forward = 0.0, 0.0
    for first in range(0, len(pictures), batch_size):
        rows = range(first, min(first + batch_size, len(pictures)))
        start = time.perf_counter()
        batch = torch.stack([pictures[row][0] for row in rows])
        decode += time.perf_counter() - start
        forward += seconds_of(lambda batch=batch: net(batch))
    return {"decode_seconds": round(decode, 3), "forward_seconds": round(forward, 3)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--limit", type=int, help="only the first pictures")
    parser.add_argument("--categories", type=int, default=80, help="without --state or --truth")
    parser.add_argument("--state", type=Path)
    parser.add_argument("--truth", type=Path)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, help="write the predictions here")
    parser.add_argument("--shares", action="store_true", help="measure decode and forward apart")
    options = parser.parse_args()

    files = sorted(f for f in options.folder.iterdir() if f.suffix.lower() in SUFFIXES)
    pictures = Pictures(files[: options.limit])
    state = torch.load(options.state, weights_only=True) if options.state else None
    net = build_model(len(state["classifier.bias"]) if state else options.categories)
    if state:
        net.load_state_dict(state)
    loader = DataLoader(pictures, batch_size=options.batch_size, num_workers=options.workers)
    started_up = process_seconds()

    start = time.perf_counter()
    logits = predict(net, loader)
    answer = decided(logits)
    if options.out:
        options.out.write_text(json.dumps(answer, indent=2))
    seconds = time.perf_counter() - start

    result = {
        "images": len(pictures),
        "batch_size": options.batch_size,
        "workers": options.workers,
        "threads": torch.get_num_threads(),
        "precision": "fp32",
        "start_up_seconds": round(started_up, 3),
        "loop_seconds": round(seconds, 3),
        "images_per_second": round(len(pictures) / seconds, 1),
    }
    if options.shares:
        result |= shares(net, pictures, options.batch_size)
    if options.truth:
        truth_set = CocoLabels(options.truth, options.folder)
        rows = [
            row for row in range(len(truth_set)) if Path(truth_set.file_name(row)).stem in logits
        ]
        truth = torch.stack([truth_set.labels(row) for row in rows]).numpy()
        scores = torch.stack([logits[Path(truth_set.file_name(row)).stem] for row in rows]).numpy()
        result["map"] = round(mean_average_precision(truth, scores), 4)
        result["challenge_f1"] = round(challenge_f1(truth, scores > LOGIT_THRESHOLD), 4)
    report(result)


if __name__ == "__main__":
    main()
