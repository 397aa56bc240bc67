"""The page's YAML is understood; everything else is refused with line, column and what was expected."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from libs.common.errors import KtError
from services.gateway.adapters.config_file import ConfigFile, parse_config
from services.gateway.adapters.config_schema import SCHEMA_FILE
from services.gateway.adapters.yaml_document import MAX_BYTES, read_document
from services.gateway.domain.config import AuditLogger, GatewayConfig, Target
from services.gateway.domain.providers import PROVIDERS
from services.gateway.domain.references import Reference, ReferenceKind

ENVIRONMENT = {"OPENAI_API_KEY": "sk-proj-canary"}
STORE_SAMPLE = """\
pack:
  name: secret-management-providers-1
  version: 1.0.0
  enabled: true
providers:
  targets:
    - id: openai
      provider:
policies:
  chain:
    - audit-logger
policy:
  audit-logger:
    immutable: true
    retention_days: 365
    log_all_access: true
"""
ENV_SAMPLE = """\
pack:
  name: secret-management-providers-2
  version: 1.0.0
  enabled: true
providers:
  targets:
    - id: openai-primary
      provider: openai
      model: gpt-4o-mini
      base_url: https://api.openai.com
      secret_key_ref:
        env: OPENAI_API_KEY
policies:
  chain:
    - audit-logger
  policy:
    audit-logger:
      immutable: true
      retention_days: 365
      log_all_access: true
"""


def parse(text: str, environment: dict[str, str] | None = None) -> GatewayConfig:
    return parse_config(text.encode(), ENVIRONMENT if environment is None else environment)


def refused(text: str | bytes, environment: dict[str, str] | None = None) -> KtError:
    raw = text if isinstance(text, bytes) else text.encode()
    with pytest.raises(KtError) as error:
        parse_config(raw, ENVIRONMENT if environment is None else environment)
    assert error.value.code == "invalid_config"
    return error.value


def code_of(call: Callable[[], object]) -> str:
    """The code of the error it ends with; empty when it ends well."""
    try:
        call()
    except KtError as error:
        return error.code
    return ""


def with_target(lines: str) -> str:
    return ENV_SAMPLE.replace("      model: gpt-4o-mini\n", "").replace(
        """      provider: openai
      base_url: https://api.openai.com
      secret_key_ref:
        env: OPENAI_API_KEY
