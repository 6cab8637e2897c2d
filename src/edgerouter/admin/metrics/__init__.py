"""Prometheus metrics, made from the status at the moment they are asked for: nothing is counted twice, nothing per message."""

from edgerouter.admin.metrics.collector import Metrics

__all__ = ["Metrics"]
