"""Writes constraints.txt, the versions with which everything was tested: `python -m
tools.constraints`.

It lists the requirements in settings.ini and their dependencies, but no other installed package.
"""

from configparser import ConfigParser
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PATH = ROOT / "constraints.txt"


def add_requirements(requirement, versions):
    "Add a requirement and its dependencies to the versions, by name and extra."
    name, extras = canonicalize_name(requirement.name), requirement.extras
    for extra in {"", *extras}:
        if (name, extra) in versions:
            continue
        try:
            package = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            return
        versions[name, extra] = package.version
        for line in package.requires or ():
            other = Requirement(line)
            if not other.marker or other.marker.evaluate({"extra": extra}):
                add_requirements(other, versions)


def main():
    settings, versions = ConfigParser(), {}
    settings.read(ROOT / "settings.ini", encoding="utf8")
    extras = ("train", "onnx", "heic", "ray", "docs", "dev")
    for name in ("requirements", *(f"{extra}_requirements" for extra in extras)):
        for line in settings["DEFAULT"][name].split():
            add_requirements(Requirement(line), versions)
    pins = sorted({(name, version) for (name, _), version in versions.items()})
    PATH.write_text("".join(f"{name}=={version}\n" for name, version in pins), encoding="utf8")
    print(f"{len(pins)} versions are in {PATH.name}")


if __name__ == "__main__":
    main()
