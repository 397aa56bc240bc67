"""A Git server on loopback: smart HTTP by dulwich, with a token to be shown, and ways to misbehave."""

from __future__ import annotations

import base64
import io
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from dulwich.objects import Blob, Commit, Tag, Tree
from dulwich.repo import MemoryRepo
from dulwich.server import BackendRepo, DictBackend
from dulwich.web import make_wsgi_chain

Respond = Callable[..., Any]
Application = Callable[[dict[str, Any], Respond], Iterable[bytes]]
MAIN = b"refs/heads/main"
Content = bytes | str | tuple[int, bytes]
"""Of a file; with a mode, of something else."""


@dataclass
class GitServer:
    """One repository at ``url``. ``tokens`` are accepted as passwords; none means it is public."""

    url: str = ""
    tokens: set[str] = field(default_factory=set)
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    """Method, path and password of each request."""
    delay_s: float = 0.0
    instead: Application | None = None
    """Answers in the place of the server."""
    repo: MemoryRepo = field(default_factory=MemoryRepo)
    over: threading.Event = field(default_factory=threading.Event)
    _number: int = 0

    def commit(self, files: Mapping[str, Content], ref: bytes = MAIN) -> str:
        """A commit with exactly these files, without a history; the ref points to it afterwards."""
        self._number += 1
        commit = Commit()
        commit.tree = self._tree(files)
        commit.author = commit.committer = b"Test <test@example.com>"
        commit.author_time = commit.commit_time = 1_795_000_000 + self._number
        commit.author_timezone = commit.commit_timezone = 0
        commit.message = f"number {self._number}".encode()
        self.repo.object_store.add_object(commit)
        self.repo.refs[ref] = commit.id  # type: ignore[index]
        self.repo.refs.set_symbolic_ref(b"HEAD", MAIN)  # type: ignore[arg-type]
        return commit.id.decode()

    def tag(self, name: str, commit: str) -> None:
        tag = Tag()
        tag.object = (Commit, commit.encode())
        tag.name, tag.tagger, tag.message = name.encode(), b"Test <test@example.com>", b"a tag"
        tag.tag_time, tag.tag_timezone = 1_795_000_000, 0
        self.repo.object_store.add_object(tag)
        self.repo.refs[f"refs/tags/{name}".encode()] = tag.id  # type: ignore[index]

    def point(self, ref: bytes, commit: str | None) -> None:
        """Move a ref by force; None removes it."""
        if commit is None:
            del self.repo.refs[ref]  # type: ignore[arg-type]
        else:
            self.repo.refs[ref] = commit.encode()  # type: ignore[index,assignment]

    def _tree(self, files: Mapping[str, Content]) -> bytes:
        tree = Tree()
        folders: dict[str, dict[str, Any]] = {}
        for path, content in files.items():
            folder, slash, rest = path.partition("/")
            if slash:
                folders.setdefault(folder, {})[rest] = content
                continue
            mode, data = content if isinstance(content, tuple) else (0o100644, content)
            blob = Blob.from_string(data.encode() if isinstance(data, str) else data)
            if mode != 0o160000:
                self.repo.object_store.add_object(blob)
            tree.add(path.encode(), mode, blob.id)
        for folder, inner in folders.items():
            tree.add(folder.encode(), 0o040000, self._tree(inner))  # type: ignore[arg-type]
        self.repo.object_store.add_object(tree)
        return bytes(tree.id)

    def answer(self, application: Application, environ: dict[str, Any], respond: Respond) -> Iterable[bytes]:
        scheme, _, encoded = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        password = base64.b64decode(encoded).decode().partition(":")[2] if scheme == "Basic" else ""
        self.requests.append((environ["REQUEST_METHOD"], environ["PATH_INFO"], password))
        self.over.wait(self.delay_s)
        if self.instead is not None:
            return self.instead(environ, respond)
        if self.tokens and password not in self.tokens:
            respond("401 Unauthorized", [("WWW-Authenticate", "Basic")])
            return [b"no"]
        return application(environ, respond)


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no error."""


class _Handler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Nobody reads along."""

    def get_stderr(self) -> io.StringIO:
        """What goes wrong with clients that hang up is not told."""
        return io.StringIO()


@contextmanager
def git_server(*tokens: str, tls: ssl.SSLContext | None = None) -> Iterator[GitServer]:
    """With ``tls`` it is served at https://localhost, else at http://127.0.0.1."""
    server = GitServer(tokens=set(tokens))
    chain = make_wsgi_chain(DictBackend({"/config.git": cast("BackendRepo", server.repo)}))

    def application(environ: dict[str, Any], respond: Respond) -> Iterable[bytes]:
        return server.answer(chain, environ, respond)

    http = make_server("127.0.0.1", 0, application, server_class=_Server, handler_class=_Handler)
    if tls is not None:
        # Handshakes are for the threads of their connections: one that fails or hangs stops nobody else.
        http.socket = tls.wrap_socket(http.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    server.url = f"{'http://127.0.0.1' if tls is None else 'https://localhost'}:{http.server_port}/config.git"
    try:
        yield server
    finally:
        server.over.set()
        http.shutdown()
        http.server_close()
        thread.join(5)
