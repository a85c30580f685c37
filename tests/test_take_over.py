"""Taking over and handing on: crontabs, bundles, IronClaw, systemd."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from conftest import ROOT, Workspace, clean_environment, until
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from needs import needs

from routinectl.core import crontab
from routinectl.core.routine import build
from routinectl.core.schedule import cron
from routinectl.errors import CannotSayError
from routinectl.files.layout import Layout
from routinectl.operations import export, service
from routinectl.process import ability

CRONTAB = """\
# what the machine does at night
SHELL=/bin/bash
PATH = "/usr/local/bin:/usr/bin:/bin"
MAILTO=root@example.org
NAME='two words'

# Nightly backup
30 2 * * *  /usr/local/bin/backup.sh --full > /dev/null 2>&1
@Daily cd /srv && ./report
*/7 0-3 1,15 JAN-MAR MON-FRI logger "every 7"
CRON_TZ=America/New_York
0 9 * * 7 mail -s 100\\% someone%first line%second line
@reboot /usr/bin/start
61 * * * * never
not a line
"""


def test_a_crontab_becomes_routines_that_fire_alike(workspace):
    result = workspace.run("import", "crontab", "-", "--json", stdin=CRONTAB)
    taken = {item["id"]: item for item in result.data["taken"]}
    notes = {item["line"]: item["text"] for item in result.data["notes"]}

    assert result.code == 1
    assert list(taken) == ["backup", "report", "logger", "mail"]
    assert all(item["agrees"] and len(item["next"]) == 5 for item in taken.values())
    assert sorted(notes) == [13, 14, 15]
    assert "@reboot has no instant" in notes[13]
    assert "outside 0-59" in notes[14]
    assert "nothing is mailed" in taken["backup"]["remarks"][0]
    shown = workspace.ok("show", "mail", "--json").data["definition"]
    assert shown["timezone"] == "America/New_York"
    assert shown["action"]["shell"] == "/bin/bash"
    assert shown["action"]["env"] == {"PATH": "/usr/local/bin:/usr/bin:/bin", "NAME": "two words"}
    assert shown["action"]["command"] == "{ mail -s 100% someone\n} <<'END_OF_INPUT'\nfirst line\nsecond line\nEND_OF_INPUT\n"
    assert workspace.ok("show", "backup", "--json").data["name"] == "Nightly backup"


def test_percent_signs_become_standard_input(workspace):
    workspace.ok("import", "crontab", "-", stdin="0 9 * * * cat - %one%two \\% three\n")
    workspace.ok("run-now", "cat", "--wait")

    assert workspace.ok("logs", "cat").out == "one\ntwo % three\n"


def test_a_system_crontab_has_a_user(workspace):
    result = workspace.ok("import", "crontab", "-", "--system", "--json", stdin="17 * * * * root cd / && run-parts /etc/cron.hourly\n")
    (item,) = result.data["taken"]

    assert item["id"] == "run-parts"
    assert "it ran as root" in item["remarks"][0]
    assert workspace.ok("show", "run-parts", "--json").data["definition"]["action"]["command"] == "cd / && run-parts /etc/cron.hourly"


DEBIAN = """\
# /etc/crontab: system-wide crontab
# These files also have username fields, that none of the other crontabs do.

SHELL=/bin/sh
# You can also override PATH, but by default, newer versions inherit it from the environment
#PATH=/usr/local/sbin:/usr/local/bin:/sbin:/bin:/usr/sbin:/usr/bin

