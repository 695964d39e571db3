"""What reads JSON in this process, the library in C or Python, within the memory budget."""

from __future__ import annotations

from function.limits import LIMITS
from function.native.json_kernel import Kernel
from function.native.json_values import Document, TooManyValuesError
from function.observability.telemetry import warn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from function.native.json_plain import PlainReader
    from function.settings import Settings

_reader: Kernel | PlainReader | None = None  # the process's, from the first JSON on


def configure(settings: Settings) -> None:
    """Chooses how JSON is read; the library in C is loaded on first need."""
    global _reader  # noqa: PLW0603
    _reader = None if settings.json_kernel else _plain_reader()


def reader() -> Kernel | PlainReader:
    """What reads JSON in this process: the kernel in C, or Python where that is switched off or missing."""
    global _reader  # noqa: PLW0603
    if _reader is None:
        try:
            _reader = Kernel()
        except (OSError, AttributeError) as error:
            mend = "which is many times slower; run: python -m native.build"
            warn(f"the library in C cannot be loaded ({error}): JSON is read by Python, {mend}")
            _reader = _plain_reader()
    return _reader


def _plain_reader() -> PlainReader:
    from function.native.json_plain import PlainReader  # 5 ms, for `re`

    return PlainReader()


def read(text: memoryview, *, trees: bool = True) -> Document:
    """The document of a text, once the memory budget has room for its values. JsonError."""
    values = reader().count(text)
    for room, cost in reader().attempts[0 if trees else -1 :]:
        hold = LIMITS.hold(values * cost, "this JSON", "send less at a time, or tensors as binary data")
        try:
            document = reader().read(text, min(values, room or values), values if trees else 0)
        except BaseException as error:
            hold.release()
            if not isinstance(error, TooManyValuesError):
                raise
        else:
            document.hold = hold
            return document
    raise AssertionError  # the last attempt has room for all
