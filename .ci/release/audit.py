"""Asks for known vulnerabilities of every package in constraints.txt: `python -m release.audit`, with arguments for pip-audit.

It exits with 1 where there are some. pip-audit reports success for packages that its database does not answer for, as behind a
mirror of the index that has no such database; here that is a line that starts with `NOT AUDITED:`, and exit code 3.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from release.distributions import ROOT

OPTIONS = ("--no-deps", "--disable-pip", "--progress-spinner", "off", "--format", "json")
CLEAN, VULNERABLE, UNKNOWN = 0, 1, 3


def judged(report: Mapping[str, Any]) -> tuple[list[str], int]:
    """Return the lines to print and the exit code for a report of pip-audit."""
    packages = report["dependencies"]
    known = [package for package in packages if "vulns" in package]
    lines = [
        f"{package['name']} {package['version']}: {found['id']}, {_fixed(found['fix_versions'])}"
        for package in known
        for found in package["vulns"]
    ]
    code = VULNERABLE if lines else CLEAN
    if skipped := [str(package["name"]) for package in packages if "vulns" not in package]:
        some = ", ".join(skipped[:5]) + (" ..." if len(skipped) > 5 else "")
        lines.append(f"NOT AUDITED: the database has no answer for {len(skipped)} of {len(packages)} packages: {some}")
        code = code or UNKNOWN
    if code == CLEAN:
        lines.append(f"packages: {len(known)}, known vulnerabilities: 0")
    return lines, code


def audited(arguments: Sequence[str]) -> tuple[list[str], int]:
    """Run pip-audit in a separate environment."""
    command = [sys.executable, "-m", "uv", "tool", "run", "pip-audit", "--requirement", str(ROOT / "constraints.txt"), *OPTIONS]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    try:
        return judged(json.loads(done.stdout))
    except ValueError:
        reason = (done.stderr.strip().splitlines() or [f"pip-audit ended with {done.returncode}"])[-1]
        return [f"NOT AUDITED: {reason}"], UNKNOWN


def _fixed(versions: Sequence[str]) -> str:
    return f"fixed in {', '.join(versions)}" if versions else "no fixed version"


if __name__ == "__main__":
    said, exit_code = audited(sys.argv[1:])
    sys.stdout.writelines(f"{line}\n" for line in said)
    sys.exit(exit_code)