# Example of job definition:
# .---------------- minute (0 - 59)
# |  .------------- hour (0 - 23)
# |  |  |  |  |
# *  *  *  *  * user-name command to be executed
17 *\t* * *\troot    cd / && run-parts --report /etc/cron.hourly
25 6\t* * *\troot\ttest -x /usr/sbin/anacron || { cd / && run-parts --report /etc/cron.daily; }
47 6\t* * 7\troot\ttest -x /usr/sbin/anacron || { cd / && run-parts --report /etc/cron.weekly; }
52 6\t1 * *\troot\ttest -x /usr/sbin/anacron || { cd / && run-parts --report /etc/cron.monthly; }
#
"""
FREEBSD = """\
# root's crontab
#
SHELL=/bin/sh
PATH=/etc:/bin:/sbin:/usr/bin:/usr/sbin
#
#minute\thour\tmday\tmonth\twday\twho\tcommand
*/5\t*\t*\t*\t*\troot\t/usr/libexec/atrun
# Save some entropy so that /dev/random can re-seed on boot.
*/11\t*\t*\t*\t*\toperator /usr/libexec/save-entropy
1\t3\t*\t*\t*\troot\tperiodic daily
"""
TEST = "test -x /usr/sbin/anacron || { cd / && run-parts --report /etc/cron."


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (DEBIAN, [("17 * * * *", "root", "cd / && run-parts --report /etc/cron.hourly"), ("25 6 * * *", "root", TEST + "daily; }"),
                  ("47 6 * * 7", "root", TEST + "weekly; }"), ("52 6 1 * *", "root", TEST + "monthly; }")]),
        (FREEBSD, [("*/5 * * * *", "root", "/usr/libexec/atrun"), ("*/11 * * * *", "operator", "/usr/libexec/save-entropy"),
                   ("1 3 * * *", "root", "periodic daily")]),
        ("@daily\troot\techo a\tb\n", [("@daily", "root", "echo a\tb")]),
        ("@daily  \t root \t echo\n", [("@daily", "root", "echo")]),
        (" \t 0\t 9 \t*\t*\t*\t \troot\t \techo  a \t\n", [("0 9 * * *", "root", "echo  a")]),
        ("0 9 * * * root echo a\r\n1\t9\t*\t*\t*\troot\techo b\r\n", [("0 9 * * *", "root", "echo a"), ("1 9 * * *", "root", "echo b")]),
        ("\ufeff0 9 * * * root echo\n", [("0 9 * * *", "root", "echo")]),
        ("0 9 * * * root echo a\x0b0 8 * * * root b\u2028c\n", [("0 9 * * *", "root", "echo a\x0b0 8 * * * root b\u2028c")]),
        ("0 9 * * * root echo a\r0 8 * * * root b\n", [("0 9 * * *", "root", "echo a\r0 8 * * * root b")]),
    ],
    ids=["Debian", "FreeBSD", "shortcut", "shortcut with several", "several and leading", "carriage returns", "byte order mark",
         "other ends of lines", "a carriage return inside"],
)  # fmt: skip
def test_blanks_and_tabs_separate_in_a_crontab_and_nothing_else_does(text, expected):
    found = crontab.parse(text, system=True)

    assert [(entry.cron, entry.user, entry.command) for entry in found.entries] == expected
    assert found.notes == []


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("A=b", {"A": "b"}), ("\tA\t=\tb \t", {"A": "b"}), ("  A = 'b c'  ", {"A": "b c"}), ('A\t=\t"b\tc"', {"A": "b\tc"}),
        ("'A'=b\r", {"A": "b"}), ("A=", {"A": ""}),
    ],
)  # fmt: skip
def test_an_environment_line_has_blanks_and_tabs_around_its_sign(line, expected):
    (entry,) = crontab.parse(f"{line}\n0\t9\t*\t*\t*\techo\n", system=False).entries

    assert (entry.settings, entry.cron, entry.command) == (expected, "0 9 * * *", "echo")


@pytest.mark.parametrize(
    ("comment", "name"),
    [
        ("# Nightly backup", "Nightly backup"), ("## 2nd backup", "2nd backup"), ("#\tNightly\tbackup", "Nightly\tbackup"),
        ("# *  *  *  *  * user-name command to be executed", ""), ("# |  |  |  |  |", ""), ("# m h  dom mon dow   command", ""),
        ("#minute\thour\tmday\tmonth\twday\twho\tcommand", ""), ("#0 5 * * 1 tar -zcf /backups/home.tgz /home/", ""),
        ("# @daily root old", ""), ("#PATH=/usr/bin", ""), ("# -------", ""),
        ("# minute by minute, hour by hour", "minute by minute, hour by hour"),
    ],
)  # fmt: skip
def test_a_comment_names_the_entry_below_it_unless_it_is_a_drawing_a_head_or_a_line_switched_off(comment, name):
    (entry,) = crontab.parse(f"{comment}\n0 9 * * * echo\n", system=False).entries

    assert entry.comment == name


@pytest.mark.parametrize(
    ("text", "command", "stdin"),
    [
        ("cat", "cat", None), ("cat %a", "cat", "a\n"), ("cat%a%b", "cat", "a\nb\n"), ("cat%a%", "cat", "a\n"), ("cat%", "cat", ""),
        (r"date +\%F", "date +%F", None), (r"cat \\%a", "cat \\\\", "a\n"), (r"echo \n", r"echo \n", None),
    ],
)  # fmt: skip
def test_an_unescaped_percent_sign_begins_standard_input(text, command, stdin):
    (entry,) = crontab.parse(f"0 9 * * * {text}\n", system=False).entries

    assert (entry.command, entry.stdin) == (command, stdin)


def test_standard_input_cannot_end_itself(workspace):
    workspace.ok("import", "crontab", "-", stdin="0 9 * * * cat%one%END_OF_INPUT%touch harm\n")
    workspace.ok("run-now", "cat", "--wait")

    assert workspace.ok("logs", "cat").out == "one\nEND_OF_INPUT\ntouch harm\n"


def test_a_system_crontab_with_tabs_keeps_its_commands_whole(workspace, tmp_path):
    path = tmp_path / "crontab"
    path.write_bytes(b"\xef\xbb\xbf" + DEBIAN.replace("\n", "\r\n").encode())
    result = workspace.ok("import", "crontab", str(path), "--system", "--json")

    assert len(result.data["taken"]) == 4
    daily = workspace.ok("show", result.data["taken"][1]["id"], "--json").data
    assert daily["definition"]["action"]["command"] == TEST + "daily; }"
    assert daily["name"] == "anacron"


def test_an_import_that_is_not_utf_8_says_so(workspace, tmp_path):
    path = tmp_path / "crontab"
    path.write_bytes(b"0 9 * * * echo \xfc\n")
    result = workspace.run("import", "crontab", str(path))

    assert (result.code, "is not UTF-8" in result.err, "Hint: cat" in result.err) == (2, True, True)


def test_a_dry_run_writes_nothing(workspace):
    workspace.ok("import", "crontab", "-", "--dry-run", stdin="0 9 * * * id\n")
    assert not list((workspace.root / "routines").iterdir())


def test_imported_twice_the_ids_differ(workspace):
    for _ in range(2):
        workspace.ok("import", "crontab", "-", stdin="0 9 * * * id\n")
    assert [row["id"] for row in workspace.ok("list", "--json").data] == ["id", "id-2"]


@needs("crontab")
def test_a_real_crontab_is_read_by_itself(workspace):
    before = subprocess.run(["crontab", "-l"], capture_output=True, text=True, check=False)
    subprocess.run(["crontab", "-"], input="5 4 * * sun id\n", text=True, check=True)
    try:
        workspace.ok("import", "crontab", env={"PATH": "/usr/bin:/bin"})
    finally:
        subprocess.run(["crontab", "-"], input=before.stdout, text=True, check=True)

    assert workspace.ok("preview", "id", "--json").data["describe"] == "at 04:05, on Sunday"


def test_a_bundle_lands_disabled_under_a_free_id(workspace, tmp_path):
    workspace.define("x", "# mine\nname: X\ntriggers: [{daily: '09:00'}]\ntimeout: 1m\naction: {command: [./run.sh]}\n")
    script = workspace.root / "routines/x/run.sh"
    script.write_text("#!/bin/sh\necho carried\n")
    script.chmod(0o755)
    bundle = workspace.ok("export", "x", "--format", "bundle").out
    other = Workspace(tmp_path, clean_environment(tmp_path))
    other.ok("init", "other", "--no-git")
    other.root = tmp_path / "other"
    for _ in range(2):
        other.ok("import", "bundle", "-", stdin=bundle)

    rows = {row["id"]: row["status"] for row in other.ok("list", "--json").data}
    assert rows == {"x": "disabled", "x-2": "disabled"}
    assert (other.root / "routines/x/ROUTINE.yaml").read_text().startswith("# mine\n")
    other.ok("run-now", "x-2", "--wait")
    assert other.ok("logs", "x-2").out == "carried\n"


@pytest.mark.parametrize(
    ("bundle", "said"),
    [("nonsense", "no bundle"), ('{"routines": []}', "no bundle"), ('{"routinectl": "bundle", "routines": [{"id": "x", "files": {}}]}', "no ROUTINE.yaml"),
     ('{"routinectl": "bundle", "routines": [{"id": "x", "files": {"ROUTINE.yaml": {"text": "action: {command: [id]}"}, "../../evil": {"text": "x"}}}]}', "leaves the routine")],
)  # fmt: skip
def test_a_bad_bundle_is_refused(workspace, bundle, said):
    result = workspace.run("import", "bundle", "-", stdin=bundle)

    assert (result.code, said in result.err) == (2, True), result.err
    assert not (workspace.root / "evil").exists()


def test_ironclaw_routines_are_written_and_what_is_missing_for_them_is_named(workspace):
    routines = [
        {"name": "Morning", "trigger": {"cron": {"schedule": "0 0 9 * * MON-FRI *", "timezone": "Europe/Berlin"}},
         "action": {"lightweight": {"prompt": "Look.", "context_paths": ["a"], "max_tokens": 100}},
         "guardrails": {"cooldown": {"secs": 300, "nanos": 0}, "max_concurrent": 2}, "notify": {"channel": "signal", "on_failure": True}},
        {"name": "By hand", "trigger": "manual", "action": {"type": "full_job", "title": "T", "description": "do it"}},
        {"name": "odd"},
    ]  # fmt: skip
    result = workspace.run("import", "ironclaw", "-", "--json", stdin=json.dumps(routines))
    first, second = result.data["taken"]
    text = (workspace.root / "routines/morning/ROUTINE.yaml").read_text()

    assert (first["id"], second["id"], len(result.data["notes"])) == ("morning", "by-hand", 1)
    assert '- cron: "0 9 * * MON-FRI"' in text
    assert "enabled: false" in text
    assert "cooldown: 5m" in text
    assert "prompt:" in text
    assert first["remarks"] == ["routinectl.yaml has no model 'default'"]


def test_export_to_a_crontab_and_back(workspace):
    workspace.define(
        "x",
        "name: X\ntimezone: Europe/Berlin\ntriggers: [{cron: '30 9 * * 1-5'}, {every: 15m}]\ntimeout: 1m\naction: {command: [echo, 'a b', '50%'], env: {A: 'x y'}}\n",
    )
    exported = workspace.ok("export", "x", "--format", "crontab")
    command = f"cd {workspace.root}/routines/x && env A='x y' echo 'a b' 50%"

    assert "CRON_TZ=Europe/Berlin" in exported.out
    assert [line for line in exported.out.splitlines() if " cd " in line] == [
        f"{when} {command.replace('%', chr(92) + '%')}" for when in ("30 9 * * 1-5", "*/15 * * * *")
    ]
    assert [(entry.cron, entry.command, entry.stdin) for entry in crontab.parse(exported.out, system=False).entries] == [
        ("30 9 * * 1-5", command, None), ("*/15 * * * *", command, None),
    ]  # fmt: skip
    assert "cron does not keep timeout: 1m" in exported.out
    assert "x: cron does not keep timeout: 1m" in exported.err
    assert "Debian's cron ignores it" in exported.err


def test_export_to_systemd_says_the_same_instants(workspace):
    workspace.define(
        "x",
        "name: X\ntimezone: Europe/Berlin\ntriggers: [{cron: '30 9 1,15 * *'}, {cron: '0 8 13 * FRI'}]\ntimeout: 90s\naction: {command: [echo, hi]}\n",
    )
    text = workspace.ok("export", "x", "--format", "systemd").out

    assert "OnCalendar=*-*-01,15 09:30:00 Europe/Berlin" in text
    assert "OnCalendar=Fri *-*-* 08:00:00 Europe/Berlin" in text
    assert "OnCalendar=*-*-13 08:00:00 Europe/Berlin" in text
    assert "TimeoutStartSec=90" in text


NOW = datetime(2026, 3, 2, tzinfo=UTC)
LAYOUT = Layout(Path("/srv/work"))
BARE = {"name": "x", "timezone": "UTC", "triggers": [{"cron": "0 9 * * *"}], "action": {"command": ["true"]}}


def exported(form: str, layout: Layout = LAYOUT, **changes) -> str:
    doc = {**BARE, **changes}
    return "\n".join(getattr(export, form)(layout, build("x", doc, NOW), doc, NOW).files.values())


def entries(text: str) -> list[tuple[str, str]]:
    """Return what the readers of crontabs that we know agree upon: when, and what is given to the shell."""
    found = [(entry.cron, entry.command) for entry in crontab.parse(text, system=False).entries]
    debian = [crontab._percent(line.split(None, 5)[5], pairs=True) for line in text.splitlines() if re.match(r"[*0-9]", line)]
    assert [(command, None) for _, command in found] == debian
    return found


REFUSED = {
    # what is defined, in which form: what is said, and where
    "a command of two lines": ("crontab", "action:\n  command: |\n    date\n    echo x\n", "no newline", 3),
    "an argument of two lines": ("crontab", 'action:\n  command: [echo, "a\\nb"]\n', "no newline", 3),
    "a variable of two lines": ("crontab", "action: {command: 'true', env: {\n  A: \"a\\n* * * * * root touch x\"}}\n", "no newline", 3),
    "a carriage return": ("crontab", 'action: {command: "echo a\\rb"}\n', "control character '\\r'", 2),
    "two backslashes": ("crontab", "action: {command: 'sed s/\\\\./x/'}\n", "backslashes", 2),
    "a backslash before a percent sign": ("crontab", "action: {command: 'date +\\%F'}\n", "backslashes", 2),
    "a command that is too long for one": ("crontab", f"action: {{command: 'echo {'x' * 990}'}}\n", "bytes", 2),
    "the last day": ("crontab", "triggers: [{cron: '0 4 1,L * *'}]\naction: {command: 'true'}\n", "cron cannot say '0 4 1,L * *'", 2),
    "a weekday of the month": ("crontab", "triggers: [{cron: '0 4 * * 1#2'}]\naction: {command: 'true'}\n", "cron cannot say", 2),
    "the last Friday": ("crontab", "triggers: [{cron: '0 4 * * 5L'}]\naction: {command: 'true'}\n", "cron cannot say", 2),
    "a crooked interval": ("crontab", "triggers: [{every: 7m}]\naction: {command: 'true'}\n", "cron cannot say 'every 7m", 2),
    "one trigger of several": ("crontab", "triggers:\n  - daily: '9:00'\n  - every: 7m\naction: {command: 'true'}\n", "cron cannot say 'every 7m", 4),
    "one moment": ("crontab", "triggers: [{at: '2096-12-24T18:00'}]\naction: {command: 'true'}\n", "cron cannot say", 2),
    "two time zones": ("crontab", "triggers:\n- {daily: '9:00', timezone: Asia/Tokyo}\n- {daily: '9:00', timezone: America/New_York}\naction: {command: 'true'}\n", "one time zone", 2),
    "no trigger of time": ("crontab", "action: {command: 'true'}\ntriggers: [{message: {channel: c, pattern: x}}]\n", "no trigger of time", 1),
    "a model": ("crontab", "action: {agent: {cli: [./agent.sh], task: go}}\n", "leash", 2),
    "a program with a sign of equality": ("crontab", "action: {command: [./a=b]}\n", "for a variable", 2),
    "an interval that drifts": ("systemd", "triggers: [{every: 7m}]\naction: {command: 'true'}\n", "differ from day to day", 2),
    "the last Friday that is odd": ("systemd", "triggers: [{cron: '0 4 */2 * 5L'}]\naction: {command: 'true'}\n", "systemd cannot say", 2),
    "a folder of two lines": ("systemd", "action: {command: 'true', workdir: \"a\\nb\"}\n", "cannot be named", 2),
    "a folder that ends in a backslash": ("systemd", "action: {command: 'true', workdir: 'a\\'}\n", "cannot be named", 2),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_be_read_otherwise_is_refused_with_its_place(workspace, name):
    form, text, said, line = REFUSED[name]
    triggers = "" if "triggers" in text else "\ntriggers: [{daily: '9:00'}]\ntimeout: 1m\n"
    workspace.define("x", f"name: X\n{text}{triggers}")
    workspace.define("good", "triggers: [{daily: '9:00'}]\ntimeout: 1m\naction: {command: 'true'}\n")
    result = workspace.run("export", "good", "x", "--format", form)

    assert (result.code, result.out) == (1, ""), "nothing at all is written"
    assert said in result.err
    assert f"(routines/x/ROUTINE.yaml:{line}:" in result.err
    assert "Hint: " in result.err


@settings(max_examples=300)
@given(st.text(), st.text(), st.text(), st.text())
@example("nightly\n* * * * * root touch x", "a\n@daily b", "x", "y")
@example("a\u2028* * * * * touch x", "", "echo %", "%")
def test_no_text_becomes_a_line_of_a_crontab(name, description, line, value):
    assume(line.strip() and "\0" not in line + value)
    whole = {"name": name or "x", "description": description, "action": {"command": line, "env": {"A": value}}}
    command = export.command_line(LAYOUT, build("x", {**BARE, **whole}, NOW))
    try:
        text = exported("crontab", **whole)
    except CannotSayError:
        return

    assert entries(text) == [("0 9 * * *", command)]
    assert [line.partition("=")[0] for line in text.split("\n") if line and not line.startswith("#")] == [
        "CRON_TZ",
        "0 9 * * * cd /srv/work/routines/x && env A",
    ]


@settings(max_examples=300)
@given(st.text(), st.text(), st.text())
@example("nightly\n[Service]\nExecStart=/bin/evil", "a\nb", "x\\")
@example("ends\\", "%n $HOME", "\\")
def test_no_text_becomes_a_line_of_a_unit(name, line, value):
    assume(line.strip() and "\0" not in line + value)
    try:
        text = exported("systemd", name=name or "x", action={"command": line, "env": {"A": value}})
    except CannotSayError:
        return
    sections = [line for line in text.split("\n") if line.startswith("[")]
    keys = [line.partition("=")[0] for line in text.split("\n") if line and line[0] not in "#["]

    assert sections == ["[Unit]", "[Service]", "[Unit]", "[Timer]", "[Install]"]
    assert keys == ["Description", "Type", "WorkingDirectory", "ExecStart", "TimeoutStartSec", "TimeoutStopSec",
                    "Description", "OnCalendar", "AccuracySec", "Persistent", "WantedBy"]  # fmt: skip
    assert not any(line.endswith("\\") for line in text.split("\n")), "it would join the next"


FIELDS = {
    "0 9 * * MON-FRI": "0 9 * * 1,2,3,4,5", "*/5,0-3 * * * *": "*/5,0-3 * * * *", "5/15 * * * *": "5,20,35,50 * * * *", "0 0 ? * 1": "0 0 * * 1",
    "0 0 1 * ?": "0 0 1 * *", "0 0 * * FRI-MON": "0 0 * * 0,1,5,6", "0 0 * JAN,3 *": "0 0 * 3,1,3 *", "0 0 * * 5-7": "0 0 * * 5-7", "@weekly": "0 0 * * 0",
    "0 0 */2 * SUN": "0 0 */2 * 0", "*/7,5/20 * * * *": None, "0 0 1-31 * 7": "0 0 1-31 * 7",
}  # fmt: skip


@pytest.mark.parametrize("text", FIELDS)
def test_the_fields_of_a_crontab_are_those_that_every_cron_reads(text, tmp_path):
    written = crontab.fields(cron.parse(text))
    before, after = cron.parse(text), cron.parse(written)

    assert FIELDS[text] in (None, written)
    assert (replace(after, text="")) == replace(before, text="")
    if shutil.which("crontab") and "-n" in subprocess.run(["crontab", "-h"], capture_output=True, text=True, check=False).stderr:
        (tmp_path / "c").write_text(crontab.entry(written, "true") + "\n")
        subprocess.run(["crontab", "-n", str(tmp_path / "c")], check=True, capture_output=True)


CALENDARS = ["0 4 1,L * *", "0 9 * * MON#2", "0 9 * * 5L", "0 9 * * MON#2,FRI", "0 8 13 * FRI", "0 8 13,L * FRI#1,2L", "0 8 */2 * MON#2", "0 8 L * ?", "5/15 3 * 2 *",
             "0 9 ? * FRI-MON", "@daily", "30 4 29 2 *", "0 0 * * 1#5", "0 0 1-31 * 7", "0 6 * * *"]  # fmt: skip


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.parametrize("rule", [*CALENDARS, "1h", "90m", "15m", "12h", "24h", "50s"])
def test_systemd_fires_at_the_same_instants(rule):
    trigger = {"every": rule, "anchor": "2026-01-01T00:05:00Z"} if rule[-1] in "hms" else {"cron": rule}
    text = exported("systemd", triggers=[trigger])
    lines = [line.partition("=")[2] for line in text.splitlines() if line.startswith("OnCalendar=")]
    ours = [at.strftime("%a %Y-%m-%d %H:%M:%S UTC") for at in build("x", {**BARE, "triggers": [trigger]}, NOW).schedule.upcoming(NOW, 30)]
    said = subprocess.run(["systemd-analyze", "calendar", "--iterations=30", f"--base-time={NOW:%Y-%m-%d %H:%M:%S} UTC", *lines],
                          env={"TZ": "UTC", "PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=True).stdout  # fmt: skip
    theirs = set(re.findall(r"\w{3} \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", said))

    assert set(ours) <= theirs
    assert {at for at in theirs if at[4:] < ours[-1][4:]} <= set(ours)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_finds_nothing_wrong_with_the_units_and_reads_the_command_as_it_is(tmp_path):
    line = 'printf "%s|" "$HOME" \'a"b\' \\\\ \'50%\'\nprintf x # $x ${y} %n'
    doc = {
        **BARE,
        "name": "[Service]\nExecStart=/evil % \\",
        "action": {"command": line, "workdir": "/", "env": {"A": "x\ny %h $$"}},
        "leftovers": "keep",
    }
    for name, text in export.systemd(LAYOUT, build("x", doc, NOW), doc, NOW).files.items():
        (tmp_path / name).write_text(text)
    verified = subprocess.run(["systemd-analyze", "verify", "--man=no", "--user", str(tmp_path / "routinectl-x.service"), str(tmp_path / "routinectl-x.timer")],
                              capture_output=True, text=True, check=False)  # fmt: skip

    assert "routinectl-x" not in verified.stderr, verified.stderr
    exec_line = next(line for line in (tmp_path / "routinectl-x.service").read_text().splitlines() if line.startswith("ExecStart="))
    quoted = exec_line.removeprefix('ExecStart=/bin/sh -c "').removesuffix('"')
    read = re.sub(r"\\(.)", lambda match: {"n": "\n"}.get(match[1], match[1]), quoted).replace("%%", "%").replace("$$", "$")
    assert read == export.command_line(LAYOUT, build("x", doc, NOW))
    assert "KillMode=process" in (tmp_path / "routinectl-x.service").read_text()


@pytest.mark.parametrize(
    ("action", "printed"),
    [
        ({"command": ["echo", "a\\nb"]}, "a\\nb\n"), ({"command": ["echo", "a  b", "$HOME", "*", "50%", "it's"]}, "a  b $HOME * 50% it's\n"),
        ({"command": "echo $((1 + 1)) | cat; date +%% | head -c 1\n"}, "2\n%"), ({"command": "umask", "umask": "077"}, "0077\n"),
        ({"command": "echo $A $B", "env": {"A": "x y", "B": "%d"}}, "x y %d\n"), ({"command": ["sh", "-c", "pwd"], "workdir": "workspace:sub dir"}, None),
    ],
)  # fmt: skip
def test_what_cron_hands_to_its_shell_does_the_same(tmp_path, action, printed):
    layout = Layout(tmp_path)
    for folder in ("routines/x", "sub dir"):
        (tmp_path / folder).mkdir(parents=True)
    (found,) = entries(exported("crontab", layout, action=action))
    done = subprocess.run(["/bin/sh", "-c", found[1]], capture_output=True, text=True, check=True)

    assert done.stdout == (f"{tmp_path}/sub dir\n" if printed is None else printed)


def keys_of_a_definition() -> dict[str, dict]:
    """Return every key of definitions, those of an action apart, with what the schema says of it."""
    whole = json.loads((ROOT / "schemas/routine.schema.json").read_text())["properties"]
    return {key: item for key, item in whole.items() if key not in ("action", "triggers")} | {
        f"action.{key}": item for key, item in whole["action"]["properties"].items()
    }


@pytest.mark.parametrize("form", ["crontab", "systemd"])
def test_every_key_of_a_definition_is_carried_or_named(form):
    keys = keys_of_a_definition()
    assert export.CARRIED[form] - {"action", "triggers"} <= keys.keys()
    for key, item in keys.items():
        name = key.removeprefix("action.")
        value = item.get("examples", ["some"])[0]
        doc = {**BARE, "action": {"command": "true", name: value}} if key.startswith("action.") else {**BARE, name: value}
        named = any(text.startswith(f"{key}: ") for text in export.missing({**doc, "enabled": False} if key == "enabled" else doc, form))

        assert named == (key not in export.CARRIED[form]) or value in (False, "none"), key


@pytest.mark.parametrize("form", ["crontab", "systemd"])
def test_what_is_lost_is_named_in_the_file_and_to_whoever_asked(form):
    doc = {"name": "x", "timezone": "UTC", "enabled": False, "approval": "every_run", "max_runs": 3, "retry": {"attempts": 2}, "cooldown": "5m", "jitter": "1m",
           "start": "2026-01-01", "triggers": [{"daily": "9:00"}, {"after": {"routine": "y"}}], "quiet_hours": {"start": "22:00", "end": "7:00"},
           "expect": {"output": "x"}, "permissions": {"level": "read_only"}, "notify": {"on": ["failed"]}, "tags": ["a\nb"],
           "action": {"command": "true", "stdin": "payload", "payload": {"a": 1}, "secrets": {"T": {"env": "T"}}}}  # fmt: skip
    found = getattr(export, form)(LAYOUT, build("x", doc, NOW), doc, NOW)

    for key in ("enabled", "approval", "max_runs", "retry", "cooldown", "jitter", "start", "triggers", "quiet_hours", "expect", "permissions", "notify", "tags",
                "action.stdin", "action.payload", "action.secrets", "misfire", "concurrency"):  # fmt: skip
        assert any(text.startswith(f"{key}: ") for text in found.not_kept), key
        assert all(f"does not keep {key}: " in text for text in found.files.values()), key
    if form == "crontab":
        assert crontab.parse(found.files[""], system=False).entries == [], "it is disabled, so no line fires"


def test_the_names_in_a_calendar_are_no_lines_of_it(workspace):
    pytest.importorskip("icalendar")
    workspace.define("x", "name: \"a\\r\\nEND:VEVENT\\rb\"\ntriggers: [{daily: '9:00'}]\ntimeout: 1m\naction: {command: 'true'}\n")
    out = workspace.ok("export", "x", "--format", "ical").out

    assert out.count("\nEND:VEVENT") == out.count("BEGIN:VEVENT") > 20
    assert "SUMMARY:a END:VEVENT b" in out


@contextlib.contextmanager
def bound_serve(workspace, more=None):
    """Serve as below a unit that says NoNewPrivileges=yes."""
    program = "import ctypes, os, sys; ctypes.CDLL(None).prctl(38, 1, 0, 0, 0); os.execv(sys.executable, [sys.executable, '-m', 'routinectl', 'serve'])"
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=workspace.root, env={**workspace.env, **(more or {})}, stderr=subprocess.DEVNULL
    ) as serve:
        try:
            until(lambda: workspace.ok("status", "--json").data["serve"]["alive"])
            yield serve
        finally:
            serve.terminate()


class TestService:
    @pytest.mark.parametrize("hardening", service.HARDENING)
    @pytest.mark.parametrize("system", [[], ["--system"]], ids=["user", "system"])
    def test_the_unit_is_well_formed(self, workspace, tmp_path, system, hardening):
        text = workspace.ok("service", "print", *system, "--hardening", hardening).out
        path = tmp_path / "routinectl-test.service"
        path.write_text(text)

        assert "KillMode=process" in text
        assert f"-w {workspace.root} serve" in text
        assert ("User=" in text) == bool(system)
        if shutil.which("systemd-analyze"):
            verified = subprocess.run(
                ["systemd-analyze", "verify", "--man=no", *([] if system else ["--user"]), str(path)],
                capture_output=True,
                text=True,
                check=False,
            )
            assert "routinectl-test.service" not in verified.stderr, verified.stderr

    @pytest.mark.parametrize("system", [[], ["--system"]], ids=["user", "system"])
    def test_no_directive_of_the_unit_takes_from_runs_what_cron_would_give_them(self, workspace, system):
        """A closed list: whoever adds a directive says here that runs, which inherit it, can live with it."""
        of_serve = {"Type", "ExecStart", "ExecReload", "Restart", "RestartSec", "RestartPreventExitStatus", "WatchdogSec", "NotifyAccess"}
        undone_for_runs = {"WorkingDirectory", "UMask"}
        of_both = {"KillMode", "SendSIGKILL", "OOMPolicy", "Delegate", "DelegateSubgroup", *(["User"] if system else [])}
        lines = workspace.ok("service", "print", *system).out.partition("[Service]")[2].partition("[Install]")[0].splitlines()

        found = {line.partition("=")[0] for line in lines if line and not line.startswith("#")}
        assert found | {"DelegateSubgroup"} == of_serve | undone_for_runs | of_both

    @pytest.mark.parametrize("system", [[], ["--system"]], ids=["user", "system"])
    def test_strict_names_each_loss_where_it_is_chosen(self, workspace, system):
        """In the unit, in what `install` says, and in the documents: whatever it has beyond the default."""
        before = workspace.ok("service", "print", *system).out.splitlines()
        dry = workspace.ok("service", "install", *system, "--hardening", "strict", "--dry-run")
        page = (ROOT / "docs/service.md").read_text()
        lines = dry.out.splitlines()
        added = [line for line in lines if line not in before and not line.startswith("#")]
        assert len(added) > 12
        for line in added:
            if line.partition("=")[0] in ("ReadWritePaths", "SystemCallErrorNumber"):  # these give back, or say how it is refused
                continue
            loss = lines[lines.index(line) - 1]
            assert loss.startswith("# lost: "), line
            assert f"{line}: {loss.removeprefix('# lost: ')}" in dry.err
            assert f"| `{line}`" in page and loss.removeprefix("# lost: ") in page, line
        assert "Runs lose" not in workspace.ok("service", "install", *system, "--dry-run").err

    @pytest.mark.parametrize(("said", "expected"), [("systemd 252 (252.39-1)", False), ("systemd 257.1 (257.1-1)", True), ("what?", False)])
    def test_a_systemd_is_told_only_what_it_knows(self, workspace, tmp_path, said, expected):
        fake = tmp_path / "bin" / "systemctl"
        fake.parent.mkdir()
        fake.write_text(f"#!/bin/sh\necho '{said}'\n")
        fake.chmod(0o755)
        unit = workspace.ok("service", "print", env={"PATH": f"{fake.parent}:{workspace.env['PATH']}"}).out
        assert ("DelegateSubgroup=serve" in unit.splitlines()) == expected

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
    def test_the_system_s_service_runs_as_the_owner_of_the_workspace(self, workspace):
        os.chown(workspace.root / "routinectl.yaml", pwd.getpwnam("nobody").pw_uid, -1)
        assert "User=nobody" in workspace.ok("service", "print", "--system").out.splitlines()

    def test_status_and_uninstall_find_the_service_of_the_other_manager(self, workspace, tmp_path, monkeypatch):
        layout = Layout(workspace.root)
        monkeypatch.setattr(service, "folder", lambda *, system: tmp_path / ("system" if system else "user"))
        for here in (True, False):
            there = service.folder(system=here) / service.name_of(layout)
            there.parent.mkdir(exist_ok=True)
            there.write_text("[Service]\n")
            active, text = service.status(layout, system=not here)
            hints = service.uninstall(layout, system=not here).hints

            assert (active, str(there) in text, "--system" in text) == (False, True, here)
            assert [str(there) in hint and ("--system" in hint) == here for hint in hints] == [True]
            there.unlink()
        assert "nor is" in service.status(layout, system=False)[1]

    def test_doctor_asks_the_serve_that_runs_and_not_the_shell(self, workspace):
        """As below a unit that says NoNewPrivileges=yes and RestrictNamespaces=yes."""
        workspace.define("x", "triggers: [{daily: '09:00'}]\ntimeout: 1m\npermissions: {level: read_only}\naction: {command: [id]}\n")
        with bound_serve(workspace, {"ROUTINECTL_CONFINEMENT": "none"}) as serve:
            until(Layout(workspace.root).ability.exists)
            found = {item["name"]: item for item in workspace.run("doctor", "--json").data}
        until(lambda: not workspace.ok("status", "--json").data["serve"]["alive"])

        assert not found["confinement"]["well"]
        assert f"the serve that runs (pid {serve.pid}) can keep no program in" in found["confinement"]["found"]
        assert "x asks for it" in found["confinement"]["found"]
        assert not found["serve"]["well"]
        assert "use sudo, su or any set-user-id program" in found["serve"]["found"]
        assert "serve" not in {item["name"] for item in workspace.run("doctor", "--json").data}

    def test_a_new_hardening_reaches_runs_though_a_keeper_from_before_it_is_there(self, workspace):
        """The keeper of the serve before goes on while it has runs; what starts beside them starts from it, the next does not."""
        bound = f"command: [sh, -c, 'grep NoNewPrivs: /proc/self/status; while [ -e {workspace.root}/wait ]; do sleep 0.02; done']"
        for name in ("long", "short"):
            workspace.define(name, f"timeout: 1m\naction: {{{bound}}}\n")

        def end_of(run):
            ends = until(lambda: [event for event in workspace.events("run.ended") if event["data"]["run"] == run])
            return workspace.ok("logs", ends[0]["subject"], run).out.split()[-1]

        def ask(name):
            return workspace.ok("run-now", name, "--json").data["run"]

        with workspace.serving():
            assert end_of(ask("short")) == "0"
        with bound_serve(workspace):
            assert end_of(ask("short")) == "1", "an idle keeper of the serve before was used"
        (workspace.root / "wait").touch()
        with workspace.serving():
            long = ask("long")
            until(lambda: workspace.events("run.started", "long"))
        with bound_serve(workspace):
            short = ask("short")
            until(lambda: [event for event in workspace.events("run.started") if event["data"]["run"] == short])
            found = {item["name"]: item for item in workspace.run("doctor", "--json").data}
            (workspace.root / "wait").unlink()
            assert [end_of(long), end_of(short), end_of(ask("short"))] == ["0", "0", "1"]
            assert "keeper" not in {item["name"] for item in workspace.run("doctor", "--json").data}

        assert not found["keeper"]["well"]
        assert "long" in found["keeper"]["found"]

    def test_without_systemd_install_says_what_to_do_instead(self, workspace):
        result = workspace.run("service", "install", env={"PATH": "/nowhere"})

        assert result.code == 1
        assert "systemd does not answer here" in result.err
        assert "serve --once" in result.err
        assert workspace.run("service", "status").code == 1

    def test_dry_run_writes_nothing(self, workspace):
        assert "would write" in workspace.ok("service", "install", "--dry-run").err


ABLE = {
    "uid": 0, "confinement": "namespaces", "why_not": "", "gains_rights": True, "compiles": True, "writes": ["/root", "/srv", "/tmp"],
    "shared": {"/tmp": [1, 2]},
}  # fmt: skip
LESS = {  # what a service can do otherwise than a shell: what doctor says of it
    "as the shell": ({}, []),
    "no namespaces": ({"confinement": "", "why_not": "no namespaces"}, ["keep a program in (no namespaces)"]),
    "a system that is read-only": ({"writes": ["/tmp"]}, ["write to /root, /srv"]),
    "more than the shell": ({"writes": ["/root", "/srv", "/tmp", "/etc"]}, []),
    "NoNewPrivileges": ({"gains_rights": False}, ["use sudo, su or any set-user-id program"]),
    "MemoryDenyWriteExecute": ({"compiles": False}, ["run what compiles as it runs (node, java)"]),
    "PrivateTmp": ({"shared": {"/tmp": [1, 3]}}, ["see the /tmp of others"]),
    "another user": ({"uid": 1000, "writes": [], "gains_rights": False}, []),
    "another user, no namespaces": ({"uid": 1000, "confinement": "", "why_not": "w", "writes": []}, ["keep a program in (w)"]),
}  # fmt: skip


@pytest.mark.parametrize("name", LESS)
def test_what_a_service_cannot_do_and_a_shell_can(name):
    there, expected = LESS[name]
    assert ability.less({**ABLE, **there}, ABLE) == expected
