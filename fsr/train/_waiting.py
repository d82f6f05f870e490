"""The share of a run's time that its steps wait for data, and when a line about it is worth it."""

from __future__ import annotations

from fsr.train._loading import Loading, choose_loading

WORTH = 0.1
# Where the network computes on the cores that draw, a worker saves less than what was waited: on
# two cores half of it at best, on busy ones nothing.
WORTH_ON_CPU = 0.25
# A line comes again only for a share so much larger than the last one told.
GROWN = 1.5


class Waiting:
    """Sums up what steps waited, and puts it into words when it is much and news.

    The first step is left out: it waits for the workers to start, or for the first files.

    Args:
        loading: how the process gets its batches.
        cache: MiB that would hold all scenes, where they are more than are kept.
    """

    def __init__(self, loading: Loading, cache: int | None = None) -> None:
        self.advice = advice(loading, cache)
        drawn_between = loading.workers == 0 and not loading.gpu
        self.worth = WORTH_ON_CPU if drawn_between else WORTH
        self._told = 0.0
        self._started = False
        self._begin()

    def _begin(self) -> None:
        self._steps: list[int] = []
        self._waited = self._seconds = 0.0

    def add(self, step: int, waited: float, seconds: float) -> None:
        """Count a completed step: seconds waited, out of how many."""
        if not self._started:
            self._started = True
            return
        self._steps.append(step)
        self._waited += waited
        self._seconds += seconds

    def tell(self) -> tuple[float | None, str | None]:
        """End an interval: return the share waited, if any step counts, and a line if worth it."""
        steps, waited, seconds = self._steps, self._waited, self._seconds
        self._begin()
        if not steps or seconds <= 0:
            return None, None
        share = waited / seconds
        if share <= max(self.worth, GROWN * self._told):
            return share, None
        self._told = share
        where = f"steps {steps[0]}-{steps[-1]}"
        return share, f"waited for data {share:.0%} of the time ({where}): {self.advice}"


def advice(loading: Loading, cache: int | None = None) -> str:
    """Say what there is to do about a loader that steps wait for.

    Args:
        loading: how the process gets its batches.
        cache: MiB that would hold all scenes, where they are more than are kept.

    Example:
        >>> advice(Loading(workers=2, cores=8, gpu=True))
        'raise data.workers (now 2, cores for 8), or store smaller images'
    """
    more = _more_workers(loading, "views" if cache is None else "scenes")
    return more if cache is None else f"data.scene_cache={cache} draws every scene once; or {more}"


def _more_workers(loading: Loading, drawn: str) -> str:
    """Say what workers can do about it, and what smaller images can."""
    workers = loading.workers
    # On a CPU one core stays for the network.
    most = loading.cores if loading.gpu else loading.cores - 1
    now = f"data.workers is {workers}"
    if workers >= most:
        smaller = "smaller image files or cheaper views help"
        if drawn == "scenes":
            smaller = "a smaller data.image_size helps"
        return f"{now} and no core is left for more; {smaller}"
    if workers > 0:
        smaller = "lower data.image_size" if drawn == "scenes" else "store smaller images"
        return f"raise data.workers (now {workers}, cores for {most}), or {smaller}"
    device = "cuda" if loading.gpu else "cpu"
    better = choose_loading(None, device=device, cores=loading.cores, processes=1).workers
    return f"{now}, so batches are drawn between the steps; try data.workers={max(better, 1)}"
