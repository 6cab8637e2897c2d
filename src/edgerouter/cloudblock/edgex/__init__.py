"""Variables of EdgeX's application services: its exports become sinks, its message bus a source."""
