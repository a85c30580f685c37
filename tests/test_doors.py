"""The doors of the HTTP face, tried by strangers: other spellings of a signature, odd names, rights that end, others' routines."""

from __future__ import annotations

import itertools
import json
import re
import socket
import time

import httpx
import pytest
import test_api
from conftest import until
from hypothesis import given
from hypothesis import strategies as st
from test_api import HOOK, delivered, github

from routinectl.api.app import App
from routinectl.core import signature
from routinectl.core.signature import Believed

site = test_api.site  # a workspace of our own that is served

# -- one spelling of what is signed

SECRET, BODY, NOW = "schlüssel".encode(), b'{"ref": "main"}', 1_764_000_000
OTHER_TIMES = {
    "a zero before it": "0{}", "two": "00{}", "a plus": "+{}", "a minus": "-{}", "a point": "{}.0", "a bare point": "{}.", "an exponent": "{}e0",
    "an underscore": "1_{:.9}", "hex": "0x{:x}", "a blank inside": "{:.5} {:.5}", "a blank before": " {}", "a tab after": "{}\t",
    "a line after": "{}\n", "a vertical tab after": "{}\x0b", "a no-break space after": "{}\xa0", "a null after": "{}\0", "a comma after": "{},",
    "twice in one": "{}, {}", "quotes": '"{}"', "a parameter": "{};a=b", "nothing": "", "a word": "now", "a BOM before": "\ufeff{}",
}  # fmt: skip
DIGITS = {"Arabic": "٠", "Devanagari": "०", "full-width": "０", "mathematical": "𝟎"}


def other_times():
    for name, form in OTHER_TIMES.items():
        text = form.format(NOW, NOW) if ":x" in form or ":." not in form else form.format(str(NOW), str(NOW)[5:])
        yield name, text.encode()
    for name, zero in DIGITS.items():
        yield f"{name} digits", "".join(chr(ord(zero) + int(digit)) for digit in str(NOW)).encode()
        yield f"one {name} digit", (str(NOW)[:-1] + chr(ord(zero) + int(str(NOW)[-1]))).encode()
    yield "a superscript", f"{NOW}²".encode("latin-1")


def believed(headers, scheme="routinectl", body=BODY):
    return signature.believe(scheme, SECRET, headers, body, NOW)


def signed(text=None, stamp=NOW, body=BODY):
    text = b"%d" % NOW if text is None else text
    return [(b"routinectl-timestamp", text), (b"routinectl-signature", signature.sign(SECRET, stamp, body).encode())]


@pytest.mark.parametrize("text", [row[1] for row in other_times()], ids=[row[0] for row in other_times()])
def test_another_spelling_of_the_time_is_no_time(text):
    assert isinstance(believed(signed()), Believed)
    assert isinstance(believed(signed(text)), str)


SPELLINGS = st.one_of(
    st.binary(max_size=40),
    st.text(max_size=20).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.tuples(
        st.sampled_from(["", "0", "+", "-", " ", "\t"]), st.integers(NOW - 400, NOW + 400), st.sampled_from(["", "0", " ", ".0", "\n", "_"])
    ).map(lambda parts: "".join(map(str, parts)).encode()),
)


@given(SPELLINGS, st.integers(NOW - 400, NOW + 400))
def test_only_the_exact_spelling_of_a_time_is_believed(text, stamp):
    found = believed(signed(text, stamp))

    assert isinstance(found, Believed) == (text == b"%d" % stamp and abs(NOW - stamp) <= signature.TOLERANCE)


@given(
    st.sampled_from(["routinectl", "github", "header"]), SPELLINGS | st.sampled_from([b"upper", b"prefix", b"bare", b"latin-1", b"none"])
)
def test_only_the_exact_spelling_of_a_signature_is_believed(scheme, other):
    name, exact = exactly(scheme)
    given = {
        b"upper": exact.upper(),
        b"prefix": exact.title(),
        b"bare": exact.partition(b"=")[2],
        b"latin-1": "schlüssel".encode("latin-1"),
    }.get(other, other)
    rest = [] if scheme != "routinectl" else [(b"routinectl-timestamp", b"%d" % NOW)]

    assert isinstance(believed([*rest, (name, exact)], scheme), Believed)
    assert isinstance(believed([*rest, (name, given)], scheme), Believed) == (given == exact)


