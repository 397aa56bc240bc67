"""Stands in for a service under the supervisor: ``stub_service.py NAME``.

The api answers /readyz with 200, or 503 with ``KEEPTRUSTS_API_NOT_READY``. ``KEEPTRUSTS_<NAME>_EXIT`` makes it end at once with that status.
"""

import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer


class Ready(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(503 if "KEEPTRUSTS_API_NOT_READY" in os.environ else 200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def main(name: str) -> None:
    status = os.environ.get(f"KEEPTRUSTS_{name.upper()}_EXIT")
    if status is not None:
        print(f"{name} does not want to")
        raise SystemExit(int(status))
    print(f"{name} is here", flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    if name == "api":
        address = (os.environ["KEEPTRUSTS_API_HOST"], int(os.environ["KEEPTRUSTS_API_PORT"]))
        HTTPServer(address, Ready).serve_forever()
    while True:
        signal.pause()


if __name__ == "__main__":
    main(sys.argv[1])
