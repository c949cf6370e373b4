"""trinity/config.py"""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trinity.config import SETTINGS, Config, load, load_config, worker_count
from trinity.environment import ENVIRONMENT, SECRETS, VARIABLES, prefixed
from trinity.errors import ConfigError
from trinity.rates import rate_of, requests_of, seconds_of


def test_the_defaults_are_the_specified_ports_on_loopback() -> None:
    """Without any setting a node listens where the specification says, on this machine only."""
    config = load_config({})
    assert config.node.bind_host == "127.0.0.1"
    ports = config.ports
    assert (ports.tcp_port_lpo, ports.health_port_lpo, ports.udp_port_lpo) == (8080, 8081, 2679)
    assert (ports.tcp_port_lrs, ports.health_port_lrs, ports.udp_port_lrs) == (9090, 9091, 2680)
    assert not config.feeds.simulated
    assert worker_count(config.request) >= 1


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    """Both are read; the same setting in the environment holds."""
    file = tmp_path / "trinity.toml"
    file.write_text('[node]\nname = "a"\n[ports]\ntcp_port_lpo = 1234\nudp_port_lpo = 999\n')
    config = load_config({"TCP_PORT_LPO": "4321", "TRINITY_DATA_DIR": str(tmp_path)}, file)
    assert (config.node.name, config.ports.tcp_port_lpo, config.ports.udp_port_lpo) == ("a", 4321, 999)
    assert config.node.data_dir == tmp_path


@pytest.mark.parametrize(("text", "environment", "key"), [
    ('[ports]\ntcp_port_lpo = "many"\n', {"TCP_PORT_LPO": "4321"}, "ports.tcp_port_lpo"),
    ('[access]\nanonymous_rate = "fast"\n', {"ANONYMOUS_RATE": "10"}, "access.anonymous_rate"),
])  # fmt: skip
def test_a_wrong_value_in_the_file_is_told_although_a_variable_wins_over_it(
    tmp_path: Path, text: str, environment: dict[str, str], key: str
) -> None:
    """It would be found on the day on which the variable is gone."""
    file = tmp_path / "trinity.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=key):
        load_config(environment, file)


@pytest.mark.parametrize(
    ("environment", "key"),
    [
        ({"TCP_PORT_LPO": "http"}, "TCP_PORT_LPO"),
        ({"TCP_PORT_LPO": "0"}, "TCP_PORT_LPO"),
        ({"UDP_PORT_LPO": "65536"}, "UDP_PORT_LPO"),
        ({"TCP_PORT_LPO": "8081"}, "TCP_PORT_LPO"),
        ({"REQUEST_WORKERS": "-1"}, "REQUEST_WORKERS"),
        ({"REQUEST_WORKERS": "many"}, "REQUEST_WORKERS"),
        ({"CLUSTER_NODE": "a/b"}, "CLUSTER_NODE"),
        ({"NODE_ENV": "x" * 41}, "NODE_ENV"),
        ({"SERVER_TYPE": "LPO"}, "SERVER_TYPE"),
        ({"SIMULATOR_QUOTES_PER_SECOND": "5001"}, "SIMULATOR_QUOTES_PER_SECOND"),
        ({"ADMIN_KEY": "a", "ADMIN_KEY_FILE": "b"}, "ADMIN_KEY"),
        ({"ADMIN_KEY": "fifteen-letters"}, "ADMIN_KEY"),
        ({"ADMIN_KEY": "sixteen letters!"}, "ADMIN_KEY"),
        ({"ADMIN_KEY": "sechzehn-zeichen-ä"}, "ADMIN_KEY"),
        ({"ADMIN_KEY": "k" * 129}, "ADMIN_KEY"),
        ({"TRUSTED_PROXIES": "10.0.0.1,nonsense"}, "TRUSTED_PROXIES"),
        ({"TRUSTED_PROXIES": "10.0.0.1/8"}, "TRUSTED_PROXIES"),
        ({"UDP_TRUSTED_NETWORKS": "nonsense"}, "UDP_TRUSTED_NETWORKS"),
        ({"DATABASE_URL_FILE": "/does/not/exist"}, "DATABASE_URL_FILE"),
        ({"TRINITY_AUTH": "none"}, "TRINITY_AUTH"),
        ({"TRINITY_REQUEST_WORKERS": "many"}, "TRINITY_REQUEST_WORKERS"),
        ({"TRINITY_AUTH": "optional", "AUTH": "required"}, "TRINITY_AUTH"),
        ({"TRINITY_ATUH": "optional"}, "TRINITY_ATUH"),
        ({"WS_BASE_URLS": "kraken"}, "WS_BASE_URLS"),
    ],
)
def test_a_wrong_setting_names_its_key(environment: dict[str, str], key: str) -> None:
    """The error carries the name that the user wrote."""
    with pytest.raises(ConfigError) as caught:
        load_config(environment)
    assert caught.value.key == key


