"""Run an exported network on SANA-FE, in a process of its own: python sanafe_run.py FOLDER SAMPLE ANSWERS

SANA-FE reads the exported files and nothing else. The traces go into ANSWERS under the names that SANA-FE's own program
gives them; energy and time of every step, which its files round to 7 digits, into totals.json.
"""

import json
import sys
from pathlib import Path

import sanafe


def main() -> None:
    """All steps of one sample, with SANA-FE's simple timing."""
    folder, sample, answers = Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    answers.mkdir()
    steps = json.loads((folder / "expected.json").read_text())["steps"]
    architecture = sanafe.load_arch(str(folder / "architecture.yaml"))
    chip = sanafe.SpikingChip(architecture)
    chip.load(sanafe.load_net(str(folder / f"network_{sample}.yaml"), architecture))
    done = chip.sim(
        steps,
        timing_model="simple",
        spike_trace=str(answers / "spikes.csv"),
        perf_trace=str(answers / "perf.csv"),
        message_trace=str(answers / "messages.csv"),
    )
    exact = {"time_s": done["sim_time"], "energy_j": done["energy"]["total"]}
    (answers / "totals.json").write_text(json.dumps(exact))


if __name__ == "__main__":
    main()
