"""CSV tables as pandas, Kaggle and spreadsheets write them: lists, names with spaces, further columns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tagbox import DataConfig, TagboxError
from tagbox.checks.check import check_dataset
from tagbox.data.formats.csv import csv_splits, read_csv
from tagbox.data.load import describe, load_dataset


def table(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "labels.csv"
    path.write_text(text)
    return path


LISTS = {
    "pandas, quoted": """a.png,"['bar', 'tri']"\nb.png,['disc']\nc.png,[]\n""",
    "cut by its own commas": """a.png,['bar', 'tri']\nb.png,['disc']\nc.png,[]\n""",
    "JSON": """a.png,"[""bar"", ""tri""]"\nb.png,"[""disc""]"\nc.png,\n""",
    "numpy": """a.png,"['bar' 'tri']"\nb.png,['disc']\nc.png,[]\n""",
    "numpy on two lines": """a.png,"['bar'\n 'tri']"\nb.png,['disc']\nc.png,[]\n""",
    "numpy 2": """a.png,"[np.str_('bar'), np.str_('tri')]"\nb.png,[np.str_('disc')]\nc.png,[]\n""",
    "array": """a.png,"array(['bar', 'tri'], dtype=object)"\nb.png,"array(['disc'], dtype='<U4')"\nc.png,[]\n""",
    "tuples": """a.png,"('bar', 'tri')"\nb.png,"('disc',)"\nc.png,()\n""",
    "sets": """a.png,"{'tri', 'bar'}"\nb.png,{'disc'}\nc.png,nan\n""",
    "empty ones by name": """a.png,"['bar', 'tri']"\nb.png,"frozenset({'disc'})"\nc.png,set()\n""",
    "with None in them": """a.png,"['bar', None, 'tri']"\nb.png,"['disc', nan]"\nc.png,[null]\n""",
    "Label Studio's choices": """a.png,"{""choices"":[""bar"",""tri""]}"\nb.png,disc\nc.png,\n""",
    "a space before the quotes": """a.png, "bar|tri"\nb.png, disc\nc.png, nan\n""",
    "a list and names": """a.png,"['bar', 'tri']"\nb.png,disc\nc.png,NaN\n""",
}


@pytest.mark.parametrize("title", ["labels", "label", "Target"])
@pytest.mark.parametrize("lines", LISTS.values(), ids=LISTS.keys())
def test_lists(tmp_path: Path, lines: str, title: str) -> None:
    dataset = read_csv(table(tmp_path, f"image,{title}\n{lines}"))
    assert dataset.categories.names == ("bar", "disc", "tri")
    assert dataset.labels.tolist() == [[1, 0, 1], [0, 1, 0], [0, 0, 0]]


def test_names_in_lists_keep_commas_quotes_and_spaces(tmp_path: Path) -> None:
    names = ["Washington, DC", "hot dog", "cat's eye", 'a "b"', "back\\slash"]
    cell = repr(names).replace('"', '""')
    dataset = read_csv(table(tmp_path, f'image,labels\na.png,"{cell}"\n'))
    assert sorted(dataset.categories.names) == sorted(names)


def test_lists_of_numbers_are_indices_of_known_names(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("cat\ndog\nfox\n")
    dataset = read_csv(table(tmp_path, 'image,labels\na.png,"[0, 2]"\nb.png,[1]\nc.png,[0 1]\n'))
    assert dataset.labels.tolist() == [[1, 0, 1], [0, 1, 0], [1, 1, 0]]


DICT = """"{'bar': 1, 'tri': 0}\""""


@pytest.mark.parametrize(
    "cell",
    ["['bar'", "'tri']", "[bar; tri", "[bar]", "[['bar']]", DICT, '"(bar, tri)"', "bar (a; tri)"],
)
def test_what_only_looks_like_a_list_is_refused(tmp_path: Path, cell: str) -> None:
    with pytest.raises(TagboxError, match="looks like a list") as caught:
        read_csv(table(tmp_path, f"image,labels\na.png,disc\nb.png,{cell}\n"))
    assert (caught.value.code, caught.value.where) == ("csv-line", "line 3")


