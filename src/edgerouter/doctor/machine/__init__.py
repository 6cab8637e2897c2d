"""Measurements of the machine: clock, disk, memory, limits of the process."""
