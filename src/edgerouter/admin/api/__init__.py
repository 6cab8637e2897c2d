"""The admin API, version 1: one table of endpoints, from which routes and the OpenAPI document are made."""
