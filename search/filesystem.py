"""Tells which file system a path lies on, and whether other machines may write to it as well."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

MOUNTINFO = Path("/proc/self/mountinfo")
"""Linux's table of mounts, see proc_pid_mountinfo(5). Other systems have none: there nothing is known."""

NETWORK = re.compile(
    r"nfs4?|cifs|smb3|smbfs|ncpfs|afs|afpfs|coda|9p|virtiofs|ceph|glusterfs|lustre|gpfs|beegfs|orangefs|pvfs2"
    r"|panfs|wekafs|davfs|vboxsf|vmhgfs|prl_fs"
    r"|fuse\.(sshfs|ceph(-fuse|fs)?|glusterfs|davfs2?|s3fs|rclone|gcsfuse|goofys|blobfuse2?|juicefs|moosefs|mfs"
    r"|lizardfs|seaweedfs|vmhgfs-fuse|beegfs|smbnetfs|curlftpfs|afpfs|grpcfuse|gvfsd-fuse)"
)
"""Types of file systems that several machines, or a machine and its guests, write to."""


def network_file_system(path: Path, mountinfo: str | None = None) -> str | None:
    """The type of the file system under `path` if it is one of a network, such as `nfs4`; None where it is
    local or unknown. `path` need not exist.

    mountinfo: the table of mounts; None: this system's.
    """
    if mountinfo is None:
        try:
            mountinfo = MOUNTINFO.read_text(encoding="utf-8", errors="surrogateescape")
        except OSError:
            return None
    kind = file_system(path.resolve(), mountinfo)
    return kind if NETWORK.fullmatch(kind) else None


def file_system(path: Path, mountinfo: str) -> str:
    """The type of the file system that an absolute path without links lies on; empty where none is known."""
    depth, found = -1, ""
    for mount_point, kind in _mounts(mountinfo):
        # A later mount on the same folder hides the earlier one.
        if path.is_relative_to(mount_point) and len(mount_point.parts) >= depth:
            depth, found = len(mount_point.parts), kind
    return found


def _mounts(mountinfo: str) -> Iterator[tuple[Path, str]]:
    """(mount point, type) of every line: `36 35 98:0 /root /mount/point options … - type source options`."""
    for line in mountinfo.splitlines():
        before, separator, after = line.partition(" - ")
        fields, kinds = before.split(" "), after.split(" ")
        if separator and len(fields) > 4:
            yield Path(_unescaped(fields[4])), kinds[0]


def _unescaped(text: str) -> str:
    """Space, tab, newline and backslash are written as three octal digits."""
    return re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), text)
