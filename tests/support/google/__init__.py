"""Strict doubles of Google's services over real HTTP: identity, Pub/Sub, Cloud Storage, Secret Manager.

They refuse the requests that the real services refuse, with the real error bodies, and can inject faults.
"""
