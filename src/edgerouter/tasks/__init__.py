"""Running code that blocks, hangs or fails: a worker thread, a call bounded in time, an end bounded in time, back-off."""
