"""``kt events export``: files written as they come, and a state beside them so that a second run goes on."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import IO, Any, Final

from libs.cli.client import HttpClient
from libs.common.errors import KtError
from libs.common.transparency.manifest import (
    MANIFEST,
    SIGNATURE,
    Manifest,
    is_file_name,
    sequences_of,
)
from libs.common.transparency.merkle import NotProven

PATH: Final = "/v1/events/export"
STATE: Final = ".keeptrusts-export.json"
CHUNK: Final = 1024 * 1024
ATTEMPTS: Final = 5
_PASSING: Final = frozenset({"unreachable", "unavailable", "overloaded"})
_PARTIAL: Final = ".partial"


@dataclass(frozen=True, slots=True)
class Fetched:
    name: str
    bytes: int
    sha256: str


@dataclass(slots=True)
class State:
    """What an unfinished export in a directory is of, and which of its files are there."""

    query: dict[str, str]
    id: str = ""
    entries: int = 0
    files: list[Fetched] = field(default_factory=list)

    @property
    def last_rows(self) -> str:
        return next((file.name for file in reversed(self.files) if sequences_of(file.name)), "")


Advanced = Callable[[int, int], None]
"""Takes how many entries are covered, and of how many."""


class Download:
    """One export into one directory."""

    def __init__(self, client: HttpClient, directory: Path, query: Mapping[str, str], advanced: Advanced) -> None:
        self._client = client
        self._directory = directory
        self._advanced = advanced
        self._state = self._begin(dict(query))

    @property
    def resumed(self) -> bool:
        return bool(self._state.files)

    def run(self, retry: Callable[[KtError], None]) -> Manifest:
        """Fetch what is missing. Goes on by itself when the connection breaks; ``retry`` is told, and may wait.

        Raises:
            KtError: what the API refused; ``unreachable`` and the like when it stays away.
        """
        failures = 0
        while True:
            before = len(self._state.files)
            try:
                self._fetch()
                return self._finish()
            except KtError as error:
                failures = 1 if len(self._state.files) > before else failures + 1
                if error.code not in _PASSING or failures > ATTEMPTS:
                    raise
                retry(error)

    def _begin(self, query: dict[str, str]) -> State:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        present = {path.name for path in self._directory.iterdir()}
        if STATE not in present:
            if present:
                raise KtError(
                    "usage",
                    f"{self._directory} is not empty; expected an empty or new directory, or an unfinished export.",
                )
            return State(query)
        state = _read(self._directory / STATE)
        if state.query != query:
            raise KtError(
                "usage",
                f"{self._directory} holds an unfinished export with other options.",
                "Repeat its options to go on with it, or choose another directory.",
            )
        whole: list[Fetched] = []
        for file in state.files:
            if _digest(self._directory / file.name) != (file.bytes, file.sha256):
                break
            whole.append(file)
        while whole and not sequences_of(whole[-1].name):  # proofs come before their rows
            whole.pop()
        for name in present - {STATE, *(file.name for file in whole)}:
            if is_file_name(name.removesuffix(_PARTIAL)):
                (self._directory / name).unlink()
        return State(query, state.id, state.entries, whole)

    def _fetch(self) -> None:
        state = self._state
        while state.files and not sequences_of(state.files[-1].name):
            (self._directory / state.files.pop().name).unlink(missing_ok=True)
        query = {"resume": state.id, "after": state.last_rows} if state.id else state.query
        with self._client.stream(PATH, query) as answer:
            state.id = answer.headers["keeptrusts-export"]
            state.entries = int(answer.headers["keeptrusts-export-entries"])
            self._save()
            self._show()
            try:
                with tarfile.open(fileobj=answer.body, mode="r|") as archive:
                    for member in archive:
                        self._take(member, archive)
            except tarfile.TarError:
                raise KtError("unreachable", "The connection broke off in the middle of the export.") from None

    def _take(self, member: tarfile.TarInfo, archive: tarfile.TarFile) -> None:
        content = archive.extractfile(member) if member.isreg() and is_file_name(member.name) else None
        if content is None:
            raise KtError("unreachable", "Something else answers at this address: a file that is no export's.")
        self._state.files.append(_write(content, self._directory / member.name, member.size))
        self._save()
        self._show()

    def _finish(self) -> Manifest:
        fetched = {file.name: (file.bytes, file.sha256) for file in self._state.files}
        if not {MANIFEST, SIGNATURE} <= fetched.keys():
            raise KtError("unreachable", "The connection broke off before the manifest came.")
        try:
            manifest = Manifest.parse((self._directory / MANIFEST).read_bytes())
        except NotProven as reason:
            raise KtError("not_proven", f"{reason}.".capitalize()) from None
        named = {file.name: (file.bytes, file.sha256) for file in manifest.files}
        named |= {f.proofs.name: (f.proofs.bytes, f.proofs.sha256) for f in manifest.files if f.proofs}
        if {name: fetched[name] for name in fetched.keys() - {MANIFEST, SIGNATURE}} != named:
            raise KtError(
                "not_proven",
                "The files that came are not those of the manifest.",
                "Begin again in an empty directory.",
            )
        (self._directory / STATE).unlink()
        return manifest

    def _save(self) -> None:
        path = self._directory / STATE
        partial = path.with_name(STATE + _PARTIAL)
        partial.write_text(json.dumps(asdict(self._state)), encoding="utf-8")
        partial.replace(path)

    def _show(self) -> None:
        places = filter(None, (sequences_of(file.name) for file in self._state.files))
        self._advanced(sum(last - first + 1 for _, first, last in places), self._state.entries)


def _write(content: IO[bytes], path: Path, size: int) -> Fetched:
    partial = path.with_name(path.name + _PARTIAL)
    digest, written = sha256(), 0
    try:
        with partial.open("wb") as file:
            while chunk := content.read(CHUNK):
                digest.update(chunk)
                written += len(chunk)
                file.write(chunk)
    except OSError as error:
        if error.errno is None:  # the connection's, not the file's
            raise
        raise KtError("usage", f"{path} can't be written: {error.strerror}.") from None
    if written != size:
        raise KtError("unreachable", "The connection broke off in the middle of a file.")
    partial.replace(path)
    return Fetched(path.name, size, digest.hexdigest())


def _digest(path: Path) -> tuple[int, str]:
    digest, size = sha256(), 0
    try:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
                size += len(chunk)
    except OSError:
        return -1, ""
    return size, digest.hexdigest()


def _read(path: Path) -> State:
    try:
        document: Any = json.loads(path.read_bytes())
        files: Sequence[Any] = document.pop("files")
        state = State(**document, files=[Fetched(**file) for file in files])
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        raise KtError("usage", f"{path} can't be read.", "Begin again in an empty directory.") from None
    if not all(is_file_name(file.name) for file in state.files):
        raise KtError("usage", f"{path} names other files than an export's.", "Begin again in an empty directory.")
    return state
