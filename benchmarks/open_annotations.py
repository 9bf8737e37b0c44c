"""Opening a train2017-size COCO JSON: `tagbox.load_dataset` against `pycocotools.COCO`, time and memory.

    python benchmarks/open_annotations.py

Makes a file of 118,287 images and 860,001 annotations with polygons (about 500 MB, seeded) in a
temporary folder and removes it afterwards. Each opening runs in a process of its own, in turn; the
seconds are those of the call alone, imports apart, with the file in the disk cache for both; the CPU
seconds beside them are what a busy machine disturbs less. The peak
is the whole process's resident memory, interpreter, imports and the mapped file included. Both must
agree on the counts and on sums over all annotations.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from pathlib import Path
from typing import IO

from timing import Run, alternated, machine, ratio, report, run, say, summary

IMAGES, ANNOTATIONS, CATEGORIES = 118_287, 860_001, 80

WAYS = {
    "tagbox": """
from pathlib import Path
from tagbox.config import DataConfig
from tagbox.data.load import load_dataset
import json, sys, time
start, start_cpu = time.perf_counter(), time.process_time()
dataset = load_dataset(Path(sys.argv[1]), DataConfig())
seconds, cpu = time.perf_counter() - start, time.process_time() - start_cpu
annotations = dataset.annotations
images = dataset.images.ids[annotations.image_rows]
categories = dataset.categories.ids[annotations.category_rows]
total = int((images * categories % 1_000_003).sum())
counts = [len(dataset), len(annotations), total, round(float(annotations.boxes.sum()), 1)]
""",
    "pycocotools": """
import contextlib, io, json, sys, time
from pycocotools.coco import COCO
start, start_cpu = time.perf_counter(), time.process_time()
with contextlib.redirect_stdout(io.StringIO()):
    dataset = COCO(sys.argv[1])
seconds, cpu = time.perf_counter() - start, time.process_time() - start_cpu
total = sum(a["image_id"] * a["category_id"] % 1_000_003 for a in dataset.anns.values())
boxes = sum(sum(a["bbox"]) for a in dataset.anns.values())
counts = [len(dataset.imgs), len(dataset.anns), total, round(boxes, 1)]
""",
}
TELL = 'print(json.dumps({"seconds": seconds, "cpu_seconds": cpu, "counts": counts}))'


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--annotations", type=int, default=ANNOTATIONS)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "instances_train2017.json"
        say("writing the file")
        with open(path, "w") as out:
            write_annotations(out, options.images, options.annotations, options.seed)
        megabytes = path.stat().st_size / 1e6
        runs = alternated(
            {
                name: (lambda code=code: run([sys.executable, "-c", code + TELL, path]))
                for name, code in WAYS.items()
            },
            options.repeats,
        )
    counts = {name: values[0].json()["counts"] for name, values in runs.items()}
    seconds, cpu = (
        {name: [value.json()[key] for value in values] for name, values in runs.items()}
        for key in ("seconds", "cpu_seconds")
    )
    report(
        {
            "machine": machine(["tagbox", "msgspec", "pycocotools"]),
            "file": {
                "megabytes": round(megabytes, 1),
                "images": options.images,
                "annotations": options.annotations,
            },
            "seconds": {name: summary(values) for name, values in seconds.items()},
            "cpu_seconds": {name: summary(values) for name, values in cpu.items()},
            "peak_mb": {name: summary(peaks(values)) for name, values in runs.items()},
            "times_faster": ratio(seconds["pycocotools"], seconds["tagbox"]),
            "times_less_cpu": ratio(cpu["pycocotools"], cpu["tagbox"]),
            "times_less_memory": ratio(peaks(runs["pycocotools"]), peaks(runs["tagbox"])),
            "same_content": agree(counts["tagbox"], counts["pycocotools"]),
        }
    )


def peaks(runs: list[Run]) -> list[float]:
    return [value.peak_mb for value in runs]


def agree(ours: list[float], theirs: list[float]) -> bool:
    """Equal counts and sums; the sum of all coordinates up to the order of addition."""
    return ours[:3] == theirs[:3] and abs(ours[3] - theirs[3]) <= 1e-9 * abs(theirs[3])


def write_annotations(out: IO[str], images: int, annotations: int, seed: int) -> None:
    """A COCO file with the fields, the order and about the polygon sizes of train2017's."""
    rng = random.Random(seed)
    # A pool of shapes, moved about, is as good as a new polygon each and takes seconds to write.
    shapes = [_shape(rng) for _ in range(4000)]
    ids = sorted(rng.sample(range(1, 600_000), images))
    out.write('{"info": {"description": "generated"}, "licenses": [], "images": [')
    for number, image in enumerate(ids):
        out.write(", " if number else "")
        name = f"{image:012d}.jpg"
        record = {
            "license": 3,
            "file_name": name,
            "coco_url": f"http://images.cocodataset.org/train2017/{name}",
            "height": 480,
            "width": 640,
            "date_captured": "2013-11-14 11:18:45",
            "flickr_url": f"http://farm9.staticflickr.com/8186/{image}_{seed}.jpg",
            "id": image,
        }
        out.write(json.dumps(record))
    out.write('], "annotations": [')
    for number in range(annotations):
        out.write(", " if number else "")
        segmentation, area, box = shapes[rng.randrange(len(shapes))]
        out.write(
            f'{{"segmentation": [[{segmentation}]], "area": {area}, "iscrowd": '
            f'{int(rng.random() < 0.0118)}, "image_id": {ids[rng.randrange(images)]}, "bbox": {box}, '
            f'"category_id": {rng.randrange(1, CATEGORIES + 1)}, "id": {number + 1}}}'
        )
    categories = [
        {"supercategory": f"group {i // 8}", "id": i, "name": f"category {i}"}
        for i in range(1, CATEGORIES + 1)
    ]
    out.write('], "categories": ' + json.dumps(categories) + "}")


def _shape(rng: random.Random) -> tuple[str, float, str]:
    """A polygon's coordinates, an area, a box; with two decimals, as COCO has them."""
    x, y = rng.uniform(0, 500), rng.uniform(0, 380)
    w, h = rng.uniform(10, 140), rng.uniform(10, 100)
    corners = max(4, round(rng.lognormvariate(2.93, 0.75)))
    points = [f"{rng.uniform(x, x + w):.2f}, {rng.uniform(y, y + h):.2f}" for _ in range(corners)]
    area = round(w * h * rng.uniform(0.3, 0.9), 4)
    return ", ".join(points), area, f"[{x:.2f}, {y:.2f}, {w:.2f}, {h:.2f}]"


if __name__ == "__main__":
    main()
