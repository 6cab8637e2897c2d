"""JMESPath expressions: compiled once, bounded in what they read and in what they make; they always end."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Annotated, Any, Final

from pydantic import AfterValidator

from edgerouter.errors import BadInput

MOST_CHARACTERS: Final = 2000
"""Longest expression."""
MOST_VALUES: Final = 20_000
"""Most values, nested ones counted, of a document that an expression or a schema reads, and of a result."""


def _checked(text: str) -> str:
    if len(text) > MOST_CHARACTERS:
        raise ValueError(f"an expression has at most {MOST_CHARACTERS} characters, this one has {len(text)}")
    from jmespath.exceptions import ParseError  # noqa: PLC0415  (only where an expression is used)

    try:
        _compile(text)
    except ParseError as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{text!r} is not a JMESPath expression: {reason}") from error
    except RecursionError as error:
        raise ValueError("the expression is nested too deeply") from error
    return text


Expression = Annotated[str, AfterValidator(_checked)]
"""A configuration field that holds a JMESPath expression."""


@lru_cache(maxsize=256)
def _compile(text: str) -> Any:
    import jmespath  # noqa: PLC0415  (only where an expression is used)

    return jmespath.compile(text)


def compiled(text: str) -> Callable[[Any], Any]:
    """Return the function of a checked expression; it raises `BadInput`."""
    from jmespath.exceptions import JMESPathError  # noqa: PLC0415

    search = _compile(text).search

    def evaluate(document: Any) -> Any:
        bound(document, "the document of an expression")
        try:
            found = search(document)
        except JMESPathError as error:
            raise BadInput("wrong type", str(error).partition("\n")[0][:200]) from error
        except RecursionError as error:
            raise BadInput("too large", "the document is nested too deeply for the expression") from error
        except (TypeError, ValueError, AttributeError, OverflowError, KeyError) as error:
            # jmespath's functions do not check all of their arguments
            raise BadInput("wrong type", f"{type(error).__name__}: {error}"[:200]) from error
        bound(found, "the result of an expression")
        return found

    return evaluate


def bound(value: Any, what: str) -> None:
    """Refuse a document of too many values; a flat object of a few members costs one look at each.

    Raises:
        BadInput: it has more than `MOST_VALUES`.
    """
    waiting, count = [value], 0
    while waiting:
        each = waiting.pop()
        inner = each.values() if each.__class__ is dict else each if each.__class__ is list else None
        if inner is not None:
            count += len(inner)
            if count > MOST_VALUES:
                raise BadInput("too large", f"{what} has more than {MOST_VALUES} values")
            waiting += [one for one in inner if one.__class__ is dict or one.__class__ is list]
