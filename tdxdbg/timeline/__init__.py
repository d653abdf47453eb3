"""Journal and checkpoints: what happened at any row, without holding the rows."""

from tdxdbg.timeline.moment import Difference, Moment
from tdxdbg.timeline.timeline import Timeline

__all__ = ["Difference", "Moment", "Timeline"]