def exactly(scheme):
    """Return the header of a scheme that signs, and its one good value."""
    if scheme == "header":
        return b"routinectl-secret", SECRET
    if scheme == "github":
        return b"x-hub-signature-256", github(SECRET.decode(), BODY)["X-Hub-Signature-256"].encode()
    return signed()[1]


@given(st.lists(st.tuples(st.integers(NOW - 2, NOW + 2), st.sampled_from([b"", b"1", b"1.", b".1", b"{}"])), min_size=2, max_size=2),
       st.lists(st.tuples(st.sampled_from([b"x-github-delivery", b"date", b"idempotency-key"]), st.binary(max_size=5)), max_size=3))  # fmt: skip
def test_what_was_signed_once_has_one_key_and_what_was_signed_twice_has_two(deliveries, more):
    (first, body), (second, other) = deliveries
    keys = [believed([*more, *signed(b"%d" % stamp, stamp, data)], body=data).key for stamp, data in deliveries]

    assert (keys[0] == keys[1]) == ((first, body) == (second, other))


@pytest.mark.parametrize("scheme", ["routinectl", "github", "header"])
def test_a_header_that_comes_twice_is_not_believed_whichever_is_good(scheme):
    good = exactly(scheme)
    rest = signed()[:1] if scheme == "routinectl" else []
    for name, value in [good, *rest, *([(b"idempotency-key", b"d1")] if scheme == "header" else [])]:
        for doubled in ([(name, value), (name, b"x")], [(name, b"x"), (name, value)], [(name, value), (name, value)]):
            others = [pair for pair in (*rest, good) if pair[0] != name]
            assert "comes 2 times" in believed([*others, *doubled], scheme)


# -- over a socket


def send(site, *lines, body=b""):
    """Send a request as these bytes are, and return the status of the answer and its body."""
    host, port = site.url.removeprefix("http://").split(":")
    head = b"\r\n".join([*lines, b"Content-Length: %d" % len(body), b"Connection: close", b"", b""])
    with socket.create_connection((host, int(port)), timeout=30) as wire:
        wire.sendall(head + body)
        answer = b"".join(iter(lambda: wire.recv(65536), b""))
    head, _, rest = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), rest


@pytest.fixture
def hooked(site):
    """Make a routine with a webhook whose secret is this; return its id."""

    def make(secret, keys="signature: routinectl"):
        site.count += 1
        name = f"door-{site.count}"
        site.workspace.define(name, HOOK % keys)
        path = site.workspace.root / f"secrets/webhook-{name}"
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.write_text(secret)
        until(lambda: site.client().get(f"/routines/{name}").status_code == 200)
        return name

    return make


def test_a_delivery_that_is_replayed_in_another_spelling_fires_nothing(site, hooked):
    name, stamp = hooked("secret"), int(time.time())
    post, host = b"POST /hooks/routine/%s HTTP/1.1" % name.encode(), b"Host: localhost"
    good = [b"Routinectl-Timestamp: %d" % stamp, b"Routinectl-Signature: " + signature.sign(b"secret", stamp, BODY).encode()]
    assert send(site, post, host, *good, body=BODY)[0] == 202
    assert b"known already" in send(site, post, host, *good, body=BODY)[1]
    for text in (b"0%d", b"00%d", b"+%d", b"%d.0", b"%d\xc2\xa0", b"%d,", b"1_%d"):
        assert send(site, post, host, b"Routinectl-Timestamp: " + text % stamp, good[1], body=BODY)[0] == 401
    for more in (good[:1], good[1:], [b"Routinectl-Timestamp: 1"], [b"routinectl-timestamp: 0%d" % stamp]):
        assert send(site, post, host, *good, *more, body=BODY)[0] == 401
        assert send(site, post, host, *more, *good, body=BODY)[0] == 401
    for blank in (b"  %d", b"%d \t"):  # HTTP itself takes blanks around a value away: it is the same one
        assert b"known already" in send(site, post, host, b"Routinectl-Timestamp: " + blank % stamp, good[1], body=BODY)[1]

    assert len(delivered(site, name)) == 1


