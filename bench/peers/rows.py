"""bench/rows.json: the rows and models, cut to the tiny sizes where asked."""
import fnmatch
import json
from pathlib import Path

FILE = Path(__file__).resolve().parent.parent / "rows.json"


def load(scale="full", patterns="*"):
    """Rows by ascending priority, then file order, each with its inputs' names; patterns are comma-separated globs on ids, a bare word matches anywhere."""
    content = json.loads(FILE.read_text(encoding="utf-8"))
    tiny = content["tiny"] if scale == "tiny" else {}

    def cut(sizes):
        return {name: min(value, tiny[name]) if isinstance(value, int) and name in tiny else value for name, value in sizes.items()}

    models = {name: cut(model) for name, model in content["models"].items()}
    globs = [pattern if any(c in pattern for c in "*?[") else f"*{pattern}*" for pattern in patterns.split(",")]
    rows = [dict(row, shape=cut(row["shape"])) for row in content["rows"] if any(fnmatch.fnmatchcase(row["id"], glob) for glob in globs)]
    for row in rows:
        row["inputs"] = content["inputs"].get(f"{row['op']}.{row['pass']}", content["inputs"].get(row["op"], []))
        if "model" in row["shape"]:
            row["model"] = models[row["shape"]["model"]]
    return sorted(rows, key=lambda row: row["priority"])
