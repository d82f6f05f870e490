"""A small stand-in for the Hugging Face hub: a server of this machine that keeps repositories."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """What the server holds, and what it was asked.

    Attributes:
        url: address of the server.
        files: content of files by repository and name.
        asked: method and path of every request.
        tokens: tokens that requests came with, empty for none.
        gated: repositories that need leave.
    """

    def __init__(self) -> None:
        self.url = ""
        self.files: dict[str, dict[str, bytes]] = {}
        self.asked: list[tuple[str, str]] = []
        self.tokens: set[str] = set()
        self.gated: set[str] = set()


@contextmanager
def serve() -> Iterator[Hub]:
    """Run a hub on a free port."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_HEAD(self) -> None:
            self._file(body=False)

        def do_GET(self) -> None:
            self._file(body=True)

        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self._note()
            parts = self.path.partition("?")[0].strip("/").split("/")
            if parts[:3] == ["api", "repos", "create"]:
                name = json.loads(content)
                repo = f"{name.get('organization') or 'me'}/{name['name']}"
                hub.files.setdefault(repo, {})
                self._json({"url": f"{hub.url}/{repo}", "name": repo})
            elif parts[:2] == ["api", "validate-yaml"]:
                self._json({"errors": [], "warnings": []})
            elif parts[4:5] == ["preupload"]:
                asked = json.loads(content)["files"]
                given = [
                    {"path": one["path"], "uploadMode": "regular", "shouldIgnore": False}
                    for one in asked
                ]
                self._json({"files": given})
            elif parts[4:5] == ["commit"]:
                repo = "/".join(parts[2:4])
                for line in content.decode().splitlines():
                    entry = json.loads(line)
                    if entry["key"] == "file":
                        value = entry["value"]
                        hub.files[repo][value["path"]] = base64.b64decode(value["content"])
                self._json({"commitUrl": f"{hub.url}/{repo}/commit/{COMMIT}", "commitOid": COMMIT})
            else:
                self._json({"error": "no such address"}, 404)

        def _note(self) -> None:
            hub.asked.append((self.command, self.path))
            hub.tokens.add((self.headers.get("Authorization") or "").removeprefix("Bearer "))

        def _file(self, *, body: bool) -> None:
            self._note()
            parts = self.path.partition("?")[0].strip("/").split("/")
            repo = "/".join(parts[:2])
            if parts[:2] == ["api", "models"]:
                repo = "/".join(parts[2:4])
                return self._json({"id": repo, "sha": COMMIT, "siblings": []})
            if repo in hub.gated:
                return self._json({"error": "gated"}, 403, {"X-Error-Code": "GatedRepo"})
            if repo not in hub.files:
                return self._json({"error": "none"}, 404, {"X-Error-Code": "RepoNotFound"})
            if parts[3] not in ("main", COMMIT):
                return self._json({"error": "none"}, 404, {"X-Error-Code": "RevisionNotFound"})
            content = hub.files[repo].get("/".join(parts[4:]))
            if content is None:
                more = {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT}
                return self._json({"error": "none"}, 404, more)
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.end_headers()
            if body:
                self.wfile.write(content)
            return None

        def _json(self, value: Any, status: int = 200, more: dict[str, str] | None = None) -> None:
            content = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            for name, text in (more or {}).items():
                self.send_header(name, text)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
