"""CSV tables as pandas, Kaggle and spreadsheets write them: lists, names with spaces, further columns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tagbox import DataConfig, TagboxError
from tagbox.checks.check import check_dataset
from tagbox.data.formats.csv import read_csv
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


@pytest.mark.parametrize("cell", ["['bar'", "'tri']", "[bar; tri", "[bar]", "[['bar']]"])
def test_what_only_looks_like_a_list_is_refused(tmp_path: Path, cell: str) -> None:
    with pytest.raises(TagboxError, match="looks like a list") as caught:
        read_csv(table(tmp_path, f"image,labels\na.png,disc\nb.png,{cell}\n"))
    assert (caught.value.code, caught.value.where) == ("csv-line", "line 3")


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
