"""Run by the interpreter of a Python routine: import the function, call it with its arguments, write its result.

Arguments: ENTRYPOINT (`module:function`) ARGS (JSON object, given as keywords) FOLDERS (put in front of sys.path). What
the function returns as text becomes the run's result line; an exception becomes a traceback and exit code 1. Standard
library only, and no routinectl: the chosen interpreter need not have it.
"""

import importlib
import json
import os
import sys
from typing import Any


def main() -> None:
    """Call the entry point."""
    entrypoint, args, *folders = sys.argv[1:]
    sys.argv = [entrypoint]
    sys.path[:1] = folders
    module_name, _, name = entrypoint.partition(":")
    function: Any = importlib.import_module(module_name)
    for part in name.split("."):
        function = getattr(function, part)
    result = function(**json.loads(args))
    if isinstance(result, (str, dict, list)) and not os.path.exists(os.environ["ROUTINE_RESULT"]):
        text = result if isinstance(result, str) else json.dumps(result, ensure_ascii=False)
        with open(os.environ["ROUTINE_RESULT"], "w", encoding="utf-8") as file:
            file.write(text + "\n")


if __name__ == "__main__":
    main()
