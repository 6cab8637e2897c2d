"""Builds and describes a release: packages, bills of materials, checksums, licences, notes."""
