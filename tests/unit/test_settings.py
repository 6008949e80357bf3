import re
from dataclasses import fields
from pathlib import Path

import pytest

from shopwindow.errors import UsageError
from shopwindow.settings import ACCEPTED_FORMATS, Settings

SETTINGS = fields(Settings)


def test_without_variables_the_defaults_hold() -> None:
    assert Settings.from_environment({}) == Settings()


def test_variables_are_read_and_foreign_ones_left_alone() -> None:
    settings = Settings.from_environment(
        {"SHOPWINDOW_PORT": "8000", "SHOPWINDOW_MAX_PIXELS": "1_000", "PORT": "1", "HOME": "/"}
        | {"SHOPWINDOW_CACHE_DIR": "/data/cache"}  # of the commands that read data sets
    )
    assert settings == Settings(port=8000, max_pixels=1000)


def test_overrides_win_and_none_is_not_given() -> None:
    settings = Settings.from_environment({"SHOPWINDOW_PORT": "8000"}, port=9000, host=None)
    assert settings == Settings(port=9000)


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("PORT", "http", "SHOPWINDOW_PORT: expected a whole number at least 0, at most 65,535"),
        ("PORT", "", "SHOPWINDOW_PORT: expected a whole number"),
        ("PORT", "65536", "port: expected a whole number at least 0, at most 65,535, found 65536"),
        ("PORT", "-1", "port: expected .* found -1"),
        ("TOP", "0", "top: expected a whole number at least 1"),
        ("MAX_PIXELS", "1e6", "SHOPWINDOW_MAX_PIXELS: expected .* found '1e6'"),
        ("HOST", "", "host: expected an address, found ''"),
        ("API_KEY", "s3cret", "api_key: expected 16 to 200 visible ASCII .* found 6 characters"),
        ("API_KEY", "with spaces in between", "api_key: expected 16 to 200 visible ASCII"),
        ("FORMATS", "JPEG,JXL", "formats: expected some of JPEG, PNG, .*, found 'JPEG,JXL'"),
        ("FORMATS", "", "formats: expected some of JPEG, PNG"),
        ("MAX_FRAMES", "-1", "max_frames: expected a whole number at least 0, found -1"),
        ("LOG_FORMAT", "xml", "log_format: expected one of text, json, found 'xml'"),
        (
            "MAX_FILE",
            "3",
            "MAX_FILE is not a setting: expected one of SHOPWINDOW_API_KEY",
        ),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_with_what_was_expected(
    variable: str, value: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        Settings.from_environment({f"SHOPWINDOW_{variable}": value})


def test_formats_are_read_in_any_case_and_order() -> None:
    assert Settings(formats="png, Jpeg").accepted_formats == ("JPEG", "PNG")
    assert Settings().accepted_formats == ACCEPTED_FORMATS


def test_a_value_of_the_wrong_type_is_refused() -> None:
    with pytest.raises(UsageError, match=r"port: expected a whole number .* found '5000'"):
        Settings(port="5000")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="port: expected"):
        Settings(port=True)


def test_the_key_is_shown_nowhere() -> None:
    assert "correct-horse-battery" not in repr(Settings(api_key="correct-horse-battery"))


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_every_setting_says_its_unit_and_what_it_does(setting) -> None:  # type: ignore[no-untyped-def]
    assert setting.metadata["unit"]
    assert setting.metadata["help"].endswith(".")


def test_the_documentation_lists_every_setting_as_it_is(repository_root: Path) -> None:
    text = (repository_root / "docs" / "settings.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (.+?) \| (.+?) \|$", text, re.MULTILINE)
    expected = [
        (
            setting.name,
            f"`{setting.default}`" if setting.default != "" else "(empty)",
            setting.metadata["unit"],
            setting.metadata["help"],
        )
        for setting in SETTINGS
    ]
    assert rows == expected
