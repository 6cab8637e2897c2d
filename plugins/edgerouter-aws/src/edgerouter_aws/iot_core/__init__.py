"""AWS IoT Core over MQTT: the sink and the source aws-iot-core."""
