"""`drpo view`: which directories have a page, and what its server lets through."""

from __future__ import annotations

import http.client
import json
import os
import threading
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from page_runs import config, minibatch_trace, run_files

from drpo.__main__ import main
from drpo.commands.viewing import Watched, serve_page, write_page
from drpo.errors import RunDirectoryError


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    for name, data in run_files(minibatch_trace(2, 3)).items():
        (folder / name).write_text(data if isinstance(data, str) else json.dumps(data))
    return folder


@pytest.fixture
def address(run: Path) -> str:
    found: list[str] = []
    ready = threading.Event()

    def tell(where: str) -> None:
        found.append(where)
        ready.set()

    threading.Thread(target=lambda: serve_page(run, port=0, say=lambda text: None, ready=tell), daemon=True).start()
    assert ready.wait(10)
    return found[0]


def ask(address: str, path: str = "/data", method: str = "GET", **headers: str) -> http.client.HTTPResponse:
    """Send a request as it is written, without what a client would mend."""
    parts = urlsplit(address)
    connection = http.client.HTTPConnection("127.0.0.1", parts.port, timeout=10)
    connection.putrequest(method, path, skip_host=True)
    for name, value in {
        "Host": parts.netloc,
        **{name.replace("_", "-"): text for name, text in headers.items()},
    }.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer


def test_a_page_is_written_beside_the_run_or_elsewhere(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page holds the run; what was there before is replaced whole."""
    (tmp_path / "first.html").write_text("old")
    monkeypatch.setattr("sys.argv", ["drpo", "view", str(run), "--out", str(tmp_path / "first.html"), "--quiet"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    assert (tmp_path / "first.html").read_text() == write_page(run, None).read_text()
    assert "You are a helpful assistant." in (tmp_path / "first.html").read_text()


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "is no run directory"),
        ({"trace.json": "{}"}, "is no run directory"),
        ({"config.json": "{"}, "config.json: is damaged"),
        ({"config.json": "{}", "trace.json": '{"nodes": [{}]}'}, "not as this version of drpo writes it"),
        ({"config.json": "[1]"}, "not as this version of drpo writes it"),
        ({"config.json": "{}", "result.json": '{"decision": null}'}, "not as this version of drpo writes it"),
    ],
)
def test_what_is_no_run_is_said_in_one_line(
    files: dict[str, str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A wrong folder, a damaged file, a file of another shape: exit code 2 and no traceback."""
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr("sys.argv", ["drpo", "view", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_links_are_not_followed(run: Path, tmp_path: Path) -> None:
    """A directory from somebody else must not bring a file of this machine onto a page that is passed on."""
    (tmp_path / "secret").write_text("the secret")
    (run / "log.txt").unlink()
    os.symlink(tmp_path / "secret", run / "log.txt")
    with pytest.raises(RunDirectoryError, match=r"log\.txt: cannot be read"):
        Watched(run)


def test_an_unfinished_run_says_what_it_has_used(tmp_path: Path) -> None:
    """From the record of calls, of which each look reads what is new; a line that is being written waits."""
    (tmp_path / "config.json").write_text(json.dumps(config()))
    line = json.dumps(
        {"role": "task", "request": {"model": "m"}, "response": {"usage": {"input_tokens": 5, "output_tokens": 2}},
         "seconds": 1.0, "cost": 0.5}
    )  # fmt: skip
    (tmp_path / "calls.jsonl").write_text(f"{line}\n{line[:30]}")
    watched = Watched(tmp_path)
    before = watched.version
    assert watched.view()["cost"][0]["rows"][0][2:5] == [1, 5, 2]
    with (tmp_path / "calls.jsonl").open("a") as file:
        file.write(f"{line[30:]}\n")
    assert watched.version != before
    assert watched.view()["cost"][0]["rows"][0][2:5] == [2, 10, 4]


def test_the_server_answers_its_own_page(address: str, run: Path) -> None:
    """The page with its policy, the data with a tag, and 304 until a file changes."""
    page = ask(address, "/")
    assert page.status == 200
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert "connect-src 'self'" in page.headers["Content-Security-Policy"]
    data = ask(address)
    assert (data.status, data.headers["Content-Type"].split(";")[0]) == (200, "application/json")
    assert ask(address, If_None_Match=data.headers["ETag"]).status == 304
    (run / "log.txt").write_text("another line\n")
    assert ask(address, If_None_Match=data.headers["ETag"]).status == 200
    (run / "trace.json").write_text("{")
    assert ask(address).status == 503
    assert ask(address, Origin=address.rstrip("/"), Sec_Fetch_Site="same-origin").status == 503


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"}, {"Host": "evil.example:80"}, {"Host": "127.0.0.1"}, {"Host": ""},
        {"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
)  # fmt: skip
def test_foreign_hosts_and_origins_are_refused(address: str, headers: dict[str, str]) -> None:
    """A name that leads here by DNS, and a page of anybody else's, get neither the page nor the data."""
    for path in ("/", "/data"):
        assert ask(address, path, **headers).status in (400, 403)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_can_be_changed(address: str, method: str, run: Path) -> None:
    """There is no other method than to look."""
    before = {file.name: file.read_bytes() for file in run.iterdir()}
    assert ask(address, "/data", method).status == 405
    assert {file.name: file.read_bytes() for file in run.iterdir()} == before


@pytest.mark.parametrize(
    "path",
    ["/config.json", "/../config.json", "/%2e%2e/config.json", "//etc/passwd", "/data/../config.json", "/data?file=../x/y",
     "/..%2f..%2fetc%2fpasswd", "/calls.jsonl", "/static/../../etc/passwd"],
)  # fmt: skip
def test_no_path_names_a_file(address: str, path: str) -> None:
    """Two addresses there are; a query after one of them changes nothing."""
    assert ask(address, path).status == (200 if path.startswith("/data?") else 404)


def test_a_port_that_is_taken_is_said(address: str, run: Path) -> None:
    """The line names the port and what to do."""
    from drpo.errors import ServerError

    port = urlsplit(address).port
    assert port
    with pytest.raises(ServerError, match=f"--port {port}: .*choose another one"):
        serve_page(run, port=port, say=lambda text: None)
