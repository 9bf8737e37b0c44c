"""A widely copied way of fine-tuning a detector, with its own settings and nothing of tagbox.

    python benchmarks/tutorial_detector.py TRAIN.json VAL.json --minutes 15

torchvision's Faster R-CNN; SGD with a learning rate of 1e-5, momentum 0.9, weight decay 1e-4, no warm-up; batches of 4; the
pictures opened with Pillow and turned into floats one by one; eager fp32; the last epoch is kept. Two changes make it run
where there is no hub and on two cores: the backbone is EfficientNet-Lite0 with its packaged ImageNet weights, and pictures go in
at `--size` pixels instead of 800. It prints one JSON object: steps, seconds a step, and AP by pycocotools.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.rpn import AnchorGenerator
from torchvision.ops import FeaturePyramidNetwork
from torchvision.transforms.functional import to_tensor

from tutorial_model import load_lite

BATCH = 4


class CocoDetection(torch.utils.data.Dataset[Any]):
    """Pictures with boxes in corners and category ids as labels."""

    def __init__(self, annotations: Path) -> None:
        with redirect_stdout(sys.stderr):
            self.coco = COCO(str(annotations))
        part = annotations.stem.removeprefix("instances_").removesuffix("12")
        self.folder = annotations.parent.parent / part
        self.ids = sorted(self.coco.imgs)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        from PIL import Image

        own = self.ids[row]
        image = Image.open(self.folder / self.coco.imgs[own]["file_name"]).convert("RGB")
        found = self.coco.imgToAnns[own]
        corners = [[x, y, x + w, y + h] for x, y, w, h in (each["bbox"] for each in found)]
        target = {
            "boxes": torch.tensor(corners, dtype=torch.float32).reshape(-1, 4),
            "labels": torch.tensor([each["category_id"] for each in found], dtype=torch.int64),
            "image_id": torch.tensor([own]),
        }
        return to_tensor(image), target


class LitePyramid(nn.Module):
    """EfficientNet-Lite0's maps at strides 4 to 32, and torchvision's pyramid over them."""

    out_channels = 256

    def __init__(self) -> None:
        super().__init__()
        self.body = load_lite(features_only=True, out_indices=(1, 2, 3, 4))
        self.fpn = FeaturePyramidNetwork(self.body.feature_info.channels(), self.out_channels)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return self.fpn({str(level): found for level, found in enumerate(self.body(x))})


def build(categories: int, size: int) -> FasterRCNN:
    """The tutorial's model; background is label 0."""
    anchors = AnchorGenerator(((32,), (64,), (128,), (256,)), ((0.5, 1.0, 2.0),) * 4)
    return FasterRCNN(
        LitePyramid(),
        num_classes=categories + 1,
        rpn_anchor_generator=anchors,
        min_size=size,
        max_size=size,
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )


def collate(batch: list[Any]) -> tuple[Any, ...]:
    """As the tutorial does it."""
    return tuple(zip(*batch, strict=True))


def evaluate(model: FasterRCNN, data: CocoDetection) -> float:
    """COCO's AP by pycocotools."""
    model.eval()
    results = []
    with torch.no_grad():
        for row in range(len(data)):
            image, target = data[row]
            (found,) = model([image])
            for box, label, score in zip(
                found["boxes"].tolist(),
                found["labels"].tolist(),
                found["scores"].tolist(),
                strict=True,
            ):
                x, y, right, bottom = box
                results.append(
                    {
                        "image_id": int(target["image_id"]),
                        "category_id": label,
                        "bbox": [x, y, right - x, bottom - y],
                        "score": score,
                    }
                )
    if not results:
        return 0.0
    with redirect_stdout(sys.stderr):
        evaluator = COCOeval(data.coco, data.coco.loadRes(results), "bbox")
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return float(evaluator.stats[0])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("train", type=Path)
    parser.add_argument("val", type=Path)
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--size", type=int, default=320)
    options = parser.parse_args()
    torch.manual_seed(0)
    train, val = CocoDetection(options.train), CocoDetection(options.val)
    model = build(max(train.coco.cats), options.size)
    loader = torch.utils.data.DataLoader(
        train, batch_size=BATCH, shuffle=True, num_workers=2, collate_fn=collate
    )
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(parameters, lr=1e-5, momentum=0.9, weight_decay=1e-4)
    start, steps, epochs = time.perf_counter(), 0, 0
    while time.perf_counter() - start < 60 * options.minutes:
        model.train()
        for images, targets in loader:
            losses = sum(model(list(images), list(targets)).values())
            optimizer.zero_grad()
            losses.backward()
            optimizer.step()
            steps += 1
            if time.perf_counter() - start >= 60 * options.minutes:
                break
        else:
            epochs += 1
            print(f"epoch {epochs}: loss {losses.item():.3f}", file=sys.stderr)
    seconds = time.perf_counter() - start
    ap = evaluate(model, val)
    print(
        json.dumps(
            {
                "steps": steps,
                "seconds_a_step": seconds / steps,
                "batch": BATCH,
                "epochs": epochs,
                "ap": ap,
            }
        )
    )


if __name__ == "__main__":
    main()
