"""The HTTP sink, and the exchange with a web service that it shares with the InfluxDB sink."""