FLAGS = {
    "lists": """a.png,"[1, 0, 1]"\nb.png,"[0, 1, 0]"\nc.png,"[0, 0, 0]"\n""",
    "numpy": """a.png,[1 0 1]\nb.png,[0 1 0]\nc.png,[0 0 0]\n""",
    "floats": """a.png,[1. 0. 1.]\nb.png,[0. 1. 0.]\nc.png,[0. 0. 0.]\n""",
    "spaces": """a.png,1 0 1\nb.png,0 1 0\nc.png,0 0 0\n""",
    "semicolons": """a.png,1;0;1\nb.png,0;1;0\nc.png,0;0;0\n""",
}


@pytest.mark.parametrize("lines", FLAGS.values(), ids=FLAGS.keys())
def test_a_flag_for_each_category_is_no_list_of_indices(tmp_path: Path, lines: str) -> None:
    path = table(tmp_path, f"image,labels\n{lines}")
    with pytest.raises(TagboxError, match="1 or 0 for each of 3 categories") as caught:
        read_csv(path)
    assert (caught.value.code, caught.value.where) == ("csv-line", "line 2")
    # The way out that the hint names.
    names = tmp_path / "names.txt"
    names.write_text("cat\ndog\nfox\n")
    dataset = load_dataset(path, DataConfig(names=names))
    assert dataset.labels.tolist() == [[1, 0, 1], [0, 1, 0], [0, 0, 0]]


