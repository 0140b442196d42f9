"""The models as a worker sees them: specs and connections, made when they are needed, dropped when one fails."""

from __future__ import annotations

from swinunet.client.model_choice import answering
from swinunet.client.triton import ServerOptions, TritonModel
from swinunet.client.triton.served_models import specs_on_server
from swinunet.imaging import ModelSpec


class ServedModels:
    """The models of one Triton. Not safe to use from several threads."""

    def __init__(self, url: str, options: ServerOptions) -> None:
        self.url, self._options = url, options
        self._specs: dict[str, ModelSpec] = {}
        self._models: dict[str, TritonModel] = {}

    def specs(self) -> dict[str, ModelSpec]:
        """The specs that are served now, by name, without those of models that only find boxes for others.

        Raises ServerError if nobody answers.
        """
        found = {spec.name: spec for spec in answering(specs_on_server(self.url, self._options))}
        if found != self._specs:
            self.drop()
        self._specs = found
        return found

    def model(self, name: str) -> TritonModel:
        """A model, connected. Raises ServerError if it is not served."""
        if name not in self._models:
            self._models[name] = TritonModel(self.url, name, self._options)
        return self._models[name]

    def drop(self) -> None:
        """Forget all connections: the server may have been started again with other versions."""
        for model in self._models.values():
            model.close()
        self._models = {}
