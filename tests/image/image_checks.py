"""The image keeps its promises where a device runs it; `.ci/image` builds the image and runs this file, `make test` does not."""

import base64
import json
import os
import signal
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from deploy.trim import SELDOM
from paho.mqtt import publish

from support.container import Container, Image, container
from support.mosquitto import Mosquitto, running

MESSAGES = 2000
PLUGINS = {
    "aws-sqs",
    "aws-s3",
    "azure-event-hubs",
    "azure-blob",
    "cloudsync",
    "gcp-pubsub",
    "gcp-storage",
    "aws-secrets-manager",
    "azure-keyvault",
    "gcp-secret-manager",
}
BUILD_TOOLS = {"gcc", "cc", "g++", "make", "strip", "ld", "git", "curl", "wget"}
HASHED_AND_NOT_CHECKED = 0b01
"""Flags of a compiled file that is valid regardless of its source's modification time (PEP 552)."""
MOST_BYTES = 127_000_000
"""Of edgerouter, its plugins and packages; the base comes on top, 114 MB of a small Debian."""
WHEEL = {
    "acme/__init__.py": "",
    "acme-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: acme\nVersion: 1\n",
    "acme-1.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "acme-1.dist-info/RECORD": "acme/__init__.py,,\n",
}
measured: dict[str, str] = {}

pytestmark = pytest.mark.skipif("EDGEROUTER_IMAGE" not in os.environ, reason="run by .ci/image, which builds the image")


@pytest.fixture(scope="module")
def image() -> Image:
    return Image.read(Path(os.environ["EDGEROUTER_IMAGE"]), Path(os.environ["EDGEROUTER_IMAGE_ROOT"]))


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    with running(tmp_path_factory.mktemp("broker"), "max_queued_messages 0", "max_inflight_messages 1000") as mosquitto:
        yield mosquitto


@pytest.fixture
def router(image: Image, broker: Mosquitto, tmp_path: Path) -> Iterator[Container]:
    """A container whose router writes everything under `plant` into a file on the volume, configured by variables only."""
    variables = {
        "EDGEROUTER__SOURCES__LOCAL__TYPE": "mqtt",
        "EDGEROUTER__SOURCES__LOCAL__URL": broker.url,
        "EDGEROUTER__SOURCES__LOCAL__TOPICS": '["plant/#"]',
        "EDGEROUTER__SINKS__OUT__TYPE": "file",
        "EDGEROUTER__SINKS__OUT__PATH": "/var/lib/edgerouter/out",
    }
    with container(image, tmp_path, variables) as made:
        yield made


def arrived(router: Container) -> Path:
    return router.volume / "out" / "messages.jsonl"


def payload(line: str) -> bytes:
    value = json.loads(line)["payload"]
    if isinstance(value, dict) and set(value) == {"base64"}:
        return base64.b64decode(value["base64"])
    return value.encode() if isinstance(value, str) else json.dumps(value).encode()


def test_it_says_what_an_engine_must_know(image: Image) -> None:
    config = image.config
    user, group = config["User"].split(":")
    assert int(user) > 0
    assert int(group) > 0
    assert config["Volumes"] == {"/var/lib/edgerouter": {}}
    assert (config["Entrypoint"], config["Cmd"], config["StopSignal"]) == (["edgerouter"], ["run"], "SIGTERM")
    assert config["Healthcheck"]["Test"][0] == "CMD-SHELL"
    labels = {name.removeprefix("org.opencontainers.image.") for name in config["Labels"]}
    assert labels >= {"title", "description", "version", "licenses", "revision"}


