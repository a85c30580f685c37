"""The examples do something real: every one is loaded, previewed, and run on real input."""

from __future__ import annotations

import http.server
import json
import shutil
import sqlite3
import subprocess
import threading

import pytest
from conftest import ROOT, until
from model_server import ModelServer
from needs import need, needs

EXAMPLES = sorted(path.parent.name for path in (ROOT / "examples").glob("*/ROUTINE.yaml"))


@pytest.fixture
def stocked(workspace):
    """A workspace with all examples in it, and the data they work on."""
    for name in EXAMPLES:
        shutil.copytree(ROOT / "examples" / name, workspace.root / "routines" / name, ignore=shutil.ignore_patterns("agents"))
        if (ROOT / "examples" / name / "agents").exists():
            shutil.copytree(ROOT / "examples" / name / "agents", workspace.root / "agents", dirs_exist_ok=True)
    workspace.configure(
        "models: {default: {provider: openai, model: tiny, base_url: 'http://127.0.0.1:9/v1', price: {input: 1, output: 1}}}"
    )
    data = workspace.root / "data"
    data.mkdir()
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@t", "-C", str(data / "repository")]
    subprocess.run(["git", "init", "-q", str(data / "repository")], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "first"], check=True)
    with sqlite3.connect(data / "app.db") as database:
        database.execute("create table t (a)")
        database.execute("insert into t values ('kept')")
    database.close()
    (data / "app.log").write_text("10:00 INFO a\n10:01 ERROR b\n10:02 INFO c\n")
    (data / "sales.csv").write_text("apples,1.50\npears,2\napples,2.50\n")
    (data / "certificates").mkdir()
    return workspace


def run(workspace, name: str) -> dict:
    return workspace.run("run-now", name, "--wait", "--json").data["line"]


def test_there_are_eight_and_all_are_good(stocked):
    assert len(EXAMPLES) >= 8
    stocked.ok("validate")
    for name in EXAMPLES:
        when = stocked.ok("show", name, "--json").data
        assert when["next"] or when["words"].startswith(("after", "on a message", "when ", "on a webhook", "by hand"))


def test_backup_report_follows_backup_git(stocked):
    with stocked.serving() as serving:
        run(stocked, "backup-git")
        serving.wait_for("backup-report  succeeded")

    assert stocked.ok("history", "backup-report", "--json").data[0]["message"] == "1 of the last 1 backups were good"


def test_inbox_sorter_takes_a_batch(stocked):
    incoming = stocked.root / "data/incoming"
    incoming.mkdir()
    with stocked.serving() as serving:
        until((stocked.root / ".routinectl/files/inbox-sorter.json").exists)
        for name in ("a.pdf", "b.pdf"):
            (incoming / name).write_text(name)
        serving.wait_for("inbox-sorter  succeeded")

    assert stocked.ok("history", "inbox-sorter", "--json").data[0]["message"] == "2 files sorted"
    assert list(incoming.iterdir()) == []
    assert sorted(path.name for path in (stocked.root / "data/sorted").rglob("*.pdf")) == ["a.pdf", "b.pdf"]


def test_journal_errors_hears_a_log(stocked):
    lines = [
        {"MESSAGE": "all is well", "SYSLOG_IDENTIFIER": "app"},
        {"MESSAGE": "worker 3: Out of memory", "SYSLOG_IDENTIFIER": "kernel"},
        {"MESSAGE": "worker 3: Out of memory", "SYSLOG_IDENTIFIER": "kernel"},
    ]
    with stocked.serving() as serving:
        stocked.ok("emit", "--stream", "journal", stdin="\n".join(map(json.dumps, lines)))
        serving.wait_for("journal-errors  succeeded")
        serving.wait_for("cooldown")

    found = stocked.ok("history", "journal-errors", "--json").data
    assert [(line["verdict"], line.get("message") or line["reason"]) for line in sorted(found, key=lambda line: line["verdict"])] == [
        ("ran", "out of memory, said kernel"), ("skipped", "cooldown")]  # fmt: skip
    assert (stocked.root / "routines/journal-errors/memory/errors.txt").read_text() == "kernel: worker 3: Out of memory\n"


