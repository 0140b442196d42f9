"""The `swinunet` command (`swinunet.cli`), and what every folder shares: exceptions, whole-or-nothing files, paths."""
