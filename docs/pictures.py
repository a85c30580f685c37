"""Take the pictures of docs/images anew: `make pictures`. They show docs/demo.py's workspace as it was at one instant.

Those of the terminal are text with colours (SVG), the same on every machine: a test compares them. Those of the web page
need Debian's chromium.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import browser
import textual
from demo import make

from routinectl import clock
from routinectl.files.layout import Layout
from routinectl.files.lock import try_lock
from routinectl.tui.app import THEMES, Tui
from routinectl.tui.source import Local

IMAGES = Path(__file__).with_name("images")
NOW = datetime(2026, 11, 20, 16, 48, 10, tzinfo=UTC)
# name -> size, keys, theme
TERMINAL = {
    "tui-routines": ((150, 30), [], 0),
    "tui-narrow": ((80, 24), ["down", "down"], 1),
    "tui-routine": ((110, 32), ["down", "enter"], 0),
    "tui-runs": ((110, 24), ["down", "enter", "3"], 0),
    "tui-broken": ((90, 18), ["end", "enter", "2"], 0),
    "tui-timeline": ((130, 24), ["t"], 0),
    "tui-waiting": ((110, 24), ["w", "down", "down"], 0),
    "tui-agents": ((110, 32), ["b"], 0),
    "tui-form": ((100, 28), ["e"], 0),
    "tui-delete": ((90, 22), ["d"], 0),
    "tui-help": ((80, 32), ["question_mark"], 0),
}
WIDE, PHONE = (1280, 800), (390, 844)
# name -> address, window, colours
WEB = {
    "web-routines": ("#/", WIDE, "light"), "web-routine": ("#/routines/disk-space", WIDE, "light"), "web-edit": ("#/routines/web-watch/edit", WIDE, "light"),
    "web-broken": ("#/routines/quarterly-audit", WIDE, "light"), "web-timeline": ("#/timeline", WIDE, "dark"), "web-approvals": ("#/approvals", WIDE, "dark"),
    "web-agents": ("#/agents", WIDE, "light"), "web-budgets": ("#/budgets", WIDE, "light"), "web-health": ("#/health", WIDE, "light"),
    "web-phone": ("#/", PHONE, "light"),
}  # fmt: skip


async def settled(pilot: object) -> None:
    """Wait until the app has asked for what it shows."""
    app = pilot.app
    while not app.loaded:
        await pilot.pause(0.02)
    for _ in range(2):
        await pilot.pause(0.2)
        # What a key began may wait for an answer to a question; what asks the source ends by itself.
        asking = [worker for worker in app.workers if not worker.name.startswith("action_")]
        if asking:  # of none, it would wait for all
            await app.workers.wait_for_complete(asking)
    await pilot.pause()


async def terminal(folder: Path, name: str) -> str:
    """Return one picture of the terminal app over the demo workspace in a folder. The clock must stand at NOW."""
    size, keys, theme = TERMINAL[name]
    app = Tui(Local(Layout(folder), "ada"), now=NOW)
    app.first_theme = THEMES[theme].name
    # As if a serve lived; one without is in a test.
    with try_lock(Layout(folder).lock("serve")) or contextlib.nullcontext():
        return await _taken(app, size, keys)


async def _taken(app: Tui, size: tuple[int, int], keys: list[str]) -> str:
    async with app.run_test(size=size) as pilot:
        await settled(pilot)
        for key in keys:
            await pilot.press(key)
            await settled(pilot)
        for field in app.screen.query("Input, TextArea"):
            field.cursor_blink = False  # whether it is seen just then would be chance
        await pilot.pause(0.1)
        return app.export_screenshot(title="routinectl tui")


def web(folder: Path) -> None:
    """Take the pictures of the web page, of a serve over the demo workspace in a folder."""
    from playwright.sync_api import sync_playwright

    here = [sys.executable, "-m", "routinectl", "-w", str(folder)]
    serve = subprocess.Popen([*here, "serve", "--http", "127.0.0.1:8792"], stderr=subprocess.PIPE, text=True)
    try:
        assert serve.stderr is not None
        while "HTTP on" not in serve.stderr.readline():
            continue
        time.sleep(1)
        token = subprocess.run([*here, "token", "create", "--role", "admin"], capture_output=True, text=True, check=True).stdout.strip()
        with sync_playwright() as player:
            window = player.chromium.launch(executable_path=browser.find(), args=browser.FLAGS)
            for name, (address, (width, height), colours) in WEB.items():
                page = window.new_context(viewport={"width": width, "height": height}, color_scheme=colours).new_page()
                page.goto(f"http://127.0.0.1:8792/#token={token}")
                page.get_by_role("heading", name="Routines", exact=True).wait_for()
                page.evaluate("address => { location.hash = address; }", address)
                page.wait_for_timeout(1000)
                page.screenshot(path=IMAGES / f"{name}.png")
                page.close()
    finally:
        serve.terminate()
        serve.wait()


def main() -> None:
    """Take all, or (with `terminal`) only those of the terminal."""
    os.environ["TZ"] = "Europe/Berlin"
    time.tzset()
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        if sys.argv[1:] != ["terminal"]:
            make(Path(folder) / "homelab-now", clock.now())
            web(Path(folder) / "homelab-now")
        clock.now = lambda: NOW
        make(Path(folder) / "homelab", NOW)
        for name in TERMINAL:
            (IMAGES / f"{name}.svg").write_text(asyncio.run(terminal(Path(folder) / "homelab", name)))
        (IMAGES / "textual").write_text(f"{textual.__version__}\n")  # with which they were taken: others draw a little otherwise


if __name__ == "__main__":
    main()
