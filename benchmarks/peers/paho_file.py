"""Plain paho-mqtt: appends each payload to a file.

Usage: `python paho_file.py PORT FILE`.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion


def on_message(_: Client, file: io.RawIOBase, message: MQTTMessage) -> None:
    """Append a payload and a newline; paho acknowledges afterwards."""
    file.write(message.payload + b"\n")


def main() -> None:
    """Run for ever."""
    with Path(sys.argv[2]).open("ab", buffering=0) as file:
        client = Client(CallbackAPIVersion.VERSION2, "peer", clean_session=False, userdata=file)
        client.on_message = on_message
        client.connect("127.0.0.1", int(sys.argv[1]))
        client.subscribe("sensors/#", qos=1)
        client.loop_forever()


if __name__ == "__main__":
    main()
