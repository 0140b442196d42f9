"""What the gateway is told by its TOML file, checked before anything starts."""
