"""The Dockerfile without a container engine: its stages by hand, each a layer over this machine's own root.

    base        what `FROM python:...` brings: a Python in /usr/local, over this machine's /usr and /etc
    <stage>     what the stage's COPY and RUN lines wrote: RUN is executed as root in a mount namespace of its own, with
                overlayfs putting the stage's folders over those
    run         the last stage read-only, as its USER, without capabilities, in namespaces of mounts, processes and IPC;
                /var/lib/trinity, /tmp and /dev/shm (64 MB) are all that can be written

Rules: only what our Dockerfile says is understood; anything else is an error. Nothing is mounted once a call is over.
Needs root and overlayfs.
"""

import itertools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

_VARIABLE = re.compile(r'(\w+)=("[^"]*"|\S+)')
# Of this machine's; /opt for the builder alone: pip's own index may be there.
_SHARED = ("usr", "etc")
_PATH = "/usr/local/bin:/usr/local/sbin:/usr/bin:/bin:/usr/sbin:/sbin"
_HOME = os.sep + "root"
_DATA = "var/lib/trinity"
RUN_SECONDS_MAX = 1_800


@dataclass
class Stage:
    """One FROM, and what came of it."""

    layer: Path
    base: Path
    environment: dict[str, str] = field(default_factory=lambda: {"PATH": _PATH})
    workdir: str = "/"
    user: str = "0:0"
    words: dict[str, list[str]] = field(default_factory=dict)  # ENTRYPOINT, CMD, HEALTHCHECK


def instructions(dockerfile: str) -> Iterator[tuple[str, str]]:
    """(FROM, what follows) ...; comments and continued lines are resolved."""
    lines = [line for line in dockerfile.splitlines() if not line.lstrip().startswith("#")]
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        if line.strip():
            word, _, rest = line.strip().partition(" ")
            yield word, rest.strip()


def build(root: Path, folder: Path, python: Path) -> Stage:
    """Every stage of `root`/Dockerfile; the last one is the image. `python` is the prefix of a Python installation."""
    base = _base(folder / "base", python)
    stages: dict[str, Stage] = {}
    stage = Stage(folder / "none", base)
    for word, rest in instructions((root / "Dockerfile").read_text()):
        match word:
            case "FROM":
                name = rest.partition(" AS ")[2] or "image"
                stage = stages[name] = Stage(folder / name, base)
                for made in ("usr", "etc", "opt", "var/lib", "tmp", _HOME[1:], "home", "run"):
                    (stage.layer / made).mkdir(parents=True)
                _run_line(stage, "ldconfig")  # Python's own library is a shared one, there as here
            case "WORKDIR":
                stage.workdir = rest
                _inside(stage, rest).mkdir(parents=True, exist_ok=True)
            case "ENV":
                pairs = {name: value.strip('"') for name, value in _VARIABLE.findall(rest)}
                path = stage.environment["PATH"]
                stage.environment |= {name: value.replace("$PATH", path) for name, value in pairs.items()}
            case "COPY":
                _copy(root, stages, stage, rest.split())
            case "RUN":
                _run_line(stage, rest)
            case "USER":
                stage.user = rest
            case "ENTRYPOINT" | "CMD":
                stage.words[word] = json.loads(rest)
            case "HEALTHCHECK":
                options, _, command = rest.partition(" CMD ")
                stage.words |= {word: json.loads(command), "HEALTHCHECK OPTIONS": options.split()}
            case "VOLUME" | "EXPOSE" | "STOPSIGNAL":
                stage.words[word] = rest.split()
            case _:
                raise ValueError(f"{word} is not understood")
    return stages["image"]


def start(
    image: Stage, data: Path, command: list[str], environment: Mapping[str, str], out: Path
) -> "subprocess.Popen[bytes]":
    """The container: its process 1 is a child, which `process_1` finds; the volume is the folder `data`."""
    words = _enclosed(image, data, [*image.words["ENTRYPOINT"], *command], environment)
    with out.open("wb") as file:
        container = subprocess.Popen(words, stdout=file, stderr=file)
    while container.poll() is None and not _is_python(container):
        time.sleep(0.02)  # until all is mounted and the shell has become our program
    return container


