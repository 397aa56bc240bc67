"""Prometheus metrics of the door. Labels come from routes, never from paths: their number is bounded."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST

_BUCKETS: Final = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_METHODS: Final = frozenset({"GET", "POST", "PATCH", "DELETE", "PUT", "HEAD", "OPTIONS"})


class Metrics:
    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._requests = Counter(
            "kt_http_requests", "Requests answered", ["method", "route", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "kt_http_request_duration_seconds",
            "Time from the request's head to the end of its answer",
            ["method", "route"],
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._active = Gauge("kt_http_requests_active", "Requests being worked on", registry=self._registry)
        # labels() looks a child up under a lock and builds its key anew; one dictionary does both here.
        self._children: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        method = method if method in _METHODS else "other"
        key = (method, route, status)
        children = self._children.get(key)
        if children is None:
            children = self._children[key] = (
                self._requests.labels(method, route, str(status)),
                self._seconds.labels(method, route),
            )
        children[0].inc()
        children[1].observe(seconds)

    def set_active(self, requests: int) -> None:
        self._active.set(requests)

    def exposition(self) -> bytes:
        return generate_latest(self._registry)
