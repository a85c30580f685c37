"""Documents that cannot rot: the tour of the README runs as it stands, man pages are fresh, every command is documented."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from conftest import ROOT, clean_environment, stop_keepers, until
from needs import needs

from routinectl.cli.main import command_of
from routinectl.cli.registry import COMMANDS

README = (ROOT / "README.md").read_text()
TOUR = re.findall(r"<!-- (tour[^>]*) -->\n```sh\n(.*?)```", README, re.DOTALL)


def test_the_tour_of_the_readme_runs_as_it_stands(tmp_path):
    env = clean_environment(tmp_path)
    place = tmp_path
    serve = None
    said = ""
    try:
        for kind, block in TOUR:
            if kind == "tour: serve":
                serve = subprocess.Popen(
                    ["bash", "-ec", block],
                    cwd=tmp_path,
                    env=env,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                )
                until(
                    lambda: (
                        (tmp_path / "my-workspace/.routinectl/runs/soon").exists()
                        and any((tmp_path / "my-workspace/.routinectl/runs/soon").glob("*/out"))
                    )
                )
                continue
            done = subprocess.run(["bash", "-exc", block], cwd=place, env=env, capture_output=True, text=True, timeout=120, check=False)
            said += done.stdout + done.stderr
            assert done.returncode == 0, said
            place = tmp_path / "my-workspace"
    finally:
        if serve is not None:
            serve.terminate()
            serve.communicate(timeout=30)
        stop_keepers(tmp_path)

    for words in ("at 09:00, Monday to Friday", "succeeded", "hello from a routine", "at 09:30, Monday to Friday", "a holiday", "somebody asked for it by hand",
                  "for the slot", "it was due and nothing stood in its way", "ExecStart=", "Removed soon"):  # fmt: skip
        assert words in said, words


def test_the_readme_names_two_commands_that_do_all_the_set_up():
    assert "make run" in README
    assert "make test" in README


def test_the_example_definitions_of_the_readme_are_good(tmp_path):
    for number, block in enumerate(re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)):
        path = tmp_path / f"{number}.yaml"
        path.write_text(block)
        done = subprocess.run(
            [sys.executable, "-m", "routinectl", "validate", str(path)],
            cwd=ROOT,
            env=clean_environment(tmp_path),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr


def test_man_pages_are_fresh():
    done = subprocess.run(
        [sys.executable, ROOT / "docs/generate.py", "--check"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**clean_environment(ROOT)},
        check=False,
    )
    assert done.returncode == 0, done.stderr


@needs("mandoc")
def test_man_pages_are_clean_under_mandoc():
    pages = sorted(map(str, (ROOT / "man").glob("*/*")))
    done = subprocess.run(["mandoc", "-Tlint", *pages], capture_output=True, text=True, check=False)

    assert len(pages) == 4
    assert done.stdout + done.stderr == ""


@pytest.mark.parametrize("name", [command.name for command in COMMANDS])
def test_every_command_has_help_with_examples_and_a_place_in_the_manual(name):
    command = command_of(name)
    assert "Examples:" in command.help
    assert f"routinectl {name}" in command.help.partition("Examples:")[2]
    manual = (ROOT / "man/man1/routinectl.1").read_text()
    assert f'.SS "{name}"'.replace("-", "\\-") in manual
    for inner in getattr(command, "commands", {"": command}).values():
        for parameter in inner.params:
            assert parameter.name == "help" or parameter.help, (name, parameter.name)
            for option in parameter.opts if parameter.opts[0].startswith("--") else ():
                assert option.replace("-", "\\-") in manual, (name, option)


def test_links_of_the_documents_lead_somewhere():
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def told_commands() -> dict[str, list[str]]:
    """Return the command lines of routinectl that each document tells of: in code, and in the lists of llms.txt."""
    found = {}
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        text = page.read_text()
        blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
        lines = [line for block in blocks for line in block.splitlines() if line.startswith("routinectl ")]
        found[page.name] = [*lines, *re.findall(r"(?<!`)`(routinectl [^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))]
    items = re.findall(r"^- (routinectl .*)", (ROOT / "docs/llms.txt").read_text(), re.MULTILINE)
    found["llms.txt"] = [part for line in items for part in re.split(r"(?<=[^;]); (?=routinectl)", line)]
    return {page: lines for page, lines in found.items() if lines}


@pytest.mark.parametrize("page", sorted(told_commands()))
def test_commands_that_the_documents_tell_of_exist_with_their_options(page):
    for line in told_commands()[page]:
        words = re.sub(r"^routinectl (-w \S+ )?", "", line).partition(" -- ")[0].partition(" #")[0].split()
        assert words[0] in {item.name for item in COMMANDS}, line
        command = command_of(words[0])
        known = {option for inner in [command, *getattr(command, "commands", {}).values()] for item in inner.params for option in item.opts}
        for option in [word.partition("=")[0].strip("[]().:,;") for word in words[1:] if word.startswith(("--", "[--"))]:
            assert option in known | {"--help"}, f"{line}: {option}"


def test_every_test_that_trust_md_rests_on_is_there():
    text = (ROOT / "docs/trust.md").read_text()
    named = set(re.findall(r"`(test_[a-z0-9_]+)`", text))
    files = set(re.findall(r"`(?:tests/)?((?:proofs/)?test_[a-z_]+\.py)`", text))
    there = {
        name for path in (ROOT / "tests").rglob("test_*.py") for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)
    }
    assert len(named) > 25
    assert named - there == set()
    assert [name for name in files if not (ROOT / "tests" / name).is_file()] == []
