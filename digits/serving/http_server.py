"""Serves a page to many clients at once, whatever they send and however slowly."""

from collections.abc import Mapping
import contextlib
import json
import logging
import os
import socket
import time

import flask
from waitress.channel import HTTPChannel
from waitress.server import TcpWSGIServer
from waitress.task import ErrorTask

from digits.errors import UserError

try:
    import resource
except ImportError:  # Windows.
    resource = None

THREADS = 5  # Requests that are answered at once, each with its body in memory.
_MOST_CONNECTIONS = 1000  # That wait for their clients.
_MOST_WAITING = 2**29  # Bytes of requests that have arrived in part. They lie in temporary files.
_MOST_SECONDS = 60  # For a client to send a request or to take the answer: 25 MiB need 3.5 Mbit/s.
_FILES = 4096  # Systems allow 256 or 1,024 unless asked.


def listen(host: str, port: int) -> socket.socket:
    """Opens a listening socket; UserError if the address is wrong or taken."""
    try:
        if not host:  # An empty name would mean every address.
            raise socket.gaierror
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (socket.gaierror, UnicodeError) as error:
        raise UserError(f"--host is {host!r}, which is no address: 127.0.0.1 is this machine's own.") from error
    try:
        return socket.create_server(address[:2], family=family)
    except OSError as error:
        reason = os.strerror(error.errno)
        raise UserError(f"--port is {port}, which cannot be had at {host} ({reason}): take another, or 0.") from error


def _files() -> int:
    """Asks the system to allow this process as many open files as the connections need; returns how many it allows."""
    if resource is None:
        return 512  # Windows selects among no more.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # It allows no more.
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, _FILES), hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


class _Refusal(ErrorTask):
    """Answers with JSON, as the application does, what is no request that the application could be given."""

    def execute(self):
        error = self.request.error
        body = json.dumps({"error": self.channel.server.refusals.get(error.code, f"{error.reason}.")}).encode()
        self.status = f"{error.code} {error.reason}"
        self.response_headers.append(("Content-Type", "application/json"))
        self.content_length = len(body)
        self.set_close_on_finish()
        self.write(body)


class _Channel(HTTPChannel):
    """A connection; its `creation_time` is when it began to wait for the client's present request."""

    error_task_class = _Refusal

    def service(self):
        super().service()
        self.creation_time = time.time()


class Server(TcpWSGIServer):
    """Serves an application at a listening socket. Clients that send little, slowly or nothing do not hold it up.

        Server(app, listen("127.0.0.1", 8000), most_bytes=2**20).run()

    Waitress receives requests without a thread for each connection. But it waits for a client as long as that sends a
    byte now and then, and accepts no new clients when there are too many. This server closes connections instead.

    Args:
      app: the application.
      listening: the socket.
      most_bytes: a request's body may have so many.
      refusals: sentences by the status of an answer, for requests that the application is not given.
    """

    channel_class = _Channel

    def __init__(
        self, app: flask.Flask, listening: socket.socket, most_bytes: int, refusals: Mapping[int, str] | None = None
    ):
        logging.getLogger("waitress").setLevel(logging.ERROR)  # Otherwise it tells of every request that waits.
        self.refusals = refusals or {}
        self.most_connections = min(_MOST_CONNECTIONS, _files() // 3)  # Each may have a temporary file too.
        super().__init__(
            app,
            _sock=listening,
            bind_socket=False,
            sockinfo=(listening.family, listening.type, listening.proto, listening.getsockname()),
            sockets=[listening],
            threads=THREADS,
            connection_limit=self.most_connections * 5 // 4,
            cleanup_interval=1,  # Calls `maintenance` every second.
            max_request_header_size=2**14,
            max_request_body_size=most_bytes + 1,
            asyncore_use_poll=True,  # Select takes no file numbers above 1,023.
            server_name="",
            ident=None,
        )

    def handle_accept(self):
        """Accepts all clients that have come. Waitress would look at all connections before it accepts the next."""
        before = -1
        while before < len(self.active_channels) < self.adj.connection_limit:
            before = len(self.active_channels)
            super().handle_accept()

    def maintenance(self, now):
        """Closes the connections whose clients had their time; where there is too much, those that wait longest."""
        waiting = [channel for channel in self.active_channels.values() if not channel.requests]
        received = 0
        for place, channel in enumerate(sorted(waiting, key=lambda channel: channel.creation_time, reverse=True)):
            received += channel.request.body_bytes_received if channel.request else 0
            late = channel.creation_time < now - _MOST_SECONDS
            if late or place >= self.most_connections or received > _MOST_WAITING:
                channel.will_close = True
                with contextlib.suppress(OSError):  # Its client has just gone.
                    channel.socket.shutdown(socket.SHUT_RDWR)  # Otherwise the loop waits until the client reads.
