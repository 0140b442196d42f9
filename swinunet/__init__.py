"""The `swinunet` command (`swinunet.cli`) and the exceptions that every folder shares (`swinunet.errors`)."""
