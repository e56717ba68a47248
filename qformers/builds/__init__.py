"""From a build file to its record, and from the record to Keras models."""
