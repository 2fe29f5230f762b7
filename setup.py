"""Installs the package; everything that could change is read from settings.ini."""

from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup

here = Path(__file__).parent
parser = ConfigParser()
parser.read(here / "settings.ini", encoding="utf8")
settings = parser["DEFAULT"]


def listed(name):
    "The non-empty lines of a setting."
    return [line.strip() for line in settings[name].splitlines() if line.strip()]


extras = {name: listed(f"{name}_requirements") for name in ("train", "onnx", "heic", "ray", "docs")}

setup(
    name=settings["lib_name"],
    version=settings["version"],
    description=settings["description"],
    long_description=(here / "README.md").read_text(encoding="utf8"),
    long_description_content_type="text/markdown",
    author=settings["author"],
    keywords=settings["keywords"],
    license="Apache-2.0",
    license_files=["LICENSE"],
    packages=find_packages(include=["mnist_nb", "mnist_nb.*"]),
    package_data={"mnist_nb": ["pretrained/*", "pretrained_sequence/*", "pages/*"]},
    python_requires=f">={settings['min_python']}",
    install_requires=listed("requirements"),
    extras_require=extras | {"dev": listed("dev_requirements") + sum(extras.values(), [])},
    entry_points={"console_scripts": listed("console_scripts")},
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Developers",
        "Intended Audience :: Education",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Image Recognition",
    ],
    zip_safe=False,
)
