"""trinity/environment.py"""

from pathlib import Path

import pytest

from trinity.environment import Variable, check_prefixed_names, hint, misspelt, prefixed, read_variable
from trinity.errors import ConfigError

NAMES = ("AUTH", "TCP_PORT_LPO", "ADMIN_KEY", "TRINITY_DATA_DIR", "HTTPS_PROXY")


def test_a_setting_is_found_under_both_names() -> None:
    """With the prefix and without; the same text twice is no contradiction, an empty one is none."""
    assert prefixed("AUTH") == "TRINITY_AUTH"
    assert prefixed("TRINITY_DATA_DIR") == "TRINITY_DATA_DIR"
    assert read_variable("AUTH", {}) is None
    assert read_variable("AUTH", {"AUTH": "a"}) == Variable("AUTH", "a")
    assert read_variable("AUTH", {"TRINITY_AUTH": "a"}) == Variable("TRINITY_AUTH", "a")
    assert read_variable("AUTH", {"TRINITY_AUTH": "a", "AUTH": "a"}) == Variable("TRINITY_AUTH", "a")
    assert read_variable("AUTH", {"TRINITY_AUTH": "", "AUTH": "a"}) == Variable("AUTH", "a")
    assert read_variable("TRINITY_DATA_DIR", {"TRINITY_DATA_DIR": "a"}) == Variable("TRINITY_DATA_DIR", "a")


def test_two_different_texts_are_an_error_without_their_values(tmp_path: Path) -> None:
    """Also where one of them is in a file: no order would be the obvious one."""
    file = tmp_path / "key"
    file.write_text("hunter2\n")
    for environment in ({"TRINITY_ADMIN_KEY": "secret", "ADMIN_KEY": "other"}, {
        "TRINITY_ADMIN_KEY_FILE": str(file), "ADMIN_KEY": "other",
    }):  # fmt: skip
        with pytest.raises(ConfigError, match=r"ADMIN_KEY is set as well, and differently") as caught:
            read_variable("ADMIN_KEY", environment, may_be_file=True)
        assert caught.value.key.startswith("TRINITY_ADMIN_KEY")
        assert not any(value in str(caught.value) for value in ("secret", "other", "hunter2"))
    assert read_variable("ADMIN_KEY", {"TRINITY_ADMIN_KEY_FILE": str(file), "ADMIN_KEY": "hunter2"}, may_be_file=True)


def test_a_name_of_every_program_gives_way_to_the_one_with_the_prefix() -> None:
    """Then comes the small form, as for curl."""
    environment = {"HTTPS_PROXY": "a", "https_proxy": "b", "TRINITY_HTTPS_PROXY": "c"}
    for name in ("TRINITY_HTTPS_PROXY", "https_proxy", "HTTPS_PROXY"):
        assert read_variable("HTTPS_PROXY", environment, is_shared=True) == Variable(name, environment.pop(name))


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """Absent, or no text."""
    file = tmp_path / "key"
    file.write_bytes(b"\xff\xfe")
    for path in (str(file), "/does/not/exist"):
        with pytest.raises(ConfigError) as caught:
            read_variable("ADMIN_KEY", {"ADMIN_KEY_FILE": path}, may_be_file=True)
        assert caught.value.key == "ADMIN_KEY_FILE"


@pytest.mark.parametrize(("wrong", "nearest"), [
    ("TRINITY_ATUH", "TRINITY_AUTH"),
    ("TRINITY_TCP_PORT_LPOO", "TRINITY_TCP_PORT_LPO"),
    ("TRINITY_AUTH_FILE", "TRINITY_AUTH"),
    ("TRINITY_SOMETHING_ELSE", "config example"),
])  # fmt: skip
def test_an_unknown_name_with_the_prefix_is_told_the_nearest(wrong: str, nearest: str) -> None:
    """It would have no effect, and nobody would know."""
    with pytest.raises(ConfigError, match=f"there is no such setting; .*{nearest}") as caught:
        check_prefixed_names({wrong: "1"}, NAMES, ["ADMIN_KEY"])
    assert caught.value.key == wrong


def test_names_that_others_put_there_are_passed_over() -> None:
    """The clients' own, and what Kubernetes and Docker tell of a service that is called trinity, or begins so."""
    check_prefixed_names(
        {
            "TRINITY_URL": "x", "TRINITY_API_KEY": "x", "TRINITY_ADMIN_KEY_FILE": "x", "TRINITY_DATA_DIR": "x",
            "TRINITY_SERVICE_HOST": "10.0.0.1", "TRINITY_SERVICE_PORT": "8080", "TRINITY_SERVICE_PORT_HTTP": "8080",
            "TRINITY_PORT": "tcp://10.0.0.1:8080", "TRINITY_PORT_8080_TCP": "tcp://10.0.0.1:8080",
            "TRINITY_PORT_8080_TCP_ADDR": "10.0.0.1", "TRINITY_API_SERVICE_HOST": "10.0.0.2",
            "TRINITY_API_PORT": "udp://10.0.0.2:1", "PATH": "x",
        },
        NAMES, ["ADMIN_KEY"],
    )  # fmt: skip
    with pytest.raises(ConfigError, match="TRINITY_PORT"):
        check_prefixed_names({"TRINITY_PORT": "8080"}, NAMES, [])


def test_a_misspelt_bare_name_is_suspected_only() -> None:
    """It may be another program's, so it is no error."""
    environment = {"TCP_PORT_LOP": "1", "AUTHOR": "me", "https_proxy": "x", "PATH": "x"}
    assert list(misspelt(environment, NAMES)) == [("TCP_PORT_LOP", "TCP_PORT_LPO")]
    assert hint("nonsense", NAMES).startswith("`trinity config example`")


def test_a_secret_may_be_a_credential_of_the_service(tmp_path: Path) -> None:
    """systemd gives a service its secrets as files in a folder; what the environment says comes first."""
    (tmp_path / "admin_key").write_text("of-the-service\n")
    given = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert read_variable("ADMIN_KEY", given) is None, "only a secret is looked for there"
    found = read_variable("ADMIN_KEY", given, may_be_file=True)
    assert found == Variable(str(tmp_path / "admin_key"), "of-the-service")
    assert read_variable("ADMIN_KEY", given | {"ADMIN_KEY": "a"}, may_be_file=True) == Variable("ADMIN_KEY", "a")
    assert read_variable("DATABASE_URL", given, may_be_file=True) is None
    (tmp_path / "cache_url").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="credential cache_url"):
        read_variable("CACHE_URL", given, may_be_file=True)