def test_nothing_of_the_machine_that_built_it_is_left_and_no_tools(image: Image) -> None:
    root = image.root
    assert not any(name.startswith("PIP_") for name in image.environment)
    assert "PIP_CONFIG_FILE=" not in image.history
    left = [*root.glob("media/*"), *root.glob("src"), *root.glob("requirements"), *root.glob("tmp/*"), *root.glob("root/.cache")]
    left += [*root.glob("etc/pip.conf"), *root.glob("var/lib/apt/lists/*"), *root.glob("var/cache/apt/*.bin")]
    assert left == []
    programs = {
        program.name for folder in ("bin", "usr/bin", "usr/local/bin", "opt/edgerouter/bin") for program in root.glob(f"{folder}/*")
    }
    assert programs & BUILD_TOOLS == set()
    for file in ("etc/apt/sources.list", "etc/apt/apt.conf"):
        assert (root / file).read_text() == ""


def test_every_module_is_compiled_and_no_compilation_depends_on_a_time(image: Image) -> None:
    """A read-only root cannot be compiled into later, so each start would pay for missing files."""
    python = next(image.root.glob("opt/edgerouter/lib/python3*"))
    tag = python.name.replace("python3.", "cpython-3")
    sources = [file for file in python.glob("site-packages/**/*.py") if "-" not in file.parent.name]
    stale = []
    for source in sources:
        compiled = source.parent / "__pycache__" / f"{source.stem}.{tag}.pyc"
        flags = int.from_bytes(compiled.read_bytes()[4:8], "little") if compiled.exists() else None
        if flags != HASHED_AND_NOT_CHECKED:
            stale.append(source)
    assert len(sources) > 1000
    # some packages carry templates that are not valid Python
    assert [source for source in stale if compiles(source) and not SELDOM.search(str(source))] == []


def test_it_takes_no_more_room_than_what_is_run(image: Image) -> None:
    assert used(image.root / "opt") < MOST_BYTES


def test_its_bill_of_materials_names_every_package(image: Image) -> None:
    bill = json.loads((image.root / "opt/edgerouter/image.cdx.json").read_text())
    found = {component["purl"].partition("?")[0] for component in bill["components"] if "purl" in component}
    for metadata in image.root.glob("opt/edgerouter/lib/python3*/site-packages/*.dist-info/METADATA"):
        name, number = metadata.parent.name.removesuffix(".dist-info").split("-")
        assert f"pkg:pypi/{name.lower().replace('_', '-').replace('.', '-')}@{number}" in found
    paragraphs = (image.root / "var/lib/dpkg/status").read_text().strip().split("\n\n")
    names = {purl.split("@")[0] for purl in found}
    assert {f"pkg:deb/debian/{text.split()[1]}" for text in paragraphs} <= names


def test_pip_installs_what_another_image_adds(router: Container) -> None:
    with zipfile.ZipFile(router.volume / "acme-1-py3-none-any.whl", "w") as wheel:
        for name, text in WHEEL.items():
            wheel.writestr(name, text)
    options = ("install", "--no-index", "--target", "added", "acme-1-py3-none-any.whl")
    added = router.run(*options, entrypoint=["pip"], seconds=120)
    assert (added.returncode, (router.volume / "added/acme/__init__.py").exists()) == (0, True), added.stdout + added.stderr
    checked = router.run("check", entrypoint=["pip"], seconds=120)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_every_plugin_is_there_and_each_can_be_imported(router: Container) -> None:
    names = {entry["name"] for entry in json.loads(router.run("plugins", "--json").stdout)}
    assert names >= PLUGINS
    imports = (
        "from importlib.metadata import entry_points\n"
        "for group in ('edgerouter.sources', 'edgerouter.sinks', 'edgerouter.secret_stores'):\n"
        "    for point in entry_points(group=group): print(point.load())\n"
    )
    done = router.run("-c", imports, entrypoint=["python"], seconds=120)
    assert (done.returncode, done.stderr) == (0, "")


