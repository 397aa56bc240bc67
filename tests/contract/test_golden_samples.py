"""Every event version that was ever written is still read, and today's are written byte for byte the same."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import orjson
import pytest

from contracts.examples import EXAMPLES, METADATA
from contracts.generate import stale
from libs.common.canonical import canonical_json
from libs.common.events import REGISTRY, decode, encode

CONTRACTS = Path(__file__).resolve().parents[2] / "contracts"
SAMPLES = sorted((CONTRACTS / "samples").glob("*.json"))


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_a_sample_is_read_and_its_current_form_written(sample: Path) -> None:
    body = sample.read_bytes()
    recorded = decode(body, 1)
    assert recorded.metadata == METADATA
    if sample.stem in REGISTRY.types():
        assert encode(recorded.event, recorded.resource, recorded.metadata) == (sample.stem, body)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_a_sample_is_canonical_and_fits_its_schema(sample: Path) -> None:
    document = orjson.loads(sample.read_bytes())
    assert canonical_json(document) == sample.read_bytes()
    schema = json.loads((CONTRACTS / "events" / f"{sample.stem}.schema.json").read_text())
    jsonschema.validate(document["data"]["detail"], schema)


def test_every_event_type_has_a_sample_and_an_example() -> None:
    stems = {path.stem for path in SAMPLES}
    assert stems >= set(REGISTRY.types()) | set(REGISTRY.historic())
    assert {REGISTRY.of(event).wire_name for event, _ in EXAMPLES} == set(REGISTRY.types())


def test_what_is_committed_is_what_the_code_says() -> None:
    assert stale() == []
