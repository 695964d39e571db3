"""Every environment variable: its default, that it arrives, and what is said when it cannot be read."""

from __future__ import annotations

from typing import Any

import pytest

from function.errors import PredictError
from function.settings import VARIABLES, RuntimeSettings, Settings, Variable

NUMBERS = [name for name, row in VARIABLES.items() if row.default.isdigit()]
TEXTS = [name for name in VARIABLES if name not in NUMBERS]
CLASSES = (Settings, RuntimeSettings)
FIELDS = {field: row for each in CLASSES for field, row in vars(each).items() if isinstance(row, Variable)}


def values(environ: dict[str, str]) -> dict[str, Any]:
    holders = [each(environ) for each in CLASSES]
    return {name: getattr(holder, name) for holder in holders for name in FIELDS if hasattr(holder, name)}


def changed(environ: dict[str, str]) -> dict[str, Any]:
    """The settings that are other than by default."""
    default = values({})
    return {name: value for name, value in values(environ).items() if value != default[name]}


def test_defaults() -> None:
    settings = Settings({})
    assert settings.model_repository.endswith("/models")
    assert settings.model_name == "digits"
    assert settings.intra_op_threads == 0
    assert settings.verify_artifacts is False
    assert settings.max_body_bytes == 0
    assert settings.function_memory_mb == 0
    assert settings.initialization_type == "on-demand"


@pytest.mark.parametrize("name", TEXTS)
def test_each_text_sets_one_setting(name: str) -> None:
    assert list(changed({name: "another"}).values()) == ["another"]


@pytest.mark.parametrize("name", NUMBERS)
def test_each_number_sets_one_setting(name: str) -> None:
    found = changed({name: "12345"})
    assert list(found.values()) == [
        name in ("VERIFY_ARTIFACTS", "ALLOW_LOADED_PROCESSING", "FEATURES_FROM_RECORDS") or 12345
    ]


def test_each_setting_has_its_variable() -> None:
    environ = dict.fromkeys(VARIABLES, "12345")
    assert set(changed(environ)) == set(FIELDS)
    assert len(FIELDS) == len(VARIABLES)


@pytest.mark.parametrize("name", VARIABLES)
def test_empty_means_the_default(name: str) -> None:
    assert not changed({name: ""})


@pytest.mark.parametrize("name", VARIABLES)
def test_each_variable_has_a_meaning(name: str) -> None:
    assert len(VARIABLES[name].meaning) > 5


@pytest.mark.parametrize("value", ["no", "-1", "1.5", "1e3", " 1", "0x10", "٣", "²", "1 MB"])
@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_that_is_none_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(PredictError) as caught:
        values({name: value})
    assert caught.value.code == "UNAVAILABLE"
    assert caught.value.message == f"the environment variable {name} must be a whole number, not {value!r}"


@pytest.mark.parametrize(("value", "expected"), [("0", False), ("00", False), ("1", True), ("2", True)])
def test_switches_are_numbers(value: str, expected: bool) -> None:
    assert Settings({"VERIFY_ARTIFACTS": value}).verify_artifacts is expected


def test_settings_are_frozen() -> None:
    settings = Settings({})
    with pytest.raises(AttributeError, match="settings are frozen; set MODEL_NAME before the process starts"):
        settings.model_name = "other"
    with pytest.raises(AttributeError, match="frozen"):
        settings.unknown = 1
    assert settings.model_name == "digits"


def test_other_variables_are_no_business_of_ours() -> None:
    assert not changed({"PATH": "/bin", "MODEL_NAMES": "x"})
