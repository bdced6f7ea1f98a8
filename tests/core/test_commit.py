"""The commit of a package, and not of the project that it happens to lie in."""
import subprocess

import pytest

from cxrdet.core.commit import commit_of


@pytest.fixture
def git(tmp_path, monkeypatch):
    for name in ('GIT_CONFIG_GLOBAL', 'GIT_CONFIG_SYSTEM'):
        monkeypatch.setenv(name, '/dev/null')
    package = tmp_path / 'project' / 'plugin'
    package.mkdir(parents=True)
    (package / 'version.py').touch()
    (package.parent / 'mine.py').touch()

    def run(*command):
        return subprocess.run(['git', '-c', 'user.name=a', '-c', 'user.email=b', *command], cwd=package.parent,
                              check=True, capture_output=True, text=True).stdout.strip()
    run('init', '-q')
    return run, package


def test_package_that_the_repository_tracks(git):
    run, package = git
    assert commit_of(package) is None, 'no commit yet'
    run('add', '.')
    run('commit', '-qm', 'all')
    assert commit_of(package) == (run('rev-parse', 'HEAD'), False)
    (package / 'version.py').write_text('1')
    assert commit_of(package) == (run('rev-parse', 'HEAD'), True)


@pytest.mark.parametrize('ignored', [False, True])
def test_package_in_the_repository_of_another_project(ignored, git):
    run, package = git
    if ignored:
        (package.parent / '.gitignore').write_text('plugin')
    run('add', 'mine.py')
    run('commit', '-qm', 'mine')
    assert commit_of(package) is None


def test_no_repository_and_no_git(tmp_path, git, monkeypatch):
    (tmp_path / 'version.py').touch()
    assert commit_of(tmp_path) is None
    run, package = git
    run('add', '.')
    run('commit', '-qm', 'all')
    monkeypatch.setenv('GIT_DIR', str(tmp_path / 'other'))  # as in a hook of git
    assert commit_of(package) is not None
    monkeypatch.setenv('PATH', str(tmp_path))
    assert commit_of(package) is None
