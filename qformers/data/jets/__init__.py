"""Jets: readers of public sets, slots of a fixed size, streams and their cache."""
