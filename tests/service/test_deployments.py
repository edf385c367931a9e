"""The deployments of scripts/deploy: valid to the tools of others, and to the service itself."""

from __future__ import annotations

import json
import re
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import hcl2
import kubernetes_validate
import pytest

from aero_browser_disk.doctor.advice import EXPOSED
from aero_browser_disk.service.configuration import ConfigurationError
from aero_browser_disk.service.http.metrics import Metrics
from support.readme import GUIDE

from .conftest import RunningService
from .deployments import COMPOSE, DEPLOY, INSTANCES, compose, configuration, folder_of, manifests

VARIABLES = {
    "AERO_DISK_S3_KEY": "key",
    "AERO_DISK_S3_SECRET": "secret",
    "AERO_DISK_DATABASE_PASSWORD": "password",
    "AERO_DISK_ISSUER": "https://login.example.com",
    "AERO_DISK_JWKS": "https://login.example.com/jwks.json",
    "AERO_DISK_PAGE": "https://app.example.com",
}
CLOUDFRONT = DEPLOY / "cdn" / "cloudfront.yaml"


def run(program: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [Path(sysconfig.get_path("scripts"), program), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


# ── compose ──


def test_compose_is_what_its_specification_says(tmp_path: Path) -> None:
    wrong = tmp_path / "compose.yaml"
    wrong.write_text(COMPOSE.read_text().replace("read_only: true", "readonly: true"))
    validate = ("--builtin-schema", "vendor.compose-spec", "--output-format", "json")
    said = json.loads(run("check-jsonschema", *validate, COMPOSE, wrong).stdout)
    # The tool finds what is wrong, and that only.
    assert {error["filename"] for error in said["errors"]} == {str(wrong)}


def test_the_instances_of_compose_are_valid_alike_and_without_rights() -> None:
    services = compose(VARIABLES)["services"]
    first, *others = (services[name] for name in INSTANCES)
    assert all(other == first for other in others)
    found = configuration(
        {name: v for name, v in first["environment"].items() if name.startswith("AERO_DISK_")}
    )
    assert found.mode == "production"
    assert found.uploads.enabled
    assert found.limits.redis_url is not None
    assert found.uploads.database.get_secret_value().startswith("postgresql+psycopg://")
    assert (first["read_only"], first["cap_drop"]) == (True, ["ALL"])
    assert first["security_opt"] == ["no-new-privileges:true"]
    assert int(first["stop_grace_period"].removesuffix("s")) > found.server.grace_s


def test_nginx_of_compose_has_its_template_and_all_that_this_needs() -> None:
    nginx = compose(VARIABLES)["services"]["nginx"]
    (mount,) = nginx["volumes"]
    template = folder_of(mount).read_text()
    # What the image renders: the variables that the filter lets through.
    needed = set(re.findall(r"\$\{([A-Z_]+)\}", template))
    given = {name for name in nginx["environment"] if name.startswith("AERO_DISK_")}
    assert needed == given
    hosts = {nginx["environment"][name].partition(":")[0] for name in given} - {"8080"}
    assert hosts == set(INSTANCES)


# ── Kubernetes ──


@pytest.mark.parametrize("kind", manifests())
def test_manifests_are_what_kubernetes_says(kind: str) -> None:
    manifest = manifests()[kind]
    kubernetes_validate.validate(manifest, "1.37", strict=True)
    manifest["metadata"]["lables"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(manifest, "1.37", strict=True)


def test_manifests_belong_together() -> None:
    found = manifests()
    pod = found["Deployment"]["spec"]["template"]
    labels = pod["metadata"]["labels"]
    assert found["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert found["Service"]["spec"]["selector"] == labels
    assert found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    assert found["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == labels
    target = found["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == (
        "Deployment",
        found["Deployment"]["metadata"]["name"],
    )
    (container,) = pod["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    named = [port["targetPort"] for port in found["Service"]["spec"]["ports"]]
    for rule in found["NetworkPolicy"]["spec"]["ingress"]:
        named += [port["port"] for port in rule["ports"]]
    named += [container[f"{kind}Probe"]["httpGet"]["port"] for kind in ("liveness", "readiness")]
    assert set(named) == set(ports)
    config = found["ConfigMap"]
    sources = [source.get("configMapRef") for source in container["envFrom"]]
    assert {"name": config["metadata"]["name"]} in sources


def test_pods_have_no_rights_and_time_to_finish() -> None:
    spec = manifests()["Deployment"]["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["automountServiceAccountToken"] is False
    # Kubernetes would set AERO_DISK_PORT, an option that does not exist.
    assert spec["enableServiceLinks"] is False
    pause = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    grace = configuration_of_pods().server.grace_s
    assert spec["terminationGracePeriodSeconds"] > pause + grace
    # Each pod may be drained, as long as there are others.
    assert manifests()["HorizontalPodAutoscaler"]["spec"]["minReplicas"] > 1


def configuration_of_pods() -> Any:
    secrets = {
        "AERO_DISK_LIMITS__REDIS_URL": "rediss://redis/0",
        "AERO_DISK_UPLOADS__DATABASE": "postgresql+psycopg://a:b@c/d",
    }
    return configuration({**manifests()["ConfigMap"]["data"], **secrets})


def test_the_configuration_of_pods_is_valid() -> None:
    found = configuration_of_pods()
    (container,) = manifests()["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert {port["containerPort"] for port in container["ports"]} == {
        found.server.port,
        found.metrics.port,
    }
    with pytest.raises(ConfigurationError):
        configuration({**manifests()["ConfigMap"]["data"], "AERO_DISK_PORT": "tcp://10.0.0.1:80"})


def test_pods_are_probed_where_the_service_responds(service: RunningService) -> None:
    (container,) = manifests()["Deployment"]["spec"]["template"]["spec"]["containers"]
    for kind in ("startup", "liveness", "readiness"):
        assert service.ask(container[f"{kind}Probe"]["httpGet"]["path"]).status == 200


def test_the_autoscaler_goes_by_a_metric_that_there_is() -> None:
    (pods,) = [
        metric["pods"]
        for metric in manifests()["HorizontalPodAutoscaler"]["spec"]["metrics"]
        if metric["type"] == "Pods"
    ]
    assert f"\n{pods['metric']['name']} " in Metrics().exposition().decode()


# ── CDNs ──


def test_cloudfront_is_what_cloudformation_says(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(CLOUDFRONT.read_text().replace("Compress: false", "Compres: false"))
    said = json.loads(run("cfn-lint", "--format", "json", CLOUDFRONT, wrong).stdout)
    assert {fault["Filename"] for fault in said} == {str(wrong)}


def test_cdns_never_compress_and_let_pages_read_what_they_need() -> None:
    text = CLOUDFRONT.read_text()
    assert "Compress: false" in text
    (exposed,) = re.findall(r"ExposeHeaders:\s+Items: \[([^\]]*)\]", text)
    assert set(EXPOSED.split(", ")) <= set(exposed.split(", "))
    with (DEPLOY / "cdn" / "cloudflare.tf").open() as file:
        document = hcl2.load(file)
    assert '"none"' in str(document["resource"])
    declared = {name.strip('"') for block in document["variable"] for name in block}
    used = set(re.findall(r"\bvar\.([a-z_]+)", (DEPLOY / "cdn" / "cloudflare.tf").read_text()))
    assert used
    assert used <= declared


# ── the estimate ──


def table(first_cell: str) -> list[list[str]]:
    """The rows of the table of the guide's page whose first heading is that."""
    text = (GUIDE / "scaling.md").read_text()
    _, _, rest = text.partition(f"| {first_cell} |")
    rows = rest.partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def boot(state: str) -> tuple[float, float]:
    """Bytes and requests of a replayed boot, as measured."""
    (run,) = [
        run
        for run in json.loads((GUIDE / "measurements.json").read_text())["runs"]
        if (run["workload"], run["client"], run["state"]) == ("boot", "ours", state)
        and run["link"] == "50 Mbit/s, 40 ms"
    ]
    return run["bytes"][0], run["requests"][0]


def test_the_estimate_follows_from_what_was_measured() -> None:
    boots, day = 1_000_000, 86_400
    cold, profile, warm = boot("cold"), boot("profile"), boot("warm")
    mixed = tuple(0.3 * first + 0.7 * later for first, later in zip(profile, warm, strict=True))
    loads = [cold, profile, mixed]
    for row, (size, requests) in zip(table("a million boots a day"), loads, strict=True):
        _, *given = row
        assert given == [
            f"{size / 1e6:.0f}",
            f"{requests:.4g}",
            f"{boots * size / 1e12:.1f}",
            f"{boots * size * 8 / day / 1e9:.1f}",
            f"{boots * requests / day:.0f}",
        ]
    rows = table("dollars a day")
    assert len(rows) == 3
    for _, gigabyte, million, *given in rows:
        expected = [
            boots * size / 1e9 * float(gigabyte) + boots * requests / 1e6 * float(million)
            for size, requests in loads
        ]
        assert given == [f"{dollars:.0f}" for dollars in expected]
