"""The table of `test_bad_input`: a comment for each oddity, a line for each input."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors.numpy import save_file

from bad_input_data import (
    COCO,
    Build,
    both,
    challenge,
    coco,
    coco_text,
    described,
    ensemble,
    field,
    labelme,
    picture,
    run,
    runs,
    table,
    without,
    write,
    yolo,
)


class Case(NamedTuple):
    """One broken input: what is typed, and the code, the file and the place that must be said."""

    command: str
    build: Build
    code: str
    file: str
    where: str = ""
    exit_code: int = 1


# `{out}` is a folder outside the one that is watched; `split` opens a dataset whole and trains nothing.
SPLIT = "split labels.json --out new"
SPLIT_DATA = "split data --out new"
SPLIT_CSV = "split labels.csv --out new"
SHOW = "show labels.json --out {out}/show.png"

DATASETS = [
    # a path with a typing error
    Case("split lables.json --out new", coco(), "file-missing", "lables.json"),
    # a folder of nothing
    Case(SPLIT_DATA, lambda f: (f / "data").mkdir(), "format-unknown", "data"),
    # a picture given for a dataset
    Case("split images/a.jpg --out new", coco(), "format-unknown", "images/a.jpg"),
    # two exports in one folder: which one is meant?
    Case(
        SPLIT_DATA,
        both(
            write("data/a.json", '{"images": [], "categories": []}'),
            write("data/b.json", '{"images": [], "categories": []}'),
        ),
        "format-ambiguous",
        "data",
    ),
    # predictions of a detector instead of annotations
    Case(SPLIT, write("labels.json", '[{"image_id": 1}]'), "format-unknown", "labels.json"),
    # a download that broke off
    Case(SPLIT, coco_text(lambda t: t[:300]), "json-syntax", "labels.json", "line "),
    # edited by hand: a comma too many
    Case(
        SPLIT,
        coco_text(lambda t: t.replace('"yak"}', '"yak"},')),
        "json-syntax",
        "labels.json",
        "line 11, column 1",
    ),
    # the same with a byte order mark in front, as Windows editors write it: positions must still fit
    Case(
        SPLIT,
        coco_text(lambda t: b"\xef\xbb\xbf" + t.replace('"yak"}', '"yak"},').encode()),
        "json-syntax",
        "labels.json",
        "line 11, column 1",
    ),
    # zero bytes, after a full disk
    Case(
        "split labels.json --format coco --out new",
        write("labels.json", ""),
        "json-syntax",
        "labels.json",
    ),
    # a name in Latin-1
    Case(
        SPLIT,
        coco_text(lambda t: t.replace("yak", "yäk").encode("latin-1")),
        "not-utf8",
        "labels.json",
    ),
    # json.dump writes NaN, which JSON does not have
    Case(
        SPLIT,
        coco_text(lambda t: t.replace("[1, 2, 10, 10]", "[NaN, 2, 10, 10]")),
        "json-number",
        "labels.json",
        "line 13, column 53",
    ),
    # a list where an object should be, and the other way round
    Case(SPLIT, coco(lambda c: c.update(images={})), "json-field", "labels.json", "images"),
    Case(SPLIT, coco(lambda c: c.pop("categories")), "json-field", "labels.json", "categories"),
    Case(
        SPLIT,
        coco(lambda c: c["annotations"].append(7)),
        "json-field",
        "labels.json",
        "annotations[4]",
    ),
    # a required field is not there, is null, or is of another type
    Case(
        SPLIT,
        without("annotations", 2, "image_id"),
        "json-field",
        "labels.json",
        "annotations[2] (id 3).image_id",
    ),
    Case(
        SPLIT,
        field("images", 1, file_name=None),
        "json-field",
        "labels.json",
        "images[1] (id 2).file_name",
    ),
    Case(
        SPLIT,
        field("categories", 1, name=5),
        "json-field",
        "labels.json",
        "categories[1] (id 2).name",
    ),
    Case(
        SPLIT,
        field("images", 1, width="wide"),
        "json-field",
        "labels.json",
        "images[1] (id 2).width",
    ),
    Case(
        SPLIT,
        field("annotations", 1, iscrowd=2),
        "json-field",
        "labels.json",
        "annotations[1] (id 2).iscrowd",
    ),
    # ids in quotes in one place and numbers in the other
    Case(
        SPLIT,
        field("annotations", 1, image_id="2"),
        "id-type",
        "labels.json",
        "annotations[1] (id 2).image_id",
    ),
    Case(SPLIT, field("images", 2, id=2.5), "id-type", "labels.json", "images[2].id"),
    # boxes: three numbers, a text, corners instead of corner and size
    Case(
        SPLIT,
        field("annotations", 1, bbox=[1, 2, 3]),
        "bad-box",
        "labels.json",
        "annotations[1] (id 2).bbox",
    ),
    Case(
        SPLIT,
        field("annotations", 1, bbox=[1, 2, "3", 4]),
        "bad-box",
        "labels.json",
        "annotations[1] (id 2).bbox",
    ),
    Case(
        SPLIT,
        field("annotations", 1, bbox=[9, 9, -5, 2]),
        "bad-box",
        "labels.json",
        "annotations[1] (id 2).bbox",
    ),
    # two records, one id
    Case(SPLIT, field("images", 2, id=1), "duplicate-image-id", "labels.json", "images[2].id"),
    Case(
        SPLIT,
        field("categories", 1, id=1),
        "duplicate-category-id",
        "labels.json",
        "categories[1].id",
    ),
    Case(
        SPLIT,
        field("categories", 1, name="elk"),
        "duplicate-category-name",
        "labels.json",
        "categories[1].name",
    ),
    # ids that no record has
    Case(
        SPLIT,
        field("annotations", 3, image_id=9),
        "unknown-image-id",
        "labels.json",
        "annotations[3].image_id",
    ),
    Case(
        SPLIT,
        field("annotations", 3, category_id=9),
        "unknown-category-id",
        "labels.json",
        "annotations[3].category_id",
    ),
    # a file name that climbs out of the folder
    Case(
        SPLIT,
        field("images", 3, file_name="../../etc/x.jpg"),
        "file-name-outside",
        "labels.json",
        "images[3].file_name",
    ),
    Case(
        SPLIT,
        field("images", 3, file_name="C:\\x.jpg"),
        "file-name-outside",
        "labels.json",
        "images[3].file_name",
    ),
    # nothing in it is labelled, so there is nothing to stratify by
    Case(SPLIT, coco(lambda c: c.pop("annotations")), "no-labels", "labels.json"),
    # more folds than images
    Case(SPLIT + " --folds 9", coco(), "too-few-images", ""),
]

LABEL_FILES = [
    # a word, an index too high, a negative one, two on a line, a superscript that int() would take
    Case(SPLIT_DATA, challenge(b="1\nelk\n"), "cls-line", "data/labels/train/b.cls", "line 2"),
    Case(SPLIT_DATA, challenge(c="0\n\n2\n"), "cls-line", "data/labels/train/c.cls", "line 3"),
    Case(SPLIT_DATA, challenge(c="-1\n"), "cls-line", "data/labels/train/c.cls", "line 1"),
    Case(SPLIT_DATA, challenge(c="0 1\n"), "cls-line", "data/labels/train/c.cls", "line 1"),
    Case(SPLIT_DATA, challenge(c="²\n"), "cls-line", "data/labels/train/c.cls", "line 1"),
    # binary rubbish
    Case(
        SPLIT_DATA, challenge(c=b"0\n\xff\xfe\n"), "not-utf8", "data/labels/train/c.cls", "line 2"
    ),
    # labels of a picture that is not there
    Case(SPLIT_DATA, challenge(z="0\n"), "label-without-image", "data/labels/train/z.cls"),
    # two pictures for one label file
    Case(
        SPLIT_DATA,
        both(challenge(), write("data/images/train/a.png", "")),
        "image-ambiguous",
        "data/images/train",
    ),
    # a header of other names; one column twice
    Case(SPLIT_CSV, table("picture of,what\na.jpg,elk\n"), "csv-header", "labels.csv", "line 1"),
    Case(SPLIT_CSV, table("image,elk,elk\na.jpg,1,0\n"), "csv-header", "labels.csv", "line 1"),
    Case(SPLIT_CSV, table(""), "csv-header", "labels.csv"),
    # a line too long, a value that is neither, no image, a quote that never ends
    Case(SPLIT_CSV, table("image,elk,yak\na.jpg,1,0,1\n"), "csv-line", "labels.csv", "line 2"),
    Case(
        SPLIT_CSV,
        table("image,elk,yak\na.jpg,1,0\nb.jpg,0.7,0\n"),
        "csv-line",
        "labels.csv",
        "line 3",
    ),
    Case(SPLIT_CSV, table("image,labels\n,elk\n"), "csv-line", "labels.csv", "line 2"),
    Case(SPLIT_CSV, table('image,labels\na.jpg,"elk\n'), "csv-line", "labels.csv", "line "),
    # an image twice
    Case(
        SPLIT_CSV,
        table("image,labels\na.jpg,elk\na.jpg,yak\n"),
        "csv-duplicate",
        "labels.csv",
        "line 3",
    ),
    Case(
        SPLIT_CSV,
        table("image,labels\n../z.jpg,elk\n"),
        "file-name-outside",
        "labels.csv",
        "image 0",
    ),
    # UTF-16 from a spreadsheet
    Case(
        SPLIT_CSV,
        table("image,labels\na.jpg,elk\n".encode("utf-16")),
        "not-utf8",
        "labels.csv",
        "line 1",
    ),
    # YOLO: an index too high, a word, pixels instead of parts, three numbers, NaN
    Case(SPLIT_DATA, yolo(b="2 0.5 0.5 0.1 0.1\n"), "yolo-line", "data/labels/b.txt", "line 1"),
    Case(SPLIT_DATA, yolo(b="\n0 0.5 half 0.1 0.1\n"), "yolo-line", "data/labels/b.txt", "line 2"),
    Case(SPLIT_DATA, yolo(b="0 20 15 10 10\n"), "yolo-line", "data/labels/b.txt", "line 1"),
    Case(SPLIT_DATA, yolo(b="0 0.5 0.5 0.1\n"), "yolo-line", "data/labels/b.txt", "line 1"),
    Case(SPLIT_DATA, yolo(b="0 0.5 nan 0.1 0.1\n"), "yolo-line", "data/labels/b.txt", "line 1"),
    # its data.yaml: not YAML, no names, a wrong count
    Case(SPLIT_DATA, yolo("names: [elk, yak\n"), "yolo-yaml", "data/data.yaml", "line "),
    Case(SPLIT_DATA, yolo("names: 2\n"), "yolo-yaml", "data/data.yaml", "names"),
    Case(SPLIT_DATA, yolo("nc: 3\nnames: [elk, yak]\n"), "yolo-yaml", "data/data.yaml", "nc"),
    # labelme: a shape without its points, half a file
    Case(
        SPLIT_DATA,
        labelme(b='{"shapes": [{"label": "elk"}], "imagePath": "b.jpg"}'),
        "labelme-field",
        "data/b.json",
        "shapes[0]",
    ),
    Case(SPLIT_DATA, labelme(c='{"shapes": [{"label":'), "json-syntax", "data/c.json", "line 1"),
    # two files for one picture
    Case(
        SPLIT_DATA,
        labelme(b='{"shapes": [], "imagePath": "a.jpg"}'),
        "duplicate-image",
        "data/b.json",
        "imagePath",
    ),
    # labels in the challenge's JSON form: the form's own sample has a comma too many and a comment
    Case(
        SPLIT,
        write("labels.json", '{"a": [1],\n "b": [2],\n}'),
        "submission-trailing-comma",
        "labels.json",
        "line 2",
    ),
    Case(
        SPLIT,
        write("labels.json", '{"a": [1], // elk\n "b": [2]}'),
        "submission-comment",
        "labels.json",
        "line 1",
    ),
    Case(
        SPLIT,
        write("labels.json", '{"a": [1],\n "a": [2]}'),
        "submission-duplicate-key",
        "labels.json",
        "line 2",
    ),
    Case(
        SPLIT,
        write("labels.json", '{"a": [1],\n "b": [80]}'),
        "submission-index-range",
        "labels.json",
        "line 2",
    ),
    Case(
        SPLIT,
        write("labels.json", '{"a": [1],\n "b": ["elk"]}'),
        "submission-index-type",
        "labels.json",
        "line 2",
    ),
    Case(
        SPLIT,
        write("labels.json", '{"a": [1],\n "b": 2}'),
        "submission-value",
        "labels.json",
        "line 2",
    ),
]

OTHER_FILES = [
    # names: a blank line between, a name twice, the file not there
    Case(
        SPLIT_DATA + " --names n.txt",
        both(challenge(), write("n.txt", "elk\n\nyak\n")),
        "names-file",
        "n.txt",
        "line 2",
    ),
    Case(
        SPLIT_DATA + " --names n.txt",
        both(challenge(), write("n.txt", "elk\nelk\n")),
        "duplicate-category-name",
        "n.txt",
        "line 2",
    ),
    Case(SPLIT_DATA + " --names n.txt", challenge(), "file-missing", "n.txt"),
    # mapping: a name that the dataset does not have, a list, not YAML, `no` that YAML takes for false
    Case(
        SPLIT + " --mapping m.yaml",
        both(coco(), write("m.yaml", "ekl: pet\n")),
        "unknown-category",
        "m.yaml",
        "ekl",
    ),
    Case(
        SPLIT + " --mapping m.yaml",
        both(coco(), write("m.yaml", "- elk\n")),
        "mapping-file",
        "m.yaml",
    ),
    Case(
        SPLIT + " --mapping m.yaml",
        both(coco(), write("m.yaml", "elk: [pet\n")),
        "mapping-file",
        "m.yaml",
        "line ",
    ),
    Case(
        SPLIT + " --mapping m.yaml",
        both(coco(), write("m.yaml", "elk: no\n")),
        "mapping-file",
        "m.yaml",
        "elk",
    ),
    # a saved split: of another dataset, not JSON, a wrong type, an image in both parts, another version
    Case(
        SPLIT + " --split s.json",
        both(
            coco(),
            write("s.json", '{"version": 1, "parts": {"train": ["zz"]}, "key": "stem", "seed": 0}'),
        ),
        "split-images",
        "labels.json",
    ),
    Case(
        SPLIT + " --split s.json",
        both(coco(), write("s.json", "{")),
        "json-syntax",
        "s.json",
        "line 1",
    ),
    Case(
        SPLIT + " --split s.json",
        both(
            coco(),
            write("s.json", '{"version": 1, "parts": {"train": "a"}, "key": "stem", "seed": 0}'),
        ),
        "split-file",
        "s.json",
        "parts",
    ),
    Case(
        SPLIT + " --split s.json",
        both(
            coco(),
            write(
                "s.json",
                '{"version": 1, "parts": {"a": ["a"], "b": ["a"]}, "key": "stem", "seed": 0}',
            ),
        ),
        "split-file",
        "s.json",
    ),
    Case(
        SPLIT + " --split s.json",
        both(coco(), write("s.json", '{"version": 9, "parts": {}, "key": "stem", "seed": 0}')),
        "split-file",
        "s.json",
    ),
]

IMAGES = [
    # a picture that was deleted, is empty, broke off, or is an error page
    Case(
        SHOW, both(coco(), lambda f: (f / "images/b.jpg").unlink()), "image-missing", "images/b.jpg"
    ),
    Case(SHOW, picture("b.jpg", lambda b: b""), "image-empty", "images/b.jpg"),
    Case(SHOW, picture("b.jpg", lambda b: b[: len(b) // 2]), "image-truncated", "images/b.jpg"),
    Case(SHOW, picture("b.jpg", lambda b: b"<html>404</html>"), "image-corrupt", "images/b.jpg"),
    # a folder where a picture should be
    Case(
        SHOW,
        both(coco(), lambda f: ((f / "images/b.jpg").unlink(), (f / "images/b.jpg").mkdir())),
        "image-unreadable",
        "images/b.jpg",
    ),
    # no picture at all: the folder was moved
    Case(
        SHOW,
        both(coco(), lambda f: (f / "images").rename(f / "elsewhere")),
        "images-not-found",
        "labels.json",
    ),
    Case(SHOW + " --images nowhere", coco(), "images-folder-missing", "nowhere"),
]

COMMAND_LINES = [
    # no such command, no such flag, a required one left out, not a number: a usage error is exit code 2
    Case("chekc labels.json", coco(), "", "chekc", exit_code=2),
    Case("check labels.json --nonsense", coco(), "", "nonsense", exit_code=2),
    Case("split labels.json", coco(), "", "--out", exit_code=2),
    Case(SPLIT + " --seed many", coco(), "", "--seed", exit_code=2),
    Case("check labels.json --format excel", coco(), "", "excel", exit_code=2),
    # numbers of the right type and out of their range
    Case(SPLIT + " --max-images 0", coco(), "config-value", "", "max_images"),
    Case(SPLIT + " --val-fraction 1.5", coco(), "config-value", "", "val_fraction"),
    Case(SPLIT + " --fractions 0.5 0.2", coco(), "config-value", "", "fractions"),
    Case(SPLIT + " --folds 1", coco(), "config-value", "", "folds"),
    Case("check labels.json --limit -1", coco(), "config-value", "", "limit"),
    Case(SHOW + " --count 0", coco(), "config-value", "", "count"),
    # a seed below 0 seeds nothing
    Case(SHOW + " --seed -1", coco(), "config-value", "", "seed"),
    # an epoch, or an augmentation, of pictures that are not augmented
    Case(SHOW + " --epoch 3", coco(), "option-alone", "", "--epoch"),
    Case(SHOW + " --augment.rotate 20", coco(), "option-alone", "", "--augment.rotate"),
    Case(SHOW + " --augmented --augment.color 2", coco(), "config-value", "", "color"),
    # settings that do not go together
    Case(SPLIT + " --folds 2 --val-fraction 0.5", coco(), "config-value", "", "--folds"),
    Case(
        SPLIT + " --names n.txt",
        both(coco(), write("n.txt", "a\n")),
        "config-value",
        "labels.json",
        "names",
    ),
    # a category with a typing error, none that has a supercategory
    Case(SPLIT + " --categories ekl", coco(), "unknown-category", "labels.json", "--categories"),
    Case(SPLIT + " --group-by supercategory", coco(), "no-supercategories", "labels.json"),
    # the place is taken
    Case(SPLIT, both(coco(), write("new/precious.txt", "mine")), "exists", "new"),
    Case("synth labels.json", coco(), "exists", "labels.json"),
]

# What `tagbox evaluate` is given; the dataset it is scored against is sound.
SCORE_JSON = "evaluate p.json labels.json"
SCORE_CSV = "evaluate p.csv labels.json"
ROWS = "a,0.1,0.2\nb,0.1,0.2\nc,0.1,0.2\nd,0.1,0.2\n"


def said(content: str | bytes) -> Build:
    """A dataset and predictions in the challenge's JSON form."""
    return both(coco(), write("p.json", content))