def test_digits_that_are_names_are_no_flags(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("0\n1\n")
    dataset = read_csv(table(tmp_path, "image,labels\na.png,0|1\nb.png,1|0\n"))
    assert dataset.labels.tolist() == [[1, 1], [1, 1]]


@pytest.mark.parametrize("cell", ["None", "NA", "N/A", "NULL", "null", "#N/A"])
def test_words_for_an_empty_cell_are_said(tmp_path: Path, cell: str) -> None:
    path = table(tmp_path, f"image,label\na.png,cat\nb.png,{cell}\n")
    dataset = load_dataset(path)
    assert dataset.categories.names == ("cat",)
    assert dataset.labels.tolist() == [[1], [0]]
    assert repr(cell) in describe(dataset)
    assert "labels-missing" in {f.code for f in check_dataset(path) if f.severity == "warning"}
    # The way out that the hint names.
    (tmp_path / "classes.txt").write_text(f"cat\n{cell}\n")
    dataset = load_dataset(path)
    assert dataset.labels.tolist() == [[1, 0], [0, 1]]
    assert not dataset.source.notes


def test_indices_as_floats_beside_an_empty_cell(tmp_path: Path) -> None:
    """pandas makes floats of a column of whole numbers with a gap."""
    path = table(tmp_path, "image,label\na.png,0.0\nb.png,1.0\nc.png,\n")
    assert read_csv(path).categories.names == ("0", "1")
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    dataset = read_csv(path)
    assert dataset.categories.names == ("cat", "dog")
    assert dataset.labels.tolist() == [[1, 0], [0, 1], [0, 0]]


@pytest.mark.parametrize("word", ["-1", "2", "1.5"])
def test_a_number_that_is_no_index_is_named(tmp_path: Path, word: str) -> None:
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    with pytest.raises(TagboxError, match=f"'{word}' is no index of the 2 names") as caught:
        read_csv(table(tmp_path, f"image,label\na.png,0\nb.png,{word}\n"))
    assert (caught.value.code, caught.value.where) == ("unknown-category", "line 3")


def test_names_are_taken_before_indices(tmp_path: Path) -> None:
    dataset = read_csv(table(tmp_path, "image,label,label_name\na.png,0,red dog\nb.png,1,cat\n"))
    assert dataset.categories.names == ("cat", "red dog")


def test_a_line_that_says_a_label_is_absent(tmp_path: Path) -> None:
    """Open Images lists what people denied as well."""
    text = "ImageID,Source,LabelName,Confidence\na,verified,/m/01,1\nb,verified,/m/01,0\n"
    with pytest.raises(TagboxError, match="'Confidence' says that the label is absent") as caught:
        read_csv(table(tmp_path, text))
    assert caught.value.where == "line 3"


def test_excel_says_its_delimiter_first(tmp_path: Path) -> None:
    dataset = read_csv(table(tmp_path, "sep=;\nimage;labels\na.png;cat|dog\nb.png;cat\n"))
    assert dataset.labels.tolist() == [[1, 1], [1, 0]]


def test_a_table_without_a_header_is_called_so(tmp_path: Path) -> None:
    text = "a.png,cat\nb.png,dog\n"
    with pytest.raises(TagboxError, match="put a line before the first") as caught:
        read_csv(table(tmp_path, text))
    assert caught.value.code == "csv-header"
    assert read_csv(table(tmp_path, f"image,label\n{text}")).labels.tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_is_named(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes("image,labels\na.png,cat\n".encode(encoding))
    with pytest.raises(TagboxError, match="UTF-16") as caught:
        read_csv(path)
    assert caught.value.code == "not-utf8"


@pytest.mark.parametrize("title", ["label", "Class", "category", "tag"])
def test_a_cell_of_a_singular_column_is_one_name(tmp_path: Path, title: str) -> None:
    path = table(tmp_path, f"image,{title}\na.png,blue bar\nb.png,red disc\nc.png,disc\n")
    dataset = read_csv(path)
    assert dataset.categories.names == ("blue bar", "disc", "red disc")
    assert dataset.source.notes == ()


def test_numbers_in_a_singular_column_are_several(tmp_path: Path) -> None:
    dataset = read_csv(table(tmp_path, "Id,Target\np000.png,1 2\np001.png,0\n"))
    assert dataset.categories.names == ("0", "1", "2")
    assert dataset.labels.tolist() == [[0, 1, 1], [1, 0, 0]]
    assert dataset.source.notes == ()


def test_cutting_at_spaces_is_said(tmp_path: Path) -> None:
    path = table(tmp_path, "image,labels\na.png,blue bar\nb.png,red disc\n")
    dataset = load_dataset(path)
    assert dataset.categories.names == ("bar", "blue", "disc", "red")
    assert "cut at spaces: 'blue bar' is 'blue' and 'bar'" in describe(dataset)
    finding = next(f for f in check_dataset(path) if f.code == "labels-separator")
    assert finding.severity == "warning"
    # Both ways out that the hint names.
    for way in ("image,label\na.png,blue bar\n", "image,labels\na.png,blue bar|red disc\n"):
        dataset = load_dataset(table(tmp_path, way))
        assert "blue bar" in dataset.categories.names
        assert dataset.source.notes == ()


@pytest.mark.parametrize(
    ("title", "cells"),
    [
        ("tags", ["tri", "bar disc tri", "bar disc tri"]),
        ("tags", ["bar tri", "disc", "tri", "bar disc tri"]),
        ("labels", ["clear primary", "haze primary water", "clear", "water clear haze"]),
        ("Finding_Labels", ["a b", "b c", "c", "a c b"]),
    ],
)
def test_lists_with_spaces_are_read_without_a_word(
    tmp_path: Path, title: str, cells: list[str]
) -> None:
    rows = "".join(f"p{number}.png,{cell}\n" for number, cell in enumerate(cells))
    dataset = read_csv(table(tmp_path, f"image,{title}\n{rows}"))
    assert dataset.categories.names == tuple(sorted({w for cell in cells for w in cell.split()}))
    assert dataset.source.notes == ()


@pytest.mark.parametrize(
    ("title", "cells"),
    [
        ("labels", ["hot dog", "dog", "cat"]),
        ("tags", ["red disc", "blue bar", "tri"]),
        ("classes", ["red disc", "blue disc", "red bar", "blue bar"]),
    ],
)
def test_names_with_spaces_in_a_column_of_lists_are_warned_of(
    tmp_path: Path, title: str, cells: list[str]
) -> None:
    rows = "".join(f"p{number}.png,{cell}\n" for number, cell in enumerate(cells))
    (note,) = read_csv(table(tmp_path, f"image,{title}\n{rows}")).source.notes
    assert note.code == "labels-separator"


def test_commas_in_a_singular_column(tmp_path: Path) -> None:
    whole = read_csv(table(tmp_path, 'image,label\na.png,"tench, Tinca"\nb.png,"crane, bird"\n'))
    assert whole.categories.names == ("crane, bird", "tench, Tinca")
    assert "not cut at commas" in whole.source.notes[0].found
    several = read_csv(table(tmp_path, 'image,label\na.png,"cat,dog"\nb.png,cat\nc.png,dog\n'))
    assert several.categories.names == ("cat", "dog")
    assert "cut at commas" in several.source.notes[0].found


@pytest.mark.parametrize(
    "header",
    [
        *("image_name,tags", "fname,labels", "img,label", "id,labels", "Id,Target"),
        *("Image Index,Finding Labels", "filepath,class", "img_path,tag", "ImageID,targets"),
        *("image-name,label-names", "imageName,Labels", "File Name,Tag Names", "image_url,choices"),
        *("filenames,class_names", "FilePath,Category", "uri,labels"),
    ],
)
def test_spellings_of_the_header(tmp_path: Path, header: str) -> None:
    dataset = read_csv(table(tmp_path, f"{header}\np0.png,bar|tri\np1.png,disc\n"))
    assert dataset.images.files.tolist() == ["p0.png", "p1.png"]
    assert dataset.categories.names == ("bar", "disc", "tri")


INDICES = {
    "pandas": ",image,cat,dog\n0,a.png,1,0\n1,b.png,0,1\n",
    "read and written again": "Unnamed: 0,image,cat,dog\n7,a.png,1,0\n3,b.png,0,1\n",
    "twice": "Unnamed: 0.1,Unnamed: 0,image,cat,dog\n0,0,a.png,1,0\n1,1,b.png,0,1\n",
    "a spreadsheet's blank column": "image,cat,dog,\na.png,1,0,\nb.png,0,1,\n",
}


@pytest.mark.parametrize("text", INDICES.values(), ids=INDICES.keys())
def test_columns_that_number_the_lines(tmp_path: Path, text: str) -> None:
    dataset = read_csv(table(tmp_path, text))
    assert dataset.categories.names == ("cat", "dog")
    assert dataset.labels.tolist() == [[1, 0], [0, 1]]


def test_an_id_beside_the_image_is_no_category(tmp_path: Path) -> None:
    text = "id,image,cat\n" + "".join(f"{n},{n}.png,{n % 2}\n" for n in range(4))
    assert read_csv(table(tmp_path, text)).categories.names == ("cat",)


METADATA = "image,patient,age,disc,bar\na.png,A0,40,0,1\nb.png,A1,41,1,0\n"


def test_further_columns_beside_selected_categories(tmp_path: Path) -> None:
    path = table(tmp_path, METADATA)
    with pytest.raises(TagboxError) as caught:
        load_dataset(path)
    assert (caught.value.code, caught.value.where) == ("csv-line", "line 2")
    assert "'patient'" in caught.value.found
    # The hint names the columns that are categories.
    assert caught.value.hint is not None
    selected = caught.value.hint.split("--categories ")[1].split(",")
    dataset = load_dataset(path, DataConfig(categories=tuple(selected)))
    assert dataset.categories.names == ("disc", "bar")
    assert dataset.labels.tolist() == [[0, 1], [1, 0]]
    codes = [f for f in check_dataset(path) if f.code == "csv-line"]
    assert len(codes) == 2  # One a column, not one a line.


def test_a_column_mostly_of_flags_is_left_out_as_its_hint_says(tmp_path: Path) -> None:
    path = table(tmp_path, "image,grade,cat,dog\na.png,0,1,0\nb.png,1,0,1\nc.png,2,1,1\n")
    with pytest.raises(TagboxError, match="--categories") as caught:
        load_dataset(path)
    assert caught.value.where == "line 4" and "'grade'" in caught.value.found
    dataset = load_dataset(path, DataConfig(categories=("cat", "dog")))
    assert dataset.labels.tolist() == [[1, 0], [0, 1], [1, 1]]


def test_a_flag_of_the_training_split_is_no_category(tmp_path: Path) -> None:
    path = table(tmp_path, "image,is_train,cat\na.png,1,1\nb.png,0,0\n")
    assert csv_splits(path) == ("train", "val")
    assert read_csv(path, split="val").images.files.tolist() == ["b.png"]
    assert read_csv(path).categories.names == ("cat",)


def test_selected_categories_are_still_checked(tmp_path: Path) -> None:
    path = table(tmp_path, "image,patient,disc\na.png,A0,x\nb.png,A1,y\n")
    with pytest.raises(TagboxError, match="'x' in column 'disc'"):
        load_dataset(path, DataConfig(categories=("disc",)))
    with pytest.raises(TagboxError, match="did you mean 'disc'"):
        load_dataset(table(tmp_path, METADATA), DataConfig(categories=("disk",)))


def test_further_columns_beside_a_file_of_names_or_a_mapping(tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("disc\nbar\n")
    path = table(tmp_path, METADATA)
    expected = np.array([[0, 1], [1, 0]])
    assert (load_dataset(path, DataConfig(names=names)).labels == expected).all()
    mapping = tmp_path / "m.yaml"
    mapping.write_text("disc: round\n")
    dataset = load_dataset(path, DataConfig(categories=("round",), mapping=mapping))
    assert dataset.labels.tolist() == [[0], [1]]


def test_boxes_in_a_table_are_named(tmp_path: Path) -> None:
    header = "filename,width,height,class,xmin,ymin,xmax,ymax\n"
    path = tmp_path / "x.csv"
    path.write_text(header + "1.png,8,6,cat,1,1,4,4\n2.png,8,6,dog,1,1,4,4\n")
    (note,) = load_dataset(path).source.notes
    assert note.found == "the boxes in the columns xmin, ymin, xmax, ymax are not read"
    path.write_text(header + "1.png,8,6,cat,1,1,4,4\n1.png,8,6,dog,1,1,4,4\n")
    with pytest.raises(TagboxError, match="convert a table of boxes to COCO JSON"):
        load_dataset(path)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (
            "filename,file_size,file_attributes,region_shape_attributes,region_attributes",
            "those of the VGG Image Annotator",
        ),
    ],
)
def test_tables_of_other_tools_are_named(tmp_path: Path, header: str, said: str) -> None:
    path = tmp_path / "x.csv"
    path.write_text(f"{header}\n{','.join('1' * (header.count(',') + 1))}\n")
    with pytest.raises(TagboxError, match=said) as caught:
        load_dataset(path)
    assert caught.value.code == "csv-header"


def test_kaggles_traffic_signs(tmp_path: Path) -> None:
    path = tmp_path / "Train.csv"
    path.write_text("Width,Height,Roi.X1,Roi.Y1,Roi.X2,Roi.Y2,ClassId,Path\n9,9,1,1,5,5,20,a.png\n")
    dataset = load_dataset(path)
    assert dataset.categories.names == ("20",)
    assert dataset.images.files.tolist() == ["a.png"]
    assert [note.code for note in dataset.source.notes] == ["columns-unread"]