def test_a_secret_of_any_letters_is_known_by_its_bytes(site, hooked):
    name = hooked("schlüssel-ключ", "signature: header")
    post = b"POST /hooks/routine/%s HTTP/1.1" % name.encode()
    secret = b"Routinectl-Secret: " + "schlüssel-ключ".encode()

    assert send(site, post, b"Host: localhost", secret, body=b"1")[0] == 202
    for other in (secret[:-1], secret.upper(), b"Routinectl-Secret: " + "schlüssel".encode("latin-1")):
        assert send(site, post, b"Host: localhost", other, body=b"2")[0] == 401
    assert send(site, post, b"Host: localhost", secret, secret, body=b"3")[0] == 401
    assert delivered(site, name) == [{"body": 1}]


# -- names of others

PORT = b"%PORT%"
ODD_HOSTS = {
    b"[x": 400, b"[": 400, b"]": 400, b"[]": 400, b"[::1": 400, b"[::1]x": 400, b"[::1%25lo]": 400, b"[:::]": 400, b"[v1.x]": 400, b"::1": 400,
    b"evil@localhost": 400, b"localhost@evil": 400, b"a:b@localhost": 400, b"localhost:": 400, b"localhost:x": 400, b"localhost:-1": 400,
    b"localhost:+1": 400, b"localhost:080": 400, b"localhost:0": 400, b"localhost:65536": 400, b"localhost:99999999999": 400,
    b"localhost:1:2": 400, b"localhost:\xb2": 400, b"localhost/": 400, b"localhost\\": 400, b"\\localhost": 400, b"local host": 400,
    b"localhost, evil": 400, b"localhost?": 400, b"localhost#x": 400, b"http://localhost": 400, b"%6cocalhost": 400, b"\xff\xfe": 400,
    "löcalhost".encode(): 400, "ｌocalhost".encode(): 400, b"a" * 254: 400, b"a" * 8000: 400, b"*": 400, b'"localhost"': 400,
    b"": 403, b"evil": 403, b"evil.example:80": 403, b"localhost.": 403, b"localhost.evil": 403, b"127.1": 403, b"127.0.0.2": 403,
    b"2130706433": 403, b"0.0.0.0": 403, b"[::2]": 403, b"[::ffff:127.0.0.1]": 403, b"null": 403, b"a" * 253: 403, b"..": 403,
    b"localhost": 200, b"LocalHost:1": 200, b"127.0.0.1": 200, b"[::1]": 200, b"[0:0::1]:65535": 200, b"Routines.example.org": 200,
}  # fmt: skip
ODD_ORIGINS = {
    b"": 400, b"x": 400, b"[x": 400, b"http://[x": 400, b"http://[": 400, b"http://": 400, b"http:": 400, b"http:localhost": 400, b"//localhost": 400,
    b"http:/localhost": 400, b"http:\\\\localhost": 400, b"http://localhost\\": 400, b"http://localhost/": 400, b"http://localhost/a": 400,
    b"http://evil@localhost": 400, b"http://localhost@evil": 400, b"http://localhost:": 400, b"http://localhost:x": 400, b"HTTP://localhost": 400,
    b"http://localhost:99999": 400, b"http://localhost?": 400, b"http://localhost http://evil": 400, b"Null": 400, b"\xff": 400, b"://localhost": 400,
    b"http://" + b"a" * 8000: 400, "http://löcalhost".encode(): 400, b"http://http://localhost": 400, b"file://": 400,
    b"null": 403, b"http://evil": 403, b"https://evil.example:8443": 403, b"http://localhost": 403, b"http://localhost:1": 403,
    b"http://127.0.0.1:%PORT%": 403, b"http://localhost.:%PORT%": 403, b"http://routines.example.org.evil": 403, b"ftp://localhost:%PORT%": 403,
    b"chrome-extension://abcdef": 403, b"ws://localhost:%PORT%": 403,
    b"http://localhost:%PORT%": 200, b"https://routines.example.org": 200, b"https://routines.example.org:8443": 200,
}  # fmt: skip


