"""What a Triton serves: every model with a spec of ours, as it says itself over gRPC."""

from __future__ import annotations

from swinunet.client.triton.connection import Connection
from swinunet.client.triton.options import ServerOptions
from swinunet.foundation.errors import ServerError
from swinunet.imaging import SPEC_KEY, ModelSpec


def specs_on_server(url: str, options: ServerOptions | None = None) -> tuple[ModelSpec, ...]:
    """The specs of the models that are ready, by name; models without a spec of ours are left out.

    url: "HOST:PORT" of Triton's gRPC. Raises ServerError if nobody answers, SpecError for a spec that cannot be read.
    """
    connection = Connection(url, options or ServerOptions())
    try:
        with connection.translated():
            if not connection.is_live():
                raise ServerError(f"Triton at {url} is not live; look at its log")
            ready = sorted({model.name for model in connection.repository_index() if model.state == "READY"})
            configs = {name: connection.model_config(name) for name in ready}
    finally:
        connection.close()
    return tuple(
        ModelSpec.from_json(config.parameters[SPEC_KEY].string_value, f"model {name} at {url}")
        for name, config in configs.items()
        if SPEC_KEY in config.parameters
    )
