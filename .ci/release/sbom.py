"""Bills of materials in CycloneDX 1.7 that are the same at every build: `python -m release.sbom` writes those of the wheels.

A wheel holds nothing but its distribution, so the one inside it (PEP 770) names direct dependencies as external, with the accepted
range. That of a release names every package with the version that was tested.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from release.closure import Package, closure
from release.distributions import Distribution, distributions, version

Json = dict[str, Any]
COMPLETE = ("edgerouter[all,demo,otel]",)
"""Extras in the bill of a release."""


def write_all() -> None:
    """Write the bill of every wheel into its source folder."""
    for distribution in distributions():
        distribution.sbom.write_text(text(of_wheel(distribution, version())))


def of_wheel(distribution: Distribution, number: str) -> Json:
    """Return the bill of one wheel."""
    optional = [Requirement(line) for lines in distribution.extras.values() for line in lines]
    wanted = [(Requirement(line), "required") for line in distribution.requirements]
    wanted += [(requirement, "optional") for requirement in optional if requirement.name != distribution.name]
    external: dict[str, Json] = {}
    for requirement, scope in wanted:
        component = _external(requirement, scope)
        external.setdefault(component["bom-ref"], component)
    subject = _ours(distribution.name, number, str(distribution.project["description"]))
    return _bill(subject, external.values(), {subject["bom-ref"]: list(external)})


def of_release(files: Sequence[Path], number: str) -> Json:
    """Return the bill of a whole installation, as it was tested, with the checksums of our files."""
    packages = {package.name: package for package in closure(COMPLETE)}
    ours = {distribution.name for distribution in distributions()}
    components = [_installed(package, files if package.name in ours else ()) for package in packages.values()]
    refs = {package.name: _purl(package.name, package.version) for package in packages.values()}
    subject = _ours("edgerouter", number, "edgerouter with all its plugins, as tested")
    subject |= {"bom-ref": f"release:{number}", "type": "application"}
    edges = {refs[package.name]: [refs[name] for name in package.needs] for package in packages.values()}
    return _bill(subject, components, {subject["bom-ref"]: [refs["edgerouter"]], **edges})


def of_image(number: str, python: Sequence[Package], other: Sequence[Json]) -> Json:
    """Return the bill of an image: installed Python packages, and components that are described already."""
    refs = {package.name: _purl(package.name, package.version) for package in python}
    subject = {"type": "container", "bom-ref": f"image:{number}", "name": "edgerouter", "version": number}
    edges = {refs[package.name]: [refs[name] for name in package.needs if name in refs] for package in python}
    components = [*(_installed(package, ()) for package in python), *other]
    needed = {ref for found in edges.values() for ref in found}
    top = [str(component["bom-ref"]) for component in components if component["bom-ref"] not in needed]
    return _bill(subject, components, {subject["bom-ref"]: top, **edges})


def text(bill: Json) -> str:
    """Encode a bill; its serial number is derived from its content."""
    serial = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(bill, sort_keys=True))
    return json.dumps({**bill, "serialNumber": f"urn:uuid:{serial}"}, indent=2, ensure_ascii=False) + "\n"


def _bill(subject: Json, components: Iterable[Json], edges: Mapping[str, Sequence[str]]) -> Json:
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.7.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.7",
        "version": 1,
        "metadata": {"component": subject},
        "components": sorted(components, key=lambda component: str(component["bom-ref"])),
        "dependencies": [{"ref": ref, "dependsOn": sorted(edges[ref])} for ref in sorted(edges)],
    }


def _ours(name: str, number: str, description: str) -> Json:
    return {
        "type": "library",
        "bom-ref": _purl(name, number),
        "name": name,
        "version": number,
        "description": description,
        "licenses": [{"expression": "Apache-2.0"}],
        "purl": _purl(name, number),
    }


def _external(requirement: Requirement, scope: str) -> Json:
    name = canonicalize_name(requirement.name)
    return {
        "type": "library",
        "bom-ref": f"pkg:pypi/{name}",
        "name": name,
        "versionRange": _range(requirement.specifier),
        "scope": scope,
        "purl": f"pkg:pypi/{name}",
        "isExternal": True,
    }


def _installed(package: Package, files: Sequence[Path]) -> Json:
    component = {
        "type": "library",
        "bom-ref": _purl(package.name, package.version),
        "name": package.name,
        "version": package.version,
        "licenses": [{"expression": package.licence}],
        "purl": _purl(package.name, package.version),
    }
    start = f"{package.name.replace('-', '_')}-{package.version}"
    if wheels := [file for file in files if file.name.startswith(start) and file.suffix == ".whl"]:
        component["hashes"] = [{"alg": "SHA-256", "content": sha256(wheels[0].read_bytes()).hexdigest()}]
    return component


def _purl(name: str, number: str) -> str:
    return f"pkg:pypi/{name}@{number}"


def _range(specifiers: SpecifierSet) -> str:
    """Return a range in the `vers` notation, which orders its bounds and leaves out the operator of equality."""
    ordered = sorted(specifiers, key=lambda item: Version(item.version))
    bounds = [item.version if item.operator == "==" else f"{item.operator}{item.version}" for item in ordered]
    return "vers:pypi/" + ("|".join(bounds) or "*")


if __name__ == "__main__":
    write_all()
