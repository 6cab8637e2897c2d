"""Subscriptions of applications, and the latest value of each topic, kept over restarts."""
