"""The file of result lines: appended to, and never measured twice."""
import datetime
import json
import math
from pathlib import Path


class Results:
    def __init__(self, path, device, driver, scale="full"):
        """scale: named in the lines where it is not the full one, so that no report takes them for more."""
        self.path, self.common = Path(path), {"device": device, "driver": driver, "date": datetime.date.today().isoformat()}
        if scale != "full":
            self.common["scale"] = scale
        self.done = set()
        self.read()

    def read(self):
        """What the file holds, another process's lines too."""
        if self.path.exists():
            for line in self.path.read_text(encoding="utf-8").splitlines():
                if line.strip():
                    result = json.loads(line)
                    self.done.add((result["row"], result["peer"], result.get("mode")))

    def has(self, row, peer, mode):
        """A reason not to measure stands for all modes."""
        return (row, peer, mode) in self.done or (row, peer, None) in self.done

    def measured(self, row, peer, mode, variant, timing, relative_l2=None, checksum=None):
        self._write(row, peer, mode, {"variant": variant, "mode": mode, **self.common, **timing, "relative_l2": relative_l2, "checksum": checksum})

    def not_measured(self, row, peer, reason):
        line = " ".join(str(reason).split())
        self._write(row, peer, None, {"median_us": None, "reason": f"not measured: {line[:300]}", **self.common})

    def _write(self, row, peer, mode, fields):
        fields = {name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in fields.items()}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"row": row, "peer": peer, **fields}) + "\n")
        self.done.add((row, peer, mode))
