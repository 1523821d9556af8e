"""A disk that is full, without one."""

import resource
from contextlib import contextmanager


@contextmanager
def files_of_at_most(size):
    """The operating system refuses to let any file grow beyond this, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
