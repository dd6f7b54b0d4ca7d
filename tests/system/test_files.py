"""Files by paths of a config: in folders of others, nobody else chooses what is written to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from byway.system.files import open_to_append


def appended(path: Path) -> None:
    descriptor = open_to_append(str(path))
    try:
        os.write(descriptor, b"line\n")
        assert not os.get_inheritable(descriptor)
        assert os.get_blocking(descriptor)
    finally:
        os.close(descriptor)


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A folder that others may write."""
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o1777)
    return folder


def test_a_file_is_made_and_appended_to(
    tmp_path: Path, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in (tmp_path / "a.log", shared / "a.log"):
        appended(path)
        appended(path)
        assert path.read_text() == "line\nline\n"
        assert path.stat().st_mode & 0o137 == 0
    monkeypatch.chdir(tmp_path)
    appended(Path("b.log"))
    assert (tmp_path / "b.log").read_text() == "line\n"
    appended(Path("/dev/null"))


def test_a_link_is_followed_only_where_nobody_else_may_make_one(
    tmp_path: Path, shared: Path
) -> None:
    precious = tmp_path / "precious"
    precious.write_text("old\n")
    (tmp_path / "mine.log").symlink_to(precious)
    appended(tmp_path / "mine.log")
    assert precious.read_text() == "old\nline\n"

    (shared / "theirs.log").symlink_to(precious)
    (shared / "gone.log").symlink_to(tmp_path / "made")
    for name in ("theirs.log", "gone.log"):
        with pytest.raises(OSError, match="is a link in a folder that other users can write to"):
            open_to_append(str(shared / name))
    (shared / "folder").symlink_to(tmp_path)
    with pytest.raises(OSError, match="folder is a link in a folder that other users can write to"):
        open_to_append(str(shared / "folder" / "x.log"))
    assert precious.read_text() == "old\nline\n"
    assert not (tmp_path / "made").exists()
    assert not (tmp_path / "x.log").exists()


def test_what_others_have_put_there_is_not_written_to(tmp_path: Path, shared: Path) -> None:
    (tmp_path / "precious").write_text("old\n")
    os.link(tmp_path / "precious", shared / "twice.log")
    with pytest.raises(OSError, match="has another name as well"):
        open_to_append(str(shared / "twice.log"))
    os.mkfifo(shared / "pipe.log")
    with pytest.raises(OSError):  # noqa: PT011 - nobody reads it, or it is not a regular file
        open_to_append(str(shared / "pipe.log"))
    if os.geteuid() == 0:
        (shared / "theirs.log").touch()
        os.chown(shared / "theirs.log", 12345, -1)
        with pytest.raises(OSError, match="belongs to another user"):
            open_to_append(str(shared / "theirs.log"))


def test_what_is_missing_is_named_by_its_path(tmp_path: Path) -> None:
    for path in (tmp_path / "none" / "a.log", tmp_path / "none" / "deep" / "a.log"):
        with pytest.raises(FileNotFoundError) as caught:
            open_to_append(str(path))
        assert caught.value.filename == str(path)