RANGES = {
    **dict.fromkeys((name for name, entry in ENVIRONMENT.items() if "port" in entry[1]), (1, 65_535)),
    "REQUEST_WORKERS": (0, 125),
    "SIMULATOR_QUOTES_PER_SECOND": (1, 5_000),
    "SIMULATOR_REST_DELAY_MS": (0, 60_000),
    "KEYS_MAX": (1, 4_000_000),
    "LEDGER_RING_RECORDS": (1 << 10, 1 << 24),
    "LEDGER_SPOOL_BYTES_MAX": (1 << 24, 1 << 50),
    "RECORD_BYTES_MAX": (1 << 26, 1 << 50),
    "REPORT_PROCESSES": (1, 64),
}


@pytest.mark.parametrize(("name", "bounds"), RANGES.items(), ids=list(RANGES))
def test_a_number_outside_of_its_range_is_told_with_the_range(name: str, bounds: tuple[int, int]) -> None:
    """Both ends are allowed; the error has the name, the value and the range, from the environment as from the file."""
    low, high = bounds
    section, field, _ = ENVIRONMENT[name]
    for value in bounds:
        assert getattr(getattr(load_config({name: str(value)}), section), field) == value
    for value in (low - 1, high + 1, 2**64):
        with pytest.raises(ConfigError, match=f"{name}: {value} is not between {low} and {high}$"):
            load_config({name: str(value)})


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("[node]\nnmae = 'a'\n", ": node.nmae"),
        ("[ports]\ntcp_port_lpo = 'x'\n", ": ports.tcp_port_lpo"),
        ("[request]\npin = 3\n", ": request.pin"),
        ("[access]\nanonymous_rate = 'fast'\n", ": access.anonymous_rate"),
        ("[feeds.ws_base_urls]\nkraken = 3\n", ": feeds.ws_base_urls"),
        ("[stores]\nadmin_key = 'secret'\n", ": stores"),
        ("[acess]\nauth = 'optional'\n", ": acess"),
        ("auth = 'optional'\n", ": auth"),
        ("access = 1\n", ": access"),
        ("[[access]]\n", ": access"),
        ("[[[", ""),
    ],
)
def test_a_wrong_file_names_the_key(tmp_path: Path, text: str, key: str) -> None:
    """Unknown names, wrong types and secrets in the file start nothing; the file is named as well."""
    file = tmp_path / "trinity.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config({}, file)
    assert caught.value.key == f"{file}{key}"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[node]\nnmae = 'a'\n", "did you mean name? (there are: name, environment, "),
        ("[acess]\nauth = 'optional'\n", "did you mean access? (there are: node, ports, "),
        ("auth = 'optional'\n", "did you mean access.auth? (there are: node, ports, "),
        ("access = 1\n", "write [access] above its settings"),
        ("[access]\nauth = 'none'\n", "'none' is not one of required, optional"),
        ("[request]\npin = 3\n", "'3' is not true or false"),
        ("[ports]\ntcp_port_lpo = 'x'\n", "'x' is not a whole number from 1 to 65535"),
        ("[ports]\ntcp_port_lpo = 0\n", "0 is not between 1 and 65535"),
    ],
)
def test_a_wrong_file_is_told_what_is_allowed(tmp_path: Path, text: str, reason: str) -> None:
    """The nearest name and all that there are, or the values that the setting takes."""
    file = tmp_path / "trinity.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config({}, file)
    assert reason in caught.value.reason


