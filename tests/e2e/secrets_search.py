"""Finding a secret in bytes, in clear or in an encoding that a mistake could have left it in."""

from __future__ import annotations

import base64
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote

CHUNK = 4 * 1024 * 1024


def forms(secret: str) -> dict[bytes, str]:
    """Every byte sequence to look for, with what it is called.

    Inside a longer text base64 depends on the offset modulo 3, so each of the three middles is looked for.
    """
    raw = secret.encode()
    found = {
        raw: "in clear",
        raw.hex().encode(): "in hex",
        raw.hex().upper().encode(): "in hex",
        quote(secret, safe="").encode(): "URL-encoded",
        quote(secret).encode(): "URL-encoded",
        raw.decode().encode("utf-16-le"): "in UTF-16",
        raw[::-1]: "reversed",
    }
    for offset in range(3):
        padded = b"\0" * offset + raw
        whole = len(padded) - len(padded) % 3
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            middle = encode(padded[:whole])[4 if offset else 0 :]
            found[middle] = "in base64"
    return found


def any_of(forms: Iterable[bytes]) -> bytes:
    """A pattern that matches any of these, by their common beginnings: side by side they take fifty times as long."""
    whole = list(forms)
    first, last = min(whole), max(whole)
    shared = next((first[:at] for at, byte in enumerate(first) if byte != last[at]), first)
    by_first: dict[bytes, list[bytes]] = defaultdict(list)
    for form in whole:
        if form == shared:
            return re.escape(shared)  # it is found, whatever could follow
        by_first[form[len(shared) : len(shared) + 1]].append(form[len(shared) :])
    return re.escape(shared) + b"(?:" + b"|".join(any_of(group) for group in by_first.values()) + b")"


class Search:
    """Looks for many secrets at once; ``secrets`` maps what a secret was used for to the secret."""

    def __init__(self, secrets: dict[str, str]) -> None:
        self._forms = {
            form: (used_for, what) for used_for, secret in secrets.items() for form, what in forms(secret).items()
        }
        self._longest = max(map(len, self._forms))
        self._pattern = re.compile(any_of(self._forms))
        self.searched = 0

    def bytes(self, content: bytes, where: str) -> Iterator[str]:
        self.searched += len(content)
        for match in self._pattern.finditer(content):
            used_for, what = self._forms[match.group()]
            yield f"{where}: the secret of `{used_for}` {what}"

    def files(self, root: Path, *, leaving_out: Iterable[str] = ()) -> Iterator[str]:
        """Every regular file below ``root``, in overlapping chunks."""
        left_out = set(leaving_out)
        for path in sorted(root.rglob("*")):
            if path.is_symlink() or not path.is_file() or path.name in left_out:
                continue
            rest = b""
            with path.open("rb") as file:
                while chunk := file.read(CHUNK):
                    yield from self.bytes(rest + chunk, str(path.relative_to(root)))
                    rest = chunk[-self._longest :]
