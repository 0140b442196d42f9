"""The gateway as a running program: its parts started in order, watched, and stopped."""
