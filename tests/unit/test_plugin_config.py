"""A plugin names the model of its configuration once, where it names its contract."""

from __future__ import annotations

from typing import Any

from edgerouter import SecretStore, SecretStoreConfig, Sink, SinkConfig, Source, SourceConfig


class OneConfig(SinkConfig):
    """A model."""


class OtherConfig(SinkConfig):
    """Another one."""


class One(Sink[OneConfig]):
    """Left abstract: only its model is of interest."""


def test_a_plugin_of_each_kind_knows_the_model_that_it_names() -> None:
    class AStore(SecretStore[SecretStoreConfig]):
        pass

    class ASource(Source[SourceConfig]):
        pass

    assert (One.Config, AStore.Config, ASource.Config) == (OneConfig, SecretStoreConfig, SourceConfig)


def test_a_subclass_has_the_model_of_its_parent_or_the_one_that_it_names_itself() -> None:
    class Inheriting(One):
        pass

    class Renaming(One, Sink[OtherConfig]):
        pass

    assert (Inheriting.Config, Renaming.Config) == (OneConfig, OtherConfig)


def test_a_class_that_stands_for_any_plugin_has_no_model() -> None:
    class Wrapper(Sink[Any]):
        pass

    assert not hasattr(Wrapper, "Config")
