"""Azure IoT Hub over MQTT: a device that sends telemetry and receives commands."""
