"""From process start to the first feature, and pictures a second after that: our graph against the usual roads.

    python benchmarks/encoder_startup.py [--repeats 5] [--images 128]

Each turn is a new process that encodes generated 224x224 squares with EfficientNet-Lite0's packaged weights:
`tagbox` (graph built from the description, no torch), `traced` (timm's model through
openvino.convert_model, fp32) and `eager` (timm's model in torch, fp32, batches of 32). The features
are compared before anything is reported.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time

import numpy as np

from timing import alternated, machine, ratio, report, summary

HEAD = """
import json, sys, time
import numpy as np
count = int(sys.argv[1])
squares = np.random.default_rng(0).integers(0, 255, (count, 224, 224, 3), dtype=np.uint8)
"""
TAIL = """
encode(squares[:2])
first = time.time()
features = encode(squares)
print(json.dumps([first, count / (time.time() - first), features[:8].ravel().tolist()]))
"""
TIMM = """
import timm, torch
from tagbox.models.backbones.packaged import load_packaged
module = timm.create_model("tf_efficientnet_lite0", num_classes=0).eval()
state = {k: torch.from_numpy(np.array(v)) for k, v in load_packaged("efficientnet_lite0").items()}
module.load_state_dict(state, strict=False)
def normalised(batch):
    return ((batch / np.float32(255) - np.float32(0.5)) / np.float32(0.5)).transpose(0, 3, 1, 2)
"""
ROADS = {
    "tagbox": """
from tagbox.backends.create import create_encoder
from tagbox.models.backbones import BackboneRequest, create_backbone
encode = create_encoder(
    create_backbone(BackboneRequest("efficientnet_lite0")), geometry="squash", device="cpu"
).encode
""",
    "traced": TIMM
    + """
import openvino
model = openvino.convert_model(
    module, input=[[1, 3, 224, 224]], example_input=torch.zeros(1, 3, 224, 224))
compiled = openvino.Core().compile_model(
    model, "CPU", {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "THROUGHPUT"})
def encode(batch):
    out = [None] * len(batch)
    queue = openvino.AsyncInferQueue(compiled)
    queue.set_callback(lambda r, i: out.__setitem__(i, r.get_output_tensor().data[0].copy()))
    for i, square in enumerate(batch):
        queue.start_async({0: normalised(square[None])}, userdata=i)
    queue.wait_all()
    return np.stack(out)
""",
    "eager": TIMM
    + """
def encode(batch):
    parts = np.array_split(batch, max(1, len(batch) // 32))
    with torch.inference_mode():
        return np.concatenate(
            [module(torch.from_numpy(normalised(p).copy())).numpy() for p in parts])
""",
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--images", type=int, default=128)
    options = parser.parse_args()
    rates: dict[str, list[float]] = {name: [] for name in ROADS}
    features: dict[str, np.ndarray] = {}

    def turn(name: str) -> float:
        start = time.time()
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", HEAD + ROADS[name] + TAIL, str(options.images)],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        first, rate, found = json.loads(done.stdout)
        rates[name].append(rate)
        features[name] = np.array(found)
        return float(first - start)

    seconds = alternated({name: (lambda n=name: turn(n)) for name in ROADS}, options.repeats)
    scale = np.abs(features["eager"]).max()
    for name, found in features.items():
        assert np.abs(found - features["eager"]).max() / scale < 1e-4, f"{name} differs"
    report(
        {
            "machine": machine(["tagbox", "torch", "timm", "openvino"]),
            "seconds_to_first_feature": {n: summary(v) for n, v in seconds.items()},
            "images_per_second": {n: summary(v) for n, v in rates.items()},
            "start_faster_than_tracing": ratio(seconds["traced"], seconds["tagbox"]),
            "rate_against_eager": ratio(rates["tagbox"], rates["eager"]),
        }
    )


if __name__ == "__main__":
    main()
