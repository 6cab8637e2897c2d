// Plain mqtt.js: appends each payload to a file. Usage: node mqtt_js_file.cjs PACKAGE PORT FILE
const fs = require("node:fs");
const mqtt = require(process.argv[2]);

const file = fs.openSync(process.argv[4], "a");
const client = mqtt.connect(`mqtt://127.0.0.1:${process.argv[3]}`, { clientId: "peer", clean: false });
client.on("connect", () => client.subscribe("sensors/#", { qos: 1 }));
client.on("message", (topic, payload) => fs.writeSync(file, payload + "\n"));
