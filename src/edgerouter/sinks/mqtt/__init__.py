"""The MQTT sink: messages published to a broker."""
