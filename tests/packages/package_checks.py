"""The packages are reproducible and complete, and work outside of the checkout; `.ci/packages` builds them and runs this file."""

from __future__ import annotations

import email
import email.message
import os
import re
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from paho.mqtt import publish

from release import sbom
from release.build import epoch
from release.closure import installed
from release.distributions import ROOT, Distribution, distributions, version
from release.image import interpreter, system
from support.mosquitto import Mosquitto, running

pytestmark = pytest.mark.skipif("EDGEROUTER_DIST" not in os.environ, reason="run by .ci/packages, which builds the packages")

DIST = Path(os.environ.get("EDGEROUTER_DIST", "."))
ALL = distributions()
CONFIGURATION = """
sources: {{local: {{type: mqtt, url: "{url}", topics: ["plant/#"]}}}}
spool: {{path: {folder}/spool}}
sinks: {{out: {{type: file, path: {folder}/out}}}}
"""


def pythons() -> list[str]:
    """Return one working interpreter for each supported Python."""
    return subprocess.run([ROOT / ".ci/python", "--all"], capture_output=True, text=True, timeout=120, check=True).stdout.split()


PYTHONS = pythons() if "EDGEROUTER_DIST" in os.environ else []


def wheel(distribution: Distribution) -> Path:
    return DIST / f"{distribution.name.replace('-', '_')}-{version()}-py3-none-any.whl"


def sdist(distribution: Distribution) -> Path:
    return DIST / f"{distribution.name.replace('-', '_')}-{version()}.tar.gz"


def digests(folder: Path) -> dict[str, str]:
    return {file.name: sha256(file.read_bytes()).hexdigest() for file in folder.iterdir() if file.suffix in {".whl", ".gz"}}