def test_messages_pass_through_as_a_user_that_is_not_root_on_a_root_that_is_read_only(
    image: Image, broker: Mosquitto, router: Container
) -> None:
    """Covers the start, the health check and the stop; the report shows the time taken."""
    publish.single("plant/first", b"first", qos=1, retain=True, hostname="127.0.0.1", port=broker.port)
    nobody = router.run("status", "--ready", "--spool", "/var/lib/edgerouter")
    assert nobody.returncode == 1, nobody.stdout + nobody.stderr
    began = time.monotonic()
    router.start()
    router.wait_for(arrived(router), 1)
    measured["start to first message in the file"] = f"{time.monotonic() - began:.2f} s"

    assert router.status("Uid").split() == [image.config["User"].split(":")[0]] * 4
    assert router.status("NSpid").split()[-1] == "1"
    assert (int(router.status("CapEff"), 16), router.status("NoNewPrivs")) == (0, "1")
    mounts = {
        fields[4]: fields[5].split(",") for fields in map(str.split, Path(f"/proc/{router.pid}/mountinfo").read_text().splitlines())
    }
    assert "ro" in mounts["/"]
    assert "rw" in mounts["/var/lib/edgerouter"]

    time.sleep(3)  # settle, to measure the idle state
    measured["idle RSS"] = f"{int(router.status('VmRSS').split()[0]) / 1024:.0f} MiB"
    healthy = router.healthy()
    assert healthy.returncode == 0, healthy.stdout + healthy.stderr

    sent = [number.to_bytes(4, "big") + bytes(range(200)) for number in range(MESSAGES)]
    began = time.monotonic()
    publish.multiple([("plant/binary", each, 1, False) for each in sent], hostname="127.0.0.1", port=broker.port)
    lines = router.wait_for(arrived(router), 1 + MESSAGES)
    measured[f"{MESSAGES} QoS 1 messages, one publisher, into the file"] = f"{time.monotonic() - began:.1f} s"
    assert sorted(map(payload, lines)) == sorted([b"first", *sent])

    began = time.monotonic()
    router.signal(signal.SIGTERM)
    assert router.ended(20) == 0, router.tail()
    measured["SIGTERM to exit code 0"] = f"{time.monotonic() - began:.2f} s"


def test_a_volume_is_taken_over_by_the_next_container(broker: Mosquitto, router: Container) -> None:
    publish.single("plant/first", b"first", qos=1, retain=True, hostname="127.0.0.1", port=broker.port)
    router.start()
    router.wait_for(arrived(router), 1)
    router.kill()
    publish.single("plant/while/away", b"while away", qos=1, hostname="127.0.0.1", port=broker.port)
    router.start()
    router.wait_for(arrived(router), 2)
    assert b"while away" in map(payload, arrived(router).read_text().splitlines())


def test_a_stop_during_the_start_ends_it(router: Container) -> None:
    """Process 1 receives no signal without a handler, so the router must install one before the slow imports."""
    router.start()
    router.wait_until_it_is("edgerouter")
    while not int(router.status("SigCgt"), 16) >> (signal.SIGTERM - 1) & 1:
        time.sleep(0.001)
    router.signal(signal.SIGTERM)
    assert router.ended(20) == 0, router.tail()
    assert "edgerouter runs" not in router.tail()


def compiles(source: Path) -> bool:
    try:
        compile(source.read_bytes(), source, "exec")
    except (SyntaxError, ValueError):
        return False
    return True


def test_the_report(image: Image, capsys: pytest.CaptureFixture[str]) -> None:
    """Sizes are those of the files on disk; a registry holds them compressed, at about two fifths."""
    folders = {"image": image.root, "of it edgerouter, its plugins and packages": image.root / "opt"}
    sizes = {name: f"{used(folder) / 1e6:.0f} MB" for name, folder in folders.items()}
    with capsys.disabled():
        print("\n\nthe image\n")
        for name, value in {**sizes, **measured}.items():
            print(f"  {name:<56} {value:>10}")
        print()


def used(folder: Path) -> int:
    return sum(file.lstat().st_size for file in folder.rglob("*") if not file.is_symlink() and file.is_file())
