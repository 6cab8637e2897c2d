"""Trimming leaves out what is never run, and compiles the rest of an image or a Debian package for its final place.

Covers: deploy/trim.py.
"""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
RECORD = "acme-1.dist-info/RECORD"


def trimmed(folder: Path, *place: str) -> None:
    subprocess.run([sys.executable, "-B", ROOT / "deploy/trim.py", folder, *place], check=True, timeout=60)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    site = tmp_path / "lib/python3.13/site-packages"
    files = {
        "acme/__init__.py": "",
        "acme/__init__.pyi": "",
        "acme/fast.pyx": "",
        "acme/tests/test_acme.py": "",
        "acme/testing/__init__.py": "",
        "apsw/sqlite_extra_binaries/csv.so": "",
        "botocore/data/endpoints.json": "{}",
        "botocore/data/sqs/2011-10-01/service-2.json.gz": "",
        "botocore/data/sqs/2012-11-05/examples-1.json": "{}",
        "botocore/data/sqs/2012-11-05/service-2.json.gz": "",
        "pip/__init__.py": "",
        "pip/_internal/main.py": "",
        f"pip/_internal/__pycache__/main.{sys.implementation.cache_tag}.pyc": "",
        "template.py": "{{ not python }",
        RECORD: "acme/__init__.py,sha256=x,1\nacme/__init__.pyi,,\nacme/tests/test_acme.py,,\n" + RECORD + ",,\n",
    }
    for name, text in files.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(text)
    return site


def kept(site: Path) -> set[str]:
    return {path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file() and path.suffix != ".pyc"}


def test_tests_types_sources_examples_and_superseded_interfaces_go_and_the_rest_stays(site: Path) -> None:
    trimmed(site.parents[2])
    assert kept(site) == {
        "acme/__init__.py",
        "acme/testing/__init__.py",
        "botocore/data/endpoints.json",
        "botocore/data/sqs/2012-11-05/service-2.json.gz",
        "pip/__init__.py",
        "pip/_internal/main.py",
        "template.py",
        RECORD,
    }


def test_a_record_lists_what_is_left_in_an_order_that_no_tool_changes(site: Path) -> None:
    trimmed(site.parents[2])
    assert (site / RECORD).read_text() == f"{RECORD},,\nacme/__init__.py,sha256=x,1\n"


def test_compiled_files_name_the_place_where_they_will_be_and_check_no_time(site: Path) -> None:
    trimmed(site.parents[2], "/opt/acme")
    compiled = Path(importlib.util.cache_from_source(str(site / "acme/__init__.py")))
    assert compiled.read_bytes()[4] == 0b01
    assert b"/opt/acme/lib/python3.13/site-packages/acme/__init__.py" in compiled.read_bytes()


def test_pip_works_without_its_compiled_files(site: Path) -> None:
    trimmed(site.parents[2])
    assert [path.parent.parent.name for path in site.rglob("pip/**/*.pyc")] == ["pip"]
