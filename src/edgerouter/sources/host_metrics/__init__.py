"""The host-metrics source: figures of the machine at an interval, each sample a message."""
