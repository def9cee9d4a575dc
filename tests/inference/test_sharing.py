"""A run shared: the folder with its card, and a hub, here a small server that speaks the hub's protocol."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

import polymodal as pm
from polymodal import cli
from polymodal.core.errors import BadArgument, BadData
from polymodal.inference.card import model_card

SHA = "0123456789012345678901234567890123456789"


def test_the_folder_answers_as_the_run_and_holds_no_row(shop, tmp_path):
    run = pm.load(shop.run)
    folder = run.share(tmp_path / "copy", licence="mit")
    assert pm.load(folder).predict(shop.table) == run.predict(shop.table)
    assert {"report.html", "evaluation.json", "predictions_test.parquet", "work"}.isdisjoint(os.listdir(folder))
    _, front, text = (folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    front = yaml.safe_load(front)
    assert (front["license"], front["library_name"], front["pipeline_tag"]) == (
        "mit",
        "polymodal",
        "tabular-classification",
    )
    judged = {m["type"]: m["value"] for m in front["model-index"][0]["results"][0]["metrics"]}
    assert judged["accuracy"] == pytest.approx(run.metrics["test"]["accuracy"]["mean"], abs=1e-6)
    assert run.verdict.split(":")[0] in text
    assert run.metrics["chosen"] in text
    assert str(shop.folder) not in (folder / "README.md").read_text(encoding="utf-8")


def test_names_of_the_table_are_no_markup_of_the_card(shop, tmp_path):
    folder = pm.load(shop.run).folder
    facts = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    odd = "<img src=x> a|b & *c*"
    facts["leaderboard"][0]["strategy"] = facts["data"]["fields"][0]["name"] = odd
    (tmp_path / "evaluation.json").write_text(json.dumps(facts), encoding="utf-8")
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    metrics["targets"][odd] = {"primary": "mae", "test": {"mae": {"mean": 0.125}}}
    (tmp_path / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    card = model_card(tmp_path, name="shop")
    assert odd not in card
    assert (
        card.count(r"&lt;img src=x&gt; a\|b &amp; \*c\*") == 5
    )  # an answer and a field, each in text and table, and a strategy
    assert re.search(r"Predicts \*\*category\*\* \(.+\) and \*\*&lt;img.+ \| mae \| 0.125 \|", card, re.S)


def test_the_report_goes_along_only_if_asked(shop, tmp_path):
    assert (pm.load(shop.run).share(tmp_path / "copy", report=True) / "report.html").exists()


def test_what_cannot_be_shared(shop, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(BadArgument, match="there already"):
        pm.load(shop.run).share(tmp_path / "full")
    copy = pm.load(shop.run).share(tmp_path / "copy")
    with pytest.raises(BadData, match=r"evaluation\.json is not there"):
        pm.load(copy).share(tmp_path / "again")
    for name in ("nobody", "a/b/c", "a/b@main", "a b/c"):
        with pytest.raises(BadArgument, match="user/name"):
            pm.load(shop.run).push_to_hub(name)


class Hub(BaseHTTPRequestHandler):
    """The parts of the hub's protocol that pushing and fetching one model use."""

    files: dict[str, bytes] = {}  # noqa: RUF012  (what the one repository of a test holds)

    def log_message(self, *_):
        """Nothing: the test says what is wrong."""

    @property
    def host(self):
        return f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, content=b"", **headers):
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(200)
        for name, value in {"Content-Length": len(body), "X-Repo-Commit": SHA, **headers}.items():
            self.send_header(name, str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_POST(self):
        size = int(self.headers.get("Content-Length") or 0)
        sent = self.rfile.read(size)
        if "preupload" in self.path:
            asked = [one["path"] for one in json.loads(sent)["files"]]
            self.answer({"files": [{"path": p, "uploadMode": "regular", "shouldIgnore": False} for p in asked]})
        elif "/commit/" in self.path:
            for line in map(json.loads, sent.splitlines()):
                if line["key"] == "file":
                    self.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            self.answer({"commitUrl": f"{self.host}/user/shop/commit/{SHA}", "commitOid": SHA})
        else:
            self.answer({"url": f"{self.host}/user/shop", "id": "user/shop", "name": "user/shop"})

    def do_GET(self):
        if "/resolve/" in self.path:
            content = self.files[self.path.rsplit("/", 1)[1]]
            self.answer(content, ETag=f'"{hash(content):x}"')
        elif "/tree/" in self.path:
            sizes = {name: len(content) for name, content in self.files.items()}
            self.answer([{"type": "file", "path": n, "size": size, "oid": SHA} for n, size in sizes.items()])
        else:
            siblings = [{"rfilename": name} for name in self.files]
            self.answer({"id": "user/shop", "sha": SHA, "siblings": siblings, "private": True})

    do_HEAD = do_GET


def test_pushed_to_a_hub_and_loaded_from_it(shop, tmp_path):
    """In a process of its own: the hub's address is read from the environment when its library is imported."""
    pytest.importorskip("huggingface_hub")
    Hub.files = {}
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    code = f"""
import warnings, polymodal as pm
run = pm.load({str(shop.run)!r})
address = run.push_to_hub("user/shop", token="t")
again = pm.load(address)
assert again.predict({str(shop.table)!r}) == run.predict({str(shop.table)!r})
print(address, again.verdict == run.verdict)
"""
    environment = {
        **os.environ, "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HOME": str(tmp_path / "cache"),
        "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }  # fmt: skip
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=300
        )
    finally:
        server.shutdown()
        server.server_close()
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[-2] == "hf://user/shop True"
    assert "README.md" in Hub.files
    assert "report.html" not in Hub.files


@pytest.mark.parametrize("client", ["httpx", "requests"])
def test_a_hub_that_is_not_there_is_one_line(monkeypatch, client):
    hub = pytest.importorskip("huggingface_hub")

    def refuse(*_, **__):
        raise hub.errors.LocalEntryNotFoundError("no route\nto host")

    monkeypatch.setattr(hub, "snapshot_download", refuse)
    if client == "requests":  # as the hub's library before 1.0
        monkeypatch.setitem(sys.modules, "httpx", None)
    with pytest.raises(BadArgument, match=r"did not give user/shop: no route Log in") as said:
        pm.load("hf://user/shop")
    assert "\n" not in str(said.value)
    for address in ("hf://user", "hf://a/b/c", "hf:user/shop"):
        with pytest.raises(BadArgument, match="hf://user/name@revision; got hf:"):
            pm.load(address)


def test_what_the_command_makes_of_a_hubs_run_lies_here(tmp_path, monkeypatch):
    older = Path(__file__).parent / "older"
    rows = json.loads((older / "rows.json").read_text(encoding="utf-8"))
    lines = [[*rows, "y"], *([*cells, "no"] for cells in zip(*rows.values()))]
    (tmp_path / "rows.csv").write_text("\n".join(",".join(map(str, line)) for line in lines), encoding="utf-8")
    monkeypatch.setattr("polymodal.inference.hub.fetched", lambda address: older / "model")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["polymodal", "evaluate", "hf://user/shop", "rows.csv", "--json"])
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert not left.value.code
    assert (tmp_path / "shop" / "evaluation" / "report.html").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"rows.csv", "shop"}
