"""Settings: environment beats hwe.toml beats the project's pyproject.toml."""

import os
from pathlib import Path

import pytest

from runner.settings import SettingsInvalid, load_settings


@pytest.fixture(autouse=True)
def clean(monkeypatch, tmp_path):
    for name in list(os.environ):
        if name.startswith("HWE_"):
            monkeypatch.delenv(name)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


@pytest.fixture
def project(tmp_path):
    path = tmp_path / "project"
    path.mkdir()
    (path / "pyproject.toml").write_text(
        '[tool.hwe]\npython = "3.12"\nrequirements = "lock.txt"\n'
        'strict_code_versioning = "strict"\nhome = "of/project"\n'
    )
    return path


def test_the_defaults():
    settings = load_settings()
    assert (settings.strict_code_versioning, settings.sandbox) == ("warn", "process")
    assert settings.database == f"sqlite:///{settings.home}/hwe.sqlite"
    assert settings.store == str(settings.home / "artifacts")
    assert settings.cache == settings.home / "cache"


def test_who_beats_whom(project, monkeypatch):
    assert load_settings(project).strict_code_versioning == "strict"
    Path("hwe.toml").write_text('strict_code_versioning = "artifact"\n')
    assert load_settings(project).strict_code_versioning == "artifact"
    assert load_settings(project).home == Path("of/project")
    monkeypatch.setenv("HWE_STRICT_CODE_VERSIONING", "disabled")
    assert load_settings(project).strict_code_versioning == "disabled"


def test_an_hwe_toml_in_the_project_is_read_too(project):
    (project / "hwe.toml").write_text('strict_code_versioning = "disabled"\n')
    assert load_settings(project).strict_code_versioning == "disabled"


@pytest.mark.parametrize("text", ['strict_code_versioning = "sometimes"', "sandbox = 7", 'colour = "blue"', "= ="])
def test_a_setting_that_cannot_be_is_refused_naming_its_place(text):
    Path("hwe.toml").write_text(text)
    with pytest.raises(SettingsInvalid, match=r"hwe\.toml"):
        load_settings()


def test_a_variable_that_cannot_be_is_refused_by_name(monkeypatch):
    monkeypatch.setenv("HWE_SANDBOX", "concrete")
    with pytest.raises(SettingsInvalid, match="HWE_SANDBOX"):
        load_settings()