def test_every_setting_has_a_name_in_the_environment_with_the_prefix_too() -> None:
    """TRINITY_ and its name are the same setting, and a secret's file as well."""
    assert VARIABLES.keys() == SETTINGS.keys()
    for name in ENVIRONMENT:
        assert load_config({name: ""}) == load_config({prefixed(name): ""}) == Config()
    assert load_config({"TRINITY_TCP_PORT_LPO": "4321"}) == load_config({"TCP_PORT_LPO": "4321"})
    assert load_config({"TRINITY_ADMIN_KEY": "k" * 16}) == load_config({"ADMIN_KEY": "k" * 16})
    urls = load_config({"TRINITY_WS_BASE_URLS": "kraken=ws://a:1/x, okx = ws://b:2"}).feeds.ws_base_urls
    assert urls == {"kraken": "ws://a:1/x", "okx": "ws://b:2"}


def test_the_source_of_every_value_is_known(tmp_path: Path) -> None:
    """The variable as it is written, the file, or the demo; what has none is the default."""
    file, key = tmp_path / "trinity.toml", tmp_path / "key"
    file.write_text('[node]\nname = "a"\n[ports]\ntcp_port_lpo = 1234\n')
    key.write_text("hunter2-hunter2-hunter2")
    environment = {"TRINITY_TCP_PORT_LPO": "4321", "UDP_PORT_LPO": "999", "TRINITY_ADMIN_KEY_FILE": str(key)}
    assert load(environment, file, demo=True).sources == {
        ("node", "name"): file,
        ("ports", "tcp_port_lpo"): "TRINITY_TCP_PORT_LPO",
        ("ports", "udp_port_lpo"): "UDP_PORT_LPO",
        ("stores", "admin_key"): "TRINITY_ADMIN_KEY_FILE",
        ("access", "auth"): "the demo",
        ("push", "on"): "the demo",
    }


def test_a_secret_can_come_from_a_file_and_is_not_in_any_error(tmp_path: Path) -> None:
    """`<NAME>_FILE` is read and stripped, and an error about another key does not show it."""
    file = tmp_path / "key"
    file.write_text("hunter2-hunter2-hunter2\n")
    environment = {"ADMIN_KEY_FILE": str(file)}
    assert load_config(environment).stores.admin_key == "hunter2-hunter2-hunter2"
    with pytest.raises(ConfigError) as caught:
        load_config(environment | {"TCP_PORT_LPO": "x"})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("environment", "key"),
    [
        ({"SMTP_HOST": "mail.example.com"}, "SMTP_FROM"),
        ({"SMTP_HOST": "mail.example.com", "SMTP_FROM": "no address"}, "SMTP_FROM"),
        ({"OPERATOR_EMAIL": "one@example.com, two@example.com"}, "OPERATOR_EMAIL"),
        ({"SMTP_USER": "node", "SMTP_SECURITY": "none"}, "SMTP_SECURITY"),
        ({"SMTP_SECURITY": "ssl"}, "SMTP_SECURITY"),
    ],
)
def test_mail_that_could_not_be_sent_starts_nothing(environment: dict[str, str], key: str) -> None:
    """No sender, an address that is none, a password over a connection that anybody can read."""
    with pytest.raises(ConfigError) as caught:
        load_config(environment)
    assert caught.value.key == key


