"""The REST API: calls, answers, callers that are let in, and its description."""
