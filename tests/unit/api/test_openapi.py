"""The published description is that of the routes there are, and its examples are accepted."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from libs.common.errors import CATALOGUE
from services.api.adapters.http.app import all_routes
from services.api.openapi import openapi_document
from tests.unit.api.system import System

DOCUMENT: dict[str, Any] = json.loads(openapi_document())
OPERATIONS = [
    (f"{method.upper()} {path}", operation)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
]


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    return {**schema, "components": DOCUMENT["components"]}


async def test_the_document_is_served(system: System) -> None:
    answer = await system.ask("GET", "/openapi.json", token="")

    assert answer.json() == DOCUMENT
    assert answer.json()["openapi"].startswith("3.1")


def test_every_route_is_described() -> None:
    described = {name for name, _ in OPERATIONS}
    served = {f"{m} {r.path}" for r in all_routes() for m in r.methods}  # type: ignore[attr-defined]

    assert described == served - {"GET /openapi.json"}


@pytest.mark.parametrize(("name", "operation"), OPERATIONS, ids=[name for name, _ in OPERATIONS])
def test_an_operation_says_who_may_call_it_and_how_it_fails(name: str, operation: dict[str, Any]) -> None:
    assert operation["description"]
    if name.split(" ")[1].startswith("/v1"):
        assert operation["security"][0]["token"]
        assert {"401", "403", "503"} <= operation["responses"].keys()
    else:
        assert operation["security"] == []
    failures = [response for status, response in operation["responses"].items() if int(status) >= 400]
    assert failures
    for response in failures:
        assert response["content"] == {
            "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
        }


def test_a_body_can_be_refused_in_each_way_that_bodies_can() -> None:
    for _, operation in OPERATIONS:
        if "requestBody" in operation:
            assert {"400", "408", "413", "415", "422"} <= operation["responses"].keys()


def test_the_examples_fit_their_schemas() -> None:
    checked = 0
    for schema in DOCUMENT["components"]["schemas"].values():
        for example in schema.get("examples", []):
            jsonschema.validate(example, resolved(schema), jsonschema.Draft202012Validator)
            checked += 1
    assert checked > 8


@pytest.mark.parametrize("example", ["POST /v1/config-variables", "PATCH /v1/config-variables/{name}"])
async def test_the_examples_of_writes_are_accepted(system: System, example: str) -> None:
    method, path = example.split(" ")
    (ref,) = (
        operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
        for name, operation in OPERATIONS
        if name == example
    )
    (body,) = DOCUMENT["components"]["schemas"][ref.rsplit("/", 1)[-1]]["examples"]

    assert (await system.ask(method, path.replace("{name}", "A"), body)).status in (200, 201)


def test_a_patch_is_described_as_a_merge_patch_too() -> None:
    patch = DOCUMENT["paths"]["/v1/config-variables/{name}"]["patch"]

    assert set(patch["requestBody"]["content"]) == {"application/json", "application/merge-patch+json"}


def test_no_response_schema_holds_a_secret_type() -> None:
    """Values appear in responses only where they are meant to: the three routes that show one."""
    shown = {name for name, s in DOCUMENT["components"]["schemas"].items() if "value" in s.get("properties", {})}

    assert shown == {
        "ConfigVariable",
        "CreateConfigVariable",
        "MachineValue",
        "ResolvedValue",
        "RotateConfigVariable",
        "CreateGitToken",
        "RotateGitToken",
    }


def test_codes_in_descriptions_are_those_of_the_catalogue() -> None:
    described = {
        part.split("`")[1]
        for _, operation in OPERATIONS
        for status, response in operation["responses"].items()
        if int(status) >= 400
        for part in response["description"].split("; ")
    }

    assert described <= CATALOGUE.keys()
