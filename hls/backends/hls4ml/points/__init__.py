"""hls4ml layers of our own for point models, through its extension API: orders, blocks, largest values, differences."""
