from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from routelab.errors import SourceError
from routelab.tables import SOURCES, load_source, sources
from routelab.tables.sources import CACHE, MIRROR, fetch, load_trace, sources_frame


@pytest.fixture
def no_mirror(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No mirror, an empty cache, and a public address that refuses connections."""
    monkeypatch.delenv(MIRROR, raising=False)
    monkeypatch.setenv(CACHE, str(tmp_path / "cache"))
    monkeypatch.setattr(sources, "PUBLIC_ADDRESS", "http://127.0.0.1:1")
    return tmp_path / "cache"


@pytest.fixture
def public(mirror: Path, no_mirror: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The mirror served over HTTP as the public address would serve it; the paths asked for."""
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            asked.append(self.path)

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(mirror)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(sources, "PUBLIC_ADDRESS", f"http://127.0.0.1:{server.server_address[1]}")
    yield asked
    server.shutdown()
    server.server_close()


def test_a_changed_file_is_refused_with_both_hashes(
    mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = SOURCES["routerarena"]
    place = Path(source.origin, source.version)
    shutil.copytree(mirror / place, tmp_path / place, copy_function=shutil.copyfile)
    monkeypatch.setenv(MIRROR, str(tmp_path))
    assert len(fetch(source)) == 2
    file = source.files[1]
    with (tmp_path / place / file.path).open("ab") as changed:
        changed.write(b"\n")
    with pytest.raises(SourceError, match=rf"gemini.*sha256 [0-9a-f]{{64}}.*{file.sha256}.*Replace"):
        load_source("routerarena")
    (tmp_path / place / file.path).unlink()
    with pytest.raises(SourceError, match=rf"gemini.*is missing.*{MIRROR}"):
        load_source("routerarena")


def test_a_missing_mirror_is_named_with_its_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(MIRROR, str(tmp_path / "nowhere"))
    with pytest.raises(SourceError, match=rf"{MIRROR} names .*nowhere.*no folder"):
        load_source("routerbench")


def test_without_mirror_and_network_the_error_says_what_to_set(no_mirror: Path) -> None:
    with pytest.raises(SourceError, match=rf"'routerbench'.*cannot be downloaded.*Set {MIRROR}"):
        load_source("routerbench")
    assert sources_frame().set_index("name")["where"]["routerbench"] == "not here"
    assert load_source("paretobandit").n == 3609


def test_downloads_are_checked_shown_and_cached(
    public: list[str], no_mirror: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert load_source("routerarena").n == 809
    assert len(public) == 2
    assert "100%" in capfd.readouterr().err
    assert sources_frame().set_index("name")["where"]["routerarena"] == "cache"
    load_source("routerarena")
    assert len(public) == 2
    cached = next(no_mirror.rglob("claude*.jsonl"))
    cached.write_text("spoiled")
    load_source("routerarena")
    assert len(public) == 3
    cached.write_text("spoiled")
    monkeypatch.setattr(sources, "PUBLIC_ADDRESS", "http://127.0.0.1:1")
    with pytest.raises(SourceError, match=MIRROR):
        load_source("routerarena")


def test_a_download_of_another_content_is_refused(
    public: list[str], no_mirror: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "PUBLIC_ADDRESS", f"{sources.PUBLIC_ADDRESS}/SHA256SUMS?")
    with pytest.raises(SourceError, match=rf"not the registered file: .*{SOURCES['routerarena'].files[0].sha256}"):
        load_source("routerarena")
    assert not list(no_mirror.rglob("*.jsonl"))


def test_the_registry_agrees_with_the_mirror(mirror: Path) -> None:
    listed = dict(reversed(line.split(maxsplit=1)) for line in (mirror / "SHA256SUMS").read_text().splitlines())
    for source in SOURCES.values():
        for file in source.files:
            if not source.origin.startswith("pypi:"):
                assert listed[f"{source.origin}/{source.version}/{file.path}"] == file.sha256
        assert source.licence
        assert source.citation


def test_sources_are_listed_with_licence_size_and_place(mirror: Path) -> None:
    frame = sources_frame().set_index("name")
    assert frame.index[frame["default"]].tolist() == ["synthetic", "paretobandit"]
    assert frame["where"].value_counts().to_dict() == {"mirror": 8, "generated": 1, "bundled": 1}
    assert frame["bytes"]["routerbench"] == 10_452_781


def test_wrong_names_and_uses_are_answered_with_the_right_ones() -> None:
    with pytest.raises(SourceError, match="Did you mean 'routerbench'"):
        load_source("routerbensh")
    with pytest.raises(SourceError, match=r"'llmperf' is a trace.*load_trace"):
        load_source("llmperf")
    with pytest.raises(SourceError, match=r"'llmdrift' is a table.*load_source"):
        load_trace("llmdrift")
    with pytest.raises(SourceError, match=r"takes no parameters.*seed"):
        load_source("paretobandit", seed=1)
