"""The sections of a build file as frozen records, and the reading of their YAML."""
