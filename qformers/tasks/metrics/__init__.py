"""Numbers of a trained model, each with its statistical error."""
