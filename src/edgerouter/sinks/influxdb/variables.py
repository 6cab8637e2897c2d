"""Environment variables that enable the InfluxDB sink without a configuration file."""

from __future__ import annotations

from edgerouter.variables import Variable, Variables

VARIABLES = (
    Variables(
        kind="sink",
        type="influxdb",
        variables=(
            Variable(("INFLUXDB_URL",), "url"),
            Variable(("INFLUXDB_TOKEN",), "token", secret=True),
            Variable(("INFLUXDB_ORG",), "org"),
            Variable(("INFLUXDB_BUCKET",), "bucket"),
        ),
        fixed={"points": "body"},
    ),
)
