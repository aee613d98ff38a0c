"""Work in several threads of which each multiplies alone.

A library's own threads wait for work busily, so where several libraries take turns, or several
threads call one, they take each other's time: on two cores up to three times it.
"""

import sys
from contextlib import AbstractContextManager
from functools import cache
from typing import Any, cast

from threadpoolctl import ThreadpoolController


def one_blas_thread() -> AbstractContextManager[object]:
    """A block in which NumPy, SciPy and faiss multiply in the thread that asks for it."""
    # faiss brings a BLAS of its own.
    limited = _libraries("faiss" in sys.modules).limit(limits=1, user_api="blas")
    return cast("AbstractContextManager[object]", limited)


@cache
def _libraries(*_loaded: bool) -> Any:
    """The libraries that are loaded, looked for once: that takes milliseconds."""
    return ThreadpoolController()
