"""workers/api/dashboard/page.py"""

import re
from pathlib import Path

import httpx

from workers.api.dashboard import page as page_module


async def test_the_page_asks_no_other_host(optional_client: httpx.AsyncClient) -> None:
    """Every address in the page and its files is of this node, and the policy forbids the rest."""
    page = await optional_client.get("/")
    assert page.status_code == 200
    assert "default-src 'self'" in page.headers["content-security-policy"]
    names = re.findall(r'(?:src|href)="(/static/[^"]+)"', page.text)
    assert names, "the page has files"
    waiting, seen = set(names), set()
    while waiting:
        name = waiting.pop()
        file = await optional_client.get(name)
        assert file.status_code == 200, name
        seen.add(name)
        waiting |= {f"/static/{other}" for other in re.findall(r'from "\./([a-z.]+)"', file.text)} - seen
        assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)", file.text), name
    folder = Path(page_module.__file__).with_name("static")
    assert seen == {f"/static/{path.name}" for path in folder.iterdir()} - {"/static/index.html"}, "no file is idle"


async def test_a_file_that_did_not_change_is_not_sent_again(optional_client: httpx.AsyncClient) -> None:
    """The browser's copy is confirmed by its tag, also of the large chart library."""
    first = await optional_client.get("/static/plotly.min.js")
    assert first.status_code == 200
    assert first.headers["content-type"].startswith("text/javascript")
    again = await optional_client.get("/static/plotly.min.js", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


async def test_no_path_leads_out_of_the_folder(optional_client: httpx.AsyncClient) -> None:
    """Only files of the closed list are given."""
    for name in ("..%2Fapp.py", "%2e%2e/app.py", "app.py", "", "index.html%00"):
        assert (await optional_client.get(f"/static/{name}")).status_code == 404, name
