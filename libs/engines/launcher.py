"""Become another program with the right identity, and die with the parent. Run as a script; imports nothing of ours.

``python -I -S launcher.py PARENT DEATH_SIGNAL IDENTITY PROGRAM [ARGUMENT…]`` where IDENTITY is one of

``same``
    stay who we are;
``namespace:UID:GID``
    a user namespace in which our user is called UID. PostgreSQL refuses to run as root; there it does not see root,
    while for the kernel the files of root stay its own (user_namespaces(7));
``user:UID:GID``
    really become UID, keeping the one capability that lets it reach its directory below directories of root
    (capabilities(7), ambient set).

Exit status 125 means the identity is not available here; nothing was started.
"""

import ctypes
import os
import resource
import signal
import sys
from pathlib import Path

UNAVAILABLE = 125
CLONE_NEWUSER = 0x10000000
PR_SET_PDEATHSIG, PR_SET_KEEPCAPS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE = 1, 8, 47, 2
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 1, 2
LINUX_CAPABILITY_VERSION_3 = 0x20080522

libc = ctypes.CDLL(None, use_errno=True)


def main(arguments: list[str]) -> None:
    parent, death_signal, identity, *command = arguments
    kind, *numbers = identity.split(":")
    try:
        if kind == "namespace":
            enter_namespace(*map(int, numbers))
        elif kind == "user":
            become_user(*map(int, numbers))
    except OSError as error:
        sys.stderr.write(f"can't run as {identity}: {error.strerror}\n")
        raise SystemExit(UNAVAILABLE) from None
    # What a child writes is private, and its memory does not end up in a core file.
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Last, because the kernel forgets the death signal when credentials change.
    checked(libc.prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0))
    if os.getppid() != int(parent):
        raise SystemExit(128 + signal.SIGTERM)
    os.execv(command[0], command)  # noqa: S606


def enter_namespace(uid: int, gid: int) -> None:
    outside_uid, outside_gid = os.geteuid(), os.getegid()
    checked(libc.unshare(CLONE_NEWUSER))
    Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
    Path("/proc/self/uid_map").write_text(f"{uid} {outside_uid} 1", encoding="ascii")
    Path("/proc/self/gid_map").write_text(f"{gid} {outside_gid} 1", encoding="ascii")


def become_user(uid: int, gid: int) -> None:
    kept = traversal_capability()
    checked(libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0))
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    if kept is None:
        return
    header = (ctypes.c_uint32 * 2)(LINUX_CAPABILITY_VERSION_3, 0)
    mask = 1 << kept
    effective_permitted_inheritable = (ctypes.c_uint32 * 6)(mask, mask, mask, 0, 0, 0)
    checked(libc.capset(header, effective_permitted_inheritable))
    checked(libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, kept, 0, 0))


def traversal_capability() -> int | None:
    """The narrowest capability we hold that passes directories closed to others."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    permitted = int(next(line for line in status.splitlines() if line.startswith("CapPrm:")).split()[1], 16)
    return next((c for c in (CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE) if permitted >> c & 1), None)


def checked(result: int) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


if __name__ == "__main__":
    main(sys.argv[1:])
