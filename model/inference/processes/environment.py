"""The environment of the process that forks workers, and so of workers: no keys and tokens, and glibc's allocator as it suits.

https://www.gnu.org/software/libc/manual/html_node/Malloc-Tunable-Parameters.html
"""

from __future__ import annotations

from collections.abc import Mapping

ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": str(12 << 20),  # less than Pillow's blocks of 16 MiB, which would lie between smaller ones
    "MALLOC_TRIM_THRESHOLD_": str(32 << 20),
    "MALLOC_TOP_PAD_": str(8 << 20),
}
"""Settings of glibc's allocator, unless the user has set them: an image finds the pages of the one before in place."""
THREADS = {"OPENBLAS_NUM_THREADS": "1"}  # numpy's; a worker has one thread, and a process with several must not fork
PASSED = frozenset({
    "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "LC_MESSAGES", "TZ", "TMPDIR", "PATH",
    "LD_LIBRARY_PATH", "LD_PRELOAD", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH", "DYLD_INSERT_LIBRARIES",
    "GLIBC_TUNABLES", "MALLOC_ARENA_MAX", "MALLOC_ARENA_TEST", "MALLOC_CHECK_", "MALLOC_CONF", "MALLOC_MMAP_MAX_",
    "MALLOC_MMAP_THRESHOLD_", "MALLOC_PERTURB_", "MALLOC_TOP_PAD_", "MALLOC_TRIM_THRESHOLD_",
    "PILLOW_ALIGNMENT", "PILLOW_BLOCK_SIZE", "PILLOW_BLOCKS_MAX",
    "PYTHONCOERCECLOCALE", "PYTHONDONTWRITEBYTECODE", "PYTHONHASHSEED", "PYTHONHOME", "PYTHONMALLOC", "PYTHONNOUSERSITE",
    "PYTHONOPTIMIZE", "PYTHONPLATLIBDIR", "PYTHONPYCACHEPREFIX", "PYTHONUNBUFFERED", "PYTHONUTF8", "PYTHONWARNINGS",
})  # fmt: skip
"""Variables that workers need: of the locale, the dynamic linker, the allocators and Python. No other is passed on."""


def worker_environment(variables: Mapping[str, str]) -> dict[str, str]:
    """The environment for workers, from that of their parent."""
    return ALLOCATOR | {name: value for name, value in variables.items() if name in PASSED} | THREADS
