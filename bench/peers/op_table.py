"""Which Op stands for a row: the single ops and the fused ones."""
import ops_fused
import ops_torch
from cases import LIMIT, NotMeasured

MAKERS = {**ops_torch.MAKERS, **ops_fused.MAKERS}
COMPOSED = {*ops_torch.COMPOSED, *ops_fused.MAKERS}  # round in between as well


def build(row, device):
    """The Op of a row; NotMeasured where torch has no counterpart."""
    maker = MAKERS.get(row["op"])
    if maker is None:
        raise NotMeasured("torch has no counterpart of this op")
    draw = ops_torch.Draw(row, device)
    op = maker(row, row["shape"], draw)
    op.gradient_seed = draw.gradient_seed()
    op.limit = LIMIT[row["type"]] * (2 if row["op"] in COMPOSED else 1)
    return op
