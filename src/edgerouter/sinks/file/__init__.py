"""The file sink: one growing file that rotates, or one object per batch."""
