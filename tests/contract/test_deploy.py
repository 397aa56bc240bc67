"""The files in deploy/ parse, agree with the code and with each other, and hold no secret."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from libs.common.errors import KtError
from libs.common.names import looks_like_secret
from libs.common.secret import Secret
from libs.engines.database import OWNERS
from libs.engines.permissions import BACKUP, SERVICES
from services.gateway.adapters.config_file import parse_config
from services.keys.domain.master import parse_master_key

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
BUS_SERVICES = sorted(SERVICES)
TEXT_FILES = sorted(path for path in DEPLOY.rglob("*") if path.is_file() and path.suffix != ".pyc")


def manifests(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((KUBERNETES / name).read_text(encoding="utf-8")))


def manifest(file: str, kind: str, name: str) -> dict[str, Any]:
    (found,) = [m for m in manifests(file) if m["kind"] == kind and m["metadata"]["name"] == name]
    return found


def pods() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted(KUBERNETES.glob("*.yaml")):
        for document in manifests(path.name):
            if document["kind"] in ("Deployment", "Job"):
                yield f"{path.name}/{document['metadata']['name']}", document["spec"]["template"]["spec"]


PODS = [pytest.param(spec, id=name) for name, spec in pods()]


def container(file: str, name: str) -> dict[str, Any]:
    kind = "Job" if "provision" in name else "Deployment"
    (found,) = manifest(file, kind, name)["spec"]["template"]["spec"]["containers"]
    return dict(found)


def environment(of: dict[str, Any]) -> dict[str, Any]:
    return {entry["name"]: entry for entry in of["env"]}


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_a_container_is_hardened(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["user"] not in ("root", "0", "0:0")


def test_every_service_runs_and_sees_only_its_own_part() -> None:
    for service in BUS_SERVICES:
        shares = {v.split(":")[0] for v in COMPOSE["services"][service]["volumes"]}
        assert shares == {f"for-{service}", *({"for-master"} if service == "keys" else ())}
        assert f"services.{service}.main" in " ".join(COMPOSE["services"][service]["command"])


def test_the_master_key_and_the_seeds_are_mounted_where_they_are_needed_and_nowhere_else() -> None:
    def users(volume: str) -> set[str]:
        return {
            name
            for name, service in COMPOSE["services"].items()
            if any(v.startswith(f"{volume}:") for v in service.get("volumes", ()))
        }

    assert users("for-master") == {"prepare", "keys"}
    assert users("state") == {"prepare"}


def test_only_owners_of_a_schema_and_backups_reach_the_database() -> None:
    reach = {n for n, service in COMPOSE["services"].items() if "database" in service.get("networks", ())}
    assert reach == {"postgres", "provision", BACKUP, *OWNERS}
    assert COMPOSE["networks"]["database"]["internal"]


def test_what_compose_mounts_exists_in_the_image_with_its_owner() -> None:
    dockerfile = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    (parts,) = re.findall(r"for part in ([a-z \\\n]+);", dockerfile)
    mounted = {v.split(":")[1] for v in COMPOSE["services"]["prepare"]["volumes"]}
    assert mounted == {f"/volumes/{part}" for part in parts.replace("\\", " ").split()}


def test_images_are_pinned() -> None:
    images = {service["image"] for service in COMPOSE["services"].values()}
    tags = [image.removesuffix("}").rpartition(":")[2] for image in images]
    assert all(re.match(r"[0-9]+\.[0-9]+", tag) for tag in tags)
    assert re.search(r"^ARG PYTHON_IMAGE=python:3\.11\.[0-9]+-", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("spec", PODS)
def test_a_pod_fits_the_restricted_standard(spec: dict[str, Any]) -> None:
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for each in spec["containers"]:
        assert each["securityContext"]["allowPrivilegeEscalation"] is False
        assert each["securityContext"]["readOnlyRootFilesystem"] is True
        assert each["securityContext"]["capabilities"] == {"drop": ["ALL"]}


@pytest.mark.parametrize("spec", PODS)
def test_no_service_link_overwrites_a_setting(spec: dict[str, Any]) -> None:
    assert spec["enableServiceLinks"] is False


def test_every_service_has_a_deployment_with_its_own_secret() -> None:
    for service in BUS_SERVICES:
        spec = manifest("services.yaml", "Deployment", f"keeptrusts-{service}")["spec"]["template"]["spec"]
        assert {v["secret"]["secretName"] for v in spec["volumes"] if "secret" in v} == {f"keeptrusts-{service}"}
        assert f"services.{service}.main" in spec["containers"][0]["command"]


def test_only_the_key_service_gets_the_master_key() -> None:
    for _, spec in pods():
        for each in spec["containers"]:
            refers = "keeptrusts-master" in yaml.safe_dump(each)
            assert refers == (each["name"] == "keys")
    reference = environment(container("services.yaml", "keeptrusts-keys"))["KEEPTRUSTS_SECRET_ENCRYPTION_KEY"]
    assert reference["valueFrom"]["secretKeyRef"] == {"name": "keeptrusts-master", "key": "encryption-key"}


def test_the_gateway_takes_provider_keys_from_their_secret() -> None:
    (source,) = container("gateway.yaml", "keeptrusts-gateway")["envFrom"]
    assert source["secretRef"]["name"] == "keeptrusts-provider-keys"


def test_external_secrets_come_from_the_places_of_the_recipe() -> None:
    providers = manifest("external-secrets.yaml", "ExternalSecret", "keeptrusts-provider-keys")["spec"]
    assert providers["secretStoreRef"] == {"name": "vault-backend", "kind": "ClusterSecretStore"}
    assert providers["target"]["name"] == "keeptrusts-provider-keys"
    assert {(d["secretKey"], d["remoteRef"]["key"], d["remoteRef"]["property"]) for d in providers["data"]} == {
        ("OPENAI_API_KEY", "secret/data/keeptrusts/providers", "openai_api_key"),
        ("ANTHROPIC_API_KEY", "secret/data/keeptrusts/providers", "anthropic_api_key"),
    }
    (master,) = manifest("external-secrets.yaml", "ExternalSecret", "keeptrusts-master")["spec"]["data"]
    assert master["secretKey"] == "encryption-key"
    assert master["remoteRef"] == {"key": "secret/data/keeptrusts/master", "property": "encryption_key"}


def test_the_vault_agent_writes_what_the_gateway_reads() -> None:
    deployment = manifest("gateway-vault-agent.yaml", "Deployment", "keeptrusts-gateway")
    annotations = deployment["spec"]["template"]["metadata"]["annotations"]
    prefix = "vault.hashicorp.com/"
    assert annotations[f"{prefix}agent-inject"] == "true"
    assert annotations[f"{prefix}role"] == "keeptrusts-gateway"
    assert annotations[f"{prefix}agent-inject-secret-providers"] == "secret/data/keeptrusts/providers"
    template = annotations[f"{prefix}agent-inject-template-providers"]
    assert 'export OPENAI_API_KEY="{{ .Data.data.openai_api_key }}"' in template
    assert ". /vault/secrets/providers" in container("gateway-vault-agent.yaml", "keeptrusts-gateway")["args"][0]


def test_the_placeholder_of_the_master_key_is_refused() -> None:
    (secret,) = manifests("master-key.yaml")
    with pytest.raises(KtError) as refused:
        parse_master_key(Secret.from_text(secret["stringData"]["encryption-key"]))
    assert refused.value.code == "weak_master_key"


def policy_configs() -> Iterator[Any]:
    yield pytest.param((DEPLOY / "policy-config.yaml").read_text(encoding="utf-8"), id="compose")
    for file in ("gateway.yaml", "gateway-vault-agent.yaml"):
        config = manifest(file, "ConfigMap", "keeptrusts-gateway")["data"]["policy-config.yaml"]
        yield pytest.param(config, id=file)


@pytest.mark.parametrize("text", list(policy_configs()))
def test_a_policy_config_is_valid(text: str) -> None:
    keys = {"OPENAI_API_KEY": "one", "ANTHROPIC_API_KEY": "two"}
    assert parse_config(text.encode(), keys).targets


@pytest.mark.parametrize("path", TEXT_FILES, ids=lambda path: str(path.relative_to(DEPLOY)))
def test_no_file_holds_anything_in_the_shape_of_a_key(path: Path) -> None:
    assert not any(looks_like_secret(line) for line in path.read_text(encoding="utf-8").splitlines())


def test_preparing_hands_each_process_its_part_and_can_be_repeated(tmp_path: Path) -> None:
    def prepared() -> dict[str, bytes]:
        command = [sys.executable, str(DEPLOY / "prepare.py"), str(tmp_path / "state"), str(tmp_path / "share")]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        share = tmp_path / "share"
        return {str(p.relative_to(share)): p.read_bytes() for p in share.rglob("*") if p.is_file()}

    first = prepared()
    parts: dict[str, set[str]] = {}
    for name in first:
        part, _, file = name.partition("/")
        parts.setdefault(part, set()).add(file)
    assert parts == {
        "nats": {"operator.conf"},
        "postgres": {"superuser.password"},
        "master": {"encryption-key"},
        "admin": {"admin.token"},
        "provision": {"provisioner.creds", "pgpass", *(f"kt_{owner}.password" for owner in (*OWNERS, BACKUP))},
        "api": {"service.creds", "gateway.nk", "account.pub", "jwt.keys"},
        "command": {"service.creds"},
        **{owner: {"service.creds", "password", "pgpass"} for owner in (*OWNERS, BACKUP)},
    }
    signed = {name for name in first if name.endswith(("service.creds", "provisioner.creds", "operator.conf"))}
    second = prepared()
    assert {n: c for n, c in first.items() if n not in signed} == {n: c for n, c in second.items() if n not in signed}
