"""The compose file with passwords and dashboards agrees with the files that it mounts and with the router.

Covers: deploy/compose.
"""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from aiohttp import web

from edgerouter import plugins
from edgerouter.admin.access import Need, TcpDoor
from edgerouter.config.loading import load
from edgerouter.config.model import RouterConfig
from edgerouter.http_server.problems import Problem
from support.http_service import http_service
from support.prometheus import PROMTOOL

FOLDER = Path(__file__).resolve().parents[3] / "deploy/compose"
TEXT = (FOLDER / "compose.yaml").read_text()
COMPOSE = yaml.safe_load(TEXT)
SERVICES: dict[str, Any] = COMPOSE["services"]
VARIABLES = dict(re.findall(r"(?m)^([A-Z_]+)=(.*)$", (FOLDER / ".env.example").read_text()))


def routers_configuration() -> RouterConfig:
    given = {name: VARIABLES[name] for name in SERVICES["router"]["environment"]}
    return load(FOLDER / "edgerouter.yaml", given, plugins)


def test_every_variable_is_in_the_example_and_none_that_is_secret_has_a_default() -> None:
    used = dict(re.findall(r"(?<!\$)\$\{([A-Z_]+)(:[?-])", TEXT))
    assert used.keys() == VARIABLES.keys()
    assert {name for name, kind in used.items() if kind == ":?"} == {"ROUTER_PASSWORD", "DEVICE_PASSWORD", "ADMIN_TOKEN"}


def test_what_is_mounted_and_built_is_there() -> None:
    for service in SERVICES.values():
        if "build" in service:
            assert (FOLDER / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
        for mount in service.get("volumes", []):
            name = mount.split(":")[0]
            assert name in COMPOSE["volumes"] or (FOLDER / name).exists(), mount


@pytest.mark.parametrize("name", SERVICES)
def test_no_service_has_privileges_or_a_root_that_it_can_write(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    # the first one ends after it has written the passwords
    assert name == "passwords" or service["read_only"] is True
    assert all(port.startswith(("127.0.0.1:", "${MQTT_ADDRESS:-127.0.0.1}:")) for port in service.get("ports", []))


def test_prometheus_and_grafana_start_only_with_their_profile() -> None:
    with_profile = {name for name, service in SERVICES.items() if service.get("profiles") == ["observability"]}
    assert with_profile == {"prometheus", "grafana"}


def test_the_broker_asks_for_the_password_that_the_router_has() -> None:
    config = (FOLDER / "mosquitto.conf").read_text()
    (file,) = re.findall(r"(?m)^password_file (.*)$", config)
    script = SERVICES["passwords"]["command"][-1]
    assert "allow_anonymous false" in config
    assert f'{file} edgerouter "$$ROUTER_PASSWORD"' in script
    assert f'{file} device "$$DEVICE_PASSWORD"' in script
    assert SERVICES["data_source"]["environment"]["LOCAL_MQTT_HOST"].startswith("mqtt://device:${DEVICE_PASSWORD")


def test_the_routers_configuration_is_valid_with_the_variables_that_it_gets() -> None:
    config = routers_configuration()
    (source,) = config.sources
    assert (source.raw["username"], source.raw["password"]) == ("edgerouter", VARIABLES["ROUTER_PASSWORD"])
    assert config.shutdown.grace < float(SERVICES["router"]["stop_grace_period"].removesuffix("s"))


def test_prometheus_scrapes_the_router_with_the_rules_and_grafana_asks_prometheus() -> None:
    scraped = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    (job,) = scraped["scrape_configs"]
    assert (job["job_name"], job["static_configs"]) == ("edgerouter", [{"targets": ["router:8080"]}])
    folder = "/etc/prometheus/"
    assert any(mount.split(":")[1] == folder + scraped["rule_files"][0] for mount in SERVICES["prometheus"]["volumes"])
    (source,) = yaml.safe_load((FOLDER / "provisioning/datasources/prometheus.yaml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = yaml.safe_load((FOLDER / "provisioning/dashboards/edgerouter.yaml").read_text())["providers"]
    assert any(mount.split(":")[1].startswith(provider["options"]["path"]) for mount in SERVICES["grafana"]["volumes"])


@pytest.mark.parametrize(("need", "status"), [("health", 200), ("metrics", 200), ("read", 401), ("payloads", 401), ("change", 401)])
async def test_another_container_scrapes_without_a_token_and_does_nothing_else_without_one(need: Need, status: int) -> None:
    admin = routers_configuration().admin
    assert admin.listen == "0.0.0.0:8080"
    door = TcpDoor(admin, local=False)

    async def answer(request: web.Request) -> web.Response:
        try:
            return web.Response(text=(await door.admit(request, need)).name)
        except Problem as problem:
            return problem.response()

    async with http_service(answer) as url, aiohttp.ClientSession() as session:
        async with session.post(url, headers={"Host": "router:8080"}) as answered:
            assert answered.status == status
        token = {"Authorization": f"Bearer {VARIABLES['ADMIN_TOKEN']}"}
        async with session.post(url, headers=token) as answered:
            assert await answered.text() == "token operator"


@pytest.mark.skipif(not shutil.which(PROMTOOL), reason="promtool is not installed")
def test_promtool_accepts_the_configuration() -> None:
    command = [PROMTOOL, "check", "config", "--syntax-only", str(FOLDER / "prometheus.yml")]
    checked = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert checked.returncode == 0, checked.stderr
