"""The dashboard: one page for browsers, which reads and steers the router through the admin API."""
