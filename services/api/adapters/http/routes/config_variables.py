"""/v1/config-variables"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from libs.common.auth.scopes import VARIABLES_READ, VARIABLES_WRITE
from libs.common.protocol.command import SecretOutcome
from services.api.adapters.http.changes import (
    CHANGE,
    CHANGED,
    CREATED,
    DELETED,
    NAME,
    READ,
    VALUE,
    WRITE,
    changed,
    deleted,
)
from services.api.adapters.http.contract import BODY, needs
from services.api.adapters.http.dependencies import (
    Asked,
    IfNoneMatch,
    ToChange,
    ToCreate,
)
from services.api.adapters.http.fields import VariableName, VersionNumber
from services.api.adapters.http.responses import respond
from services.api.adapters.http.route import ApiRoute
from services.api.adapters.http.secret_models import HistoryItem, LegacyListQuery
from services.api.adapters.http.variable_models import (
    ConfigVariable,
    ConfigVariableHistory,
    ConfigVariableList,
    CreateConfigVariable,
    RollBackConfigVariable,
    RotateConfigVariable,
    UpdateConfigVariable,
)
from services.api.domain.etag import etag, is_unchanged

PATH = "/v1/config-variables"

router = APIRouter(prefix=PATH, tags=["config variables"], route_class=ApiRoute)


@router.post(
    "",
    status_code=201,
    response_model=ConfigVariable,
    **needs(
        VARIABLES_WRITE,
        "already_exists",
        *WRITE,
        *VALUE,
        responses=CREATED,
    ),
)
async def create_config_variable(body: CreateConfigVariable, change: ToCreate) -> Response:
    """Store a value under a name. It is encrypted before it leaves this process, sensitive or not."""
    outcome = await change.door.variables.create(
        change.call, change.conditions, body.name, body.value, description=body.description, sensitive=body.sensitive
    )
    return _changed(outcome, status=201, location=f"{PATH}/{outcome.name}")


@router.get(
    "",
    response_model=ConfigVariableList,
    **needs(VARIABLES_READ, "invalid_request", "invalid_name", "invalid_cursor"),
)
async def list_config_variables(query: Annotated[LegacyListQuery, Query()], ask: Asked) -> Response:
    """A page of the variables whose name begins with `prefix`, never with a value."""
    page = await ask.door.variables.page(ask.call, query.prefix, query.cursor, query.limit, legacy=query.legacy)
    items = [ConfigVariable.of(item) for item in page.items]
    return respond(ConfigVariableList(items=items, next_cursor=page.next_cursor))


@router.get(
    "/{name}",
    response_model=ConfigVariable,
    **needs(
        VARIABLES_READ,
        "not_found",
        "undecryptable",
        *NAME,
        responses=READ,
    ),
)
async def get_config_variable(name: VariableName, ask: Asked, if_none_match: IfNoneMatch = None) -> Response:
    """One variable as of now: a write that was answered is seen. Only the value of a non-sensitive one is shown."""
    state = await ask.door.variables.get(ask.call, name)
    tag = {} if state.legacy else {"ETag": etag(state.sequence)}
    if not state.legacy and is_unchanged(if_none_match, state.sequence):
        return Response(status_code=304, headers=tag)
    value = None if state.sensitive else (await ask.door.variables.reveal(ask.call, name)).reveal().decode()
    return respond(ConfigVariable.of(state, value), headers=tag, store=state.sensitive)


@router.patch(
    "/{name}",
    response_model=ConfigVariable,
    **needs(VARIABLES_WRITE, "redacted_value", *CHANGE, *BODY, responses=CHANGED),
)
async def update_config_variable(name: VariableName, body: UpdateConfigVariable, change: ToChange) -> Response:
    """Change description or sensitivity; also as `application/merge-patch+json`."""
    outcome = await change.door.variables.update(
        change.call, change.conditions, name, description=body.new_description, sensitive=body.new_sensitive
    )
    return _changed(outcome)


@router.delete(
    "/{name}",
    status_code=204,
    **needs(VARIABLES_WRITE, *CHANGE, responses=DELETED),
)
async def delete_config_variable(name: VariableName, change: ToChange) -> Response:
    """Delete the variable and destroy all its values. Its history stays."""
    outcome = await change.door.variables.delete(change.call, change.conditions, name)
    return deleted(outcome)


@router.delete(
    "/{name}/versions/{version}",
    status_code=204,
    **needs(VARIABLES_WRITE, *CHANGE, responses=DELETED),
)
async def destroy_config_variable_version(name: VariableName, version: VersionNumber, change: ToChange) -> Response:
    """Destroy the value of one older version. The variable, its other versions and its history stay.

    A version that is destroyed already stays so; the current one is refused.
    """
    outcome = await change.door.variables.destroy_version(change.call, change.conditions, name, version)
    return deleted(outcome)


@router.post(
    "/{name}/rotate",
    response_model=ConfigVariable,
    **needs(VARIABLES_WRITE, *CHANGE, *VALUE, responses=CHANGED),
)
async def rotate_config_variable(name: VariableName, body: RotateConfigVariable, change: ToChange) -> Response:
    """Give the variable a new value, as a new version. Gateways that use it switch to it at once."""
    return _changed(await change.door.variables.rotate(change.call, change.conditions, name, body.value))


@router.post(
    "/{name}/rollback",
    response_model=ConfigVariable,
    **needs(VARIABLES_WRITE, "undecryptable", *CHANGE, *BODY, responses=CHANGED),
)
async def roll_back_config_variable(
    name: VariableName,
    body: RollBackConfigVariable,
    change: ToChange,
) -> Response:
    """Go back to the value of an older version, as a new version."""
    return _changed(await change.door.variables.roll_back(change.call, change.conditions, name, body.version))


@router.post(
    "/{name}/take-over",
    response_model=ConfigVariable,
    **needs(VARIABLES_WRITE, "undecryptable", *CHANGE, responses=CHANGED),
)
async def take_over_config_variable(name: VariableName, change: ToChange) -> Response:
    """Encrypt the value of an older plaintext row and remove the row. Any other change of it does the same."""
    return _changed(await change.door.variables.take_over(change.call, change.conditions, name))


@router.get(
    "/{name}/history",
    response_model=ConfigVariableHistory,
    **needs(VARIABLES_READ, "not_found", *NAME),
)
async def get_config_variable_history(name: VariableName, ask: Asked) -> Response:
    """Everything that ever happened to a name."""
    entries = await ask.door.variables.history(ask.call, name)
    return respond(ConfigVariableHistory(items=[HistoryItem.of(entry) for entry in entries]))


def _changed(outcome: SecretOutcome, status: int = 200, location: str = "") -> Response:
    return changed(outcome, ConfigVariable.of(outcome), status, location)
