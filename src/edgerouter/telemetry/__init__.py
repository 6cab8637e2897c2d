"""Watches the event loop and its threads, and reports to the service manager that started the router."""
