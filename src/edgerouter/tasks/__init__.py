"""Running code that blocks, hangs or fails: a worker thread, calls and ends bounded in time, back-off."""
