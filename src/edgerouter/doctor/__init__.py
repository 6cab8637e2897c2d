"""The doctor: measures the broker, the machine and the way to the services, and says what to change."""
