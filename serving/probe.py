"""Is a Triton that runs elsewhere up? For the health checks of containers: the canary decides, not `ready`.

    python -m swinunet.serving.probe HOST:PORT MODEL_REPOSITORY

Exit status 0 if every model of the repository answers its canary rightly, else 1 with the reason in one line.
"""

from __future__ import annotations

import sys
from pathlib import Path

from swinunet.foundation.errors import ServingError
from swinunet.serving.canary import check_model, connect, served_models

_TIMEOUT_S = 20.0


def probe(url: str, repository: Path) -> int:
    """How many models answered, of the server at `url` (host:port of gRPC) and its repository.

    Raises ServingError for a server that does not answer, has no model, or answers a canary wrongly.
    """
    with connect(url) as client:
        models = served_models(client, _TIMEOUT_S)
        if not models:
            raise ServingError(f"Triton at {url} has no model")
        return sum(check_model(client, repository, model, _TIMEOUT_S) for model in models)


def main() -> None:
    """The command."""
    if len(sys.argv) != 3:
        sys.exit("usage: python -m swinunet.serving.probe HOST:PORT MODEL_REPOSITORY")
    try:
        answered = probe(sys.argv[1], Path(sys.argv[2]))
    except ServingError as error:
        sys.exit(str(error))
    print(f"{answered} answered")


if __name__ == "__main__":
    main()
