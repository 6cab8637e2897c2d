"""Export to a collector of OpenTelemetry from a separate thread: metrics and spans of batches; imported only when configured."""