def found(**changes: object) -> Build:
    """A dataset and a detector's results, the second of them spoilt."""
    good = {"image_id": 1, "category_id": 1, "bbox": [1, 2, 10, 10], "score": 0.5}
    return said(json.dumps([good, good | changes]))


ALL_SAID = '{"a": [0], "b": [1], "c": [], "d": [0]}'
COMPARE = "compare p.json q.json labels.json"
PAIR = both(said(ALL_SAID), write("q.json", ALL_SAID.replace("[1]", "[0]")))


def scored(content: str | bytes) -> Build:
    """A dataset and predictions as CSV."""
    return both(coco(), write("p.csv", content))


def claimed(**changes: object) -> Build:
    """A dataset and predictions in tagbox's own JSON."""
    content: dict[str, object] = {
        "format": "tagbox-predictions",
        "version": 1,
        "categories": ["elk", "yak"],
        "images": [{"image": stem, "probabilities": [0.1, 0.2]} for stem in "abcd"],
    }
    return said(json.dumps({**content, **changes}))


PREDICTIONS = [
    # the file is not there, is empty, broke off
    Case(SCORE_JSON, coco(), "file-missing", "p.json"),
    Case(SCORE_JSON, said(""), "submission-empty", "p.json"),
    Case(SCORE_JSON, said('{"a": [0],\n "b": ['), "submission-syntax", "p.json", "line 2"),
    # the challenge's sample submission: a comma before the brace; a comment
    Case(
        SCORE_JSON,
        said('{"a": [0],\n "b": [1],\n}'),
        "submission-trailing-comma",
        "p.json",
        "line 2",
    ),
    Case(
        SCORE_JSON, said('{"a": [0], # elk\n "b": [1]}'), "submission-comment", "p.json", "line 1"
    ),
    # Python's repr instead of JSON
    Case(SCORE_JSON, said("{'a': [0]}"), "submission-syntax", "p.json", "line 1"),
    # an image twice: which of the two?
    Case(
        SCORE_JSON, said('{"a": [0],\n "a": [1]}'), "submission-duplicate-key", "p.json", "line 2"
    ),
    # a category twice, one that does not exist, a name, a probability, true, NaN
    Case(SCORE_JSON, said('{"a": [0, 0]}'), "submission-duplicate-index", "p.json", "image 'a'"),
    Case(SCORE_JSON, said('{"a": [0],\n "b": [2]}'), "submission-index-range", "p.json", "line 2"),
    Case(
        SCORE_JSON, said('{"a": ["elk"]}'), "submission-index-type", "p.json", "image 'a', item 1"
    ),
    Case(
        SCORE_JSON, said('{"a": [0, 0.7]}'), "submission-index-type", "p.json", "image 'a', item 2"
    ),
    Case(SCORE_JSON, said('{"a": [true]}'), "submission-index-type", "p.json", "image 'a', item 1"),
    Case(SCORE_JSON, said('{"a": [NaN]}'), "submission-number", "p.json", "line 1"),
    # one number instead of a list
    Case(SCORE_JSON, said('{"a": 0}'), "submission-value", "p.json", "image 'a'"),
    # a detector's results: without a box, corners for sides, NaN, a category counted from 0, ids of other images
    # or in quotes, a score in words, a list of lists; detections have no --top-k, and only --as-labels compares
    Case(SCORE_JSON, found(bbox=None), "json-field", "p.json", "[1].bbox"),
    Case(SCORE_JSON, found(bbox=[20, 20, -10, -10]), "bad-box", "p.json", "[1].bbox"),
    Case(SCORE_JSON, found(bbox=[20, 20, 10]), "bad-box", "p.json", "[1].bbox"),
    Case(SCORE_JSON, found(score=float("nan")), "json-number", "p.json", "line 1"),
    Case(SCORE_JSON, found(category_id=0), "unknown-category-id", "p.json", "[1].category_id"),
    Case(SCORE_JSON, found(image_id=77), "unknown-image-id", "p.json", "[1].image_id"),
    Case(SCORE_JSON, found(image_id="one"), "unknown-image-id", "p.json", "[1].image_id"),
    Case(SCORE_JSON, found(category_id=1.5), "id-type", "p.json", "[1].category_id"),
    Case(SCORE_JSON, found(score="high"), "bad-score", "p.json", "[1].score"),
    Case(SCORE_JSON, said("[[1, 2, 3, 4]]"), "results-format", "p.json", "[0]"),
    Case(f"{SCORE_JSON} --top-k 1", found(), "needs-labels", "p.json", "--top-k"),
    Case(f"{SCORE_JSON} --thresholds nan", found(), "config-value", "", "thresholds"),
    Case("evaluate p.json p.json labels.json", found(), "several-predictions", "p.json"),
    # a comparison: one model, none, the same twice, boxes with labels, probabilities that there are not, single runs
    # beside recipes, one run of a recipe, runs that there are not, images of another dataset, no truth
    Case("compare p.json labels.json", found(), "too-few-models", ""),
    Case("compare p.json", found(), "too-few-models", ""),
    Case("compare p.json ./p.json labels.json", found(), "same-predictions", "p.json"),
    Case(
        "compare p.json q.json labels.json",
        both(found(), write("q.json", ALL_SAID)),
        "kinds-differ",
        "",
        "--as-labels",
    ),
    Case(f"{COMPARE} --metric map", PAIR, "metric-missing", "", "--metric"),
    Case(f"{COMPARE} --group r=p.json", PAIR, "option-excludes", "", "--group"),
    Case("compare labels.json --group r=p.json --group s=q.json", PAIR, "too-few-models", ""),
    Case(
        COMPARE, both(PAIR, coco(lambda c: c.pop("annotations"))), "nothing-labelled", "labels.json"
    ),
    Case("compare labels.json --group r=run-*", PAIR, "bundle-missing", "", "--group"),
    Case("compare labels.json --group run-1", PAIR, "option-value", "", "--group"),
    Case(
        COMPARE,
        both(PAIR, write("q.json", ALL_SAID.replace('"d"', '"z"'))),
        "unknown-image",
        "q.json",
        "'z'",
    ),
    Case(f"{SCORE_JSON} --as-labels", found(score=40), "score-range", "p.json", "[1].score"),
    # a dataset of tags without a box
    Case(
        SCORE_JSON,
        both(found(), coco(lambda c: [a.pop("bbox") for a in c["annotations"]])),
        "no-boxes",
        "labels.json",
    ),
    # the two the wrong way round
    Case("evaluate labels.json p.json", found(), "format-unknown", "p.json"),
    Case("evaluate labels.json labels.json", coco(), "predictions-format", "labels.json"),
    # images of another dataset; not all images
    Case(
        SCORE_JSON,
        said('{"a": [0], "b": [], "c": [], "d": [], "z": []}'),
        "unknown-image",
        "p.json",
        "'z'",
    ),
    Case(SCORE_JSON, said('{"a": [0], "b": [1]}'), "missing-prediction", "p.json", "'c'"),
    # two ways of naming one image: by stem and by file name
    Case(
        SCORE_JSON,
        said('{"a": [0], "a.jpg": [1], "b": [], "c": [], "d": []}'),
        "duplicate-image",
        "p.json",
        "'a.jpg'",
    ),
    # tables: no header, a line too short, logits, a word, NaN, an image twice, a category too many, one too few
    Case(SCORE_CSV, scored(ROWS), "predictions-csv", "p.csv", "line 1"),
    Case(SCORE_CSV, scored("image,elk,yak\na,0.1\n"), "predictions-csv", "p.csv", "line 2"),
    Case(
        SCORE_CSV,
        scored("image,elk,yak\na,0.1,0.2\nb,3.2,-1\n"),
        "probability-range",
        "p.csv",
        "line 3, column 2",
    ),
    Case(
        SCORE_CSV,
        scored("image,elk,yak\na,0.1,yes\n"),
        "probability-range",
        "p.csv",
        "line 2, column 3",
    ),
    Case(
        SCORE_CSV,
        scored("image,elk,yak\na,nan,0.1\n"),
        "probability-range",
        "p.csv",
        "line 2, column 2",
    ),
    Case(
        SCORE_CSV,
        scored("image,elk,yak\na,0.1,0.1\na,0.2,0.2\n"),
        "duplicate-image",
        "p.csv",
        "'a'",
    ),
    Case(
        SCORE_CSV,
        scored("image,elk,elk\n" + ROWS),
        "duplicate-category-name",
        "p.csv",
        "line 1, column 3",
    ),
    Case(SCORE_CSV, scored("image,elk,wolf\n" + ROWS), "unknown-category", "p.csv", "'wolf'"),
    Case(SCORE_CSV, scored("image,elk\na,0.1\n"), "missing-category", "p.csv", "'yak'"),
    # tagbox's own JSON: another version, a probability above 1, one too few, a field of the wrong type
    Case(SCORE_JSON, claimed(version=9), "predictions-format", "p.json", "format"),
    Case(
        SCORE_JSON,
        claimed(images=[{"image": "a", "probabilities": [0.1, 1.2]}]),
        "probability-range",
        "p.json",
        "images[0].probabilities[1]",
    ),
    Case(
        SCORE_JSON,
        claimed(images=[{"image": "a", "probabilities": [0.1]}]),
        "predictions-format",
        "p.json",
        "images[0].probabilities",
    ),
    Case(
        SCORE_JSON,
        claimed(images=[{"image": 7, "probabilities": []}]),
        "predictions-format",
        "p.json",
        "images",
    ),
    # thresholds: not JSON, an unknown field, one above 1, one too few
    Case(
        SCORE_CSV + " --thresholds t.json",
        both(scored("image,elk,yak\n" + ROWS), write("t.json", "{")),
        "json-syntax",
        "t.json",
        "line 1",
    ),
    Case(
        SCORE_CSV + " --thresholds t.json",
        both(scored("image,elk,yak\n" + ROWS), write("t.json", '{"valu": 0.5}')),
        "thresholds-invalid",
        "t.json",
        "valu",
    ),
    Case(
        SCORE_CSV + " --thresholds t.json",
        both(scored("image,elk,yak\n" + ROWS), write("t.json", '{"per_category": [0.5]}')),
        "thresholds-invalid",
        "t.json",
        "per_category",
    ),
    # thresholds for label sets
    Case(
        SCORE_JSON + " --thresholds 0.5",
        said('{"a": [0], "b": [], "c": [], "d": []}'),
        "needs-probabilities",
        "p.json",
    ),
    # one category an image asked of data that has an image with none, or with two; of label sets with two
    Case(
        SCORE_CSV + " --labels exclusive",
        both(scored("image,elk,yak\n" + ROWS), coco(lambda c: c["annotations"].pop())),
        "labels-not-exclusive",
        "labels.json",
        "d.jpg with 0",
    ),
    Case(
        SCORE_CSV + " --labels exclusive",
        both(
            scored("image,elk,yak\n" + ROWS),
            coco(
                lambda c: c["annotations"].append(c["annotations"][0] | {"id": 9, "category_id": 2})
            ),
        ),
        "labels-not-exclusive",
        "labels.json",
        "a.jpg with 2",
    ),
    Case(
        SCORE_JSON + " --labels exclusive",
        said('{"a": [0], "b": [1, 0], "c": [0], "d": [1]}'),
        "labels-not-exclusive",
        "p.json",
        "b.jpg",
    ),
    # thresholds where the most probable category is said
    Case(
        SCORE_CSV + " --labels exclusive --top-k 2",
        scored("image,elk,yak\n" + ROWS),
        "needs-multi-labels",
        "p.csv",
        "--top-k",
    ),
    # labels that hold no labels
    Case(
        SCORE_CSV,
        both(scored("image,elk,yak\n" + ROWS), coco(lambda c: c.pop("annotations"))),
        "nothing-labelled",
        "labels.json",
    ),
]

