"""Whether a server can be reached, told in seconds where its own client would try for minutes."""

from __future__ import annotations

import socket
import time
import urllib.request
from urllib.parse import urlsplit

SECONDS = 5.0


def connection_fault(url: str, seconds: float = SECONDS) -> str:
    """Return why a server, or the proxy before it, takes no connection; empty if it does.

    Args:
        url: address of the server.
        seconds: how long all attempts together may take.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy and not urllib.request.proxy_bypass(host):
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    port = parts.port or {"https": 443}.get(parts.scheme, 80)
    fault, until = "no address", time.monotonic() + seconds
    try:
        addresses = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    except OSError as error:
        return str(error.strerror or error)
    for family, kind, protocol, _, address in addresses:
        left = until - time.monotonic()
        if left <= 0:
            break
        with socket.socket(family, kind, protocol) as attempt:
            attempt.settimeout(left)
            try:
                attempt.connect(address)
            except OSError as error:
                fault = str(error.strerror or error)
            else:
                return ""
    return fault
