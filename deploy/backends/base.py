"""What the backends share."""

from typing import Literal

Record = Literal["output", "events", "all"]
RECORDS = ("output", "events", "all")
LavaModels = Literal["stock", "fast", "fused"]
