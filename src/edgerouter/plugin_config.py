"""Configuration of a plugin: the base of its model, and the model that a plugin names in `Sink[ItsConfig]`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Generic, TypeVar, get_args, get_origin

from pydantic import ConfigDict

from edgerouter.field_docs import FieldDocs
from edgerouter.masking.models import KeepsItsSecrets


class PluginConfig(KeepsItsSecrets):
    """Base of every plugin's model. A docstring under every field is the user manual; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=FieldDocs.wanted)

    @property
    def service_urls(self) -> Sequence[str]:
        """Addresses of the service that no field holds, for `edgerouter doctor`: names, certificates and clocks are looked at.

        `https://host`; or `mqtts://host` and `amqps://host`, with a port where it is another one, for a service whose host also
        answers over HTTPS, to compare its clock. Known without a connection, and free of credentials.

        Raises:
            ValueError: a secret that is still awaited holds the address.
        """
        return ()


ConfigT = TypeVar("ConfigT", bound=PluginConfig)


class Configured(Generic[ConfigT]):
    """Base of the contracts: knows the model that a plugin names, so that it is written once and the type checker sees it."""

    Config: ClassVar[type[PluginConfig]]
    """Argument of the contract, such as `S3Config` in `class S3Sink(Sink[S3Config])`; subclasses inherit it."""

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        for base in cls.__dict__.get("__orig_bases__", ()):
            contract = get_origin(base)
            if isinstance(contract, type) and issubclass(contract, Configured):
                (model,) = get_args(base)
                if isinstance(model, type) and model is not Any:  # else the class is generic itself, or stands for any plugin
                    cls.Config = model
