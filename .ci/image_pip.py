"""Write this machine's way to the package index as a folder that an image's build mounts: `image_pip.py FOLDER PLACE CACHE`.

FOLDER gets `pip.conf`, `uv.toml` and the certificates that the first names; PLACE is where the build sees FOLDER, CACHE where it
sees the cache.
"""

from __future__ import annotations

import ast
import configparser
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

FILES = ("cert", "client-cert")
TAKEN = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "retries", "no-index", "find-links", *FILES)
BUNDLES = ("PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


def configured() -> dict[str, str]:
    """What pip would use here; a variable wins over a file, as for pip itself."""
    listed = subprocess.run([sys.executable, "-m", "pip", "config", "list"], check=True, capture_output=True, text=True)
    found: dict[str, tuple[int, str]] = {}
    for line in listed.stdout.splitlines():
        key, _, value = line.partition("=")
        section, _, name = key.rpartition(".")
        rank = {"global": 1, "install": 2, ":env:": 3}.get(section, 0)
        if name in TAKEN and rank > found.get(name, (0, ""))[0]:
            found[name] = (rank, str(ast.literal_eval(value)))
    return {name: value for name, (_, value) in found.items()}


def uv(settings: dict[str, str]) -> str:
    """The same for uv, which reads no file of pip; certificates are left to SSL_CERT_FILE."""
    lines = [f"index-url = {json.dumps(settings['index-url'])}"] if settings.get("index-url") else []
    lines += [f"{name} = {json.dumps(settings[name].split())}" for name in ("extra-index-url", "find-links") if settings.get(name)]
    return "\n".join(["[pip]", *lines, ""])


def main() -> None:
    """Write the folder."""
    folder, place = Path(sys.argv[1]), Path(sys.argv[2])
    settings = configured()
    bundle = next((os.environ[name] for name in BUNDLES if os.environ.get(name)), None)
    if "cert" not in settings and bundle:
        settings["cert"] = bundle
    for name in FILES:
        if name in settings:
            shutil.copy(settings[name], folder / name)
            settings[name] = str(place / name)
    if "find-links" in settings:
        links = []
        for number, link in enumerate(settings["find-links"].split()):
            if "://" in link:
                links.append(link)
            elif Path(link).is_dir():
                shutil.copytree(link, folder / f"links-{number}")
                links.append(str(place / f"links-{number}"))
        settings["find-links"] = "\n".join(links)
    (folder / "uv.toml").write_text(uv(settings))
    settings["cache-dir"] = sys.argv[3]
    config = configparser.RawConfigParser()
    config["global"] = {name: value for name, value in settings.items() if value}
    with (folder / "pip.conf").open("w") as file:
        config.write(file)


if __name__ == "__main__":
    main()
