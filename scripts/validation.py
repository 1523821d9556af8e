"""Writes docs/validation.md: our estimates beside published measurements on silicon.

python scripts/validation.py           rewrite the document
python scripts/validation.py --check   exit 1 if it is not current
python scripts/validation.py --record  ask SANA-FE anew about congestion, and rewrite the document
"""

import sys
from pathlib import Path

from silicon import loihi1, loihi2
from silicon.congestion import compared, congestion_figures, congestion_table
from silicon.core_counts import core_table, hops_table
from silicon.rows import in_band, table
from silicon.sanafe_cycle import record
from spikecut.deploy.placement.hardware import Chip, load_hardware

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "validation.md"
TEXT = Path(__file__).resolve().parent / "silicon" / "document.md"


def document() -> str:
    """The document, from all rows."""
    chips = [load_hardware(name) for name in ("loihi1", "loihi2")]
    assert all(isinstance(chip, Chip) for chip in chips)
    first, second = (chip for chip in chips if isinstance(chip, Chip))
    rows = [*loihi2.rows(second), *loihi1.rows(first)]
    parts = {use: [row for row in rows if row.use == use] for use in ("tested", "fitted", "shown")}
    wide = [f"{row.what}, {row.quantity} ({row.width:.1f})" for row in parts["tested"] if row.width > 3]
    tables = {use: table(part) for use, part in parts.items()}
    apart = in_band([row for row in rows if not row.what.startswith("two LIF neurons")])
    good, said = in_band(rows), "; ".join(wide) or "none"
    cases = compared()
    tables |= {"cores": core_table(second), "hops": hops_table(second), "congestion": congestion_table(cases)}
    tables |= congestion_figures(cases)
    return TEXT.read_text(encoding="utf-8").format(good=good, apart=apart, wide=said, **tables)


def main() -> None:
    """Rewrite the document, or check it."""
    if "--record" in sys.argv:
        record()
    fresh = document()
    if "--check" in sys.argv:
        current = DOCUMENT.is_file() and DOCUMENT.read_text(encoding="utf-8") == fresh
        raise SystemExit(0 if current else "docs/validation.md is not current: run scripts/validation.py")
    DOCUMENT.write_text(fresh, encoding="utf-8")


if __name__ == "__main__":
    main()
