"""What several tests share: small models, events, oracles and paths."""
