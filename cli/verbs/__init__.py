"""The verbs of the `swinunet` command, one module each."""