def test_backup_git_makes_bundles_and_prunes(stocked):
    stocked.ok("edit", "backup-git", "--set", "action.env.KEEP='1'")
    first, second = run(stocked, "backup-git"), None
    (bundle,) = (stocked.root / "data/backups").glob("*.bundle")
    assert first["outcome"] == "succeeded"
    bundle.rename(bundle.with_name("repository-20000101T000000Z.bundle"))
    second = run(stocked, "backup-git")

    assert "1 kept" in second["message"]
    subprocess.run(
        ["git", "bundle", "verify", "-q", str(next((stocked.root / "data/backups").glob("*.bundle")))],
        cwd=stocked.root / "data/repository",
        check=True,
    )


def test_disk_space_is_quiet_when_fine_and_fails_when_full(stocked):
    stocked.ok("edit", "disk-space", "--set", "action.env.LIMIT='100'")
    assert run(stocked, "disk-space")["outcome"] == "quiet"
    stocked.ok("edit", "disk-space", "--set", "action.env.LIMIT='0'")
    line = run(stocked, "disk-space")

    assert (line["outcome"], line["exit_code"]) == ("failed", 1)
    assert "% full" in line["message"]


@needs("openssl")
def test_certificate_expiry_names_the_one_that_ends(stocked):
    folder = stocked.root / "data/certificates"
    for name, days in (("good", "365"), ("bad", "5")):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-days", days, "-keyout", "/dev/null",
                        "-out", str(folder / f"{name}.pem")], check=True, capture_output=True)  # fmt: skip
    assert "bad.pem ends on" in run(stocked, "certificate-expiry")["message"]
    (folder / "bad.pem").unlink()
    assert run(stocked, "certificate-expiry")["message"] == "1 certificates are good for 21 days and more"


def test_git_mirror_clones_and_then_updates(stocked):
    assert run(stocked, "git-mirror")["outcome"] == "succeeded"
    assert "1 refs" in run(stocked, "git-mirror")["message"]


def test_log_digest_counts_what_is_new(stocked):
    assert run(stocked, "log-digest")["message"] == "2 info, 1 error"
    assert run(stocked, "log-digest")["message"] == "no new lines"


def test_sqlite_dump_is_text_that_makes_the_database_again(stocked):
    assert run(stocked, "sqlite-dump")["outcome"] == "succeeded"
    assert "INSERT INTO \"t\" VALUES('kept');" in (stocked.root / "data/app.sql").read_text()


def test_weekly_report_is_written(stocked):
    assert run(stocked, "weekly-report")["message"] == "2 rows, 6.00 in total"
    assert "| apples | 4.00 |" in (stocked.root / "routines/weekly-report/report.md").read_text()


def test_web_watch_is_quiet_until_the_page_changes(stocked):
    page = [b"first"]

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(page[0])

        def log_message(self, *_):
            return

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    stocked.ok("edit", "web-watch", "--set", f"action.env.URL=http://127.0.0.1:{server.server_port}/")
    try:
        seen = [run(stocked, "web-watch")]
        seen.append(run(stocked, "web-watch"))
        page[0] = b"second"
        seen.append(run(stocked, "web-watch"))
    finally:
        server.shutdown()
        server.server_close()

    assert [line["outcome"] for line in seen] == ["succeeded", "quiet", "succeeded"]
    assert "seen for the first time" in seen[0]["message"]
    assert seen[2]["message"].endswith("changed")


def test_the_workspace_of_make_run_is_good(workspace):
    shutil.copytree(ROOT / "examples/workspace", workspace.root, dirs_exist_ok=True)
    workspace.ok("validate")
    with workspace.serving() as serving:
        serving.wait_for("succeeded", 2)


