"""A machine of its own for tests that look for data sets, and mirrors to fetch them from."""

import contextlib
import http.server
import threading
import time

import pytest
from tiny_mnist import sizes_and_sums, tiny_raws

from vector.data import download
from vector.data import fashion_mnist as mnist


@pytest.fixture
def house(tmp_path, monkeypatch):
    """A machine of its own: a tiny data set, an empty cache, no system folder, no mirror, no apt."""
    source = mnist.SOURCE._replace(files=sizes_and_sums(tiny_raws()), mirrors=())
    monkeypatch.setattr(mnist, "SOURCE", source)
    monkeypatch.setattr(download, "ROOT", tmp_path / "system")
    monkeypatch.setattr(download.Source, "cache", tmp_path / "cache")
    monkeypatch.delenv("FASHION_MNIST", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return tmp_path


@pytest.fixture
def mirror():
    """`mirror({path: page})` starts a server and gives its address; `mirror.asked` holds all requests.

    A page is its content, or a list of pieces that come slowly, or a function that answers by itself.
    """
    servers = []

    def start(pages):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                start.asked.append(self.path)
                page = pages.get(self.path.lstrip("/"))
                with contextlib.suppress(ConnectionError):  # the client may hang up early
                    if callable(page):
                        return page(self)
                    self.send_response(404 if page is None else 200)
                    self.end_headers()
                    for chunk in page if isinstance(page, list) else [page or b""]:  # a list comes slowly
                        self.wfile.write(chunk)
                        time.sleep(0.05 * isinstance(page, list))

            def log_message(self, *args):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/"

    start.asked = []
    yield start
    for server in servers:
        server.shutdown()
        server.server_close()
