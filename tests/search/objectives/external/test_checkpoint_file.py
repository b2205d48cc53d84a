"""Copies of a trial's directory, and the files in which they are resume checkpoints."""

from __future__ import annotations

import io
import json
import os
import tarfile
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.objectives.base import CheckpointUnreadable, TrialError
from search.objectives.external import checkpoint_file
from search.objectives.external.archive import Archive, Damaged, pack, pack_files
from search.objectives.external.checkpoint_file import (
    CodeState,
    KeptFiles,
    extract_directory,
    extract_kept,
)

ABOUT = {"fingerprint": "f", "trial_id": "3", "images": "5", "best_images": "4"}

NAMES = st.text(
    st.characters(codec="utf-8", exclude_characters="/\0", exclude_categories=("Cs",)),
    min_size=1,
    max_size=40,
).filter(lambda name: name not in (".", ".."))


def files(folder: Path) -> dict[str, bytes | None]:
    """Everything below a folder: content of files, None of folders."""
    return {
        str(path.relative_to(folder)): None if path.is_dir() else path.read_bytes()
        for path in folder.rglob("*")
    }


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "deep" / "deeper").mkdir(parents=True)
    (folder / "deep" / "weights.pt").write_bytes(os.urandom(3_000_000))
    (folder / "empty").touch()
    (folder / "run.sh").write_text("#!/bin/sh")
    (folder / "run.sh").chmod(0o755)
    return folder


class TestArchive:
    def test_a_folder_comes_back_in_place_of_what_is_there(self, source: Path, tmp_path: Path) -> None:
        archive = pack(source, scratch=tmp_path, what="it")
        archive.verify()
        target = tmp_path / "target"
        (target / "old" / "older").mkdir(parents=True)
        (target / "empty").write_text("not any more")
        (target / "link").symlink_to(source)
        archive.extract(target)
        assert files(target) == files(source)
        assert os.access(target / "run.sh", os.X_OK)
        assert files(source)["run.sh"] == b"#!/bin/sh", "a link was removed, and not what it leads to"
        archive.extract(target)
        assert files(target) == files(source), "as often as it is needed"

    @settings(max_examples=30, deadline=None)
    @given(found=st.dictionaries(NAMES, st.binary(max_size=2000), max_size=5))
    def test_any_name_and_content(self, found: dict[str, bytes]) -> None:
        with tempfile.TemporaryDirectory() as place:
            source, target = Path(place, "source"), Path(place, "target")
            source.mkdir()
            for name, content in found.items():
                (source / name).write_bytes(content)
            pack(source, scratch=Path(place), what="it").extract(target)
            assert files(target) == files(source)

    def test_it_has_no_name_and_leaves_nothing(self, source: Path, tmp_path: Path) -> None:
        before = sorted(tmp_path.iterdir())
        archive = pack(source, scratch=tmp_path, what="it")
        assert sorted(tmp_path.iterdir()) == before
        archive.verify()

    def test_what_is_no_file_is_refused_by_name(self, source: Path, tmp_path: Path) -> None:
        os.mkfifo(source / "deep" / "fifo")
        with pytest.raises(TrialError, match="its checkpoint has deep/fifo, which is not a regular file"):
            pack(source, scratch=tmp_path, what="its checkpoint")

    @pytest.mark.parametrize(
        ("at", "link", "expected"),
        [
            ("last", "deep/weights.pt", "deep/weights.pt"),
            ("deep/deeper/last", "../weights.pt", "../weights.pt"),
            ("deep/last", "deeper", "deeper"),  # a folder
            ("deep/last", "../nothing", "../nothing"),
            ("deep/last", "{source}/run.sh", "../run.sh"),
            ("deep/last", "{source}", ".."),
            ("deep/last", "/etc/passwd", None),
            ("deep/last", "../../source/run.sh", None),
            ("deep/last", "deeper/../../../x", None),
            ("last", "..", None),
        ],
    )
    def test_a_link_within_the_folder_comes_back_and_no_other(
        self, at: str, link: str, expected: str | None, source: Path, tmp_path: Path
    ) -> None:
        """Code that resumes elsewhere finds its last checkpoint by it."""
        (source / at).symlink_to(link.format(source=source))
        pack(source, scratch=tmp_path, what="it").extract(tmp_path / "other" / "target")
        found = tmp_path / "other" / "target" / at
        assert (str(found.readlink()) if found.is_symlink() else None) == expected
        assert (tmp_path / "other" / "target" / "run.sh").read_text() == "#!/bin/sh"
        with pytest.raises(TrialError, match="which is not a regular file"):
            pack_files(source, [at], scratch=tmp_path, what="it", most=10**6)

    def test_it_has_a_limit(self, source: Path, tmp_path: Path) -> None:
        with pytest.raises(TrialError, match="its checkpoint has more than 2,000,000 bytes"):
            pack(source, scratch=tmp_path, what="its checkpoint", most=2_000_000)

    def test_files_that_are_not_there_are_left_out(self, source: Path, tmp_path: Path) -> None:
        archive = pack_files(source, ["empty", "none"], scratch=tmp_path, what="it", most=10**6)
        archive.extract(tmp_path / "target")
        assert files(tmp_path / "target") == {"empty": b""}

    @pytest.mark.parametrize(
        ("name", "kind", "words"),
        [
            ("../outside", tarfile.REGTYPE, "a path outside"),
            ("deep/../../outside", tarfile.REGTYPE, "a path outside"),
            ("/tmp/outside", tarfile.REGTYPE, "a path outside"),
            ("..", tarfile.DIRTYPE, "a path outside"),
            ("link", tarfile.SYMTYPE, "a link that leads out of its folder"),
            ("link", tarfile.LNKTYPE, "not a regular file"),
            ("device", tarfile.CHRTYPE, "not a regular file"),
        ],
    )
    def test_nothing_is_written_outside(self, name: str, kind: bytes, words: str, tmp_path: Path) -> None:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, "/etc/passwd"
        with (tmp_path / "made.tar").open("wb") as file, tarfile.open(fileobj=file, mode="w") as tar:
            tar.addfile(member)
        descriptor = os.open(tmp_path / "made.tar", os.O_RDONLY)
        archive = Archive(descriptor, 0, (tmp_path / "made.tar").stat().st_size, "")
        with pytest.raises(Damaged, match=words):
            archive.extract(tmp_path / "in" / "target")
        assert files(tmp_path / "in") == {"target": None}
        assert not (tmp_path / "outside").exists()

    def test_nothing_is_written_through_a_link(self, tmp_path: Path) -> None:
        """Below a link the same number of steps upward leads further."""
        members = [tarfile.TarInfo(name) for name in ("a/b/c", "a/b/c/up", "a/b/c/up/out")]
        members[0].type = tarfile.DIRTYPE
        for member, link in zip(members[1:], ("../../..", "../../../.."), strict=True):
            member.type, member.linkname = tarfile.SYMTYPE, link
        with (tmp_path / "made.tar").open("wb") as file, tarfile.open(fileobj=file, mode="w") as tar:
            for member in members:
                tar.addfile(member)
        descriptor = os.open(tmp_path / "made.tar", os.O_RDONLY)
        archive = Archive(descriptor, 0, (tmp_path / "made.tar").stat().st_size, "")
        with pytest.raises(Damaged, match="a path through a link"):
            archive.extract(tmp_path / "in" / "target")


