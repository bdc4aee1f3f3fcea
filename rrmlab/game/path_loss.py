"""Path loss, on which both the draw of a deployment and the radio depend."""

from torch import Tensor

BREAKPOINT_M = 100.0  # dual-slope path loss of the lineage: exponent 2 up to here, 4 beyond
PATH_LOSS_1M_DB = 39.0


def path_loss_db(distance_m: Tensor) -> Tensor:
    """Dual-slope path loss of the lineage, dB: 39 + 20 log10(d) up to 100 m, 39 + 40 log10(d) - 40 beyond."""
    slope = 20 * distance_m.log10()
    return PATH_LOSS_1M_DB + slope + (slope - 40).clamp(min=0)
