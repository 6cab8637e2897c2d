"""The manifests render with kubectl, fit the schemas of Kubernetes, and agree with the router and its image.

Covers: deploy/kubernetes, docs/how-to/run-on-kubernetes.md.
"""

import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from edgerouter import plugins
from edgerouter.config.loading import load
from edgerouter.config.model import RouterConfig, ShutdownConfig
from edgerouter.units import parse_duration

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "deploy/kubernetes"
OVERLAYS = ["single", "fleet"]
PAGE = (ROOT / "docs/how-to/run-on-kubernetes.md").read_text()
CUSTOM = {"ServiceMonitor"}
"""Kinds that are not Kubernetes' own, so that it has no schema for them."""

pytestmark = pytest.mark.parametrize("overlay", OVERLAYS)


@cache
def rendered(overlay: str) -> dict[str, Any]:
    """Return the objects of an overlay by their kind."""
    command = [str(Path(sys.executable).parent / "kubectl"), "kustomize", str(FOLDER / "overlays" / overlay)]
    text = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    found = {each["kind"]: each for each in yaml.safe_load_all(text)}
    assert len(found) == text.count("\nkind: ")
    return found


def pod(overlay: str) -> dict[str, Any]:
    spec: dict[str, Any] = rendered(overlay)["StatefulSet"]["spec"]["template"]["spec"]
    return spec


def container(overlay: str) -> dict[str, Any]:
    (only,) = pod(overlay)["containers"]
    found: dict[str, Any] = only
    return found


def config(overlay: str, folder: Path) -> RouterConfig:
    """Return the configuration in the ConfigMap, with each secret that it names in a file."""
    secret = folder / "secret"
    secret.write_text("0123456789abcdef")
    text = rendered(overlay)["ConfigMap"]["data"]["edgerouter.yaml"]
    file = folder / "edgerouter.yaml"
    file.write_text(re.sub(r"\$\{file:[^}]*\}", f"${{file:{secret}}}", text))
    return load(file, {}, plugins)


def mounts(overlay: str) -> dict[str, str]:
    return {mount["name"]: mount["mountPath"] for mount in container(overlay)["volumeMounts"]}


def test_every_object_fits_the_schema_of_kubernetes(overlay: str) -> None:
    for kind, item in rendered(overlay).items():
        if kind not in CUSTOM:
            kubernetes_validate.validate(item, kubernetes_validate.latest_version(), strict=True)


def test_the_pod_meets_the_restricted_standard_that_its_namespace_enforces(overlay: str) -> None:
    labels = rendered(overlay)["Namespace"]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    spec, inner = pod(overlay), container(overlay)["securityContext"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert (inner["allowPrivilegeEscalation"], inner["capabilities"], inner["readOnlyRootFilesystem"]) == (
        False,
        {"drop": ["ALL"]},
        True,
    )
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
    assert all(set(volume) - {"name"} <= {"configMap", "secret"} for volume in spec["volumes"])


def test_the_pod_runs_as_the_images_user_with_its_volume(overlay: str) -> None:
    (user,) = re.findall(r"(?m)^USER (\d+):\d+$", (ROOT / "Containerfile").read_text())
    (volume,) = re.findall(r"(?m)^VOLUME (\S+)$", (ROOT / "Containerfile").read_text())
    context = pod(overlay)["securityContext"]
    assert {context["runAsUser"], context["runAsGroup"], context["fsGroup"]} == {int(user)}
    assert mounts(overlay)["spool"] == volume


def test_the_router_finds_its_configuration_its_secrets_and_its_spool(overlay: str, tmp_path: Path) -> None:
    found = config(overlay, tmp_path)
    places = mounts(overlay)
    path = f"{places['config']}/edgerouter.yaml"
    assert container(overlay)["args"] == ["run", "-c", path]
    assert container(overlay)["lifecycle"]["preStop"]["exec"]["command"][-1] == path
    # the mount's root may be writable for everyone, which the router refuses
    assert found.spool.path.parent == Path(places["spool"])
    named = set(re.findall(rf"{places['secrets']}/([\w-]+)", rendered(overlay)["ConfigMap"]["data"]["edgerouter.yaml"]))
    assert named == {"mqtt-password", "admin-token", "metrics-token"}
    assert named <= set(re.findall(r"--from-(?:literal|file)=([\w-]+)=", PAGE))


def test_the_volume_is_larger_than_the_spool_may_grow(overlay: str, tmp_path: Path) -> None:
    (claim,) = rendered(overlay)["StatefulSet"]["spec"]["volumeClaimTemplates"]
    gibibytes = int(claim["spec"]["resources"]["requests"]["storage"].removesuffix("Gi"))
    assert config(overlay, tmp_path).spool.max_bytes < gibibytes * 1024**3


def test_the_drain_and_the_stop_end_before_the_pod_is_killed(overlay: str) -> None:
    command = container(overlay)["lifecycle"]["preStop"]["exec"]["command"]
    assert command[:3] == ["edgerouter", "drain", "--timeout"]
    assert parse_duration(command[3]) + ShutdownConfig().grace < pod(overlay)["terminationGracePeriodSeconds"]


def test_a_restart_is_asked_for_by_livez_alone(overlay: str, tmp_path: Path) -> None:
    """`/readyz` fails while the broker is away, which no restart repairs."""
    probes = {name: probe["httpGet"]["path"] for name, probe in container(overlay).items() if name.endswith("Probe")}
    assert probes == {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"}
    (port,) = container(overlay)["ports"]
    admin = config(overlay, tmp_path).admin
    assert str(admin.listen).endswith(f":{port['containerPort']}")
    assert "health" in admin.open


def test_every_selector_finds_the_pod(overlay: str) -> None:
    found = rendered(overlay)
    labels = found["StatefulSet"]["spec"]["template"]["metadata"]["labels"].items()
    selectors = [
        found["StatefulSet"]["spec"]["selector"]["matchLabels"],
        found["Service"]["spec"]["selector"],
        found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        found["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
    ]
    assert all(selector and selector.items() <= labels for selector in selectors)
    assert found["StatefulSet"]["spec"]["serviceName"] == found["Service"]["metadata"]["name"]


def test_prometheus_finds_the_service_and_gets_a_token_that_changes_nothing(overlay: str, tmp_path: Path) -> None:
    monitor = rendered(overlay).get("ServiceMonitor")
    assert (monitor is not None) == (overlay == "fleet")
    token = config(overlay, tmp_path).admin.tokens["prometheus"]
    assert token.read_only
    if monitor is not None:
        service = rendered(overlay)["Service"]
        assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
        (endpoint,) = monitor["spec"]["endpoints"]
        assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
        assert endpoint["authorization"]["credentials"]["key"] == Path(str(token.token_file)).name


def test_several_routers_share_one_subscription_whose_sessions_wait_for_them(overlay: str, tmp_path: Path) -> None:
    """Without `share` each router would store every message."""
    several = rendered(overlay)["StatefulSet"]["spec"]["replicas"] > 1
    for source in config(overlay, tmp_path).sources:
        assert ("share" in source.raw) == several
        assert source.raw["session_expiry"] == "never"