class TestFile:
    def made(self, source: Path, tmp_path: Path) -> Path:
        path = tmp_path / "trial-00003.at-0000000005.safetensors"
        state = CodeState(
            reported=5,
            names=("accuracy", "loss"),
            kept=("empty",),
            step=4,
            directory=pack(source, scratch=tmp_path, what="it"),
            code={"train.py": "ab"},
        )
        kept = KeptFiles(pack_files(source, ["empty"], scratch=tmp_path, what="it", most=10**6))
        checkpoint_file.write(path, state, kept, ABOUT)
        return path

    def test_what_is_read_is_what_was_written(self, source: Path, tmp_path: Path) -> None:
        path = self.made(source, tmp_path)
        state, kept, about = checkpoint_file.read(path)
        path.unlink()  # a newer one takes its place: what was read can still be used
        assert about == ABOUT
        assert (state.reported, state.step, state.names, state.kept) == (
            5,
            4,
            ("accuracy", "loss"),
            ("empty",),
        )
        assert state.code == {"train.py": "ab"}
        assert state.directory is not None
        state.directory.extract(tmp_path / "target")
        assert files(tmp_path / "target") == files(source)
        assert kept is not None
        with tarfile.open(fileobj=io.BytesIO(kept.content({"study": "ö"}))) as tar:
            assert tar.getnames() == ["empty"]
            assert json.loads(tar.pax_headers["comment"]) == {"study": "ö"}

    def test_a_trial_without_a_directory_and_kept_files(self, tmp_path: Path) -> None:
        checkpoint_file.write(tmp_path / "x", CodeState(reported=2), None, ABOUT)
        state, kept, about = checkpoint_file.read(tmp_path / "x")
        assert (state.reported, state.step, state.directory, kept, about) == (2, 0, None, None, ABOUT)

    def test_answers_without_kept_files(self, tmp_path: Path) -> None:
        product = KeptFiles(None, correct="101")
        checkpoint_file.write(tmp_path / "x", CodeState(reported=2), product, ABOUT)
        _, kept, _ = checkpoint_file.read(tmp_path / "x")
        assert kept is not None
        assert (kept.archive, kept.correct) == (None, "101")
        assert kept.content(ABOUT) == product.content(ABOUT)

    def test_cut_short_anywhere_it_is_refused(self, source: Path, tmp_path: Path) -> None:
        path = self.made(source, tmp_path)
        whole = path.read_bytes()
        for end in (0, 1, 70, 200, len(whole) // 2, len(whole) - 10_000, len(whole) - 1):
            path.write_bytes(whole[:end])
            with pytest.raises(CheckpointUnreadable):
                checkpoint_file.read(path)
        path.write_bytes(whole + b"\0")
        with pytest.raises(CheckpointUnreadable, match="longer than what was written"):
            checkpoint_file.read(path)

    def test_a_flipped_bit_anywhere_is_noticed(self, source: Path, tmp_path: Path) -> None:
        path = self.made(source, tmp_path)
        whole = path.read_bytes()
        for place in (0, 63, 64, 66, 200, len(whole) // 3, len(whole) // 2, len(whole) - 1):
            changed = bytearray(whole)
            changed[place] ^= 0x10
            path.write_bytes(changed)
            with pytest.raises(CheckpointUnreadable):
                checkpoint_file.read(path)

    def test_other_files_are_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "x"
        for content in (b"", b"\n", b"{}", b"x" * 100_000):
            path.write_bytes(content)
            with pytest.raises(CheckpointUnreadable):
                checkpoint_file.read(path)
        with pytest.raises(CheckpointUnreadable):
            checkpoint_file.read(tmp_path)
        with pytest.raises(CheckpointUnreadable):
            checkpoint_file.read(tmp_path / "none")

    def test_a_disk_that_fails_leaves_the_earlier_one(
        self, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = self.made(source, tmp_path)
        whole = path.read_bytes()

        def full(_descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            checkpoint_file.write(path, CodeState(reported=2), None, ABOUT)
        assert path.read_bytes() == whole
        assert sorted(each.name for each in tmp_path.iterdir()) == sorted([path.name, "source"])


class TestKeptFiles:
    @pytest.mark.parametrize("kept", [[], ["run.sh"]])
    def test_the_directory_comes_back_and_the_files_are_a_tar(
        self, kept: list[str], source: Path, tmp_path: Path
    ) -> None:
        archive = pack_files(source, kept, scratch=tmp_path, what="it", most=10_000_000)
        product = KeptFiles(archive, directory=pack(source, scratch=tmp_path, what="it"))
        content = product.content(ABOUT)
        assert extract_directory(content, tmp_path / "target")
        assert files(tmp_path / "target") == files(source)
        if kept:
            with tarfile.open(fileobj=io.BytesIO(content)) as tar:
                assert tar.getnames() == kept, "a program that knows tars finds the kept files alone"
                assert json.loads(tar.pax_headers["comment"]) == ABOUT

    @pytest.mark.parametrize("has_directory", [False, True])
    @pytest.mark.parametrize("kept", [None, [], ["run.sh", "deep/weights.pt"]])
    def test_the_kept_files_come_back(
        self, kept: list[str] | None, has_directory: bool, source: Path, tmp_path: Path
    ) -> None:
        """Also those of earlier versions of tune, where no file was kept: then they packed none."""
        most = 10_000_000
        archive = None if kept is None else pack_files(source, kept, scratch=tmp_path, what="it", most=most)
        directory = pack(source, scratch=tmp_path, what="it") if has_directory else None
        content = KeptFiles(archive, correct="1", directory=directory).content(ABOUT)
        (tmp_path / "kept").write_bytes(content)
        with (tmp_path / "kept").open("rb") as file:
            extract_kept(file, tmp_path / "target")
        found = {name for name, each in files(tmp_path / "target").items() if each is not None}
        assert found == set(kept or ())

    @pytest.mark.parametrize("content", [b"", b"x" * 2_000, bytes(10_240)])
    def test_other_content_is_damaged(self, content: bytes, tmp_path: Path) -> None:
        (tmp_path / "kept").write_bytes(content)
        with (tmp_path / "kept").open("rb") as file, pytest.raises(Damaged):
            extract_kept(file, tmp_path / "target")

    def test_without_a_directory_there_is_none(self, source: Path, tmp_path: Path) -> None:
        archive = pack_files(source, ["run.sh"], scratch=tmp_path, what="it", most=1000_000)
        assert not extract_directory(KeptFiles(archive).content(ABOUT), tmp_path / "target")

    def test_a_directory_that_is_cut_short_is_noticed(self, source: Path, tmp_path: Path) -> None:
        archive = pack_files(source, [], scratch=tmp_path, what="it", most=1000_000)
        content = KeptFiles(archive, directory=pack(source, scratch=tmp_path, what="it")).content(ABOUT)
        with pytest.raises(Damaged):
            extract_directory(content[-1_000_000:], tmp_path / "target")