""",
        "".join(f"      {line}\n" for line in lines.splitlines()),
    )


def the_target(lines: str) -> Target:
    (target,) = parse(with_target(lines)).targets
    return target


def test_the_first_sample_names_its_provider_by_its_id_and_its_variable_by_convention() -> None:
    config = parse(STORE_SAMPLE)
    (target,) = config.targets
    assert target.provider is PROVIDERS["openai"]
    assert target.reference == Reference(ReferenceKind.STORE, "OPENAI_API_KEY")
    assert target.upstream.authority == "api.openai.com"
    assert config.audit_logger == AuditLogger(immutable=True, retention_days=365, log_all_access=True)


def test_the_second_sample_takes_its_key_from_the_environment() -> None:
    config = parse(ENV_SAMPLE)
    (target,) = config.targets
    assert (target.id, target.models) == ("openai-primary", ("gpt-4o-mini",))
    assert target.reference == Reference(ReferenceKind.ENV, "OPENAI_API_KEY")
    assert config.audit_logger is not None


def test_the_third_sample_takes_it_from_another_config_variable() -> None:
    target = the_target("provider: openai\nsecret_key_ref:\n  store: OPENAI_API_KEY_V2")
    assert target.reference == Reference(ReferenceKind.STORE, "OPENAI_API_KEY_V2")


@pytest.mark.parametrize("provider", PROVIDERS)
def test_every_provider_has_a_variable_by_convention(provider: str) -> None:
    target = the_target(f"provider: {provider}\nbase_url: https://example.com")
    assert target.reference.name == provider.upper().replace("-", "_") + "_API_KEY"


def test_a_digest_belongs_to_the_bytes_of_the_file() -> None:
    assert parse(STORE_SAMPLE).digest != parse(STORE_SAMPLE + "\n").digest
    assert len(parse(STORE_SAMPLE).digest) == 64


def test_the_schema_is_valid_and_lists_the_providers_of_the_code() -> None:
    schema = json.loads(SCHEMA_FILE.read_bytes())
    Draft202012Validator.check_schema(schema)
    listed = schema["$defs"]["target"]["properties"]["provider"]["enum"]
    assert [name for name in listed if name is not None] == list(PROVIDERS)


@pytest.mark.parametrize(
    ("lines", "field", "problem", "expected"),
    [
        ("provider: opnai", "provider", "line 8, column 17: a value that is not known", "one of openai"),
        ("provider: 3", "provider", "line 8, column 17", "one of openai"),
        ("provider: openai\nbase_url: 3", "base_url", "line 9, column 17: a value of another type", "a URL such as"),
        ("provider: openai\nmodel: []", "model", "line 9, column 14", "a model name or a list"),
        ("provider: openai\nmodel: [a, 1]", "model[1]", "line 9, column 18", "a model name"),
        ("provider: openai\nmodle: a", "…", "line 9, column 7: an unknown field", "model (did you mean that?)"),
        ("provider: openai\nsecret_key_ref: X", "secret_key_ref", "line 9, column 23", "exactly one of"),
        ("provider: openai\nsecret_key_ref: {}", "secret_key_ref", "line 9, column 23", "exactly one of"),
        (
            "provider: openai\nsecret_key_ref: {env: OPENAI_API_KEY, store: B}",
            "secret_key_ref",
            "line 9, column 23",
            "exactly one of",
        ),
        (
            "provider: openai\nsecret_key_ref: {env: A-B}",
            "secret_key_ref.env",
            "line 9, column 29",
            "the name of an env",
        ),
        (
            "provider: openai\nsecret_key_ref: {env: 3}",
            "secret_key_ref.env",
            "line 9, column 29",
            "the name of an env",
        ),
        (
            "provider: openai\nsecret_key_ref: {store: a/b}",
            "secret_key_ref.store",
            "line 9",
            "the name of a config var",
        ),
        (
            "provider: openai\nsecret_key_ref: {store: ...}",
            "secret_key_ref.store",
            "line 9",
            "the name of a config var",
        ),
        (
            'provider: openai\nsecret_key_ref: {store: "a\\n"}',
            "secret_key_ref.store",
            "line 9",
            "the name of a config",
        ),
        (
            "provider: openai\nsecret_key_ref: {store: " + "a-" * 65 + "}",
            "secret_key_ref.store",
            "line 9",
            "1 to 128 ASCII letters",
        ),
        ("provider: openai\nsecret_key_ref: {stroe: a}", "secret_key_ref", "line 9", "exactly one of"),
        ("provider: azure", "", "line 7, column 7: this provider has no common address", "base_url: https://"),
        ("provider: openai\nallow_insecure: 1", "allow_insecure", "line 9", "true or false"),
    ],
)
def test_a_target_that_does_not_fit_is_refused_where_it_is_wrong(
    lines: str, field: str, problem: str, expected: str
) -> None:
    (found,) = refused(with_target(lines)).fields
    assert found.field == "providers.targets[0]" + (f".{field}" if field else "")
    assert problem in found.problem
    assert expected in found.expected


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("ftp://example.com", "does not begin with https:// or http://"),
        ("api.openai.com", "does not begin with https:// or http://"),
        ("https://", "has no valid host name"),
        ("https://exa mple.com", "has no valid host name"),
        ("https://ex_ample.com", "has no valid host name"),
        ("https://user:pass@example.com", "contains user information"),
        ("https://example.com/?key=1", "contains a query"),
        ("https://example.com/#a", "contains a query or a fragment"),
        ("https://example.com:0", "has a port"),
        ("https://example.com:70000", "is not a URL"),
        ("https://example.com/a/../b", "has a path"),
        ("https://example.com/a//b", "has a path"),
        ("https://example.com/%41", "has a path"),
        ("https://[::1", "is not a URL"),
        ("http://example.com", "clear text"),
        ("http://10.0.0.1:8000", "clear text"),
    ],
)
def test_a_base_url_that_is_not_safe_is_refused(url: str, problem: str) -> None:
    error = refused(with_target(f"provider: openai\nbase_url: {json.dumps(url)}"))
    (found,) = error.fields
    assert found.field == "providers.targets[0].base_url"
    assert problem in found.problem
    assert url == "https://" or f" {url}" not in str(error).replace("such as https://api.openai.com", "")


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8000", "http://localhost:8000", "http://[::1]:8000", "http://127.9.9.9"]
)
def test_clear_text_on_this_machine_is_accepted(url: str) -> None:
    assert not the_target(f"provider: openai\nbase_url: '{url}'").upstream.tls


def test_clear_text_on_another_machine_is_accepted_only_by_explicit_wish() -> None:
    target = the_target("provider: openai\nbase_url: http://llm.internal:8000\nallow_insecure: true")
    assert (target.upstream.host, target.upstream.port, target.upstream.tls) == ("llm.internal", 8000, False)


@pytest.mark.parametrize(
    ("change", "field", "problem"),
    [
        (("name: secret-management-providers-2", "name: ''"), "pack.name", "line 2, column 9"),
        (("version: 1.0.0", "version: 1.0"), "pack.version", "line 3, column 12: a value of another type"),
        (("version: 1.0.0", "version: latest"), "pack.version", "line 3, column 12: text of another form"),
        (("enabled: true", "enabled: false"), "pack.enabled", "line 4, column 12"),
        (("enabled: true", "enabled: 'true'"), "pack.enabled", "line 4, column 12"),
        (("  enabled: true\n", ""), "pack", "line 1, column 1: the field enabled is missing"),
        (("retention_days: 365", "retention_days: 364"), "policies.policy.audit-logger.retention_days", "too small"),
        (("retention_days: 365", "retention_days: 1e9"), "policies.policy.audit-logger.retention_days", "line 19"),
        (("immutable: true", "immutable: 1"), "policies.policy.audit-logger.immutable", "another type"),
        (("- audit-logger", "- audit-loger"), "policies.chain[0]", "another value"),
        (("  chain:\n    - audit-logger\n", ""), "policies", "the field chain is missing"),
    ],
)
def test_what_is_around_the_targets_is_checked_too(change: tuple[str, str], field: str, problem: str) -> None:
    found = refused(ENV_SAMPLE.replace(*change)).fields[0]
    assert found.field == field
    assert problem in found.problem
    assert found.expected


def test_a_whole_number_of_days_may_be_written_with_a_point() -> None:
    logger = parse(ENV_SAMPLE.replace("365", "400.0")).audit_logger
    assert logger is not None
    assert repr(logger.retention_days) == "400"


def test_settings_of_policies_stand_in_one_place_only() -> None:
    assert parse(STORE_SAMPLE).audit_logger == parse(ENV_SAMPLE).audit_logger
    (found,) = refused(ENV_SAMPLE + "policy:\n  audit-logger: {}\n").fields
    assert "two places" in found.problem


def test_ids_are_unique_and_every_problem_is_told_at_once() -> None:
    text = STORE_SAMPLE.replace(
        "    - id: openai\n      provider:\n",
        "    - {id: a, provider: openai}\n    - {id: a, provider: openai}\n    - {id: nobody}\n    - {id: azure}\n",
    )
    error = refused(text)
    assert [found.field for found in error.fields] == [
        "providers.targets[1].id",
        "providers.targets[2].id",
        "providers.targets[3]",
    ]
    assert "has 3 problems" in str(error)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (None, "OPENAI_API_KEY is not set"),
        ("", "OPENAI_API_KEY is empty"),
        ("key\n", "contains a line break"),
        ("key\r", "contains a line break"),
        ("ke\0y", "contains a NUL byte"),
        (" key", "begins or ends with a space"),
        ("key ", "begins or ends with a space"),
        ("k\x7fey", "not printable ASCII"),
        ("schlüssel", "not printable ASCII"),
    ],
)
def test_an_environment_variable_without_a_usable_key_fails_at_parse_time(value: str | None, problem: str) -> None:
    error = refused(ENV_SAMPLE, {} if value is None else {"OPENAI_API_KEY": value})
    (found,) = error.fields
    assert found.field == "providers.targets[0].secret_key_ref.env"
    assert found.problem.startswith("line 12, column 14: ")
    assert problem in found.problem
    if value and value.strip() == value:
        assert value not in str(error)


CANARY = "sk-proj-0123456789abcdefCANARY"


@pytest.mark.parametrize(
    "lines",
    [
        f"provider: openai\napi_key: {CANARY}",
        f"provider: openai\nsecret_key_ref: {CANARY}",
        f"provider: openai\nsecret_key_ref: {{env: {CANARY}}}",
        f"provider: openai\nsecret_key_ref: {{store: {CANARY}}}",
        f"provider: openai\nsecret_key_ref: {{{CANARY}: x}}",
        f"provider: openai\nmodel: {CANARY}",
        f"provider: openai\nmodel: [a, {CANARY}]",
        f"provider: {CANARY}",
        f"provider: openai\n{CANARY}: 1",
        f"provider: openai\nbase_url: https://example.com/{CANARY}",
    ],
)
def test_a_plaintext_key_is_refused_anywhere_and_never_repeated(lines: str) -> None:
    error = refused(with_target(lines))
    assert any("key" in found.problem for found in error.fields)
    assert CANARY not in str(error)
    assert CANARY not in str(error.fields)
    assert "secret_key_ref with env: NAME or store: NAME" in str(error.fields)


@pytest.mark.parametrize(
    "field", ["api_key", "apiKey", "API-KEY", "key", "secret", "token", "password", "secret_key"]
)
def test_a_field_for_a_key_is_refused_whatever_its_value_looks_like(field: str) -> None:
    error = refused(with_target(f"provider: openai\n{field}: hunter2hunter2"))
    (found,) = error.fields
    assert "this file never holds keys" in found.problem
    assert "hunter2" not in str(error)
    assert "hunter2" not in str(error.fields)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "the file is empty"),
        ("# nothing\n", "the file is empty"),
        ("- a\n", "line 1, column 1: a value of another type"),
        ("text\n", "line 1, column 1: a value of another type"),
        ("a: [1\n", "this is not valid YAML"),
        ("a: 'b\n", "this is not valid YAML"),
        (STORE_SAMPLE + "x: &a 1\n", "line 17, column 4: an anchor or alias"),
        (STORE_SAMPLE + "x: *a\n", "line 17, column 4: an anchor or alias"),
        (STORE_SAMPLE + "<<: {a: 1}\n", "line 17, column 1: an unknown field"),
        (STORE_SAMPLE + "---\npack: {}\n", "line 17, column 1: a second document"),
        (STORE_SAMPLE + "pack: {}\n", "line 17, column 1: the same key for the second time"),
        (STORE_SAMPLE.replace("      provider:", "      provider:\n      id: x"), "line 9, column 7: the same key"),
        (STORE_SAMPLE.replace("  name:", "\tname:"), "line 2, column 1: a tab character"),
        (STORE_SAMPLE + "# a\tb\n", "line 17, column 4: a tab character"),
        (STORE_SAMPLE + "x: !!python/object/apply:os.system ['true']\n", "line 17, column 4: a tag"),
        (STORE_SAMPLE + "x: !secret a\n", "line 17, column 4: a tag"),
        (STORE_SAMPLE + "x: !!binary aGk=\n", "line 17, column 4: a tag"),
        (STORE_SAMPLE + "x: 2026-11-23\n", "line 17, column 4: a value that YAML reads as a special type"),
        (STORE_SAMPLE + "? [a]\n: b\n", "a key that is not text"),
        ("[" * 2000, "nesting deeper than 16"),
        ("a: " + "{a: " * 2000, "nesting deeper than 16"),
        ("a: \x00\n", "the file is not valid YAML"),
        (b"a: \xff\n", "line 1: this is not UTF-8"),
        (b"a: b\n" * (MAX_BYTES // 5 + 1), "the file has 262,1"),
    ],
)
def test_what_yaml_can_do_beyond_plain_data_is_refused(text: str | bytes, problem: str) -> None:
    found = refused(text).fields[0]
    assert problem in found.problem
    assert found.expected


def test_a_large_file_is_read_in_reasonable_time() -> None:
    target = "    - {{id: t{0}, provider: openai, model: m{0}, secret_key_ref: {{store: KEY_{0}}}}}\n"
    text = STORE_SAMPLE.replace(
        "    - id: openai\n      provider:\n", "".join(target.format(number) for number in range(1000))
    )
    assert len(parse(text).targets) == 1000


@given(st.text(max_size=200))
def test_no_text_makes_the_parser_fail_in_another_way(text: str) -> None:
    assert code_of(lambda: read_document(text.encode("utf-8", "surrogatepass"))) in ("", "invalid_config")


_SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20))
_NAMES = st.sampled_from(
    ["pack", "name", "version", "enabled", "providers", "targets", "id", "provider", "model", "x"]
)
_TREES = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=4), max_leaves=20
)


@given(_TREES)
def test_no_document_makes_the_checks_fail_in_another_way(tree: object) -> None:
    assert code_of(lambda: parse_config(json.dumps(tree).encode(), {})) in ("", "invalid_config")


async def test_a_file_that_can_not_be_read_is_told_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(KtError) as error:
        await ConfigFile(tmp_path / "absent.yaml", {}).load()
    assert error.value.code == "invalid_config"
    assert "absent.yaml can't be read: No such file" in error.value.detail