def run(*command: object, folder: Path | None = None, seconds: float = 120) -> str:
    """Run a command without the checkout on any path, and return its output."""
    kept = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    # uv comes with the development tools, and need not be on the PATH
    kept["PATH"] = f"{os.environ['PATH']}:{Path(sys.executable).parent}"
    done = subprocess.run(
        [str(part) for part in command], cwd=folder, env=kept, capture_output=True, text=True, timeout=seconds, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def described(distribution: Distribution) -> email.message.Message:
    with zipfile.ZipFile(wheel(distribution)) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return email.message_from_string(archive.read(name).decode())


def test_twine_finds_nothing_to_complain_about() -> None:
    run(sys.executable, "-m", "twine", "check", "--strict", *map(wheel, ALL), *map(sdist, ALL))


def test_the_same_commit_gives_the_same_bytes(tmp_path: Path) -> None:
    """In another folder, with other times, permissions and locale, and the wheel straight from the tree."""
    clone = tmp_path / "elsewhere"
    # the files that git knows, as a clone has them, with the changes of the working tree
    for name in subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0"):
        if name and (ROOT / name).is_file() and not name.startswith(("tests/", "benchmarks/", "docs/")):
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            (clone / name).write_bytes((ROOT / name).read_bytes())
            (clone / name).chmod(0o600 if (ROOT / name).stat().st_mode & 0o100 == 0 else 0o700)
    out = tmp_path / "out"
    code = (
        "import os, sys\n"
        "from hatchling.builders.sdist import SdistBuilder\n"
        "from hatchling.builders.wheel import WheelBuilder\n"
        "for folder in sys.argv[2:]:\n"
        "    os.chdir(folder)\n"
        "    for builder in (SdistBuilder, WheelBuilder):\n"
        "        list(builder(folder).build(directory=sys.argv[1], versions=['standard']))\n"
    )
    environment = {**os.environ, "SOURCE_DATE_EPOCH": epoch(os.environ), "LC_ALL": "C", "TZ": "Asia/Kathmandu"}
    folders = [clone / distribution.folder.relative_to(ROOT) for distribution in ALL]
    subprocess.run([sys.executable, "-c", code, out, *folders], env=environment, check=True, timeout=120)
    assert digests(out) == digests(DIST)


@pytest.mark.parametrize("distribution", ALL, ids=lambda distribution: distribution.name)
def test_a_wheel_holds_the_code_its_types_its_licence_and_its_bill_of_materials(distribution: Distribution) -> None:
    package = distribution.name.replace("-", "_")
    info = f"{package}-{version()}.dist-info"
    with zipfile.ZipFile(wheel(distribution)) as archive:
        names = set(archive.namelist())
        bill = archive.read(f"{info}/sboms/{distribution.name}.cdx.json").decode()
        assert archive.read(f"{info}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
    assert {name.split("/")[0] for name in names} == {package, info}
    source = distribution.folder / "src" / package
    expected = {f"{package}/{file.relative_to(source)}" for file in source.rglob("*") if file.is_file() and file.suffix != ".pyc"}
    assert {name for name in names if name.startswith(f"{package}/")} == expected
    assert f"{package}/py.typed" in names
    assert JsonStrictValidator(SchemaVersion.V1_7).validate_str(bill) is None
    with tarfile.open(sdist(distribution)) as archived:
        members = archived.getnames()
        assert f"{package}-{version()}/LICENSE" in members
        assert not any(name.split("/")[1:2] == ["tests"] or ".egg-info" in name for name in members)


@pytest.mark.parametrize("distribution", ALL, ids=lambda distribution: distribution.name)
def test_the_long_description_has_no_relative_link(distribution: Distribution) -> None:
    fields = described(distribution)
    assert fields["Description-Content-Type"] == "text/markdown"
    text = str(fields.get_payload())
    prose = re.sub(r"(?ms)^```.*?^```$|`[^`\n]*`", "", text)
    assert [target for target in re.findall(r"\]\(([^)\s]+)\)", prose) if not re.match(r"https?://|#", target)] == []
    assert "](https://" in text


def test_the_bill_of_the_release_is_valid_and_names_our_wheels() -> None:
    [file] = DIST.glob("*.cdx.json")
    assert JsonStrictValidator(SchemaVersion.V1_7).validate_str(file.read_text()) is None
    assert all(sha256(wheel(distribution).read_bytes()).hexdigest() in file.read_text() for distribution in ALL)


def test_the_bill_of_an_image_is_valid() -> None:
    """As the Containerfile makes it, from this environment."""
    lines = ["debian 13", "bash 5.2.37-2+b5 amd64 bash 5.2.37-2"]
    other = [*system(lines), *interpreter(Path("/usr/local/bin/python3"))]
    assert JsonStrictValidator(SchemaVersion.V1_7).validate_str(sbom.text(sbom.of_image(version(), installed(), other))) is None


def test_the_checksums_are_those_of_all_files_and_no_host_stands_in_them() -> None:
    run("sha256sum", "--check", "--strict", "SHA256SUMS", folder=DIST)
    lines = (DIST / "SHA256SUMS").read_text().splitlines()
    assert {line.split()[1] for line in lines} == {file.name for file in DIST.iterdir()} - {"SHA256SUMS"}
    assert "://" not in (DIST / "requirements-hashed.txt").read_text()


# Installed


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    with running(tmp_path_factory.mktemp("broker")) as mosquitto:
        yield mosquitto


def test_everything_is_installed_by_hash_and_pip_takes_an_extra_from_the_folder(tmp_path: Path) -> None:
    """Third-party packages come by uv, which is faster; then pip gets no index, and finds ours in the folder alone."""
    run("uv", "venv", "--quiet", "--python", sys.executable, "--seed", tmp_path)
    install = ["uv", "pip", "install", "--quiet", "--python", tmp_path / "bin/python", "--find-links", DIST]
    run(*install, "--require-hashes", "--requirement", DIST / "requirements-hashed.txt")
    ours = [distribution.name for distribution in ALL]
    run("uv", "pip", "uninstall", "--quiet", "--python", tmp_path / "bin/python", *ours)
    pip = [tmp_path / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index", "--no-compile"]
    run(*pip, "--find-links", DIST, "edgerouter[all]")

    command = tmp_path / "bin/edgerouter"
    assert run(command, "--version", folder=tmp_path) == f"edgerouter {version()}\n"
    listed = run(command, "plugins", folder=tmp_path)
    assert all(name in listed for name in ours)


@pytest.mark.parametrize("python", PYTHONS, ids=lambda python: Path(python).name)
def test_a_fresh_environment_checks_an_example_and_routes_messages(python: str, broker: Mosquitto, tmp_path: Path) -> None:
    run("uv", "venv", "--quiet", "--python", python, tmp_path / "venv")
    install = ["uv", "pip", "install", "--quiet", "--python", tmp_path / "venv/bin/python", "--find-links", DIST]
    run(*install, "--constraint", ROOT / "constraints.txt", "edgerouter")
    command, file, out = tmp_path / "venv/bin/edgerouter", tmp_path / "edgerouter.yaml", tmp_path / "out/messages.jsonl"
    file.write_text(CONFIGURATION.format(url=broker.url, folder=tmp_path))
    for topic in ("plant/a", "plant/b", "plant/c"):
        publish.single(topic, "1", qos=1, retain=True, hostname="127.0.0.1", port=broker.port)

    run(command, "check", "-c", file, "--connect", folder=tmp_path)
    with running_router(command, file, tmp_path) as process:
        deadline = time.monotonic() + 60
        while not out.exists() or out.read_text().count("\n") < 3:
            assert process.poll() is None
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.05)
    assert process.returncode == 0
    assert out.read_text().count("\n") == 3


@contextmanager
def running_router(command: Path, file: Path, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run the installed router, and stop it as an operator does."""
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([command, "run", "-c", file], cwd=folder, stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(timeout=30)


@pytest.mark.parametrize("tool", ["uv", "pipx"])
def test_a_tool_runs_it_in_a_separate_environment(tool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("UV_TOOL_DIR", "UV_TOOL_BIN_DIR", "PIPX_HOME", "PIPX_BIN_DIR", "PIPX_MAN_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    constraints = ROOT / "constraints.txt"
    if tool == "uv":
        run("uv", "tool", "install", "--quiet", "--find-links", DIST, "--constraints", constraints, "edgerouter[sparkplug]")
    else:
        options = f"--find-links={DIST} --constraint={constraints}"
        run(sys.executable, "-m", "pipx", "install", "--quiet", "--backend", "uv", "--pip-args", options, "edgerouter[sparkplug]")
    [program] = tmp_path.glob("*bin*/edgerouter")
    assert "sparkplug-b" in run(program, "plugins", folder=tmp_path)