def test_the_password_of_mail_comes_from_a_file_too(tmp_path: Path) -> None:
    """As every secret; the rest of mail may stand in the TOML file."""
    secret, file = tmp_path / "password", tmp_path / "trinity.toml"
    secret.write_text("of the mail server\n")
    file.write_text("[mail]\nsmtp_host = 'mail.example.com'\nsmtp_from = 'prices@example.com'\n")
    config = load_config({"SMTP_PASSWORD_FILE": str(secret)}, file)
    assert (config.mail.smtp_host, config.stores.smtp_password) == ("mail.example.com", "of the mail server")


def test_what_is_free_has_a_rate_like_any_other() -> None:
    """In its words, and 0 is no limit; the headers are a switch."""
    rates = [load_config({"FREE_RATE": text}).access.free_rate for text in ("20", "1/5s", "0")]
    assert rates == [20, rate_of(1, 5), 0]
    assert [load_config({"RATE_LIMIT_HEADERS": text}).access.rate_limit_headers for text in ("on", "off")] == [
        True,
        False,
    ]
    with pytest.raises(ConfigError, match="FREE_RATE"):
        load_config({"FREE_RATE": "often"})


def test_every_environment_name_points_at_a_field() -> None:
    """The table of names and the tree agree; secrets are in it."""
    config = Config()
    for section, field, _ in ENVIRONMENT.values():
        assert hasattr(getattr(config, section), field)
    assert set(SECRETS) <= set(ENVIRONMENT)


@given(st.dictionaries(st.sampled_from(sorted({*ENVIRONMENT, *map(prefixed, ENVIRONMENT)})), st.text(max_size=12)))
def test_any_environment_is_a_tree_or_a_configuration_error(environment: dict[str, str]) -> None:
    """Nothing but ConfigError comes out, whatever the user wrote."""
    try:
        config = load_config(environment)
    except ConfigError as error:
        assert error.key  # noqa: PT017 - the property is "a tree or this error"
    else:
        assert 1 <= config.ports.tcp_port_lpo <= 65535


def test_keys_are_required_but_in_a_demo_and_the_user_has_the_last_word(tmp_path: Path) -> None:
    """AUTH and the file win over the demo's default."""
    file = tmp_path / "trinity.toml"
    file.write_text('[access]\nauth = "required"\n')
    assert load_config({}).access.auth == "required"
    assert load_config({}, demo=True).access.auth == "optional"
    assert load_config({"AUTH": "required"}, demo=True).access.auth == "required"
    assert load_config({}, file, demo=True).access.auth == "required"
    file.write_text("access = 1")
    with pytest.raises(ConfigError):
        load_config({}, file, demo=True)


def test_okxs_region_is_one_of_three() -> None:
    """In capitals or another word it is refused by its name."""
    assert load_config({}).feeds.okx_region == "global"
    assert load_config({"OKX_REGION": "eea"}).feeds.okx_region == "eea"
    for wrong in ("EEA", "europe", "tr"):
        with pytest.raises(ConfigError) as error:
            load_config({"OKX_REGION": wrong})
        assert error.value.key.startswith("OKX_REGION")


def test_the_rate_of_an_address_may_be_below_one_a_second(tmp_path: Path) -> None:
    """In the environment as text, in the file as text or as a number; what is no rate is named."""
    file = tmp_path / "node.toml"
    for text, expected in (("0.2", 0.2), ("1/5s", 0.2), ("10", 10)):
        rate = load_config({"ANONYMOUS_RATE": text}).access.anonymous_rate
        assert requests_of(rate) / seconds_of(rate) == expected
        file.write_text(f"[access]\nanonymous_rate = {text if '/' not in text else repr(text)}\n")
        assert load_config({}, file).access.anonymous_rate == rate
    for text in ("-1", "fast", "1/0s", "2000000"):
        with pytest.raises(ConfigError, match="ANONYMOUS_RATE"):
            load_config({"ANONYMOUS_RATE": text})
