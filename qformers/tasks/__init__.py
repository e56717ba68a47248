"""What is learned from the labels of a data set: losses, metrics and pictures."""