def process_1(container: "subprocess.Popen[bytes]") -> int:
    """Its number on this machine."""
    (child,) = Path(f"/proc/{container.pid}/task/{container.pid}/children").read_text().split()
    return int(child)


def _is_python(container: "subprocess.Popen[bytes]") -> bool:
    children = Path(f"/proc/{container.pid}/task/{container.pid}/children").read_text().split()
    return bool(children) and Path(os.readlink(f"/proc/{children[0]}/exe")).name.startswith("python")


def execute(image: Stage, container: "subprocess.Popen[bytes]", *command: str) -> "subprocess.CompletedProcess[str]":
    """As `docker exec`: beside the container's processes, as its user and with its environment."""
    pid = process_1(container)
    uid, gid = image.user.split(":")
    inside = _environment_of(container)
    ids = ["--reuid", uid, "--regid", gid, "--clear-groups", "--no-new-privs", "--bounding-set=-all"]
    enter = ["nsenter", "--target", str(pid), "--mount", "--pid", "--ipc", "--root", "--wdns=/"]
    words = [*enter, "setpriv", *ids, "env", "-i", *filter(None, inside), *command]
    return subprocess.run(words, capture_output=True, text=True, timeout=120)


def _environment_of(container: "subprocess.Popen[bytes]") -> list[str]:
    """As it was given: a process that gave itself a title has written over what /proc shows of it."""
    assert isinstance(container.args, list)
    script = str(container.args[-1])
    words = shlex.split(script[script.index("env -i ") :])[2:]
    return list(itertools.takewhile(lambda word: "=" in word, words))


def _enclosed(image: Stage, data: Path, command: list[str], environment: Mapping[str, str]) -> list[str]:
    """The words that make the namespaces, then the mounts, then become the command."""
    uid, gid = image.user.split(":")
    data.mkdir(exist_ok=True)
    os.chown(data, int(uid), int(gid))
    settings = [f"{name}={value}" for name, value in {**image.environment, **environment}.items()]
    mounted = image.layer.with_name("mounted")
    script = f"""
    {_mounts(image, mounted, read_only=True)}
    mount -t tmpfs -o size=64m,mode=1777 shm {mounted}/dev/shm
    mount -t tmpfs -o size=64m,mode=1777 tmp {mounted}/tmp
    mount --bind {data} {mounted}/{_DATA}
    exec chroot {mounted} setpriv --reuid {uid} --regid {gid} --clear-groups --no-new-privs --bounding-set=-all \\
        env -i {shlex.join(settings)} {shlex.join(command)}
    """
    return ["unshare", "--mount", "--pid", "--ipc", "--fork", "--kill-child", "sh", "-c", script]


def _run_line(stage: Stage, line: str) -> None:
    mounted = stage.layer.with_name("mounted")
    given = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}  # this machine's index
    settings = [f"{name}={value}" for name, value in {**given, **stage.environment, "HOME": _HOME}.items()]
    script = f"""
    {_mounts(stage, mounted, read_only=False)}
    exec chroot {mounted} env -i {shlex.join(settings)} sh -c {shlex.quote(f"cd {stage.workdir} && {line}")}
    """
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True, timeout=RUN_SECONDS_MAX
    )
    if done.returncode != 0:
        raise AssertionError(f"RUN {line}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")


