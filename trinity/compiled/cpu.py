"""For which CPU machine code is made: one baseline for each architecture, so that it can be carried to other machines.

    x86-64     x86-64-v3: AVX2, BMI, FMA: Intel since Haswell, AMD since Zen
    aarch64    armv8.2-a with LSE atomics, half floats and dot products: Graviton 2 and later, Ampere Altra, Cobalt,
               Axion, Apple's, Raspberry Pi 5; without LSE each atomic addition would be a loop

A machine that has less, or another architecture, gets code for itself. Who sets NUMBA_CPU_NAME decides.

Rules: the choice is pure; `use_baseline` tells numba, before it makes any code, the same each time. Must not know any
function.
"""

import os
import platform
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

import llvmlite.binding as llvm
import numba
from numba.core.registry import cpu_target

_CPUINFO = Path("/proc/cpuinfo")


class Baseline(NamedTuple):
    """What every machine of an architecture is taken to have: code is ordered for `tuned_for`, without `left_out`."""

    name: str
    tuned_for: str
    needed: frozenset[str]  # x86-64: LLVM's names; aarch64: the kernel's
    left_out: tuple[str, ...]

    @property
    def features(self) -> str:
        """As LLVM takes it."""
        return ",".join(f"-{feature}" for feature in self.left_out)


BASELINES: Mapping[str, Baseline] = {
    # Ordered for Zen 3: with LLVM's "x86-64-v3", which is for no CPU in particular, a binary lookup takes a third
    # longer (docs/performance.md, "A cold start").
    "x86_64": Baseline(
        "x86-64-v3",
        "znver3",
        frozenset(
            {"avx2", "bmi", "bmi2", "cmov", "cx16", "f16c", "fma", "lzcnt", "movbe", "popcnt", "xsave"}
        ),
        (
            "adx", "aes", "clflushopt", "clwb", "clzero", "fsgsbase", "invpcid", "mwaitx", "pclmul", "pku", "prfchw",
            "rdpid", "rdpru", "rdrnd", "rdseed", "sha", "shstk", "sse4a", "vaes", "vpclmulqdq", "wbnoinvd", "xsavec",
            "xsaveopt", "xsaves",
        ),
    ),
    "aarch64": Baseline(
        "armv8.2-a",
        "neoverse-n1",
        frozenset({"asimd", "asimddp", "asimdhp", "atomics", "crc32", "fphp", "lrcpc"}),
        ("aes", "perfmon", "ras", "sha2", "spe", "ssbs"),
    ),
}  # fmt: skip


def choose(machine: str, has: Collection[str]) -> Baseline | None:
    """The baseline of this architecture where the machine has all of it."""
    baseline = BASELINES.get(machine)
    return baseline if baseline is not None and baseline.needed.issubset(has) else None


def use_baseline() -> None:
    """Tell numba, unless NUMBA_CPU_NAME has told it already."""
    if "NUMBA_CPU_NAME" in os.environ:
        return
    baseline = choose(platform.machine(), _features())
    if baseline is not None:
        numba.config.CPU_NAME = baseline.tuned_for
        numba.config.CPU_FEATURES = baseline.features


def made_for_baseline() -> str | None:
    """The baseline's name where code is made for it."""
    baseline = BASELINES.get(platform.machine())
    if baseline is None or "NUMBA_CPU_NAME" in os.environ or _target() != baseline.tuned_for:
        return None
    return baseline.name if baseline.features == numba.config.CPU_FEATURES else None


def cpu() -> str:
    """The CPU that machine code is made for, in words."""
    return made_for_baseline() or _target()


def features_in(cpuinfo: str) -> set[str]:
    """What the kernel says of an aarch64's first core; all cores that run one program have the same."""
    lines = (line.partition(":") for line in cpuinfo.splitlines())
    return next((set(value.split()) for name, _, value in lines if name.strip() == "Features"), set())


def _target() -> str:
    use_baseline()  # who only asks may be the first
    name: str = cpu_target.target_context.codegen().magic_tuple()[1]
    return name


def _features() -> set[str]:
    """Of this machine. On aarch64 LLVM asks the kernel for a few of them only."""
    if platform.machine() == "aarch64":
        return features_in(_CPUINFO.read_text())
    return {name for name, has in llvm.get_host_cpu_features().items() if has}
