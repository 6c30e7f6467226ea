"""What settings of a tree share: the sorted columns, and more in time."""

from fastfit.sharing import Sharing


class TreeSharing(Sharing):
    """Trees on the same sorted columns."""

    unit = "trees"
