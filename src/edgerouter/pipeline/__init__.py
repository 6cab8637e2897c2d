"""The walk of a message, in walking order: intake, routing, batch, delivery, runner."""
