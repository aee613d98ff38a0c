"""Clean a label map: absorb small regions, fill small holes, smooth an outline; and the regions.

Each function returns the map as it would be; what of it is taken is the caller's choice. SciPy and
scikit-image are imported where they are used: napari's start does not wait for them.
"""

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.uint16]
Mask = npt.NDArray[np.bool_]
# Standard deviation of the Gaussian that an outline is smoothed with, in pixels.
SIGMA = 2.0


def region_at(ids: Ids, y: int, x: int) -> Mask:
    """(Y, X) the pixels joined with (y, x) by edges that have its id."""
    from skimage.segmentation import flood

    found: Mask = flood(ids, (y, x), connectivity=1)
    return found


def absorb_small(ids: Ids, least: int, of: int | None = None) -> Ids:
    """Regions of fewer than `least` pixels take the id that is nearest outside of them.

    ids : (Y, X); a region is joined by edges, the unlabelled have regions, too. of : only
        regions of this id, None those of every id. A map of small regions alone stays.
    """
    from skimage.measure import label

    regions = label(ids, background=-1, connectivity=1)
    small: Mask = (np.bincount(regions.ravel()) < least)[regions]
    return _from_nearest(ids, small if of is None else small & (ids == of))


def fill_holes(ids: Ids, of: int, least: int) -> Ids:
    """Holes in the pixels of an id become that id, where a hole has fewer than `least` pixels.

    A hole is joined by edges and touches no border of the map; what lies in it does not matter.
    """
    from skimage.measure import label

    holes = label(ids != of, connectivity=1)
    small = np.bincount(holes.ravel()) < least
    rim = np.concatenate([holes[[0, -1]].ravel(), holes[:, [0, -1]].ravel()])
    small[rim] = False
    small[0] = False
    return np.where(small[holes], np.uint16(of), ids)


def smooth(ids: Ids, of: int, sigma: float = SIGMA) -> Ids:
    """The outline of an id follows its smoothed mask; what it leaves takes the nearest other id."""
    from scipy.ndimage import gaussian_filter

    held = ids == of
    soft = gaussian_filter(held.astype(np.float32), sigma, mode="nearest") > 0.5
    out = _from_nearest(ids, held & ~soft, held)
    return np.where(soft, np.uint16(of), out)


def _from_nearest(ids: Ids, change: Mask, barred: Mask | None = None) -> Ids:
    """Pixels of `change` take the id of the nearest pixel outside of `barred`, itself at least."""
    from scipy.ndimage import distance_transform_edt

    barred = change if barred is None else barred
    if not change.any() or barred.all():
        return ids.copy()
    at = distance_transform_edt(barred, return_distances=False, return_indices=True)
    return np.where(change, ids[tuple(at)], ids)
