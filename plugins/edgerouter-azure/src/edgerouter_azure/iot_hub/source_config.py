"""Configuration of the IoT Hub source."""

from __future__ import annotations

from edgerouter.receiving import ReceivingConfig
from edgerouter_azure.iot_hub.config import DeviceFields

MOST_QUEUED = 50
"""Cloud-to-device messages that a hub keeps for a device:
https://learn.microsoft.com/azure/iot-hub/iot-hub-devguide-quotas-throttling."""


class IotHubSourceConfig(DeviceFields, ReceivingConfig):
    """Receives the cloud-to-device messages of a device. A sink with the same device shares its connection."""

    @property
    def window(self) -> int:
        return MOST_QUEUED