def _mounts(stage: Stage, mounted: Path, *, read_only: bool) -> str:
    """Shell: the stage's root at `mounted`."""
    mounted.mkdir(exist_ok=True)
    lines = ["set -e", f"mount -t tmpfs root {mounted}", f"cd {mounted}", "mkdir proc dev"]
    lines += [f"ln -s usr/{name} {name}" for name in ("bin", "sbin", "lib", "lib64") if Path("/", name).is_symlink()]
    shared = _SHARED if read_only else (*_SHARED, "opt")
    for folder in sorted(stage.layer.iterdir()):
        name, below = folder.name, f"/{folder.name}"
        lines.append(f"mkdir {name}")
        if name not in shared:
            lines.append(f"mount --bind {folder} {name}")
            if read_only:
                lines.append(f"mount -o remount,bind,ro {name}")
            continue
        lower = ":".join([str(stage.base / name)] * (stage.base / name).is_dir() + [below])
        if read_only:
            lines.append(f"mount -t overlay overlay -o ro,lowerdir={folder}:{lower} {name}")
        else:
            work = stage.layer.with_name("work") / stage.layer.name / name
            work.mkdir(parents=True, exist_ok=True)
            lines.append(f"mount -t overlay overlay -o lowerdir={lower},upperdir={folder},workdir={work} {name}")
    lines += ["mount -t proc proc proc", "mount --rbind /dev dev"]
    lines += ["mount -o remount,ro ."] * read_only
    return "\n    ".join([*lines, "cd /"])


def _copy(root: Path, stages: Mapping[str, Stage], stage: Stage, words: list[str]) -> None:
    of = stages[words.pop(0).removeprefix("--from=")] if words[0].startswith("--from=") else None
    *sources, target = words
    for source in sources:
        origin = _inside(of, source) if of is not None else root / source
        to = _inside(stage, target)
        to = to / origin.name if target.endswith("/") else to
        if origin.is_dir():
            ignored = shutil.ignore_patterns(*_ignored(root)) if of is None else None
            shutil.copytree(origin, to, symlinks=True, ignore=ignored, dirs_exist_ok=True)
        else:
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(origin, to)


def _ignored(root: Path) -> list[str]:
    """Names that .dockerignore keeps out, wherever they stand."""
    lines = (root / ".dockerignore").read_text().split()
    return [line.rpartition("/")[2] for line in lines if line.startswith("**/") or line.count("/") > 1]


def _inside(stage: Stage, path: str) -> Path:
    return stage.layer / os.path.normpath(os.path.join(stage.workdir, path)).lstrip("/")


def _base(folder: Path, python: Path) -> Path:
    """As the official images: Python in /usr/local, called python as well, and its library without bytecode."""
    local = folder / "usr" / "local"
    shutil.copytree(python, local, symlinks=True, ignore=shutil.ignore_patterns("__pycache__", "test", "site-packages"))
    (local / "lib" / _python_of(local) / "site-packages").mkdir(exist_ok=True)
    for name in ("python", "python3"):
        (local / "bin" / name).unlink(missing_ok=True)
        (local / "bin" / name).symlink_to(_python_of(local))
    (folder / "etc").mkdir()
    for name in ("passwd", "group"):
        shutil.copy(f"/usr/share/base-passwd/{name}.master", folder / "etc" / name)
    (folder / "etc" / "shadow").write_text("root:*:20000:0:99999:7:::\n")
    (folder / "etc" / "gshadow").write_text("root:*::\n")
    return folder


def _python_of(prefix: Path) -> str:
    """Such as python3.13."""
    return next(path.name for path in sorted((prefix / "lib").iterdir()) if re.fullmatch(r"python3\.\d+", path.name))


def python_prefix() -> Path:
    """The Python of the image's version where this machine has it, else the one that runs the tests."""
    wanted = re.search(r"FROM python:(\d+\.\d+)", (Path(__file__).resolve().parents[2] / "Dockerfile").read_text())
    assert wanted is not None
    found = sorted(Path.home().glob(f".pyenv/versions/{wanted[1]}.*"))
    return found[-1] if found else Path(sys.base_prefix)


if __name__ == "__main__":  # by hand: python -m tests.deploy.stages FOLDER
    build(Path(__file__).resolve().parents[2], Path(sys.argv[1]), python_prefix())
