"""What the page's server refuses, with nothing changed: foreign hosts and sites, no token, large and slow bodies."""

import json
import re
import socket
import threading
import time
from pathlib import Path

import pytest

pytest.importorskip("starlette")
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rlnlp.errors import Exit, Failure
from rlnlp.feedback.records import NewItem
from rlnlp.feedback.store import Store
from rlnlp.feedback.web import guard, server
from rlnlp.feedback.web.server import listen
from support.page import served

WEB = Path(guard.__file__).parent


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with Store(tmp_path_factory.mktemp("web") / "set.sqlite", 2, repeated=0) as opened:
        opened.add(NewItem(f"q{i} <b>&", ("a", "b"), overlap=2, uid=f"u{i}") for i in range(60))
        yield opened


@pytest.fixture(scope="module")
def page(store):
    with served(store, "ann", "bob") as opened:
        yield opened


def everything(store):
    return store.judgements(), store.items(), store.annotators()


def fresh(page, name="ann"):
    """An open question and an answer to it that would be saved."""
    status, _, value = page.ask(name, "/question", {})
    assert status == 200
    fresh.number += 1
    return page.answer_of(value["question"], "left", f"request-{fresh.number}")


fresh.number = 0


def test_what_the_page_asks_is_answered_saved_once_and_escaped(page, store):
    before = len(store.judgements())
    body = fresh(page)
    status, headers, value = page.ask("ann", "/judge", body)
    assert (status, value["saved"], len(store.judgements())) == (200, True, before + 1)
    assert page.ask("ann", "/judge", body)[0] == 200, "the same request again"
    assert page.ask("ann", "/judge", {**body, "request": "another-one"})[0] == 409, "an old window"
    assert len(store.judgements()) == before + 1
    saved = store.judgements()[-1]
    assert (saved.request, saved.seconds, saved.verdict.preference) == (body["request"], 1.5, body["order"][0])
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert value["question"]["prompt"][0][1].endswith("<b>&")
    assert not {"<", "&"} & set(page.last)
    status, _, value = page.ask("ann", "/undo", {"request": "undo-number-1"})
    assert (status, value["undone"], value["question"]["item"]) == (200, True, body["item"])
    assert page.ask("ann", "/undo", {"request": "undo-number-1"})[2]["question"]["item"] == body["item"]
    assert [j.verdict.kind for j in store.judgements()[before:]] == ["better", "undone"]


def test_a_side_is_the_response_that_is_shown_there(page, store):
    orders = set()
    for said, place in (("left", 0), ("right", 1)) * 6:
        body = {**fresh(page), "answer": said}
        orders.add(tuple(body["order"]))
        assert page.ask("ann", "/judge", body)[0] == 200
        assert store.judgements()[-1].verdict.preference == body["order"][place]
    assert orders == {(0, 1), (1, 0)}


def test_an_answer_to_what_was_not_shown_so_is_refused(page, store):
    body = fresh(page)
    assert page.ask("ann", "/judge", body)[0] == 200
    before = everything(store)
    again = {**body, "request": "another-request", "revision": 1}
    for wrong in (
        {"order": body["order"][::-1]},
        {"revision": True},
        {"item": float(body["item"])},
        {"answer": 5},
        {"seconds": -1},
        {"seconds": 10**9},
        {"request": "short"},
        {"confidence": 2},
        {"answer": "undone"},
    ):
        assert page.ask("ann", "/judge", {**again, **wrong})[0] == 400, wrong
    assert everything(store) == before


def test_the_page_has_a_strict_policy_and_a_cookie_that_scripts_cannot_read(page):
    status, headers, text = page.request("GET", f"/?token={page.token('ann')}")
    assert status == 200
    policy = headers["content-security-policy"]
    (nonce,) = set(re.findall(r"'nonce-([\w-]+)'", policy))
    assert policy.startswith("default-src 'none'")
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert re.findall(r"<(?:script|style)[^>]*>", text) == [f'<style nonce="{nonce}">', f'<script nonce="{nonce}">']
    assert nonce not in page.request("GET", f"/?token={page.token('ann')}")[2], "new each time"
    cookie = headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert headers["referrer-policy"] == "no-referrer"
    assert not {"access-control-allow-origin", "server"} & set(headers)
    assert page.token("ann") not in text, "what is on the page is no key to it"
    assert page.request("GET", "/", Cookie=cookie.partition(";")[0])[0] == 200, "reloaded"


