"""The InfluxDB sink: messages as line protocol."""
