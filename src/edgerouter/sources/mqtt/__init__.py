"""The MQTT source: one session at a broker, acknowledged once the messages are safe."""
