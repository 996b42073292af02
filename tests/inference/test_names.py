"""Names of outputs."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from dpn.inference.names import output_names

PARTS = st.text("aA._", min_size=1, max_size=3).filter(lambda part: set(part) != {"."})
FILES = st.lists(st.lists(PARTS, min_size=1, max_size=3).map(lambda parts: Path("/", *parts)), unique=True, max_size=8)


@given(files=FILES)
def test_no_two_files_share_a_name_and_none_leaves_the_folder(files: list[Path]) -> None:
    names = output_names(files)
    assert len({name.casefold() for name in names}) == len(files)
    assert all("/" not in name for name in names)


def test_a_name_says_where_the_file_came_from() -> None:
    files = [Path("a/x.jpg"), Path("b/x.jpg"), Path("b/x.png"), Path("c/a/y.jpg"), Path("d/a/y.jpg"), Path("z.jpg")]
    assert output_names(files) == ["a_x.jpg", "b_x.jpg", "x.png", "c_a_y.jpg", "d_a_y.jpg", "z"]


def test_the_order_of_files_does_not_change_their_names() -> None:
    files = [Path("a/x.jpg"), Path("b/x.jpg"), Path("x.png")]
    assert output_names(files[::-1]) == output_names(files)[::-1]


def test_two_that_differ_in_capitals_alone_change_no_other_name_and_keep_theirs_when_others_come() -> None:
    files = [Path("a/x.jpg"), Path("b/cat.png"), Path("b/CAT.png"), Path("c/y.jpg")]
    names = output_names(files)
    assert (names[0], names[3]) == ("x", "y") and names[1][:8] == "cat.png_" and names[2][:8] == "CAT.png_"
    assert output_names([Path("0.jpg"), *files])[1:] == names
