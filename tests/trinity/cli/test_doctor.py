"""`trinity doctor --json`: the findings as an object."""

from pathlib import Path

from tests.trinity.cli.conftest import Run


def test_the_findings_are_an_object(trinity_json: Run, tmp_path: Path) -> None:
    """Exit code 1 and `ok` false when one of them fails; each has name, level, what was found and advice."""
    file = tmp_path / "node.toml"
    exchanges = ("coinbase", "gemini", "kraken", "gateio", "cryptocom", "okx")
    lines = "\n".join(f'{exchange} = "http://127.0.0.1:1"' for exchange in exchanges)
    file.write_text(f"[feeds.rest_base_urls]\n{lines}\n")
    code, report, _ = trinity_json("doctor", "--config", str(file))
    assert (code, report["ok"]) == (1, False)
    levels = {finding["name"]: finding["level"] for finding in report["findings"]}
    assert levels["exchanges"] == "fail"
    assert set(report["findings"][0]) == {"name", "level", "found", "advice"}