def test_odd_names_are_refused_before_anything_is_looked_at(workspace):
    workspace.configure("http: {hosts: [Routines.Example.org]}")
    with workspace.serving("--http", "127.0.0.1:0") as serving:
        port = int(serving.wait_for("HTTP on http://127.0.0.1:").partition("HTTP on http://127.0.0.1:")[2].split()[0])
        site = test_api.Site(workspace, f"http://127.0.0.1:{port}")
        here = b"Host: localhost:%d" % port
        found = {host: send(site, b"GET /healthz HTTP/1.1", b"Host: " + host) for host in ODD_HOSTS}
        assert {host: answer[0] for host, answer in found.items()} == ODD_HOSTS
        pages = {origin: origin.replace(PORT, b"%d" % port) for origin in ODD_ORIGINS}
        answers = {origin: send(site, b"GET /healthz HTTP/1.1", here, b"Origin: " + page) for origin, page in pages.items()}
        assert {origin: answer[0] for origin, answer in answers.items()} == ODD_ORIGINS
        for status, body in (*found.values(), *answers.values()):
            assert json.loads(body)["status"] == (status if status != 200 else "ok")
        for more in (
            [],
            [here, here],
            [here, b"Host: evil"],
            [b"Host: evil", here],
            [here, b"Origin: null", b"Origin: " + pages[b"http://localhost:%PORT%"]],
        ):
            assert send(site, b"GET /healthz HTTP/1.1", *more)[0] in (400, 403)
        for target in (b"/", b"/routines/", b"/nothing", b"/hooks/routine/x", b"/routines/events", b"http://localhost/healthz"):
            for name, status in ((b"[x", 400), (b"evil", 403)):
                assert send(site, b"GET " + target + b" HTTP/1.1", b"Host: " + name)[0] == status
                assert send(site, b"POST " + target + b" HTTP/1.1", here, b"Origin: http://" + name)[0] == status
        said = serving.end()
    assert "Traceback" not in said
    assert "Exception" not in said


DEEP, HALF = 900, "\\ud800"  # levels; half of a pair of surrogates, as JSON writes it
HUGE = "9" * 5000
ODD_QUESTIONS = {
    f"GET /routines?limit={HUGE}": 400, f"GET /timeline?cells={HUGE}": 400, f"GET /routines/ID/history?limit={HUGE}": 400,
    f"GET /calendar.ics?days={HUGE}": 400, f"GET /routines/events?after={HUGE}": 400, "GET /routines?limit=%D9%A1": 400,
    "GET /routines/%ff": 404, "GET /routines/..%2f..%2fx": 404, "GET /routines/%ed%a0%80": 404, "GET /%2f%2fevil": 404, "GET *": 404,
    "GET /routines/ID/runs/%00/log": 404, "GET http://evil/me": 404, "GET /me?%ff=%ff&&=": 200,
}  # fmt: skip
ODD_RANGES = [
    b"bytes=%s-" % HUGE.encode(),
    b"bytes=-%s" % HUGE.encode(),
    b"bytes=0-%s" % HUGE.encode(),
    b"bytes=\xb2-",
    b"bytes=-",
    b"x",
    b"bytes=--1",
]
ODD_BEARERS = [b"", b"Bearer", b"Bearer \xff\xfe", b"Bearer " + b"x" * 8000, b"\xe2\x98\x83", b"Bearer\tx", b"Bearer a b"]
ODD_VALUES = {
    "half a letter": f'"{HALF}"', "half a letter as a key": f'{{"{HALF}": 1}}', "no number": "1e999", "minus that": "-1e999", "deep lists": "[" * DEEP + "]" * DEEP,
    "deep objects": '{"a":' * DEEP + "1" + "}" * DEEP, "a huge number": HUGE,
}  # fmt: skip
ODD_BODIES = [
    ("/routines", '{"id": %s, "timeout": "1m", "action": {"command": "x"}}'), ("/routines", '{"name": "x", "triggers": %s}'),
    ("/routines", '{"name": "x", "timezone": %s, "triggers": []}'), ("/routines/ID/run_now", '{"payload": %s}'),
    ("/check", '{"definition": {"name": %s}}'), ("/check", '{"id": %s}'), ("/schedule_preview", '{"schedule": %s}'),
    ("/routines/ID/pause", '{"reason": %s}'),
]  # fmt: skip


