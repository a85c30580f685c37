"""What the two screens take: rows for 10 000 routines, a repaint of the terminal, the first view of the web page."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "docs"))
import browser

from routinectl.api import page
from routinectl.files.layout import Layout
from routinectl.operations.overview import Overview
from routinectl.operations.session import Session
from routinectl.tui.app import MainPage, Tui
from routinectl.tui.source import Local
from routinectl.tui.table import RoutineTable

COMMAND = [sys.executable, "-m", "routinectl"]
SEEN = """new MutationObserver(() => { if (document.querySelector(".card") && !window.shown) requestAnimationFrame(() => { window.shown ||= performance.now(); }); })
  .observe(document, {childList: true, subtree: true});"""


def milliseconds(doing: Callable[[], object]) -> float:
    start = time.perf_counter()
    doing()
    return (time.perf_counter() - start) * 1000


def rows(root: Path) -> dict[str, float]:
    with Session(Layout(root)):
        pass  # takes the definitions in
    with Session(Layout(root)) as session:
        overview = Overview(session)
        session.engine.listeners.append(overview.heard)
        first = milliseconds(overview.rows)
        return {"rows of 10 000 routines, the first time": first, "the same again": median(milliseconds(overview.rows) for _ in range(20))}


async def terminal(root: Path) -> dict[str, float]:
    app = Tui(Local(Layout(root), "bench"))
    async with app.run_test(size=(160, 50)) as pilot:
        while not app.loaded:
            await pilot.pause(0.1)
        await pilot.pause(0.5)
        main = app.screen
        assert isinstance(main, MainPage)
        table = main.query_one(RoutineTable)
        repaint = median(milliseconds(lambda: [table.render_line(y) for y in range(table.size.height)]) for _ in range(20))
        redraw = median(milliseconds(main.draw) for _ in range(20))
        return {
            f"terminal: all {table.size.height} lines that are seen, of 10 000": repaint,
            "terminal: filter and order 10 000 anew (a key in the search)": redraw,
        }


def web(root: Path, count: int = 15) -> dict[str, float]:
    """From the address to the first cards on the screen, the page's files known to the browser."""
    program = browser.find()
    if not program:
        return {}
    from playwright.sync_api import sync_playwright

    serve = subprocess.Popen([*COMMAND, "-w", str(root), "serve", "--http", "127.0.0.1:0"], stderr=subprocess.PIPE, text=True)
    try:
        assert serve.stderr is not None
        while "HTTP on" not in (line := serve.stderr.readline()):
            continue
        url = line.split()[-1]
        token = subprocess.run(
            [*COMMAND, "-w", str(root), "token", "create", "--role", "admin"], capture_output=True, text=True, check=True
        ).stdout.strip()
        time.sleep(3)
        with sync_playwright() as player:
            window = (
                player.chromium.launch(executable_path=program, args=browser.FLAGS)
                .new_context(viewport={"width": 1280, "height": 860})
                .new_page()
            )
            window.goto(f"{url}/#token={token}")
            window.wait_for_selector(".card")
            window.add_init_script(SEEN)
            times = []
            for _ in range(count):
                window.goto("about:blank")
                window.goto(url)
                while not (shown := window.evaluate("window.shown || 0")):
                    window.wait_for_timeout(20)
                times.append(shown)
    finally:
        serve.terminate()
        serve.wait()
    return {f"web page: first cards of 1 000 routines, median of {count}": median(times)}


def measure(workspace: Callable[[int, str], Path]) -> list[str]:
    """Return the lines of the report."""
    many, some = workspace(10_000, "daily: '09:00'"), workspace(1000, "daily: '09:00'")
    found = {**rows(many), **asyncio.run(terminal(many)), **web(some)}
    size = sum(len(file.data) for file in page.files().values())
    return ["", "## Screens", "", "| | ms |", "|---|---|", *(f"| {what} | {time:.1f} |" for what, time in found.items()), "",
            f"All files of the page: {size:,} bytes."]  # fmt: skip
