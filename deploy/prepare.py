"""Make what an installation needs before its engines run, and sort it by who may have it.

``python deploy/prepare.py STATE SHARE``: STATE keeps everything, the signing seeds of the bus identities included.
SHARE/<who> holds what one process may have and nothing else; give each process its directory and no other. Repeating
is safe: what was made stays, and permissions that a release changed are signed anew.

A master key or JWT keys given in the environment win over made ones; master keys given are not written anywhere.
"""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path
from typing import Final

from libs.cli.admin_token import mint_admin_token
from libs.common.clock import SystemClock
from libs.common.errors import KtError
from libs.engines.database import OWNERS, role
from libs.engines.files import write_private, write_private_if_changed
from libs.engines.home import Home, jwt_keys_environment, master_key_environment
from libs.engines.identities import ensure_identities
from libs.engines.permissions import BACKUP, PROVISIONER, SERVICES

READABLE_BY_ITS_MOUNT: Final = 0o644
"""The database image runs as a user of its own; only that container mounts the directory."""


def main(arguments: list[str]) -> int:
    if len(arguments) != 2:  # noqa: PLR2004
        sys.stderr.write("usage: python deploy/prepare.py STATE SHARE\n")
        return 2
    try:
        prepare(Home(Path(arguments[0]).absolute()), Path(arguments[1]).absolute())
    except KtError as error:
        sys.stderr.write(f"{error}\n")
        return int(error.kind.exit)
    return 0


def prepare(state: Home, share: Path) -> None:
    """Raises: KtError ``misconfigured`` when a directory or a given key can't be used."""
    state.prepare()
    share_identities(state, share)
    share_passwords(state, share)
    share_keys(state, share)


def share_identities(state: Home, share: Path) -> None:
    identities = ensure_identities(state.identities, SystemClock().now())
    hand(share / "nats", "operator.conf", identities.operator_conf)
    for service in (*SERVICES, BACKUP):
        hand(share / service, "service.creds", identities.creds(service).read_text(encoding="ascii"))
    hand(share / "provision", "provisioner.creds", identities.creds(PROVISIONER).read_text(encoding="ascii"))
    hand(share / "api", "gateway.nk", identities.gateway_signing_seed_file.read_text(encoding="ascii"))
    hand(share / "api", "account.pub", identities.account)


def share_passwords(state: Home, share: Path) -> None:
    superuser = kept_password(state.identities / "postgres.password")
    hand(share / "postgres", "superuser.password", superuser).chmod(READABLE_BY_ITS_MOUNT)
    hand(share / "provision", "pgpass", pgpass("postgres", superuser))
    for service in (*OWNERS, BACKUP):
        name = f"{role(service)}.password"
        password = kept_password(state.identities / name)
        hand(share / "provision", name, password)
        hand(share / service, "password", password)
        hand(share / service, "pgpass", pgpass(role(service), password))


def share_keys(state: Home, share: Path) -> None:
    _, made = master_key_environment(state, os.environ)
    if state.master_key.exists():
        hand(share / "master", "encryption-key", state.master_key.read_text(encoding="ascii"))
    if made:
        sys.stdout.write(f"made a master key: {state.master_key} (keep a copy; losing it loses the secrets)\n")
    jwt_keys_environment(state, os.environ)
    if state.jwt_keys.exists():
        hand(share / "api", "jwt.keys", state.jwt_keys.read_text(encoding="utf-8"))
    token = mint_admin_token(state)
    write_private_if_changed(state.admin_token, token)
    hand(share / "admin", "admin.token", token)


def hand(directory: Path, name: str, content: str) -> Path:
    directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    write_private_if_changed(directory / name, content)
    return directory / name


def kept_password(path: Path) -> str:
    if not path.exists():
        write_private(path, secrets.token_urlsafe(32))
    return path.read_text(encoding="ascii")


def pgpass(user: str, password: str) -> str:
    """A line of libpq's password file; token_urlsafe makes no character that would need escaping."""
    return f"*:*:*:{user}:{password}\n"


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
