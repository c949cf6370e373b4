"""trinity/compiled/cpu.py"""

import platform

import pytest

from trinity.compiled import compiled, jit_enabled

if not jit_enabled():
    pytest.skip("there is no machine code", allow_module_level=True)

import llvmlite.binding as llvm
import numpy as np
from numba.core.registry import cpu_target

from trinity.compiled.cpu import BASELINES, choose, cpu, features_in, made_for_baseline
from trinity.memory.atomics import Words
from trinity.memory.cell import publish

# /proc/cpuinfo of a Graviton 2 and of a Raspberry Pi 4, whose Cortex-A72 knows no LSE atomics.
GRAVITON = "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp ssbs"
RASPBERRY_4 = "fp asimd evtstrm crc32 cpuid"


def test_machine_code_is_made_for_the_baseline() -> None:
    """So that it can be carried to another machine; a machine without it, or with NUMBA_CPU_NAME, has its own."""
    _, name, features = cpu_target.target_context.codegen().magic_tuple()
    baseline = made_for_baseline()
    if baseline is None:
        pytest.skip(f"made for {name}")
    assert cpu() == baseline == BASELINES[platform.machine()].name
    assert name == BASELINES[platform.machine()].tuned_for
    assert set(features.split(",")) == {f"-{feature}" for feature in BASELINES[platform.machine()].left_out}


def test_a_machine_with_less_than_the_baseline_gets_code_of_its_own() -> None:
    """Code for instructions that it lacks would kill it (SIGILL)."""
    of_intel = BASELINES["x86_64"].needed
    assert choose("x86_64", of_intel | {"avx512f"}) == BASELINES["x86_64"]
    assert choose("x86_64", of_intel - {"avx2"}) is None
    assert choose("riscv64", of_intel) is None


def test_an_arm_machine_is_asked_through_its_kernel() -> None:
    """The lines are those of real machines."""
    page = "processor\t: 0\nBogoMIPS\t: 243.75\nFeatures\t: {}\nCPU part\t: 0xd0c\n"
    assert choose("aarch64", features_in(page.format(GRAVITON))) == BASELINES["aarch64"]
    assert choose("aarch64", features_in(page.format(RASPBERRY_4))) is None
    assert choose("aarch64", features_in("")) is None


@pytest.mark.parametrize("machine", BASELINES)
def test_the_baseline_is_one_that_llvm_knows(machine: str, capfd: pytest.CaptureFixture[str]) -> None:
    """LLVM passes over what it does not know, with a line of its own on standard error."""
    assembly = _assembly(machine, "define i64 @f(ptr %p){ %o = atomicrmw add ptr %p, i64 1 acq_rel\n ret i64 %o }")
    assert ("ldaddal" if machine == "aarch64" else "xaddq") in assembly
    assert capfd.readouterr().err == ""


def test_a_compiled_function_is_machine_code_on_arm_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cell of shared memory, translated for an architecture that orders writes by instructions alone."""
    monkeypatch.setattr("trinity.compiled._read", [])  # so that it is compiled here: what is loaded has no text

    @compiled
    def publish_here(words: Words, value: Words) -> None:
        publish(words, 0, 8, value)

    publish_here(np.zeros(24, dtype=np.uint64), np.ones(8, dtype=np.uint64))
    ((_, made),) = publish_here.overloads.items()  # type: ignore[attr-defined]
    lines = str(made.library._final_module).splitlines()
    body = "\n".join(line for line in lines if not line.startswith(("target ", "source_filename")))
    assert "stlr" in _assembly("aarch64", body), "a store that others see after all before it"


def _assembly(machine: str, code: str) -> str:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    triple = f"{machine}-unknown-linux-gnu"
    target = llvm.Target.from_triple(triple)
    baseline = BASELINES[machine]
    maker = target.create_target_machine(cpu=baseline.tuned_for, features=baseline.features, opt=3)
    return str(maker.emit_assembly(llvm.parse_assembly(f'target triple = "{triple}"\n{code}')))
