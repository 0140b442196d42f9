"""Archives: their entries by name, divided among shards, fetched whole, and refused in one line."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pydicom
import pytest
from dicom_series import make_series, save
from dicomweb_service import dicomweb_service, study_files
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given
from hypothesis import strategies as st

from swinunet.batch.archive.entries import of_shard, result_folder
from swinunet.batch.archive.open_archive import open_archive
from swinunet.batch.settings import Shard
from swinunet.client.study_list import studies_in
from swinunet.foundation.errors import InputError, SourceError

LETTERS = st.characters(exclude_characters="/\0", exclude_categories=["Cs"])
NAMES = st.lists(st.text(LETTERS, min_size=1, max_size=12), unique=True, max_size=60)


@given(NAMES, st.integers(1, 20))
def test_shards_are_parts_of_the_whole(entries: list[str], count: int) -> None:
    parts = [of_shard(entries, Shard(number, count)) for number in range(1, count + 1)]
    assert sorted(entry for part in parts for entry in part) == sorted(entries)


def test_an_entry_stays_in_its_shard_when_others_come() -> None:
    few, many = [f"e{n}" for n in range(50)], [f"e{n}" for n in range(500)]
    for number in range(1, 5):
        assert set(of_shard(few, Shard(number, 4))) <= set(of_shard(many, Shard(number, 4)))


def test_shards_are_about_as_large() -> None:
    sizes = [len(of_shard([f"study{n}" for n in range(4000)], Shard(number, 16))) for number in range(1, 17)]
    assert max(sizes) < 1.4 * min(sizes)


@pytest.mark.parametrize("text", ["0/4", "5/4", "1/0", "3", "a/b", "-1/4", "1/4/2", "", "1.5/4", "1/9999999"])
def test_a_shard_out_of_range_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"expected I/N with 1 <= I <= N"):
        Shard.parse(text)


def test_a_shard_is_parsed() -> None:
    assert Shard.parse("3/16") == Shard(3, 16)
    assert Shard.parse("16/16").name == "016-of-016"


def test_no_two_entries_share_a_folder_of_results() -> None:
    entries = ["a_b/c", "a/b_c", "a_b_c", "a/b/c"]
    assert len({result_folder(entry) for entry in entries}) == 4


def test_a_long_name_is_one_that_file_systems_take(tmp_path: Path) -> None:
    (tmp_path / result_folder("x" * 250 + "/" + "y" * 250)).mkdir(parents=True)


def test_entries_of_a_folder(tmp_path: Path) -> None:
    for path in ("a/one/IM1", "a/two/IM1", "b/three/IM1", ".hidden/IM1"):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_bytes(b"")
    (tmp_path / "c.nii.gz").write_bytes(b"")
    assert sorted(open_archive(str(tmp_path)).entries()) == ["a", "b", "c.nii.gz"]
    assert sorted(open_archive(str(tmp_path), depth=2).entries()) == ["a/one", "a/two", "b/three", "c.nii.gz"]
    with open_archive(str(tmp_path), depth=2).opened("a/two") as path:
        assert path == tmp_path / "a" / "two"


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        list(open_archive(str(tmp_path / "none")).entries())


def test_depth_below_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--depth 0: expected 1 or more"):
        open_archive(str(tmp_path), depth=0)


def test_a_url_of_no_known_kind() -> None:
    with pytest.raises(InputError, match="nosuch://bucket: no archive"):
        open_archive("nosuch://bucket")


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[str]:
    """Two studies and a hidden object in an object store in memory."""
    files = fsspec.filesystem("memory")
    for name in ("one", "two"):
        folder = save(tmp_path / name, make_series())
        files.put(str(folder), f"/bucket/archive/{name}", recursive=True)
    files.pipe("/bucket/archive/.hidden", b"")
    yield "memory://bucket/archive"
    files.rm("/bucket", recursive=True)


def test_an_object_store_has_the_same_studies(bucket: str, tmp_path: Path) -> None:
    archive = open_archive(bucket)
    assert sorted(archive.entries()) == ["one", "two"]
    with archive.opened("two") as path:
        assert {each.name: each.read_bytes() for each in path.iterdir()} == {
            each.name: each.read_bytes() for each in (tmp_path / "two").iterdir()
        }
        (study,) = studies_in(path)
        assert study.name == "two"
    assert not path.exists()


def test_an_object_that_is_gone_is_the_entrys_own_fault(bucket: str) -> None:
    with (
        pytest.raises(InputError, match="bucket/archive/three: cannot be fetched"),
        open_archive(bucket).opened("three"),
    ):
        pass


def test_a_name_that_leads_out_is_refused(bucket: str) -> None:
    files = fsspec.filesystem("memory")
    files.pipe("/bucket/archive/four/IM1", b"x")
    evil = "/bucket/archive/four/../../../evil"
    files.store[evil] = files.store["/bucket/archive/four/IM1"]
    try:
        with pytest.raises(InputError, match="leads out of its folder"), open_archive(bucket).opened("four"):
            pass
    finally:
        del files.store[evil]


class Locked(MemoryFileSystem):
    """A bucket that may not be listed, and whose objects time out."""

    protocol = "locked"

    def ls(self, path: str, detail: bool = True, **options: object) -> list[object]:
        raise PermissionError("Access Denied")

    def find(self, path: str, *arguments: object, **options: object) -> list[str]:
        raise TimeoutError("read timed out")


def test_a_bucket_without_rights_and_one_that_is_slow() -> None:
    fsspec.register_implementation("locked", Locked, clobber=True)
    archive = open_archive("locked://bucket")
    with pytest.raises(InputError, match=r"locked://bucket: may not be listed .*Access Denied.*check its rights"):
        list(archive.entries())
    with pytest.raises(SourceError, match="cannot be fetched now"), archive.opened("one"):
        pass


@pytest.fixture
def studies(tmp_path: Path) -> dict[str, list[bytes]]:
    return dict(study_files(save(tmp_path / f"source{number}", make_series())) for number in range(5))


@pytest.fixture
def pacs(studies: dict[str, list[bytes]]) -> Iterator[str]:
    with dicomweb_service(studies) as address:
        yield address


def test_dicomweb_lists_and_gives_every_study(pacs: str, studies: dict[str, list[bytes]]) -> None:
    pytest.importorskip("dicomweb_client", reason="dicomweb-client (extra: batch) is not installed")
    archive = open_archive(pacs)
    assert sorted(archive.entries()) == sorted(studies)
    for uid, files in studies.items():
        with archive.opened(uid) as path:
            given = {pydicom.dcmread(each).SOPInstanceUID: pydicom.dcmread(each).PixelData for each in path.iterdir()}
        sent = [pydicom.dcmread(io.BytesIO(each)) for each in files]
        assert given == {each.SOPInstanceUID: each.PixelData for each in sent}
        assert uid not in archive.said_name(uid)


def test_dicomweb_refuses_in_a_line(pacs: str) -> None:
    pytest.importorskip("dicomweb_client", reason="dicomweb-client (extra: batch) is not installed")
    with pytest.raises(InputError, match=r"does not give a study .*404"), open_archive(pacs).opened("1.2.3"):
        pass
    with pytest.raises(InputError, match="does not list its studies"):
        list(open_archive("dicomweb+http://127.0.0.1:9/web").entries())
