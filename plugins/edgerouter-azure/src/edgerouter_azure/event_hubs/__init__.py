"""Azure Event Hubs: the sink and the source azure-event-hubs."""
