"""`python -m swinunet` is the `swinunet` command."""

from swinunet.cli import main

main()
