"""The repository: what is installed, what is promised, what is in the wheel."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import photodrag

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_environment_installs_the_project(project):
    lines = [line.strip(" -") for line in (ROOT / "environment.yml").read_text().splitlines()]
    assert f"python{project['requires-python']}" in lines
    assert "pip>=23.2" in lines
    assert "pip>=23.2" in project["dependencies"]
    assert "e ." in lines or "-e ." in (ROOT / "environment.yml").read_text()


def test_lower_bounds_only(project):
    extras = [r for group in project["optional-dependencies"].values() for r in group]
    for requirement in project["dependencies"] + extras:
        assert re.fullmatch(r"[\w-]+(\[[\w,]+\])?>=[\d.]+", requirement), requirement


def test_public_names_are_there():
    for name in photodrag.__all__:
        assert getattr(photodrag, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        photodrag.nonsense  # noqa: B018


def test_imports_go_one_way():
    below = {
        "weights": {"inversion", "drag", "pipeline", "photodrag"},
        "inversion": {"drag", "pipeline", "photodrag"},
        "drag": {"inversion", "pipeline", "photodrag"},
        "pipeline": {"photodrag"},
    }
    for package, forbidden in below.items():
        for path in (ROOT / package).rglob("*.py"):
            found = set(re.findall(r"^\s*(?:from|import) (\w+)", path.read_text(), re.MULTILINE))
            assert not found & forbidden, path


def test_wheel_works_outside_the_checkout(tmp_path):
    def call(*command, **options):
        return subprocess.run([sys.executable, *command], check=True, capture_output=True, text=True, **options).stdout

    call("-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT))
    (wheel,) = tmp_path.glob("*.whl")
    installed = tmp_path / "installed"
    call("-m", "pip", "install", "--quiet", "--no-deps", "--target", str(installed), str(wheel))
    script = (
        f"import sys; sys.path.insert(0, {str(installed)!r})\n"
        "import photodrag, torch, weights.load\n"
        "print(photodrag.__file__)\n"
        "generator = photodrag.load_generator(device=torch.device('cpu'))\n"
        "print(generator.size, generator.encoder is not None, weights.load.FACES)\n"
        "sys.argv = ['photodrag', '--help']; photodrag.main()\n"
    )
    out = call("-c", script, cwd=tmp_path)
    assert out.count(str(installed)) == 2
    assert "128 True" in out
    assert "Drag points of a photo" in out
    names = {path.relative_to(installed).as_posix() for path in installed.rglob("*") if path.is_file()}
    assert {"weights/catalog.toml", "weights/faces/README.md", "weights/faces/LICENSE", "pipeline/py.typed"} <= names
    assert {"weights/training/__init__.py", "weights/training/__main__.py"} <= names
    assert not {name for name in names if name.startswith(("tests/", "benchmarks/"))}
