"""The MQTT source: one session at a broker; messages are acknowledged once they are stored."""