RUN = "evaluate run labels.json"

BUNDLES = [
    # a folder that is no run; one that was cut off before its weights came
    Case("evaluate images labels.json", coco(), "run-incomplete", "images"),
    Case(
        RUN,
        run(lambda f: (f / "model.safetensors").unlink()),
        "bundle-missing",
        "run/model.safetensors",
    ),
    # model.json: half of it, a field of another type, one too many, one too few, of a later version
    Case(RUN, run(lambda f: _cut(f / "model.json")), "bundle-json", "run/model.json"),
    Case(
        RUN,
        described(lambda d: d.update(backbones="lite0")),
        "bundle-json",
        "run/model.json",
        "backbones",
    ),
    Case(
        RUN,
        described(lambda d: d["head"].update(kind="tree")),
        "bundle-json",
        "run/model.json",
        "head.kind",
    ),
    Case(
        RUN, described(lambda d: d.update(surprise=1)), "bundle-json", "run/model.json", "surprise"
    ),
    Case(RUN, described(lambda d: d.pop("geometry")), "bundle-json", "run/model.json", "geometry"),
    Case(
        RUN,
        described(lambda d: d.update(format_version=99)),
        "bundle-version",
        "run/model.json",
        "format_version",
    ),
    # weights: cut off, of another run, not safetensors though the hash fits
    Case(
        RUN, run(lambda f: _cut(f / "model.safetensors")), "bundle-weights", "run/model.safetensors"
    ),
    Case(
        RUN,
        described(lambda d: d.update(weights_sha256="0" * 64)),
        "bundle-weights",
        "run/model.safetensors",
        "weights_sha256",
    ),
    # names that do not fit the head; ids that do not fit the names
    Case(RUN, run(categories=3), "bundle-mismatch", "run/model.json", "categories.names"),
    Case(
        RUN,
        described(lambda d: d["categories"]["ids"].append(7)),
        "bundle-mismatch",
        "run/model.json",
        "categories",
    ),
    # a head that is not the one the weights are of
    Case(
        RUN,
        described(lambda d: d["head"].update(kind="csra")),
        "bundle-mismatch",
        "run/model.json",
        "head.kind",
    ),
    # a threshold above 1
    Case(
        RUN,
        described(lambda d: d["thresholds"].update(value=7)),
        "thresholds-invalid",
        "run/model.json",
        "value",
    ),
    # predict says the same of a bundle, and what is wrong with the pictures it is given
    Case("predict nowhere images", coco(), "bundle-missing", "nowhere"),
    Case(
        "predict run images", run(lambda f: _cut(f / "model.json")), "bundle-json", "run/model.json"
    ),
    Case("predict run", run(), "no-images", ""),
    # no run, and words that are not images; a run after them; a folder of images that is named as a run
    Case("predict labels.json", coco(), "no-run", "labels.json"),
    Case("predict images/a.jpg run", run(), "run-order", "run"),
    Case(
        "predict images --runs named",
        both(run(), lambda f: shutil.copytree(f / "run", f / "named/images")),
        "run-or-images",
        "images",
    ),
    # the truth of images, where it is of several splits
    Case(
        "predict run images --save-images {out}/drawn --truth data",
        both(
            run(),
            coco(),
            lambda f: [
                shutil.copytree(f / "images", f / "data" / part) for part in ("train", "val")
            ],
            lambda f: [
                shutil.copy(f / "labels.json", f / f"data/{part}/_annotations.coco.json")
                for part in ("train", "val")
            ],
        ),
        "format-ambiguous",
        "data",
        "--truth",
    ),
    Case("predict run x.jpg", run(), "image-missing", "x.jpg"),
    Case("predict run photos/*.jpg", run(), "no-images", "photos/*.jpg"),
    Case("predict run images --evidence", run(), "option-alone", "", "--evidence"),
    Case("predict run images --format xml", run(), "", "xml", exit_code=2),
]

