# balena has no bind mounts, so the broker's configuration is in its image.
FROM eclipse-mosquitto:2
COPY mosquitto.conf /mosquitto/config/mosquitto.conf
