"""Dumps an SQLite database as SQL, in one step."""

import sqlite3
from contextlib import closing
from pathlib import Path


def main(database: str, target: str) -> str:
    new = Path(target).with_suffix(".new")
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as source, new.open("w") as file:
        lines = 0
        for line in source.iterdump():
            file.write(line + "\n")
            lines += 1
    new.replace(target)
    return f"{lines} lines of SQL in {Path(target).name}"
