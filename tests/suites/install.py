"""Installs what the suites need into a folder, once: a Python environment, and the tests of requests.

Usage: install.py FOLDER
"""

import fcntl
import pathlib
import shutil
import subprocess
import sys
import tarfile
import venv

HERE = pathlib.Path(__file__).parent


def install(folder):
    venv.create(folder / "environment", clear=True, with_pip=True)
    pip(folder, "install", "--requirement", HERE / "requirements.txt")
    # Building nothing, it needs no more than setuptools to read what it downloads.
    pip(
        folder, "download", "--dest", folder, "--no-deps", "--no-binary", ":all:",
        "--no-build-isolation", "--requirement", HERE / "requests.txt",
    )
    [source] = folder.glob("requests-*.tar.gz")
    with tarfile.open(source) as archive:
        archive.extractall(folder)
    [unpacked] = folder.glob("requests-*/tests")
    shutil.rmtree(folder / "requests", ignore_errors=True)
    unpacked.parent.rename(folder / "requests")


def pip(folder, *args):
    quiet = ["--quiet", "--disable-pip-version-check", "--require-hashes"]
    command = [folder / "environment/bin/python", "-m", "pip", args[0], *quiet, *args[1:]]
    subprocess.run(command, check=True)


folder = pathlib.Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
with open(folder / "lock", "w") as lock:
    # Scenarios start at once; one installs and the others wait.
    fcntl.flock(lock, fcntl.LOCK_EX)
    done = folder / "done"
    if not done.exists():
        install(folder)
        done.touch()
