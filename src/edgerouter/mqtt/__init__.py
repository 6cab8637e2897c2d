"""MQTT below sources and sinks: settings, packets, reason codes, connection, publisher, and the reach into paho."""
