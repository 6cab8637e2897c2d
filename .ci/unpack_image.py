"""Unpack the base image, an OCI archive with one layer, into a folder: `unpack_image.py ARCHIVE FOLDER`. Needs root."""

from __future__ import annotations

import json
import sys
import tarfile
from pathlib import Path
from typing import Any


def main() -> None:
    """Unpack all layers in their order."""
    archive, folder = Path(sys.argv[1]), Path(sys.argv[2])
    with tarfile.open(archive) as image:

        def blob(described: dict[str, Any]) -> str:
            algorithm, _, digest = described["digest"].partition(":")
            return f"blobs/{algorithm}/{digest}"

        def document(name: str) -> dict[str, Any]:
            file = image.extractfile(name)
            assert file is not None, name
            found: dict[str, Any] = json.load(file)
            return found

        (manifest,) = document("index.json")["manifests"]
        for layer in document(blob(manifest))["layers"]:
            with tarfile.open(fileobj=image.extractfile(blob(layer))) as files:
                files.extractall(folder, filter="fully_trusted", numeric_owner=True)  # noqa: S202  (our own archive)


if __name__ == "__main__":
    main()
