"""Strict doubles of Google's services over real HTTP: identity, Pub/Sub, Cloud Storage, Secret Manager.

They refuse what the real ones refuse, with the real ones' error bodies, and can be disturbed while they run.
"""
