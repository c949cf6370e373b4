"""The settings of a reporter."""

from pathlib import Path

from tests.workers.api.conftest import ADMIN_KEY, settings_of
from trinity.cache.address import cache_settings


def test_settings_show_no_secret() -> None:
    """Neither the operator's key nor an address with a password is printed."""
    settings = settings_of(Path(), database_url="postgresql://u:sesame@h/d", cache=cache_settings("valkey://:sesame@h"))
    assert ADMIN_KEY not in repr(settings)
    assert "sesame" not in f"{settings} {settings.cache}"
