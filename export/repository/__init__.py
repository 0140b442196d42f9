"""The Triton model repository: version folders, configs, model card, promotion and rollback."""
