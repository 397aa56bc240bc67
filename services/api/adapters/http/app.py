"""The HTTP application: routes, problem handlers, the layer around them."""

from __future__ import annotations

from typing import Final

from fastapi import FastAPI
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from services.api.adapters.http.document import document_bytes
from services.api.adapters.http.metrics import Metrics
from services.api.adapters.http.observed import MAX_ACTIVE, Observed
from services.api.adapters.http.problems import install_problem_handlers
from services.api.adapters.http.routes import (
    config_variables,
    encryption_keys,
    exports,
    git_tokens,
    keeping,
    machine,
    operations,
    proofs,
    records,
    tokens,
    webhooks,
)
from services.api.application.door import Door

ROUTERS: Final = (
    config_variables.router,
    git_tokens.router,
    machine.router,
    exports.router,
    proofs.router,
    records.router,
    encryption_keys.router,
    keeping.router,
    tokens.router,
    webhooks.router,
    operations.router,
)


def all_routes() -> list[BaseRoute]:
    return [route for router in ROUTERS for route in router.routes]


def create_app(door: Door, max_active: int = MAX_ACTIVE) -> ASGIApp:
    app = bare_app()
    metrics = Metrics()
    app.state.door = door
    app.state.metrics = metrics
    app.state.routes = all_routes()
    app.state.openapi = lambda: document_bytes(app)
    return Observed(app, door.ids, metrics, max_active)


def bare_app() -> FastAPI:
    """The routes without anything behind them."""
    app = FastAPI(
        title="keeptrusts",
        openapi_url=None,
        redirect_slashes=False,
        # The routes are complete; including their routers would add a second matching to every request.
        routes=all_routes(),
        # FastAPI's own telemetry keeps request bodies and validation input at hand for exporters.
        telemetry={
            "tracing": False,
            "metrics": False,
            "logs": False,
            "operation_spans": False,
            "auto_configure": False,
        },
    )
    install_problem_handlers(app)
    return app
