"""Write docs/supported.md from the registry in export/nir/support.py."""

from pathlib import Path

from spikecut.export.nir.support import matrix

if __name__ == "__main__":
    (Path(__file__).resolve().parent.parent / "docs" / "supported.md").write_text(matrix(), encoding="utf-8")
