"""Which file system a path lies on, by the kernel's table of mounts."""

from __future__ import annotations

from pathlib import Path

import pytest

from search import filesystem
from search.filesystem import file_system, network_file_system

MOUNTS = r"""22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
23 22 0:21 / /proc rw,nosuid shared:5 master:3 - proc proc rw
24 22 0:40 / /home rw,relatime shared:7 - nfs4 server:/export/home rw,vers=4.2
25 24 254:16 / /home/local rw shared:8 - xfs /dev/vdb rw
26 22 0:41 / /mnt rw - autofs systemd-1 rw,fd=5
27 26 0:42 / /mnt rw - fuse.sshfs me@host:/data rw,user_id=0
28 22 0:43 / /srv/a\040b\134c rw - cifs //server/share rw
29 22 0:44 /exports/tune /srv/bound rw - nfs server:/exports rw
30 22 0:45 / /scratch rw - lustre mds@tcp:/scratch rw
31 22 0:46 / /media/stick rw - fuseblk /dev/sdb1 rw
32 22 0:47 / /gone rw - nfs server:/gone rw
33 32 0:48 / /gone rw - tmpfs tmpfs rw
34 22 0:49 / /wsl rw - 9p drvfs rw
a line that means nothing
"""


@pytest.mark.parametrize(
    ("path", "kind", "network"),
    [
        ("/studies.db", "ext4", False),
        ("/home/me/studies.db", "nfs4", True),
        ("/home", "nfs4", True),
        ("/homely/studies.db", "ext4", False),  # a name that begins like that of a mount
        ("/home/local/studies.db", "xfs", False),  # a local disk within a network's
        ("/mnt/studies.db", "fuse.sshfs", True),  # the later one of two mounts on one folder
        ("/gone/studies.db", "tmpfs", False),
        ("/srv/a b\\c/studies.db", "cifs", True),  # a name that the table writes with escapes
        ("/srv/bound/studies.db", "nfs", True),
        ("/scratch/me/studies.db", "lustre", True),
        ("/media/stick/studies.db", "fuseblk", False),
        ("/wsl/studies.db", "9p", True),
    ],
)
def test_the_mount_of_a_path(path: str, kind: str, network: bool) -> None:
    assert file_system(Path(path), MOUNTS) == kind
    assert network_file_system(Path(path), MOUNTS) == (kind if network else None)


def test_a_link_is_followed(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("/home/me")
    assert network_file_system(link / "studies.db", MOUNTS) == "nfs4"


def test_nothing_is_known_without_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filesystem, "MOUNTINFO", tmp_path / "none")
    assert network_file_system(Path("/home/me")) is None
    assert network_file_system(Path("/home/me"), "") is None


def test_the_table_of_this_system_is_understood() -> None:
    if filesystem.MOUNTINFO.exists():
        assert file_system(Path("/proc/self"), filesystem.MOUNTINFO.read_text()) == "proc"
