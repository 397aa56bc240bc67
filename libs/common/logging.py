"""Structured logs: one JSON object a line on stderr, static event names, values in fields.

Every field passes :func:`redacted`, so a key that reaches a log call by mistake does not reach the log.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import orjson

from libs.common.clock import SystemClock, rfc3339
from libs.common.names import looks_like_secret
from libs.common.secret import REDACTED, Secret

_SENSITIVE_FIELDS = (
    "value",
    "secret",
    "password",
    "authorization",
    "token",
    "seed",
    "private",
    "credential",
    "plaintext",
)
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_clock = SystemClock()


def redacted(value: Any, field: str = "") -> Any:
    """The value as a log may show it: sensitive field names and key-shaped text are replaced, at any depth."""
    if isinstance(value, Secret | bytes | bytearray | memoryview) or (
        _is_sensitive(field) and value not in (None, "", True, False)
    ):
        return REDACTED
    if isinstance(value, str):
        return REDACTED if looks_like_secret(value) else value
    if isinstance(value, Mapping):
        return {str(k): redacted(v, str(k)) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redacted(item) for item in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    text = str(value)
    return REDACTED if looks_like_secret(text) else text


@lru_cache(maxsize=256)
def _is_sensitive(field: str) -> bool:
    return any(word in field.lower() for word in _SENSITIVE_FIELDS)


class JsonFormatter(logging.Formatter):
    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": rfc3339(_clock.now()),
            "level": record.levelname.lower(),
            "service": self._service,
            "event": redacted(record.getMessage()),
        }
        for key, value in vars(record).items():
            if key not in _STANDARD:
                line[key] = redacted(value, key)
        if record.exc_info and record.exc_info[0] is not None:
            # Only type and place: an exception's text may quote what it failed on.
            line["exception"] = record.exc_info[0].__name__
            line["at"] = _place(record.exc_info[2])
        return orjson.dumps(line).decode()


def _place(traceback: Any) -> list[str]:
    places = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        places.append(f"{code.co_filename.rsplit('/', 3)[-1]}:{traceback.tb_lineno} {code.co_name}")
        traceback = traceback.tb_next
    return places[-6:]


def configure_logging(service: str, level: str) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(service))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for noisy in ("uvicorn.access", "asyncio", "nats", "faststream", "httpx", "hpack"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
