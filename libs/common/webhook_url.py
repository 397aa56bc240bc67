"""What a webhook's URL may not hold: it is shown in lists and stands in the stream for ever."""

from __future__ import annotations

import re
from typing import Final

from libs.common.errors import FieldProblem, KtError
from libs.common.names import looks_like_secret

_CREDENTIAL: Final = re.compile(r"(?:^|[_-])(?:key|apikey|token|secret|password|passwd|pwd|auth|sig|signature|code)$")


def check_holds_no_credential(url: str) -> None:
    """For any text. Where it is received, so that a credential goes no further.

    Raises:
        KtError: ``invalid_request``; the URL is not repeated.
    """
    before, _, query = url.partition("?")
    if "@" in before.partition("://")[2].partition("/")[0]:
        raise url_refused("has a user name or password in it", "a URL without; deliveries are signed instead")
    names = (pair.partition("=")[0].lower() for pair in query.split("&"))
    if looks_like_secret(url) or any(_CREDENTIAL.search(name) for name in names):
        raise url_refused(
            "holds what looks like a credential, and a URL is shown in lists and in the audit log for ever",
            "one without; each delivery is signed, so the receiver can tell where it comes from",
        )


def url_refused(problem: str, expected: str) -> KtError:
    return KtError(
        "invalid_request",
        f"The URL {problem}; expected {expected}.",
        fields=(FieldProblem("url", problem, expected),),
    )