def test_odd_requests_are_no_fault_of_ours(workspace):
    workspace.define("here", "triggers: [{message: {channel: odd}}]\ntimeout: 1m\naction: {command: [echo, hi]}\n")
    workspace.define("late", "triggers: [{at: '9999-12-31T23:59:59-23:59'}]\ntimeout: 1m\naction: {command: [echo, hi]}\n")
    with workspace.serving("--http", "127.0.0.1:0") as serving:
        port = int(serving.wait_for("HTTP on http://127.0.0.1:").partition("HTTP on http://127.0.0.1:")[2].split()[0])
        site = test_api.Site(workspace, f"http://127.0.0.1:{port}")
        client = site.client()
        run = until(lambda: client.post("/routines/here/run_now").json())["run"]
        until(lambda: client.get(f"/routines/here/runs/{run}").json()["state"] == "ended")
        lines = [b"Host: localhost", b"Authorization: " + client.headers["authorization"].encode(), b"Content-Type: application/json"]
        asked = {line: send(site, line.replace("ID", "here").encode() + b" HTTP/1.1", *lines)[0] for line in ODD_QUESTIONS}
        assert asked == ODD_QUESTIONS
        for text in ODD_RANGES:
            assert send(site, f"GET /routines/here/runs/{run}/log HTTP/1.1".encode(), *lines, b"Range: " + text)[0] in (400, 416)
        for text in ODD_BEARERS:
            assert send(site, b"GET /me HTTP/1.1", lines[0], b"Authorization: " + text)[0] == 401
        for path, body in ODD_BODIES:
            for value in ODD_VALUES.values():
                line = f"POST {path.replace('ID', 'here')} HTTP/1.1".encode()
                assert send(site, line, *lines, body=(body % value).encode())[0] == 400, (path, value[:30])
            for value in ("1", "true", '"x"', "[1]", "[[]]", "{}", '[{"schedule": 1}]', '"9999-12-31T23:59:59-23:59"'):
                assert send(site, line, *lines, body=(body % value).encode())[0] < 500, (path, value)
        for value in ("1e999", HUGE, "-.9e999"):
            assert send(site, b"POST /check HTTP/1.1", *lines, body=json.dumps({"text": f"name: {value}"}).encode())[0] == 200
        for value in ODD_VALUES.values():
            assert (
                send(site, b"POST /channels/odd/messages HTTP/1.1", *lines[:2], b"Content-Type: text/plain", body=value.encode())[0] == 202
            )
        said = serving.end()
    assert "Traceback" not in said
    assert "outside the years" in workspace.run("validate", "late").err + workspace.run("validate", "late").out


# -- what lasts


ENDS = {
    "its time is over": lambda workspace, token: None,
    "it is revoked": lambda workspace, token: workspace.ok("token", "revoke", token["id"]),
    "it is taken out of the file": lambda workspace, token: rewrite(workspace, token, lambda row: None),
    "it is another's": lambda workspace, token: rewrite(workspace, token, lambda row: {**row, "owner": "bob"}),
    "its role is another": lambda workspace, token: rewrite(workspace, token, lambda row: {**row, "role": "agent"}),
    "its time is made shorter": lambda workspace, token: rewrite(workspace, token, lambda row: {**row, "expires": "2020-01-01T00:00:00Z"}),
    "the file is damaged": lambda workspace, token: (workspace.root / ".routinectl/tokens.json").write_text("["),
}  # fmt: skip


def rewrite(workspace, token, change):
    path = workspace.root / ".routinectl/tokens.json"
    rows = [change(row) if row["id"] == token["id"] else row for row in json.loads(path.read_text())]
    path.write_text(json.dumps([row for row in rows if row is not None]))


@pytest.mark.parametrize("why", ENDS)
def test_what_lasts_ends_with_the_right_to_it(site, why):
    kept = (site.workspace.root / ".routinectl/tokens.json").read_text() if why == "the file is damaged" else ""
    name = site.new(action={"command": "while :; do echo more; sleep 0.1; done"}, kill_grace="1s")
    run = site.client().post(f"/routines/{name}/run_now").json()["run"]
    until(lambda: site.client().get(f"/routines/{name}/runs/{run}/log").text)
    token = site.workspace.ok(
        "token", "create", "--role", "user", "--owner", "alice", "--expires", "2s" if "over" in why else "1h", "--json"
    ).data
    with httpx.Client(base_url=site.url, headers={"Authorization": f"Bearer {token['secret']}"}, timeout=30) as client:
        with client.stream("GET", "/routines/events") as events, client.stream("GET", f"/routines/{name}/runs/{run}/log?follow=1") as log:
            heard, printed = events.iter_lines(), log.iter_text()
            assert next(heard) == ": connected"
            assert "more" in next(printed)
            begin = time.monotonic()
            ENDS[why](site.workspace, token)
            for _ in itertools.chain(heard, printed):
                assert time.monotonic() < begin + 15, "it goes on"  # 2 s on a machine that has nothing else to do
        if kept:
            (site.workspace.root / ".routinectl/tokens.json").write_text(kept)
    site.client().post(f"/routines/{name}/cancel")


