"""The walk of docs/push.md: its receivers in Python and JavaScript take what we sign, and nothing else."""

import json
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from trinity.push.secret import make_secret, read_secret
from trinity.push.signature import webhook_headers

WALK = (Path(__file__).parent.parent / "docs" / "push.md").read_text()
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OLD = make_secret(lambda count: b"o" * count)


def code_of(language: str) -> str:
    """The section's own; other sections have other examples."""
    (section,) = re.findall(r"\n## Verify\n(.*?)\n## ", WALK, re.DOTALL)
    (found,) = re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)
    return str(found)


def body_of(sequence: int) -> bytes:
    data = {"subscription": 4, "sequence": sequence, "reason": "interval", "prices": [{"asset": "BTC", "price": "1"}]}
    return json.dumps({"type": "price.update", "timestamp": "2026-01-01T00:00:00Z", "data": data}).encode()


def headers_of(body: bytes, *secrets: str, at: int | None = None) -> dict[str, str]:
    signed = webhook_headers([read_secret(one) for one in secrets], "msg_4_1", at or int(time.time()), body)
    return {name.decode(): value.decode() for name, value in signed}


async def test_the_receiver_in_python_takes_what_is_signed_once_and_in_order(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Also while the secret is being replaced; a changed body is refused."""
    names: dict[str, Any] = {}
    exec(code_of("python"), names)
    async with TestClient(TestServer(names["make_app"]())) as client:
        for sequence, secrets in ((2, [SECRET]), (2, [SECRET]), (1, [SECRET]), (3, [OLD, SECRET])):
            body = body_of(sequence)
            assert (await client.post("/prices", data=body, headers=headers_of(body, *secrets))).status == 204
        for wrong in (
            headers_of(body_of(9), SECRET),
            headers_of(body_of(4), OLD),
            headers_of(body_of(4), SECRET, at=1),
        ):
            assert (await client.post("/prices", data=body_of(4), headers=wrong)).status == 401
    assert names["newest"] == {4: 3}
    assert capsys.readouterr().out == "BTC 1\n" * 2


def test_the_receiver_in_javascript_verifies_the_same() -> None:
    """With nothing but Node."""
    if shutil.which("node") is None:
        pytest.skip("Node is not installed")
    body = body_of(1)
    cases = [
        (headers_of(body, SECRET), body, True),
        (headers_of(body, OLD, SECRET), body, True),
        (headers_of(body, OLD), body, False),
        (headers_of(body, SECRET), body + b" ", False),
        (headers_of(body, SECRET, at=1), body, False),
        (headers_of(body, SECRET) | {"webhook-signature": "v1,AAAA v2,x "}, body, False),
        (headers_of(body, SECRET) | {"webhook-timestamp": "x"}, body, False),
    ]
    given = json.dumps([(headers, text.decode()) for headers, text, _ in cases])
    program = f"""{code_of("javascript")}
    console.log(JSON.stringify({given}.map(([headers, body]) => verify("{SECRET}", headers, Buffer.from(body)))));"""
    found = subprocess.run(["node", "-e", program], capture_output=True, text=True, check=True, timeout=60).stdout
    assert json.loads(found) == [is_good for *_, is_good in cases]
