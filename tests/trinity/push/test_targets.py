"""A target has one spelling; whatever is written in another is refused or becomes that one."""

import ipaddress
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trinity.errors import InputError
from trinity.limits import TARGET_BYTES_MAX
from trinity.push.targets import parse_target


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("https://hooks.example.com", "https://hooks.example.com/"),
        ("HTTPS://Hooks.Example.COM:443/Path", "https://hooks.example.com/Path"),
        ("https://hooks.example.com./x?y=%2F&z", "https://hooks.example.com/x?y=%2F&z"),
        ("https://hooks.example.com?x", "https://hooks.example.com/?x"),
        ("https://xn--bcher-kva.example:8443/", "https://xn--bcher-kva.example:8443/"),
        ("https://203.0.113.7/x", "https://203.0.113.7/x"),
        ("https://203.0.113.7./x", "https://203.0.113.7/x"),
        ("https://[2606:4700:0:0::1]:8443/x", "https://[2606:4700::1]:8443/x"),
        ("https://[::FFFF:127.0.0.1]/", "https://[::ffff:7f00:1]/"),
        ("udp://hooks.example.com:9000", "udp://hooks.example.com:9000"),
        ("UDP://[2606:4700::1]:443", "udp://[2606:4700::1]:443"),
        ("https://my_service/", "https://my_service/"),
    ],
)
def test_a_target_is_read_and_stored_in_one_spelling(text: str, stored: str) -> None:
    """And what is stored reads as the same."""
    target = parse_target(text)
    assert str(target) in (stored, stored.replace("::ffff:7f00:1", "::ffff:127.0.0.1"))
    assert parse_target(str(target)) == target


@pytest.mark.parametrize(
    "text",
    [
        "", "https://", "https:///x", "https:hooks.example", "http://hooks.example", "ftp://x.example",
        "//hooks.example/", "hooks.example", "udp://hooks.example", "udp://hooks.example:1/x", "tcp://x.example:1",
        "https://2130706433/", "https://0x7f000001/", "https://0x7f.0.0.1/", "https://0177.0.0.1/",
        "https://017700000001/", "https://127.1/", "https://127.0.1/", "https://127.0.0.0x1/", "https://127.0.0.01/",
        "https://127.0.0.1.2/", "https://256.0.0.1/", "https://hooks.example.1/", "https://0/", "https://0x/",
        "https://127.0.0.1../", "https://1.2.3.4%00.example/", "https://127%2e0.0.1/", "https://%31%32%37.0.0.1/",
        "https://\uff11\uff12\uff17.0.0.1/", "https://127\u30020\u30020\u30021/", "https://b\u00fccher.example/",
        "https://\u2460\u2461\u2466.0.0.1/", "https://user@hooks.example/", "https://user:pass@hooks.example/",
        "https://good.example@127.0.0.1/", "https://good.example:443@127.0.0.1/", "https://good.example\\@127.0.0.1/",
        "https://good.example#@127.0.0.1/", "https://hooks.example/#part", "https://[fe80::1%25eth0]/",
        "https://[fe80::1%eth0]/", "https://[127.0.0.1]/", "https://[::1/", "https://::1/", "https://[]/",
        "https://[::1]x/", "https://hooks.example:0/", "https://hooks.example:65536/", "https://hooks.example:/",
        "https://hooks.example:0443/", "https://hooks.example:+443/", "https://hooks.example:44\t3/",
        "https://hooks.example/a b", "https://hooks.example/\r\nHost: x", "https://hooks.example/\x00",
        "https://hooks.example/<>", "https://hooks.example/%zz", " https://hooks.example/", "https://hooks.example/\n",
        "https://-hooks.example/", "https://hooks-.example/", "https://hooks..example/", "https://.example/",
        "https://*.example/", "https://hooks,example/", f"https://{'a' * 64}.example/",
        f"https://{'.'.join(['a' * 60] * 5)}/", f"https://hooks.example/{'a' * TARGET_BYTES_MAX}",
    ],
)  # fmt: skip
def test_any_other_spelling_is_refused_by_field(text: str) -> None:
    """Numbers in other bases, short forms, encodings, wide digits, users, zones, fragments, control characters."""
    with pytest.raises(InputError) as caught:
        parse_target(text)
    assert caught.value.field == "target"


@given(st.text() | st.from_regex(r"(https|udp)://[\[\]0-9a-fx.:%@\\/?#]{0,40}", fullmatch=True))
def test_any_text_is_a_target_or_an_input_error(text: str) -> None:
    """And a host that ends in a number is an address that Python reads, and that urlsplit sees as well."""
    try:
        target = parse_target(text)
    except InputError:
        return
    assert target.host == (urlsplit(str(target)).hostname or "")
    assert parse_target(str(target)) == target
    if target.is_address:
        ipaddress.ip_address(target.host)
    else:
        assert not target.host.rpartition(".")[2].isdigit()
