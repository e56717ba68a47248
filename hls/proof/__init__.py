"""Why firmware may be believed: equality bit for bit, layer by layer, on events made to break it."""