def test_a_log_ends_for_whom_its_routine_is_no_more(site):
    name = site.new(action={"command": "while :; do echo more; sleep 0.1; done"}, kill_grace="1s")
    run = site.client().post(f"/routines/{name}/run_now").json()["run"]
    until(lambda: site.client().get(f"/routines/{name}/runs/{run}/log").text)
    with site.client("user").stream("GET", f"/routines/{name}/runs/{run}/log?follow=1") as log:
        printed = log.iter_text()
        assert "more" in next(printed)
        assert site.client().patch(f"/routines/{name}", json={"owner": "bob"}).status_code == 200
        begin = time.monotonic()
        for _ in printed:
            assert time.monotonic() < begin + 20, "it goes on"
    with site.client().stream("GET", f"/routines/{name}/runs/{run}/log?follow=1") as log:
        assert site.client().post(f"/routines/{name}/cancel").status_code == 202
        assert "more" in "".join(log.iter_text()), "for others it ends with the run"


# -- what another owner's routines are to a caller: nothing

BOBS = """name: Bobs own thing
owner: bob
triggers: [{message: {channel: shared}}, {webhook: {path: someones-path}}, {after: {routine: hers}}, {at: '2001-01-01T00:00:00Z'}, {every: 1h}]
timeout: 1m
budget: {per_day: {runs: 30}}
action: {command: [echo, hi]}
"""
HERS = "name: Hers\nowner: eve\ntriggers: [{message: {channel: shared}}]\ntimeout: 1m\naction: {command: ['true']}\n"
NEW = {"timeout": "1m", "action": {"command": ["true"]}}
PAST = "owner: eve\nname: x\ntimeout: 1m\ntriggers: [{at: '2001-01-01T00:00:00Z'}]\naction: {command: 'true'}\n"
# Of each endpoint: what eve asks it about bob's routine, and the status. `told`: words of her own that may come back.
ASKED = {
    "GET /": [("/", None, 200)],
    "GET /page/{version}/{name}": [("/page/x/main.js", None, 200)],
    "GET /routines/events": [],  # test_another_users_events_are_not_told
    "GET /me": [("/me", None, 200)],
    "GET /routines": [("/routines?text=bob&owner=bob", None, 200), ("/routines", None, 200), ("/routines?tag=x", None, 200)],
    "POST /routines": [
        ("/routines", {"id": "bobs", "name": "Other", **NEW}, 409), ("/routines", {"id": "bobs", "name": "BOBS", "owner": "eve", **NEW}, 409),
        ("/routines", {"name": "Thief", "triggers": [{"webhook": {"path": "someones-path"}}], **NEW}, 409),
        ("/routines", {"name": "To bob", "owner": "bob", **NEW}, 403),
    ],
    "POST /routines/propose": [("/routines/propose", {"text": ""}, 400)],
    "POST /check": [
        ("/check", {"id": "bobs", "text": PAST}, 200), ("/check", {"id": "bobs", "patch": {"timeout": "2m"}}, 404),
        ("/check", {"id": "hers", "patch": {"triggers": [{"after": {"routine": "bobs"}}]}}, 200),
        ("/check", {"definition": {"name": "x", "triggers": [{"after": {"routine": "bobs"}}], **NEW}}, 200),
    ],
    "POST /schedule_preview": [("/schedule_preview", {"schedule": "daily at 9", "after": "2030-01-01T00:00:00Z"}, 200)],
    "GET /approvals": [("/approvals", None, 200)],
    "GET /reviews": [("/reviews", None, 200)],
    "GET /proposals": [("/proposals", None, 200)],
    "GET /proposals/{proposal}": [("/proposals/PROPOSAL", None, 404)],
    "POST /proposals/{proposal}/apply": [("/proposals/PROPOSAL/apply", {}, 404), ("/proposals/bobs/apply", {}, 404)],
    "POST /proposals/{proposal}/reject": [("/proposals/PROPOSAL/reject", {}, 404)],
    "GET /timeline": [("/timeline?from=2030-01-01T00:00:00Z&to=2030-01-02T00:00:00Z&ids=bobs,hers", None, 200), ("/timeline?from=2030-01-01T00:00:00Z&to=2030-01-02T00:00:00Z", None, 200)],
    "GET /budgets": [("/budgets", None, 200)],
    "GET /agents": [("/agents", None, 200)],
    "GET /templates": [("/templates", None, 200)],
    "GET /status": [("/status", None, 200)],
    "POST /channels/{channel}/messages": [("/channels/shared/messages", {"text": "hello"}, 202)],
    "POST /hooks/routine/{name}": [("/hooks/routine/someones-path", {}, (401, 403)), ("/hooks/routine/bobs", {}, 404)],
    "GET /metrics": [("/metrics", None, 403)],
    "GET /calendar.ics": [("/calendar.ics", None, 200)],
    "GET /healthz": [("/healthz", None, 200)],
    "GET /openapi.json": [("/openapi.json", None, 200)],
}  # fmt: skip
BOBS_WORDS = ("Bobs own", "bobs", "belongs to")
VOLATILE = re.compile(
    r'"(now|position|since|pid|seq|run|alive|serve_alive|etag|workspace|suspect|journal_ahead_seconds)":("[^"]*"|[^,}\]]*)|DTSTAMP:\S+'
)


