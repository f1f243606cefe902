"""How much processor time something takes, whatever else runs in this process or on this machine."""

import gc
import time
from collections.abc import Callable


def processor_seconds(work: Callable[[], object], tries: int = 1) -> float:
    """Give the processor time of `work` in this thread, in seconds: the least of some tries.

    Other threads do not count, nor does the collection of what earlier tests left behind. The processor itself is slower
    at times, as its caches and its core are shared with others: that adds to some tries, and takes from none.
    """
    taken = []
    for _ in range(tries):
        gc.collect()
        gc.disable()
        try:
            began = time.thread_time()
            work()
            taken.append(time.thread_time() - began)
        finally:
            gc.enable()
    return min(taken)
