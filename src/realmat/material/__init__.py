"""Material layer: what makes the real material differ from the ideal one."""

from realmat.material.unresolved import Unresolved

__all__ = ["Unresolved"]
