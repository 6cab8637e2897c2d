"""The distributions agree with each other: one version, one licence, the same metadata, and bills of materials that are current.

`.ci/packages` builds and installs them; this is what can be seen without a build.

Covers: pyproject.toml, plugins, CHANGELOG.md, .ci/release, .ci/releasable, .github, docker-bake.hcl.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

import edgerouter
from release import sbom
from release.audit import judged
from release.closure import Package, closure, licence
from release.distributions import ROOT, Distribution, distributions, version
from release.image import interpreter, system
from release.licences import BRINGS, page, refused
from release.notes import notes
from release.numbers import series, written

ALL = distributions()
CORE, *PLUGINS = ALL
SHARED = ("license", "license-files", "authors", "classifiers", "requires-python", "dynamic", "urls")
HISTORY = """# Changelog

## [Unreleased]

### Added

- Something.

## [0.2.0] - 2027-01-02

- Second.

## [0.1.0] - 2026-12-01

- First.
"""


def names(distribution: Distribution) -> str:
    return distribution.name


@pytest.mark.parametrize("plugin", PLUGINS, ids=names)
def test_plugins_have_the_metadata_of_the_core(plugin: Distribution) -> None:
    assert {key: plugin.project[key] for key in SHARED} == {key: CORE.project[key] for key in SHARED}
    assert plugin.project["keywords"] == sorted(plugin.project["keywords"])


@pytest.mark.parametrize("distribution", ALL, ids=names)
def test_each_distribution_carries_the_licence(distribution: Distribution) -> None:
    assert (distribution.folder / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_the_version_stands_in_one_place_and_every_other_agrees() -> None:
    number = Version(version())
    assert str(number) == edgerouter.__version__
    assert all("version" not in distribution.project for distribution in ALL)
    stale = [str(file.relative_to(ROOT)) for file, text in written(number).items() if file.read_text() != text]
    assert not stale, f"run .ci/set-version {number}"


@pytest.mark.parametrize(
    ("number", "works_with", "not_with"),
    [("0.1.0", ["0.1.0", "0.1.9"], ["0.0.9", "0.2.0"]), ("1.2.3", ["1.2.0", "1.9.0"], ["1.1.0", "2.0.0"])],
)
def test_a_plugin_works_with_the_cores_whose_contract_is_its_own(number: str, works_with: list[str], not_with: list[str]) -> None:
    accepted = Requirement(f"edgerouter{series(Version(number))}").specifier
    assert [core in accepted for core in works_with] == [True, True]
    assert [core in accepted for core in not_with] == [False, False]


def test_a_new_version_reaches_every_place() -> None:
    texts = written(Version("7.8.9"))
    assert len(texts) == 3 + len(PLUGINS)
    assert all("7.8.9" in text or '"edgerouter>=7.8,<8"' in text for text in texts.values())


def test_each_plugin_has_an_extra_of_its_name_and_all_brings_them() -> None:
    extras = CORE.extras
    short = {plugin.name.removeprefix("edgerouter-") for plugin in PLUGINS}
    assert {extra for extra, wanted in extras.items() if wanted == [f"edgerouter-{extra}"]} == short
    [everything] = extras["all"]
    assert Requirement(everything).extras == short | {"host"}


@pytest.mark.parametrize("distribution", ALL, ids=names)
def test_the_bill_of_materials_is_current(distribution: Distribution) -> None:
    """It is in the tree, because a wheel is also built where nothing of ours is installed."""
    assert distribution.sbom.read_text() == sbom.text(sbom.of_wheel(distribution, version())), "run make sbom"


def test_a_bill_of_materials_has_the_ranges_and_the_optional_packages() -> None:
    components = {component["name"]: component for component in sbom.of_wheel(CORE, "1.2.3")["components"]}
    assert components["aiomqtt"]["versionRange"] == "vers:pypi/>=2.5.1|<3"
    assert components["aiomqtt"]["scope"] == "required"
    assert components["edgerouter-aws"] == {
        "type": "library",
        "bom-ref": "pkg:pypi/edgerouter-aws",
        "name": "edgerouter-aws",
        "versionRange": "vers:pypi/*",
        "scope": "optional",
        "purl": "pkg:pypi/edgerouter-aws",
        "isExternal": True,
    }


def test_the_bill_of_an_image_names_python_packages_and_those_of_the_system() -> None:
    packages = [Package("edgerouter", "0.1.0", "Apache-2.0", ("typer",)), Package("typer", "0.29.2", "MIT", ("click",))]
    lines = ["debian 13", "libc6 2.41-12+deb13u1 amd64 glibc 2.41-12+deb13u1", "bash 5.2.37-2+b5 amd64 bash 5.2.37-2"]
    bill = sbom.of_image("0.1.0", packages, [*system(lines)])
    assert [component["bom-ref"] for component in bill["components"]] == [
        "os:debian-13",
        "pkg:deb/debian/bash@5.2.37-2%2Bb5?arch=amd64&distro=debian-13&upstream=bash%405.2.37-2",
        "pkg:deb/debian/libc6@2.41-12%2Bdeb13u1?arch=amd64&distro=debian-13&upstream=glibc%402.41-12%2Bdeb13u1",
        "pkg:pypi/edgerouter@0.1.0",
        "pkg:pypi/typer@0.29.2",
    ]
    edges = {each["ref"]: each["dependsOn"] for each in bill["dependencies"]}
    assert edges["pkg:pypi/edgerouter@0.1.0"] == ["pkg:pypi/typer@0.29.2"]
    assert len(edges["image:0.1.0"]) == 4


@pytest.mark.parametrize(("executable", "found"), [("/usr/local/bin/python3", ["python"]), ("/usr/bin/python3", [])])
def test_the_bill_of_an_image_names_a_python_beside_the_packages_of_the_system(executable: str, found: list[str]) -> None:
    assert [each["name"] for each in interpreter(Path(executable))] == found


# Vulnerabilities


def test_an_audit_names_each_vulnerability_and_its_cure() -> None:
    found = {"id": "PYSEC-2024-1", "fix_versions": ["3.9.2", "3.10.0"], "aliases": [], "description": ""}
    packages = [{"name": "aiohttp", "version": "3.9.0", "vulns": [found]}, {"name": "yarl", "version": "1.0", "vulns": []}]
    assert judged({"dependencies": packages}) == (["aiohttp 3.9.0: PYSEC-2024-1, fixed in 3.9.2, 3.10.0"], 1)
    assert judged({"dependencies": packages[1:]}) == (["packages: 1, known vulnerabilities: 0"], 0)


def test_an_audit_whose_database_has_no_answers_is_not_clean() -> None:
    """As pip-audit reports from a mirror of the index without a database of vulnerabilities, with exit code 0."""
    packages = [{"name": f"acme-{number}", "skip_reason": "Dependency not found on PyPI"} for number in range(7)]
    lines, code = judged({"dependencies": packages})
    assert code == 3
    assert lines == [
        "NOT AUDITED: the database has no answer for 7 of 7 packages: acme-0, acme-1, acme-2, acme-3, acme-4 ...",
    ]


# Licences


def test_no_dependency_is_under_the_gpl_alone_and_each_licence_is_known() -> None:
    packages = [package for wanted in BRINGS.values() for package in closure(wanted)]
    assert len(packages) > 100
    assert refused(packages) == []


@pytest.mark.parametrize(
    ("expression", "verdict"),
    [
        ("MIT", True),
        ("EPL-2.0 OR GPL-2.0-only", True),
        ("LGPL-3.0-only", True),
        ("GPL-3.0-or-later", False),
        ("AGPL-3.0-only", False),
    ],
)
def test_a_strong_copyleft_is_refused_unless_there_is_a_choice(expression: str, verdict: bool) -> None:
    assert (refused([Package("x", "1", expression, ())]) == []) is verdict


def test_an_unknown_licence_is_refused() -> None:
    assert refused([Package("x", "1", "NOASSERTION", ())]) == ["x: NOASSERTION"]


def test_the_page_of_licences_is_current() -> None:
    assert (ROOT / "docs/reference/licences.md").read_text() == page(), "run make licences"


def test_a_closure_follows_extras_and_markers() -> None:
    found = {package.name: package for package in closure(["edgerouter[nats]"])}
    assert {"edgerouter", "edgerouter-nats", "nats-py", "nkeys", "pydantic-core"} <= set(found)
    assert "aiobotocore" not in found
    assert "nats-py" in found["edgerouter-nats"].needs
    assert found["edgerouter"].licence == "Apache-2.0"


# Release notes


def test_the_notes_of_a_version_are_its_section_of_the_changelog() -> None:
    assert notes(HISTORY, "0.2.0") == "- Second.\n"
    assert notes(HISTORY, "0.1.0") == "- First.\n"
    assert notes(HISTORY, "Unreleased") == "### Added\n\n- Something.\n"
    assert notes(HISTORY, "0.3.0") is None


def test_the_command_for_the_notes_refuses_a_version_that_the_changelog_lacks() -> None:
    def asked(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([ROOT / ".ci/release-notes", *arguments], capture_output=True, text=True, timeout=30, check=False)

    assert asked("Unreleased").stdout.startswith("### Added")
    absent = asked("v99.0.0")
    assert absent.returncode == 1
    assert re.match(r"CHANGELOG\.md says nothing about 99\.0\.0; it has Unreleased", absent.stderr)


def test_licences_come_from_the_newest_field(tmp_path: Path) -> None:
    from importlib.metadata import PathDistribution

    def read(*lines: str) -> str:
        (tmp_path / "METADATA").write_text("\n".join(["Metadata-Version: 2.1", "Name: x", "Version: 1", *lines]))
        return licence(PathDistribution(tmp_path))

    assert read("License-Expression: MIT OR Apache-2.0", "License: GPL") == "MIT OR Apache-2.0"
    assert read("Classifier: License :: OSI Approved :: MIT License", "License: whatever") == "MIT"
    assert read("License: BSD") == "BSD-3-Clause"
    assert read("License: see the file") == "NOASSERTION"
    assert read() == "NOASSERTION"


# The repository


def test_a_release_that_is_not_ready_is_refused_with_every_reason() -> None:
    answer = subprocess.run([ROOT / ".ci/releasable", "v99.0.0"], capture_output=True, text=True, timeout=30, check=False)
    assert answer.returncode == 1
    lines = answer.stderr.splitlines()
    assert all(line.startswith("not ready: ") for line in lines)
    assert any("the tag is 99.0.0" in line for line in lines)
    assert any("CHANGELOG.md has no section 99.0.0" in line for line in lines)


def test_workflows_run_the_commands_of_the_repository_with_no_more_rights_than_they_name() -> None:
    files = sorted((ROOT / ".github/workflows").glob("*.yml"))
    assert [file.name for file in files] == ["ci.yml", "release.yml"]
    for file in files:
        workflow = yaml.safe_load(file.read_text())
        assert workflow["permissions"] == {}
        assert all("timeout-minutes" in job for job in workflow["jobs"].values())
        assert all((ROOT / script).exists() for script in re.findall(r"\.ci/[\w-]+", file.read_text()))


def test_the_bake_file_gives_only_arguments_that_the_containerfile_has() -> None:
    arguments = re.findall(r"^ARG (\w+)", (ROOT / "Containerfile").read_text(), re.MULTILINE)
    given = re.findall(r"\b([A-Z_]+) = (?!\")", " ".join(re.findall(r"args\s+= \{(.*)\}", (ROOT / "docker-bake.hcl").read_text())))
    assert {"BASE", "EXTRAS", "REVISION"} <= {*given, "EXTRAS"} <= set(arguments)