TOGETHER = "ensemble run other --val labels.json --name e --runs {out}"
BOTH = "evaluate both labels.json"

ENSEMBLES = [
    # a run that knows another category; validation data that does
    Case(TOGETHER, runs("elk", "gnu"), "categories-differ", "other", "'gnu'"),
    Case(
        TOGETHER,
        both(runs("yak", "elk"), coco(lambda c: c["categories"].append({"id": 9, "name": "gnu"}))),
        "categories-differ",
        "labels.json",
        "'gnu'",
    ),
    # a run that is not there, and one whose weights are not
    Case("ensemble run x --val labels.json --name e", run(), "bundle-missing", "x"),
    Case(
        TOGETHER,
        both(runs("elk", "yak"), lambda f: (f / "other" / "model.safetensors").unlink()),
        "bundle-missing",
        "other/model.safetensors",
    ),
    # a size that is none; a size that is a run; validation data that is not there or not labelled
    Case(TOGETHER + " --scales 384 9", runs("elk", "yak"), "config-value", "", "scales"),
    Case(
        "ensemble run --scales 64 other --val labels.json --name e",
        run(),
        "",
        "--scales",
        exit_code=2,
    ),
    Case("ensemble run --val v.json --name e --runs {out}", run(), "file-missing", "v.json"),
    Case(
        "ensemble run --val labels.json --name e --runs {out}",
        both(run(), coco(lambda c: c.pop("annotations"))),
        "no-labels",
        "labels.json",
    ),
    # ensemble.json: half of it, a weight too many, a later version
    Case(BOTH, ensemble(lambda f: _cut(f / "ensemble.json")), "bundle-json", "both/ensemble.json"),
    Case(
        BOTH,
        ensemble(lambda f: _replace(f / "ensemble.json", '"weight": 0.5', '"weight": 0.75')),
        "bundle-json",
        "both/ensemble.json",
        "members",
    ),
    Case(
        "predict both images",
        ensemble(lambda f: _replace(f / "ensemble.json", '_version": 1', '_version": 8')),
        "bundle-version",
        "both/ensemble.json",
        "format_version",
    ),
    # a member that was lost, and one that was exchanged for another
    Case(
        "predict both images",
        ensemble(lambda f: shutil.rmtree(f / "members" / "1")),
        "bundle-missing",
        "both/members/1/model.json",
    ),
    Case(
        BOTH,
        ensemble(lambda f: _replace(f / "ensemble.json", '_sha256": "', '_sha256": "0')),
        "bundle-mismatch",
        "both/ensemble.json",
        "members[0].weights_sha256",
    ),
    # maps of an ensemble
    Case(
        "predict both images --evidence --save-images {out}/maps",
        ensemble(),
        "evidence-ensemble",
        "",
        "evidence",
    ),
]


