"""The identities of one installation: made once, kept as files (0600), signed anew at every start.

Seeds stay; JWTs are minted from them and from the permissions table each time, so that a release that changes the
table takes effect with the next start.

``python -m libs.engines.identities DIRECTORY`` makes them for engines that somebody else runs: it writes the
``.creds`` files and ``operator.conf``, which the NATS configuration includes.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from libs.common.clock import SystemClock
from libs.common.errors import KtError
from libs.common.messaging.identities import (
    NkeyKind,
    Permissions,
    ScopedSigningKey,
    account_jwt,
    credentials,
    new_seed,
    operator_jwt,
    public_key,
    read_credentials,
    user_jwt,
)
from libs.common.secret import Secret
from libs.engines.files import private_directory, write_private, write_private_if_changed
from libs.engines.permissions import BACKING_UP, BACKUP, GATEWAY, PROVISIONER, PROVISIONING, SERVICES

_USERS: Mapping[str, Permissions] = {**SERVICES, PROVISIONER: PROVISIONING, BACKUP: BACKING_UP}


@dataclass(frozen=True, slots=True)
class Identities:
    """Where the identities of an installation lie, and what the server must know of them."""

    directory: Path
    account: str
    """Public key of the account that holds everything; an issuer of gateway identities needs it."""
    operator_conf: str
    """NATS configuration: operator, system account and preloaded accounts. Nothing in it is secret."""

    @property
    def gateway_signing_seed_file(self) -> Path:
        """Seed of the scoped key that signs gateways; for the api service alone."""
        return self.directory / "gateway.nk"

    def creds(self, name: str) -> Path:
        """The ``.creds`` file of a service, of the provisioner or of backups."""
        return self.directory / f"{name}.creds"


def ensure_identities(directory: Path, now: datetime) -> Identities:
    """Make what is missing, sign everything, and write the files.

    Raises:
        KtError: ``misconfigured`` when a kept file can't be read.
    """
    private_directory(directory)
    operator = _kept_seed(directory / "operator.nk", NkeyKind.OPERATOR)
    system = public_key(_kept_seed(directory / "system.nk", NkeyKind.ACCOUNT))
    account_seed = _kept_seed(directory / "account.nk", NkeyKind.ACCOUNT)
    gateway = public_key(_kept_seed(directory / "gateway.nk", NkeyKind.ACCOUNT))
    account = public_key(account_seed)
    accounts = {
        system: account_jwt(operator, system, name="SYS", now=now),
        account: account_jwt(
            operator,
            account,
            name="KT",
            now=now,
            jetstream=True,
            signing_keys=[ScopedSigningKey(gateway, "gateway", GATEWAY)],
        ),
    }
    conf = _operator_conf(operator_jwt(operator, name="keeptrusts", system_account=system, now=now), system, accounts)
    identities = Identities(directory, account, conf)
    for name, permissions in _USERS.items():
        _keep_user(identities.creds(name), name, permissions, account_seed, now)
    return identities


def _kept_seed(path: Path, kind: NkeyKind) -> Secret:
    if path.exists():
        return Secret(path.read_bytes().strip())
    seed = new_seed(kind)
    write_private(path, seed.reveal())
    return seed


def _keep_user(path: Path, name: str, permissions: Permissions, account: Secret, now: datetime) -> None:
    seed = read_credentials(path).seed if path.exists() else new_seed(NkeyKind.USER)
    jwt = user_jwt(account, public_key(seed), name=name, permissions=permissions, now=now)
    write_private_if_changed(path, credentials(jwt, seed).as_file())


def _operator_conf(operator: str, system: str, accounts: Mapping[str, str]) -> str:
    preload = "\n".join(f"  {key}: {jwt}" for key, jwt in accounts.items())
    return f"operator: {operator}\nsystem_account: {system}\nresolver: MEMORY\nresolver_preload: {{\n{preload}\n}}\n"


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m libs.engines.identities DIRECTORY\n")
        return 2
    directory = Path(arguments[0])
    try:
        identities = ensure_identities(directory, SystemClock().now())
        write_private_if_changed(directory / "operator.conf", identities.operator_conf)
        write_private_if_changed(directory / "account.pub", identities.account)
    except KtError as error:
        sys.stderr.write(f"{error}\n")
        return int(error.kind.exit)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
