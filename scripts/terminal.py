"""Makes docs/images/terminal.svg: commands as they run, typed and printed in a terminal of 80 columns.

python scripts/terminal.py
"""

import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

TARGET = Path(__file__).resolve().parents[1] / "docs" / "images" / "terminal.svg"
COLUMNS = 80
COMMANDS = (
    "spikecut export zoo:digits-qcfs-rcs --out bundle",
    "spikecut verify bundle",
    "spikecut calibrate bundle --dataset digits --epsilon 0.01",
    "spikecut run bundle --dataset digits --samples 100 --out run",
)


def main() -> None:
    """Run the commands in an empty folder and write the picture."""
    console = Console(record=True, width=COLUMNS, file=open(os.devnull, "w"))  # noqa: SIM115 - ends with the script
    environment = {**os.environ, "COLUMNS": str(COLUMNS), "FORCE_COLOR": "1", "PYTHONUTF8": "1"}
    with tempfile.TemporaryDirectory() as folder:
        for command in COMMANDS:
            console.print(Text(f"$ {command}", style="bold"))
            made = [sys.executable, "-m", *shlex.split(command)]
            done = subprocess.run(made, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            console.print(Text.from_ansi(done.stdout.decode().replace(f"{folder}/", "").rstrip()))
            console.print()
            done.check_returncode()
    made_of = TARGET.with_suffix(".partial")
    made_of.write_text(without_addresses(console.export_svg(title="spikecut")), encoding="utf-8")
    made_of.replace(TARGET)


def without_addresses(svg: str) -> str:
    """The picture without fonts that a viewer would fetch: it falls back to monospace."""
    return re.sub(r"@font-face \{.*?\}|<!--.*?-->", "", svg, flags=re.DOTALL)


if __name__ == "__main__":
    main()
