"""Builds all distributions of a release into a folder: `python -m release.build [FOLDER]`.

The folder gets an sdist and a wheel of each, the bill of materials, requirements with hashes, and the checksums of all of them. The
same commit gives the same bytes. It needs the dependency groups `dev` and `dist`, and a package index for the hashes.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

from release import sbom
from release.distributions import ROOT, Distribution, distributions, version

OURS = ("*.whl", "*.tar.gz", "*.cdx.json", "requirements-hashed.txt", "SHA256SUMS")
EXTRAS = "all,demo,otel"


def main() -> None:
    """Build into `dist`, or into the folder that is named."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "dist").resolve()
    empty(folder)
    build(distributions(), folder)
    number = version()
    files = sorted(folder.iterdir())
    (folder / f"edgerouter-{number}.cdx.json").write_text(sbom.text(sbom.of_release(files, number)))
    (folder / "requirements-hashed.txt").write_text(hashed(files, number))
    (folder / "SHA256SUMS").write_text(checksums(folder))


def empty(folder: Path) -> None:
    """Make a folder, and delete what an earlier build has left in it."""
    folder.mkdir(parents=True, exist_ok=True)
    for pattern in OURS:
        for file in folder.glob(pattern):
            file.unlink()


def build(wanted: Sequence[Distribution], folder: Path) -> None:
    """Build an sdist of each, and a wheel from the sdist."""
    environment = {**os.environ, "SOURCE_DATE_EPOCH": epoch(os.environ)}
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder)]

    def one(distribution: Distribution) -> None:
        done = subprocess.run([*command, distribution.folder], env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{distribution.name} cannot be built:\n{done.stdout}{done.stderr}")

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(one, wanted))


def epoch(environment: Mapping[str, str]) -> str:
    """Return the time of every file in an archive: of the commit, or a fixed one in an exported tree."""
    if given := environment.get("SOURCE_DATE_EPOCH"):
        return given
    command = ["git", "-C", str(ROOT), "log", "-1", "--format=%ct"]
    asked = subprocess.run(command, capture_output=True, text=True, check=False)
    return asked.stdout.strip() or "1580601600"


def hashed(files: Sequence[Path], number: str) -> str:
    """Return requirements for every platform with the hashes of all files that may be installed, ours first."""
    script = ROOT / "deploy/requirements.py"
    wanted = subprocess.run([sys.executable, script, "third-party", EXTRAS], capture_output=True, text=True, check=True).stdout
    options = ["--constraint", str(ROOT / "constraints.txt"), "--generate-hashes", "--universal", "--python-version", "3.11"]
    options += ["--quiet", "--no-header", "--no-annotate", "--no-config"]
    command = [sys.executable, "-m", "uv", "pip", "compile", *options, "-"]
    compiled = subprocess.run(command, input=wanted, capture_output=True, text=True, check=False)
    if compiled.returncode:
        sys.exit(f"the hashes cannot be had:\n{compiled.stderr}")
    lines = [f"# What edgerouter {number} was tested with. Install with:\n"]
    lines.append("#   pip install --require-hashes --find-links FOLDER --requirement FOLDER/requirements-hashed.txt\n")
    return "".join(lines) + "".join(_our_lines(files, number)) + compiled.stdout


def _our_lines(files: Sequence[Path], number: str) -> list[str]:
    lines = []
    for distribution in distributions():
        start = f"{distribution.name.replace('-', '_')}-{number}"
        hashes = [f"    --hash=sha256:{_digest(file)}" for file in files if file.name.startswith(start)]
        lines.append(" \\\n".join([f"{distribution.name}=={number}", *hashes]) + "\n")
    return lines


def checksums(folder: Path) -> str:
    """Return one line for each file, as `sha256sum --check` reads it."""
    return "".join(f"{_digest(file)}  {file.name}\n" for file in sorted(folder.iterdir()) if file.name != "SHA256SUMS")


def _digest(file: Path) -> str:
    return sha256(file.read_bytes()).hexdigest()


if __name__ == "__main__":
    main()
