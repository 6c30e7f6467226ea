"""Facts about the CPU that Numba compiles for: name, features, vector width, fused multiply-add, caches.

Numba compiles for the host unless ``NUMBA_CPU_NAME`` or ``NUMBA_CPU_FEATURES`` name another CPU, so they
decide here, too. A name implies features that no table of ours could keep up with. Instead LLVM compiles one
fused multiply-add of 16 float32 as it will compile the kernels, and the registers and calls in its assembly
are read: about 3 ms at import. Note that ``NUMBA_CPU_NAME=haswell`` alone still compiles with all features of
the host; ``NUMBA_CPU_FEATURES=""`` beside it leaves those that the name implies.
"""

import functools
from pathlib import Path
from typing import NamedTuple

import llvmlite.binding as llvm
import numpy as np
from numba.core import codegen, config

_PROBE = """
declare <16 x float> @llvm.fma.v16f32(<16 x float>, <16 x float>, <16 x float>)
define <16 x float> @probe(<16 x float> %a, <16 x float> %b, <16 x float> %c) {
  %d = call <16 x float> @llvm.fma.v16f32(<16 x float> %a, <16 x float> %b, <16 x float> %c)
  ret <16 x float> %d
}
"""
_CACHE_DIRECTORY = Path("/sys/devices/system/cpu/cpu0/cache")


class CacheSizes(NamedTuple):
    """Bytes of the data caches that one core sees; None where unknown."""

    level1: int | None
    level2: int | None
    level3: int | None


def cpu_name():
    """Return LLVM's name of the CPU that Numba compiles for, such as "znver4"."""
    return llvm.get_host_cpu_name() if config.CPU_NAME is None else config.CPU_NAME


@functools.cache
def cpu_features():
    """Return LLVM's feature string that Numba compiles with, such as "+avx,+avx2,-avx512f"."""
    return codegen.get_host_cpu_features() if config.CPU_FEATURES is None else config.CPU_FEATURES


def _compile_probe():
    """Return the assembly that LLVM makes for this CPU of one fused multiply-add of 16 float32."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_default_triple()
    machine = target.create_target_machine(cpu=cpu_name(), features=cpu_features(), opt=0)
    return machine.emit_assembly(llvm.parse_assembly(_PROBE))


def _find_vector_unit():
    """Return the bytes of the widest vector register, and whether fused multiply-add is an instruction."""
    assembly = _compile_probe()
    if "zmm" in assembly:
        width = 64
    elif "ymm" in assembly:
        width = 32
    else:
        width = 16
    return width, "fmaf" not in assembly  # without the instruction LLVM calls the C library's fmaf


VECTOR_BYTES, HAS_FMA = _find_vector_unit()


def lanes(dtype):
    """Return how many values of a dtype fill one vector register; in kernels, too, once simd is imported.

    Examples
    --------
    >>> from fastfit.runtime.cpu import VECTOR_BYTES, lanes
    >>> lanes("float32") == VECTOR_BYTES // 4
    True
    """
    return VECTOR_BYTES // np.dtype(dtype).itemsize


@functools.cache
def cache_sizes():
    """Return the bytes of the level 1, 2 and 3 data caches (Linux; None elsewhere and where unknown)."""
    sizes = {}
    for index in sorted(_CACHE_DIRECTORY.glob("index*")):
        try:
            kind, level, size = ((index / name).read_text().strip() for name in ("type", "level", "size"))
            if kind != "Instruction":
                sizes[level] = _parse_size(size)
        except (OSError, ValueError):
            continue
    return CacheSizes(sizes.get("1"), sizes.get("2"), sizes.get("3"))


def _parse_size(text):
    """Return the bytes that the kernel writes as "32K" or "8M"."""
    units = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
    unit = units.get(text[-1:])
    return int(text) if unit is None else int(text[:-1]) * unit