def test_the_pages_script_never_writes_markup():
    script = (WEB / "page.js").read_text()
    assert not re.findall(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|new Function|\.style\b", script)


HOSTILE = {
    "another host": {"Host": "evil.example:PORT", "Origin": None},
    "another port": {"Host": "127.0.0.1:1", "Origin": None},
    "no port": {"Host": "127.0.0.1", "Origin": None},
    "a host that begins like ours": {"Host": "127.0.0.1.evil.example:PORT", "Origin": None},
    "the machine's address of the network": {"Host": "192.168.0.7:PORT", "Origin": None},
    "no host": {"Host": None, "Origin": None},
    "another origin": {"Origin": "http://evil.example"},
    "an origin of another port": {"Origin": "http://127.0.0.1:1"},
    "an origin without a name": {"Origin": "null"},
    "another site": {"Sec-Fetch-Site": "cross-site"},
    "another port of this machine": {"Sec-Fetch-Site": "same-site"},
    "no cookie": {"Cookie": None},
    "a wrong cookie": {"Cookie": "rlnlp_feedback_PORT=AAAAAAAAAAAAAAAAAAAAAA"},
    "the cookie of another annotator": {"Cookie": "BOB"},
    "no proof": {"X-Rlnlp-Page": None},
    "a wrong proof": {"X-Rlnlp-Page": "0" * 64},
    "a form": {"Content-Type": "application/x-www-form-urlencoded"},
    "plain text": {"Content-Type": "text/plain"},
    "a form with files": {"Content-Type": "multipart/form-data; boundary=x"},
    "no kind": {"Content-Type": None},
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_request_is_refused_and_changes_nothing(page, store, name):
    body, before = fresh(page), everything(store)
    bob = page.page_headers("bob")["Cookie"]
    words = {"PORT": str(page.port), "BOB": bob}
    changed = {key: value and re.sub("PORT|BOB", lambda found: words[found[0]], value)
               for key, value in HOSTILE[name].items()}  # fmt: skip
    headers = {**page.page_headers("ann"), **changed}
    for path in ("/judge", "/undo", "/question"):
        status, answered, _ = page.request("POST", path, json.dumps(body), **headers)
        assert status in (400, 403, 415), path
        assert "set-cookie" not in answered
    assert everything(store) == before


@pytest.mark.parametrize(
    "headers", [{"Host": "evil.example"}, {"Sec_Fetch_Site": "cross-site"}, {"Origin": "http://evil.example"}]
)
def test_the_page_itself_is_refused_to_other_hosts_and_sites_though_the_token_is_right(page, headers):
    status, answered, _ = page.request("GET", f"/?token={page.token('ann')}", **headers)
    assert status == 403
    assert "set-cookie" not in answered


PATHS = [
    "/", "/?token=", "/?token=x", "/?token=" + "a" * 5000, "/judge", "/question", "/undo", "/x", "/page.js",
    "/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "//evil.example/",
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_nothing_is_given_or_changed_by_get_without_a_link(page, store, path):
    before = everything(store)
    status, _, text = page.request("GET", path)
    assert status in (403, 404, 405)
    assert "root:" not in str(text)
    assert everything(store) == before


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE", "CONNECT"])
def test_other_methods_are_refused(page, store, method):
    before = everything(store)
    status, headers, _ = page.request(method, "/judge", **page.page_headers("ann"))
    assert status in (400, 404, 405)
    assert not [name for name in headers if name.startswith("access-control")]
    assert everything(store) == before


def test_large_bodies_are_refused_whatever_they_say_of_their_size(page, store):
    before, headers = everything(store), page.page_headers("ann")
    assert page.request("POST", "/judge", **{**headers, "Content-Length": str(10**9)})[0] == 413
    assert page.request("POST", "/judge", b'{"a":"' + b"x" * 70000 + b'"}', **headers)[0] == 413
    with socket.create_connection(("127.0.0.1", page.port), timeout=30) as raw:
        lines = [f"{name}: {value}" for name, value in {**headers, "Host": f"127.0.0.1:{page.port}"}.items()]
        raw.sendall(
            ("POST /judge HTTP/1.1\r\n" + "\r\n".join([*lines, "Transfer-Encoding: chunked"]) + "\r\n\r\n").encode()
        )
        chunk = b"4000\r\n" + b"x" * 0x4000 + b"\r\n"
        try:
            for _ in range(100):
                raw.sendall(chunk)
        except OSError:
            pass
        answer = raw.recv(100)
    assert answer.startswith(b"HTTP/1.1 413") or answer == b""
    assert everything(store) == before


WRONG = [
    "", "[", "[]", "1", "null", '"x"', "[" * 20000, '{"item": 1}', '{"a": ' + "9" * 5000 + "}",
    "\ud83d".encode("utf-8", "surrogatepass"), b"\xff\xfe", '{"item": NaN}',
]  # fmt: skip


@pytest.mark.parametrize("body", WRONG, ids=range(len(WRONG)))
def test_bodies_that_the_page_does_not_send_are_refused(page, store, body):
    before = everything(store)
    for path in ("/judge", "/undo"):
        assert page.request("POST", path, body, **page.page_headers("ann"))[0] == 400
    assert everything(store) == before


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=20),
    st.lists(st.integers(-3, 3), max_size=3), st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
    st.sampled_from(["left", "up", "tie", "skip", 11, 0, -1, 10**30, "undone"]),
)  # fmt: skip


@pytest.mark.slow
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(field=st.sampled_from(["item", "revision", "order", "answer", "seconds", "confidence", "request"]), value=VALUES)
def test_a_field_of_another_kind_is_refused_or_means_what_it_says(page, store, field, value):
    body = page.answer_of(
        {"item": 3, "revision": 0, "order": list(store.question(store.annotators()[0], 3).order)}, "left", ""
    )
    before = everything(store)
    body = {**body, "request": "never-saved", "revision": 99, field: value}
    status, _, _ = page.ask("ann", "/judge", body)
    assert status in (400, 409), body
    assert everything(store) == before


def test_each_annotator_is_who_the_link_says_and_old_links_stay_good(tmp_path):
    with Store(tmp_path / "set.sqlite", repeated=0) as store:
        store.add([NewItem("q", ("a", "b"), overlap=2)])
        with served(store, "ann", "bob") as first:
            token, port = first.token("ann"), first.port
            for name in ("ann", "bob"):
                assert first.ask(name, "/judge", fresh(first, name))[0] == 200
        assert [one.annotator for one in store.judgements()] == [1, 2]
        with served(store, "ann", port=port) as again:
            assert again.port == port
            assert again.token("ann") != token
            assert again.request("GET", f"/?token={token}")[0] == 200
            kept = b"".join(file.read_bytes() for file in tmp_path.iterdir())
            assert b"links" in kept
            assert token.encode() not in kept, "what is kept is no key"


def test_a_taken_port_is_left_for_a_free_one_and_it_listens_on_this_machine_only():
    with listen(0) as taken:
        assert taken.getsockname()[0] == "127.0.0.1"
        with listen(taken.getsockname()[1]) as other:
            assert other.getsockname()[1] != taken.getsockname()[1]


def test_without_any_port_it_is_an_error_of_this_machine(monkeypatch):
    monkeypatch.setattr(server, "HOST", "192.0.2.1")
    with pytest.raises(Failure, match="no port") as failure:
        listen(0)
    assert failure.value.code == Exit.STORAGE


@pytest.mark.slow
def test_slow_headers_and_slow_bodies_are_cut_off_while_others_are_served(tmp_path, monkeypatch):
    monkeypatch.setattr(guard, "SLOWEST", 0.6)
    monkeypatch.setattr(server, "SLOWEST", 0.6)
    with Store(tmp_path / "set.sqlite", repeated=0) as store:
        store.add([NewItem("q", ("a", "b"))])
        with served(store, "ann") as page:
            headers = {**page.page_headers("ann"), "Host": f"127.0.0.1:{page.port}", "Content-Length": "50"}
            whole = "POST /judge HTTP/1.1\r\n" + "".join(f"{n}: {v}\r\n" for n, v in headers.items()) + "\r\n"
            for begun in ("", "GET / HTTP/1.1\r\nHost: x", whole + '{"a'):
                with socket.create_connection(("127.0.0.1", page.port), timeout=20) as raw:
                    start = time.monotonic()
                    raw.sendall(begun.encode())
                    dripping = threading.Event()

                    def drip(raw=raw, dripping=dripping):
                        while not dripping.wait(0.1):
                            try:
                                raw.sendall(b"x")
                            except OSError:
                                return

                    thread = threading.Thread(target=drip)
                    thread.start() if begun else None
                    assert page.ask("ann", "/question", {})[0] == 200
                    try:
                        answer = raw.recv(20)
                    except ConnectionResetError:
                        answer = b""
                    assert answer == b"" or answer.startswith(b"HTTP/1.1 408")
                    assert time.monotonic() - start >= 0.5
                    dripping.set()
                    thread.join() if begun else None


@pytest.mark.slow
def test_many_connections_at_once_do_not_end_it(page):
    raw = []
    for _ in range(300):
        one = socket.socket()
        one.settimeout(5)
        try:
            one.connect(("127.0.0.1", page.port))
        except OSError:
            break
        raw.append(one)
    for one in raw:
        one.close()
    for _ in range(50):
        if page.ask("ann", "/question", {})[0] == 200:
            return
        time.sleep(0.1)
    raise AssertionError("it does not answer any more")


@pytest.mark.slow
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.binary(max_size=300),
    begin=st.sampled_from([b"", b"GET / HTTP/1.1\r\n", b"POST /judge HTTP/1.1\r\nHost: x\r\n"]),
)
def test_any_bytes_change_nothing(page, store, data, begin):
    before = store.answers()
    with socket.create_connection(("127.0.0.1", page.port), timeout=20) as raw:
        raw.sendall(begin + data + b"\r\n\r\n")
        raw.shutdown(socket.SHUT_WR)
        try:
            answer = raw.recv(200)
        except ConnectionResetError:
            answer = b""
        assert answer == b"" or re.match(rb"HTTP/1.1 4\d\d", answer)
    assert store.answers() == before
