"""/v1/git-tokens"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from libs.common.auth.scopes import GIT_TOKENS_READ, GIT_TOKENS_WRITE
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
from services.api.adapters.http.dependencies import Asked, IfNoneMatch, ToChange, ToCreate
from services.api.adapters.http.fields import GitTokenName, VersionNumber
from services.api.adapters.http.git_token_models import (
    CreateGitToken,
    GitToken,
    GitTokenHistory,
    GitTokenList,
    RollBackGitToken,
    RotateGitToken,
    UpdateGitToken,
)
from services.api.adapters.http.responses import respond
from services.api.adapters.http.route import ApiRoute
from services.api.adapters.http.secret_models import HistoryItem, ListQuery
from services.api.domain.etag import etag, is_unchanged

PATH = "/v1/git-tokens"

router = APIRouter(prefix=PATH, tags=["Git access tokens"], route_class=ApiRoute)


@router.post(
    "",
    status_code=201,
    response_model=GitToken,
    **needs(GIT_TOKENS_WRITE, "already_exists", *WRITE, *VALUE, responses=CREATED),
)
async def create_git_token(body: CreateGitToken, change: ToCreate) -> Response:
    """Store a token under a name. It is encrypted before it leaves this process, and never shown again."""
    outcome = await change.door.git_tokens.create(
        change.call, change.conditions, body.name, body.value, description=body.description, sensitive=True
    )
    return changed(outcome, GitToken.of(outcome), status=201, location=f"{PATH}/{outcome.name}")


@router.get(
    "",
    response_model=GitTokenList,
    **needs(GIT_TOKENS_READ, "invalid_request", "invalid_name", "invalid_cursor"),
)
async def list_git_tokens(query: Annotated[ListQuery, Query()], ask: Asked) -> Response:
    """A page of the tokens whose name begins with `prefix`."""
    page = await ask.door.git_tokens.page(ask.call, query.prefix, query.cursor, query.limit)
    return respond(GitTokenList(items=[GitToken.of(item) for item in page.items], next_cursor=page.next_cursor))


@router.get("/{name}", response_model=GitToken, **needs(GIT_TOKENS_READ, "not_found", *NAME, responses=READ))
async def get_git_token(name: GitTokenName, ask: Asked, if_none_match: IfNoneMatch = None) -> Response:
    """One token as of now, without its value."""
    state = await ask.door.git_tokens.get(ask.call, name)
    tag = {"ETag": etag(state.sequence)}
    if is_unchanged(if_none_match, state.sequence):
        return Response(status_code=304, headers=tag)
    return respond(GitToken.of(state), headers=tag)


@router.patch(
    "/{name}",
    response_model=GitToken,
    **needs(GIT_TOKENS_WRITE, "redacted_value", *CHANGE, *BODY, responses=CHANGED),
)
async def update_git_token(name: GitTokenName, body: UpdateGitToken, change: ToChange) -> Response:
    """Change the description; also as `application/merge-patch+json`."""
    outcome = await change.door.git_tokens.update(
        change.call, change.conditions, name, description=body.description or "", sensitive=None
    )
    return changed(outcome, GitToken.of(outcome))


@router.delete("/{name}", status_code=204, **needs(GIT_TOKENS_WRITE, *CHANGE, responses=DELETED))
async def delete_git_token(name: GitTokenName, change: ToChange) -> Response:
    """Delete the token and destroy all its values. Its history stays."""
    return deleted(await change.door.git_tokens.delete(change.call, change.conditions, name))


@router.delete("/{name}/versions/{version}", status_code=204, **needs(GIT_TOKENS_WRITE, *CHANGE, responses=DELETED))
async def destroy_git_token_version(name: GitTokenName, version: VersionNumber, change: ToChange) -> Response:
    """Destroy the value of one older version. The token, its other versions and its history stay."""
    return deleted(await change.door.git_tokens.destroy_version(change.call, change.conditions, name, version))


@router.post("/{name}/rotate", response_model=GitToken, **needs(GIT_TOKENS_WRITE, *CHANGE, *VALUE, responses=CHANGED))
async def rotate_git_token(name: GitTokenName, body: RotateGitToken, change: ToChange) -> Response:
    """Give the token a new value, as a new version. Gateways that use it take it for their next request."""
    outcome = await change.door.git_tokens.rotate(change.call, change.conditions, name, body.value)
    return changed(outcome, GitToken.of(outcome))


@router.post(
    "/{name}/rollback",
    response_model=GitToken,
    **needs(GIT_TOKENS_WRITE, "undecryptable", *CHANGE, *BODY, responses=CHANGED),
)
async def roll_back_git_token(name: GitTokenName, body: RollBackGitToken, change: ToChange) -> Response:
    """Go back to the value of an older version, as a new version."""
    outcome = await change.door.git_tokens.roll_back(change.call, change.conditions, name, body.version)
    return changed(outcome, GitToken.of(outcome))


@router.get("/{name}/history", response_model=GitTokenHistory, **needs(GIT_TOKENS_READ, "not_found", *NAME))
async def get_git_token_history(name: GitTokenName, ask: Asked) -> Response:
    """Everything that ever happened to a name."""
    entries = await ask.door.git_tokens.history(ask.call, name)
    return respond(GitTokenHistory(items=[HistoryItem.of(entry) for entry in entries]))