MODELS = {
    # the example: what the model says, what else there is to see, and what the run came to
    "heartbeat": ([{"text": "HEARTBEAT_OK"}], "quiet", ""),
    "daily-stand-up": ([{"text": "Done: the garden."}], "succeeded", "Done: the garden."),
    "morning-review": ([{"text": "1. Rest."}], "succeeded", "1. Rest."),
    "weekly-digest": ([{"text": "Nothing was decided."}], "succeeded", "Nothing was decided."),
    "inbox-triage": ([{"tools": [("files_list", {"path": "../../mail"}), ("files_read", {"path": "../../mail/1"})]},
                      {"tools": [("web_send", {"method": "POST", "url": "http://127.0.0.1:8025/drafts", "headers": {"To": "a@b.c", "Subject": "Re: help"},
                                               "body": "On it."})]}, {"text": "One is urgent; an answer is drafted."}], "succeeded", "One is urgent; an answer is drafted."),
    "social-post": ([{"tools": [("files_read", {"path": "../../CHANGELOG.md"})]},
                     {"tools": [("web_send", {"method": "POST", "url": "http://127.0.0.1:8025/posts", "body": "0.1 is out"})]}, {"text": "Drafted."}],
                    "succeeded", "Drafted."),
    "research": ([{"tools": [("web_fetch", {"url": "http://127.0.0.1:9/"})]}, {"text": "I found nothing.\nRead: none"}], "succeeded", "I found nothing."),
    "repository-gardener": ([{"tools": [("files_write", {"path": "../../docs/a.md", "text": "the\n"})]}, {"text": "docs/a.md: a word"}],
                            "succeeded", "docs/a.md: a word"),
    "dependency-watch": ([{"tools": [("files_read", {"path": "../../requirements.txt"})]}, {"text": "UP_TO_DATE"}], "quiet", ""),
    "emergency-responder": ([{"tools": [("files_search", {"text": "full", "path": "../../logs"})]}, {"text": "The disk is full since 10:00."}],
                            "succeeded", "The disk is full since 10:00."),
}  # fmt: skip
PROPOSED = {"inbox-triage": "call", "social-post": "call", "repository-gardener": "edits"}


@pytest.mark.parametrize("name", MODELS)
def test_an_example_that_asks_a_model_does_its_work(workspace, name):
    pytest.importorskip("pydantic_ai", reason="the extra agents is not installed")
    need("confinement")
    answers, outcome, message = MODELS[name]
    server = ModelServer(*answers)
    workspace.configure(f"models: {{default: {{provider: openai, model: tiny, base_url: '{server.url}'}}}}")
    for path, text in {"daily/today.md": "worked in the garden", "mail/1": "Subject: help\n\nThe site is down.", "CHANGELOG.md": "0.1", "docs/a.md": "teh\n",
                       "requirements.txt": "six==1.16.0\n", "logs/app.log": "10:00 disk full\n"}.items():  # fmt: skip
        (workspace.root / path).parent.mkdir(exist_ok=True)
        (workspace.root / path).write_text(text)
    workspace.ok("add", "--template", name)
    workspace.ok("enable", name)
    line = run(workspace, name)
    server.close()
    assert (line["outcome"], line["message"]) == (outcome, message), workspace.run("logs", name).out
    assert len(server.requests) == len(answers)
    proposed = workspace.ok("proposals", "list", "--json").data
    assert [item["what"] for item in proposed] == ([PROPOSED[name]] if name in PROPOSED else [])


def test_every_example_that_asks_a_model_is_tried():
    asking = {name for name in EXAMPLES if {"prompt:", "agent:"} & set((ROOT / "examples" / name / "ROUTINE.yaml").read_text().split())}
    assert asking == MODELS.keys()


def test_auto_deploy_deploys_main_and_nothing_else(stocked):
    checkout = stocked.root / "checkout"
    subprocess.run(["git", "clone", "-q", str(stocked.root / "data/repository"), str(checkout)], check=True)
    (checkout / "Makefile").write_text("deploy:\n\ttouch deployed\n")
    stocked.ok("list")
    stocked.ok("approve", "auto-deploy")
    other = stocked.run("run-now", "auto-deploy", "--wait", "--json", "--payload", '{"ref": "refs/heads/other"}').data["line"]
    assert (other["outcome"], (checkout / "deployed").exists()) == ("quiet", False)
    branch = subprocess.run(
        ["git", "-C", str(checkout), "branch", "--show-current"], capture_output=True, text=True, check=True
    ).stdout.strip()
    stocked.ok("edit", "auto-deploy", "--set", f"action.env.BRANCH={branch}", "--set", "cooldown=0s")
    stocked.ok("approve", "auto-deploy")
    line = stocked.run("run-now", "auto-deploy", "--wait", "--json", "--payload", json.dumps({"ref": f"refs/heads/{branch}"})).data["line"]
    assert line["message"].startswith("deployed ")
    (checkout / "pulled").write_text("what is pulled is not what was approved\n")
    assert stocked.run("run-now", "auto-deploy", "--wait", "--payload", json.dumps({"ref": f"refs/heads/{branch}"})).code == 0
    assert (checkout / "deployed").exists()