def routes():
    app = App.__new__(App)
    app.names, app.local, app.hub = frozenset(), False, None
    for route in app.starlette().routes:
        yield from (f"{method} {route.path}" for method in route.methods - {"HEAD"})


def rows_of(path):
    """Return the rows of an endpoint; one with the id of a routine in its path has the same one, whatever it is."""
    found = {line: [(line.split()[1].replace("{id}", "bobs").replace("{run}", "RUN"), {}, 404)] for line in routes() if "{id}" in line}
    assert not set(found) & set(ASKED)
    return {**found, **ASKED}[path]


def test_every_endpoint_has_a_row():
    assert {line for line in routes() if "{id}" not in line} == set(ASKED)


@pytest.fixture(scope="module")
def shared(site):
    """A workspace before and after bob came: how it answered eve before, and what of it is bob's."""
    site.workspace.define("hers", HERS)
    until(lambda: site.client("user", "eve").get("/routines/hers").status_code == 200)
    before = {url: site.client("user", "eve").get(url).text for rows in ASKED.values() for url, body, _ in rows if body is None}
    (site.workspace.root / "agents/helper").mkdir(parents=True, exist_ok=True)
    site.workspace.define("bobs", BOBS)
    site.workspace.define("bobs-broken", "name: Broken\nowner: bob\ntimeout: soon\n")
    bob = site.client("user", "bob")
    run = until(lambda: bob.post("/routines/bobs/run_now").json().get("run"))
    until(lambda: bob.get(f"/routines/bobs/runs/{run}").json().get("state") == "ended")
    site.workspace.record("slot.held", "bobs", slot="2026-03-01T09:00:00Z", reason="review")
    site.workspace.record(
        "approval.requested", "bobs", mode="before_first_run", content="x", expires="2999-01-01T00:00:00Z", state="requested"
    )
    proposal = site.client("agent", "bob").post("/routines/bobs/proposals", json={"what": "delete"}).json()["proposal"]
    return before, run, proposal


