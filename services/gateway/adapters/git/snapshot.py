"""From the objects of one commit to the one file that is wanted."""

from __future__ import annotations

import stat
from typing import Final

from dulwich.objects import Blob, Commit, Tag, Tree

from services.gateway.adapters.git.pack import DamagedPack, Pack

_MAX_TAG_CHAIN: Final = 5
_LFS: Final = b"version https://git-lfs.github.com/spec/"
_GITLINK: Final = 0o160000
_OTHER: Final = {
    stat.S_IFDIR: "it is a directory",
    stat.S_IFLNK: "it is a symbolic link",
    _GITLINK: "it is a submodule",
}


class NoSuchFile(Exception):
    """Why a path names no file there, in words."""


def commit_of(pack: Pack, tip: bytes) -> bytes:
    """The id of the commit that a ref's object is, or is a tag of.

    Raises:
        DamagedPack: it was not sent.
    """
    for _ in range(_MAX_TAG_CHAIN):
        found = pack.get(tip)
        if isinstance(found, Commit):
            return tip
        if not isinstance(found, Tag):
            break
        tip = bytes(found.object[1])
    raise DamagedPack


def file_in(pack: Pack, commit: bytes, path: str) -> bytes:
    """What the path holds in that commit.

    Raises:
        NoSuchFile: nothing, or something other than a file; also when the server left it out for its size.
        DamagedPack: a tree on the way was not sent.
    """
    found = pack.get(commit)
    if not isinstance(found, Commit):
        raise DamagedPack
    *folders, name = path.encode().split(b"/")
    tree = bytes(found.tree)
    for folder in folders:
        mode, tree = _entry(pack, tree, folder)
        if not stat.S_ISDIR(mode):
            raise NoSuchFile("a part of its path is no directory")
    mode, blob = _entry(pack, tree, name)
    if not stat.S_ISREG(mode):
        raise NoSuchFile(_OTHER.get(stat.S_IFMT(mode), "it is no file"))
    content = pack.get(blob)
    if not isinstance(content, Blob):
        raise NoSuchFile("it is too large")
    if content.data.startswith(_LFS):
        raise NoSuchFile("it is a Git LFS pointer, and its content lies elsewhere")
    return bytes(content.data)


def _entry(pack: Pack, tree: bytes, name: bytes) -> tuple[int, bytes]:
    found = pack.get(tree)
    if not isinstance(found, Tree):
        raise DamagedPack
    try:
        mode, object_id = found[name]
    except KeyError:
        raise NoSuchFile("there is nothing of that name") from None
    return mode, bytes(object_id)
