"""workers/api/dashboard/page.py"""

import hashlib
import re
from pathlib import Path

import httpx

from workers.api.dashboard import page as page_module

STATIC = Path(page_module.__file__).with_name("static")
# Of lightweight-charts 5.2.1 as npm gives it (dist/ and LICENSE of the package), SHA-256.
VENDOR = {
    "lightweight-charts.standalone.production.mjs": "1bb1ee79f9d4dd17261b53d930f7a8995748276f80e7ba0e24412b5068062f5f",
    "lightweight-charts.LICENSE.txt": "70c9d5382506dd184465425c08a99ad9bd6d9ac1313c252968ba0b585e5ef823",
}
# Whose charts they are has to be said, with a link (the library's NOTICE).
ATTRIBUTION = "https://www.tradingview.com/"


async def _version(client: httpx.AsyncClient) -> str:
    found = re.search(r"/static/([0-9a-f]+)/dashboard\.js", (await client.get("/")).text)
    assert found
    return found[1]


async def test_the_page_asks_no_other_host(optional_client: httpx.AsyncClient) -> None:
    """Every address in the page and its own files is of this node; scripts and styles come from files alone."""
    page = await optional_client.get("/")
    assert page.status_code == 200
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self'; style-src 'self';" in policy
    assert "unsafe" not in policy
    assert not re.findall(r"<script(?![^>]*src=)|<style|\son[a-z]+=|\sstyle=", page.text)
    names = re.findall(r'(?:src|href)="(/static/[^"]+)"', page.text)
    assert names, "the page has files"
    waiting, seen = set(names), set()
    while waiting:
        name = waiting.pop()
        file = await optional_client.get(name)
        assert file.status_code == 200, name
        seen.add(name)
        base = name.rpartition("/")[0]
        waiting |= {
            f"{base}/{other}" for other in re.findall(r'(?:from |import\()"\./([A-Za-z./-]+)"', file.text)
        } - seen
        if "/vendor/" not in name:
            assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)", file.text), name
    assert re.findall(r'https?://[^"]*', page.text) == [ATTRIBUTION]
    files = {path.relative_to(STATIC).as_posix() for path in STATIC.rglob("*") if path.is_file()}
    assert {name.split("/", 3)[3] for name in seen} == files - {"index.html"}, "no file is idle"


def test_the_chart_library_is_what_its_makers_published() -> None:
    """Byte for byte, with its licence beside it."""
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (STATIC / "vendor").iterdir()}
    assert found == VENDOR
    assert b"Lightweight Charts\xe2\x84\xa2 v5.2.1" in (STATIC / "vendor" / next(iter(VENDOR))).read_bytes()[:200]


async def test_every_file_comes_packed(optional_client: httpx.AsyncClient) -> None:
    """All that the first view needs is less than 40 KB, the charts less than 64 KB more."""
    version = await _version(optional_client)
    sizes = {}
    for name in page_module._NAMES:
        answer = await optional_client.get(f"/static/{version}/{name}")
        assert answer.headers["content-encoding"] == "gzip", name
        assert answer.headers["vary"] == "Accept-Encoding"
        assert answer.content == (STATIC / name).read_bytes()
        plain = await optional_client.get(f"/static/{version}/{name}", headers={"Accept-Encoding": "identity"})
        assert "content-encoding" not in plain.headers
        assert plain.content == answer.content
        sizes[name] = int(answer.headers["content-length"])
    charts = sum(size for name, size in sizes.items() if name.startswith("vendor/"))
    assert charts < 68_000
    later = ("vendor/", "administration/", "pushes/", "usage.js", "month.js", "bills.js")
    first = [size for name, size in sizes.items() if not name.startswith(later)]
    assert sum(first) < 40_000, "the rest comes when it is opened"


async def test_a_browser_keeps_a_file_until_an_update(optional_client: httpx.AsyncClient) -> None:
    """The address has the version of all files: kept for good; another version's is answered, and not kept."""
    version = await _version(optional_client)
    kept = await optional_client.get(f"/static/{version}/dashboard.js")
    assert kept.headers["cache-control"] == "public, max-age=31536000, immutable"
    older = await optional_client.get("/static/0123456789/dashboard.js")
    assert (older.status_code, older.headers["cache-control"]) == (200, "no-cache")
    assert (await optional_client.get("/")).headers["cache-control"] == "no-cache"


async def test_what_did_not_change_is_not_sent_again(optional_client: httpx.AsyncClient) -> None:
    """The browser's copy is confirmed by its tag, also when a proxy weakened it; packed and plain have tags apart."""
    for path in ("/", f"/static/{await _version(optional_client)}/vendor/lightweight-charts.standalone.production.mjs"):
        first = await optional_client.get(path)
        tag = first.headers["etag"]
        for known in (tag, f'"other", W/{tag}'):
            again = await optional_client.get(path, headers={"If-None-Match": known})
            assert (again.status_code, again.content) == (304, b"")
            assert again.headers["etag"] == tag
        plain = await optional_client.get(path, headers={"If-None-Match": tag, "Accept-Encoding": "identity"})
        assert plain.status_code == 200


async def test_no_path_leads_out_of_the_folder(optional_client: httpx.AsyncClient) -> None:
    """Only files of the closed list are given."""
    for name in ("..%2Fapp.py", "%2e%2e/app.py", "app.py", "", "index.html", "dashboard.js%00", "vendor", "../page.py"):
        assert (await optional_client.get(f"/static/0/{name}")).status_code == 404, name


def test_nothing_enters_the_page_as_markup() -> None:
    """The page's own scripts put text into it as text alone."""
    for script in STATIC.glob("*.js"):
        assert "innerHTML" not in script.read_text(), script
