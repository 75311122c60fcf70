"""The server behind the page to draw on: clients that send little, slowly, too much or nothing."""

import contextlib
import json
import socket
import threading
import time

import pytest

flask = pytest.importorskip("flask")
pytest.importorskip("waitress")

from waitress import wasyncore  # noqa: E402

from digits.serving import http_server  # noqa: E402

SECONDS = 0.5


@pytest.fixture
def server(monkeypatch):
    """A server of an application that answers with what it was sent; its clients have half a second."""
    monkeypatch.setattr(http_server, "_MOST_SECONDS", SECONDS)
    monkeypatch.setattr(http_server, "_files", lambda: 60)  # So 20 connections.
    app = flask.Flask("echo")
    app.post("/")(lambda: flask.request.get_data())
    with contextlib.closing(http_server.listen("127.0.0.1", 0)) as listening:
        made = http_server.Server(app, listening, 2**20, {413: "Too large."})
        made.adj.cleanup_interval = made.adj.asyncore_loop_timeout = 0.05
        thread = threading.Thread(target=made.run, daemon=True)
        thread.start()
        yield made
        made.trigger.pull_trigger(lambda: wasyncore.close_all(made._map))  # The loop ends when it has no connections.
        thread.join(10)
        made.task_dispatcher.shutdown()


def connect(server, sent=b""):
    client = socket.create_connection(("127.0.0.1", int(server.effective_port)), 10)
    client.sendall(sent)
    return client


def post(body, headers=b""):
    return b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n%s\r\n%s" % (len(body), headers, body)


def answer(client):
    """(status, body) of an answer, after which the server closes the connection."""
    with client:
        head, _, body = b"".join(iter(lambda: client.recv(2**16), b"")).partition(b"\r\n\r\n")
    return int(head.split()[1]), body


def is_answered(server):
    return answer(connect(server, post(b"7", b"Connection: close\r\n"))) == (200, b"7")


def is_closed(client, send=b""):
    """Whether the server closes a connection within ten seconds, although the client sends `send` again and again."""
    start = time.monotonic()
    client.settimeout(0.05)
    while time.monotonic() < start + 10:
        try:
            if send:
                client.sendall(send)
            if not client.recv(2**16):
                return True
        except TimeoutError:
            continue
        except OSError:  # Reset, because it was still sending.
            return True
    return False


@pytest.mark.parametrize(
    "sent, then",
    [
        (b"", b""),
        (b"POST / HT", b""),
        (b"POST / HTTP/1.1\r\nA: ", b"x"),
        (post(b"7" * 9999)[:90], b""),
        (post(b"7" * 9999)[:90], b"7"),
        (post(b"7"), b""),  # Answered, then silent.
        (post(b"7"), b"\r"),
    ],
    ids=["nothing", "half a line", "trickling headers", "half a body", "trickling body", "no more", "trickling next"],
)
def test_a_slow_client_has_its_time_and_holds_up_no_other(server, sent, then):
    start = time.monotonic()
    client = connect(server, sent)
    assert is_answered(server) and is_closed(client, then)
    assert time.monotonic() - start > SECONDS and is_answered(server)


def test_where_there_are_too_many_clients_those_that_wait_longest_are_closed(server, monkeypatch):
    monkeypatch.setattr(http_server, "_MOST_SECONDS", 60)
    clients = [connect(server) for _ in range(60)]
    assert is_answered(server)
    for client in clients[:35]:
        assert is_closed(client)
    clients[-1].sendall(post(b"8", b"Connection: close\r\n"))
    assert answer(clients[-1]) == (200, b"8")


def test_bodies_that_arrive_have_a_bound_together(server, monkeypatch):
    monkeypatch.setattr(http_server, "_MOST_SECONDS", 60)
    monkeypatch.setattr(http_server, "_MOST_WAITING", 250_000)
    clients = [connect(server, post(b"7" * 200_000)[:100_000]) for _ in range(3)]
    assert is_closed(clients[0])
    clients[2].sendall(post(b"7" * 200_000)[100_000:])
    assert clients[2].recv(12) == b"HTTP/1.1 200"


@pytest.mark.parametrize(
    "sent, status, sentence",
    [
        (b"POST / HTTP/1.1\r\nContent-Length: 1048577\r\n\r\n", 413, "Too large."),
        (b"GET / HTTP/1.1\r\nA: " + b"x" * (2**14 - 19), 431, "Request Header Fields Too Large."),
        (b"no HTTP\r\n\r\n", 400, "Bad Request."),
    ],
)
def test_what_is_no_request_is_answered_with_a_sentence(server, sent, status, sentence):
    found, body = answer(connect(server, sent))
    assert found == status and json.loads(body) == {"error": sentence}