def _replace(path: Path, old: str, new: str) -> None:
    path.write_text(path.read_text().replace(old, new))


def _cut(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


TRAIN = "train classifier labels.json --name r --config c.yaml"
TRAIN_HERE = "train classifier labels.json --name r --runs {out} --no-cache"

CONFIGS = [
    # the file is not there, is not YAML, is one number, is not UTF-8
    Case(TRAIN, coco(), "config-missing", "c.yaml"),
    Case(
        TRAIN,
        both(coco(), write("c.yaml", "classifier: [\n")),
        "config-syntax",
        "c.yaml",
        "line 1, column 14",
    ),
    Case(TRAIN, both(coco(), write("c.yaml", "5\n")), "config-syntax", "c.yaml", "line 1"),
    Case(TRAIN, both(coco(), write("c.yaml", b"\xff\xfe")), "config-syntax", "c.yaml"),
    # a section and a setting with typing errors
    Case(
        TRAIN,
        both(coco(), write("c.yaml", "clasifier: {}\n")),
        "config-field",
        "c.yaml",
        "clasifier",
    ),
    Case(
        TRAIN,
        both(coco(), write("c.yaml", "classifier: {epoch: 5}\n")),
        "config-field",
        "c.yaml",
        "classifier.epoch",
    ),
    # a word for a number, a number out of its range, a choice that there is not, true for a number
    Case(
        TRAIN,
        both(coco(), write("c.yaml", "classifier: {epochs: ten}\n")),
        "config-value",
        "c.yaml",
        "classifier.epochs",
    ),
    Case(
        TRAIN,
        both(coco(), write("c.yaml", "classifier: {dropout: 1.5}\n")),
        "config-value",
        "c.yaml",
        "classifier.dropout",
    ),
    Case(
        TRAIN,
        both(coco(), write("c.yaml", "classifier: {loss: hinge}\n")),
        "config-value",
        "c.yaml",
        "classifier.loss",
    ),
    Case(
        TRAIN,
        both(coco(), write("c.yaml", "data: {max_images: true}\n")),
        "config-value",
        "c.yaml",
        "data.max_images",
    ),
    # the same on the command line
    Case("train classifier labels.json --name ../r", coco(), "run-name", "", "../r"),
    Case("train classifier labels.json --name r --epochs 0", coco(), "config-value", "", "epochs"),
    Case(
        "train classifier labels.json --name r --head ridge --loss focal",
        coco(),
        "config-value",
        "",
        "loss",
    ),
    # rates whose step float32 does not hold
    Case(TRAIN_HERE + " --learning-rate 1e39", coco(), "config-value", "", "learning_rate: 1e+39"),
    Case(TRAIN_HERE + " --weight-decay nan", coco(), "config-value", "", "weight_decay: nan"),
    Case(
        TRAIN_HERE + " --finetune.learning-rate inf",
        coco(),
        "config-value",
        "",
        "learning_rate: inf",
    ),
    Case(
        "train detector labels.json --name r --learning-rate 1e39",
        coco(),
        "config-value",
        "",
        "learning_rate: 1e+39",
    ),
    # one category an image asked of data that has an image without; a loss that does not go with it; top_k neither
    Case(
        TRAIN_HERE + " --labels exclusive --val-fraction 0.5",
        coco(lambda c: c["annotations"].pop()),
        "labels-not-exclusive",
        "labels.json",
        "d.jpg with 0",
    ),
    Case(
        TRAIN_HERE + " --labels exclusive --loss bce --val-fraction 0.5",
        coco(),
        "config-value",
        "",
        "loss",
    ),
    Case(
        TRAIN_HERE + " --labels exclusive --top-k 2 --val-fraction 0.5",
        coco(),
        "config-value",
        "",
        "top_k",
    ),
    # validation data and pictures that are not there
    Case(TRAIN_HERE + " --val v.json", coco(), "file-missing", "v.json"),
    Case(TRAIN_HERE + " --images nowhere", coco(), "images-folder-missing", "nowhere"),
    # a backbone's size that is no size; weights that are not there, or are something else
    Case(TRAIN_HERE + " --backbone efficientnet_lite0@9", coco(), "backbone-size", "", "backbone"),
    Case(TRAIN_HERE + " --weights w.pth", coco(), "weights-missing", "w.pth"),
    Case(TRAIN_HERE + " --weights labels.json", coco(), "weights-corrupt", "labels.json"),
    Case(
        TRAIN_HERE + " --weights w.safetensors",
        both(coco(), write("w.safetensors", b"\x40\0\0\0\0\0\0\0{half a header")),
        "weights-corrupt",
        "w.safetensors",
    ),
    # a checkpoint of something else
    Case(
        TRAIN_HERE + " --weights w.safetensors",
        both(coco(), lambda f: save_file({"fc": np.zeros(3, np.float32)}, f / "w.safetensors")),
        "weights-mismatch",
        "w.safetensors",
    ),
    # a head that looks at one map, and two backbones
    Case(
        TRAIN_HERE + " --head csra --backbone efficientnet_lite0@64+efficientnet_lite1@64",
        coco(),
        "head-backbones",
        "",
        "head",
    ),
    # a width that eight attention heads cannot share
    Case(
        TRAIN_HERE + " --head ml_decoder --hidden 100",
        coco(),
        "config-value",
        "",
        "hidden",
    ),
    # terabytes of feature maps
    Case(
        TRAIN_HERE + " --head csra --backbone efficientnet_lite0@2048 --val labels.json",
        coco(
            lambda c: c.update(
                images=[
                    {"id": n, "file_name": f"{n}.jpg", "width": 40, "height": 30}
                    for n in range(1, 40_000)
                ]
            )
        ),
        "features-too-large",
        "",
        "head",
    ),
]

TUNE = "tune labels.json --name s --recipe frozen --no-cache --backbone efficientnet_lite0@64"
TUNE_BOXES = "tune detector labels.json --name s --size 64"

SEARCHES = [
    # a setting misspelt, typed or in a recipe of one's own, and one that luck would be searched with
    Case(f"{TUNE} --search lerning_rate=1..2", coco(), "config-field", "", "lerning_rate"),
    Case(
        "tune labels.json --name s --recipe r.yaml",
        both(coco(), write("r.yaml", "search: {dropuot: {low: 0, high: 0.5}}")),
        "config-field",
        "",
        "dropuot",
    ),
    Case(f"{TUNE} --fixed dropuot", coco(), "config-field", "", "--fixed dropuot"),
    Case(f"{TUNE} --search seed=1..9", coco(), "search-held", "", "seed"),
    # no range; one upside down; one beyond what the setting accepts, which the data may decide
    Case(f"{TUNE} --search dropout", coco(), "search-syntax", "", "--search"),
    Case(f"{TUNE} --search dropout=0.5..0.1", coco(), "search-range", "", "search.dropout"),
    Case(f"{TUNE} --search dropout=0.5..1", coco(), "search-range", "", "search.dropout"),
    Case(f"{TUNE} --search loss=cross_entropy", coco(), "search-range", "", "search.loss"),
    # searched and fixed at once; nothing left
    Case(f"{TUNE} --search hidden=32,64 --hidden 64", coco(), "search-fixed", "", "hidden"),
    Case(
        "tune labels.json --name s --recipe r.yaml",
        both(coco(), write("r.yaml", "classifier: {dropout: 0.1}")),
        "search-empty",
        "",
        "--search",
    ),
    Case(f"{TUNE} --trials 0", coco(), "config-value", "", "trials"),
    Case(f"{TUNE} --minutes 0", coco(), "config-value", "", "minutes"),
    # the name of a run; a third dataset that is not there
    Case(f"{TUNE} --studies .", both(coco(), write("s/model.json", "{}")), "study-name", "s"),
    Case(f"{TUNE} --test t.json", coco(), "file-missing", "t.json"),
    # a database that is none of tagbox, and ones that are not there
    Case(
        f"{TUNE} --studies .",
        both(coco(), write("s/study.db", "?" * 99)),
        "not-made-by-tagbox",
        "s",
    ),
    Case(f"{TUNE} --storage sqlite:////nowhere/x.db", coco(), "study-storage", "/nowhere/x.db"),
    Case(f"{TUNE} --storage nosql://here/x", coco(), "study-storage", "", "--storage"),
    # a detector: what is a classifier's, what is held; a size, a name and a number of stages of which no network comes
    Case(f"{TUNE_BOXES} --search dropout=0..1", coco(), "config-field", "", "dropout"),
    Case(f"{TUNE_BOXES} --search boxes=refuse,drop", coco(), "search-held", "", "boxes"),
    Case(f"{TUNE_BOXES} --recipe frozen", coco(), "recipe-task", "", "--recipe"),
    Case("tune labels.json --name s --recipe dense", coco(), "recipe-task", "", "--recipe"),
    Case(
        "tune detector labels.json --name s --detector fcos --search size=32,64",
        coco(),
        "search-range",
        "",
        "search.size",
    ),
    Case(f"{TUNE_BOXES} --search detector=dense,yolo", coco(), "search-range", "", "detector"),
    Case(f"{TUNE_BOXES} --trainable-layers 99", coco(), "config-value", "", "trainable_layers"),
    # boxes that the first trial would stumble over; none in the third dataset
    Case(
        f"{TUNE_BOXES} --val labels.json --allow-overlap",
        coco(lambda c: c["annotations"][0].update(bbox=[1, 2, 0, 5])),
        "box-degenerate",
        "labels.json",
        "id 1",
    ),
    Case(
        f"{TUNE_BOXES} --test t.json --allow-overlap",
        both(coco(), write("t.json", json.dumps(COCO | {"annotations": []}))),
        "no-boxes",
        "t.json",
    ),
]

CASES = (
    DATASETS
    + LABEL_FILES
    + OTHER_FILES
    + IMAGES
    + COMMAND_LINES
    + PREDICTIONS
    + BUNDLES
    + ENSEMBLES
    + CONFIGS
    + SEARCHES
)
