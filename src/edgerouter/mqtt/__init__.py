"""MQTT below sources and sinks: addresses, settings, packets, reason codes, and the reach into paho."""