@pytest.mark.parametrize("role", ["viewer", "agent", "user"])
@pytest.mark.parametrize("line", sorted({*ASKED, *routes()}))
def test_another_owners_routine_is_nothing_to_a_caller(site, shared, line, role):
    before, run, proposal = shared
    requests = len(site.workspace.events("run.requested", "bobs"))
    definition = (site.workspace.root / "routines/bobs/ROUTINE.yaml").read_text()
    eve = site.client(role, "eve")
    for url, body, status in rows_of(line):
        real = url.replace("RUN", run).replace("PROPOSAL", proposal)
        method = line.split()[0]
        answer = eve.request(method, real, json=body) if method != "GET" and body is not None else eve.request(method, real)
        allowed = (status if isinstance(status, tuple) else (status,)) + ((403,) if role != "user" else ())
        assert answer.status_code in allowed, answer.text
        own = f"{real} {body}"
        assert not [word for word in (*BOBS_WORDS, run, proposal) if word in answer.text and word not in own]
        if body is None and role == "user" and "PROPOSAL" not in url:
            assert VOLATILE.sub("", answer.text) == VOLATILE.sub("", before[url]), "it tells that there is somebody else"
        if line == "POST /channels/{channel}/messages" and role == "user":
            assert [item["routine"] for item in answer.json()["asked"]] == ["hers"]
        if line == "POST /check" and body.get("text"):
            assert answer.json()["good"] is False, "an id that is taken is as any other"
    assert len(site.workspace.events("run.requested", "bobs")) == requests
    assert (site.workspace.root / "routines/bobs/ROUTINE.yaml").read_text() == definition


def test_a_message_reaches_whom_its_giver_may_start(site, shared):
    for role, owner, wanted in (
        ("user", "eve", ["hers"]),
        ("user", "bob", ["bobs"]),
        ("user", "carol", []),
        ("user", "*", ["bobs", "hers"]),
        ("admin", "eve", ["bobs", "hers"]),
    ):
        asked = site.client(role, owner).post("/channels/shared/messages", json={"text": f"of {role} {owner}"}).json()["asked"]
        assert sorted(item["routine"] for item in asked) == wanted


def test_an_id_that_another_owner_has_is_taken_and_no_more_is_said(site, shared):
    found = test_api.problem(site.client("user", "eve").post("/routines", json={"id": "bobs", "name": "Mine", **NEW}), 409)
    assert (found["detail"], found["hint"]) == ("the id bobs is taken", 'choose another with "id": "bobs-2"')
    assert site.client("user", "eve").post("/routines", json={"id": "bobs-2", "name": "Mine", **NEW}).status_code == 201
    own = test_api.problem(site.client("user", "bob").post("/routines", json={"id": "bobs", "name": "Mine", **NEW}), 409)
    assert (own["detail"], own["hint"]) == ("the routine bobs exists already", "routinectl edit bobs, or add --replace")


def test_a_routine_follows_routines_of_its_owner_only_whenever_they_came(site):
    eve, bob = site.client("user", "eve"), site.client("user", "bob")
    for name, after in (("early-bird", "comes-later"), ("stays", "given-away")):
        doc = {"id": name, "name": name, "triggers": [{"after": {"routine": after}}], **NEW}
        assert eve.post("/routines", json=doc).status_code == 201
    assert bob.post("/routines", json={"id": "comes-later", "name": "comes-later", **NEW}).status_code == 201
    assert eve.post("/routines", json={"id": "given-away", "name": "given-away", **NEW}).status_code == 201
    assert (
        bob.post(
            "/routines", json={"id": "follows", "name": "follows", "triggers": [{"after": {"routine": "comes-later"}}], **NEW}
        ).status_code
        == 201
    )
    ended(site, eve, "given-away")
    until(lambda: site.workspace.events("run.requested", "stays"))
    assert site.client().patch("/routines/given-away", json={"owner": "bob"}).status_code == 200
    ended(site, bob, "given-away")
    ended(site, bob, "comes-later")
    until(lambda: site.workspace.events("run.requested", "follows"))
    assert len(site.workspace.events("run.requested", "stays")) == 1
    assert not site.workspace.events("run.requested", "early-bird")
    assert "after-of-another" in site.workspace.run("lint").out
    assert eve.patch("/routines/early-bird", json={"description": "x"}).status_code == 200
    loop = eve.post(
        "/check", json={"id": "early-bird", "definition": {"name": "x", "triggers": [{"after": {"routine": "follows"}}], **NEW}}
    )
    assert loop.json()["good"], "a chain of another owner's is not told"


def ended(site, client, name):
    run = until(lambda: client.post(f"/routines/{name}/run_now").json().get("run"))
    until(lambda: client.get(f"/routines/{name}/runs/{run}").json().get("state") == "ended")
