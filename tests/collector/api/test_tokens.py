from hashlib import sha256
from pathlib import Path

import pytest

from fallow_client.commands.token import mint
from fallow_collector.api.tokens import Role, Tokens, find, parse
from fallow_proto.settings import SettingsError

DIGEST = sha256(b"secret").hexdigest()


def file(tmp_path: Path, text: str, mode: int = 0o600) -> Path:
    path = tmp_path / "tokens.toml"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_what_the_command_mints_the_collector_takes() -> None:
    reader, admin = mint("ci", "read"), mint("ops", "admin")
    tokens = parse(f"# who may ask\n{reader.line}\n{admin.line}\n", "tokens")
    found = find(reader.secret, tokens)
    assert found is not None
    assert (found.name, found.role) == ("ci", Role.READ)
    assert find(admin.secret, tokens) == tokens[1]
    assert find(reader.secret + "x", tokens) is None
    assert find("", tokens) is None


def test_a_token_of_sites_is_read_back_as_it_was_minted() -> None:
    minted = mint("batch", "lease", ["north", 'quo"te\\'])
    found = find(minted.secret, parse(minted.line, "tokens"))
    assert found is not None
    assert (found.role, found.sites) == (Role.LEASE, ("north", 'quo"te\\'))


def test_two_minted_secrets_differ_and_are_not_in_their_lines() -> None:
    one, other = mint("a", "read"), mint("a", "read")
    assert one.secret != other.secret
    assert one.secret not in one.line


@pytest.mark.parametrize(("text", "expected"), [
    ("ci = {", "is not TOML"),
    ("# nothing", "holds no token"),
    (f'ci = {{ role = "root", sha256 = "{DIGEST}" }}', r"token ci: .*role = \"read\", \"lease\" or \"admin\""),
    ('ci = { role = "read", sha256 = "secret" }', "64 hex digits"),
    ('ci = { role = "read" }', "token ci: .*sha256"),
    (f'ci = {{ role = "read", sha256 = "{DIGEST}", rolle = "" }}', "unknown field"),
    ('ci = "secret"', "token ci"),
    (f'ci = {{ role = "read", sites = [], sha256 = "{DIGEST}" }}', r"sites = \[\"NAME\"\] if it is not for all"),
    (f'ci = {{ role = "read", sites = "north", sha256 = "{DIGEST}" }}', "token ci: .*array"),
])
def test_a_bad_tokens_file_says_which_token_and_what_would_be_right(text: str, expected: str) -> None:
    with pytest.raises(SettingsError, match=expected):
        parse(text, "tokens")


def test_a_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="everybody may read it"):
        Tokens(file(tmp_path, mint("ci", "read").line, 0o644))


def test_a_file_that_is_missing_or_empty_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        Tokens(tmp_path / "none")
    with pytest.raises(SettingsError, match="is empty"):
        Tokens(file(tmp_path, ""))


def test_a_changed_file_counts_at_once(tmp_path: Path) -> None:
    old, new = mint("old", "read"), mint("new", "admin")
    path = file(tmp_path, old.line)
    tokens = Tokens(path)
    assert find(old.secret, tokens.current())
    replacement = tmp_path / "next"
    replacement.write_text(new.line)
    replacement.chmod(0o600)
    replacement.rename(path)
    assert find(old.secret, tokens.current()) is None
    assert find(new.secret, tokens.current())


def test_a_file_that_became_bad_locks_nobody_out_and_says_so(tmp_path: Path) -> None:
    good = mint("ci", "read")
    path = file(tmp_path, good.line)
    tokens = Tokens(path)
    path.write_text("ci = {")
    assert find(good.secret, tokens.current())
    assert "is not TOML" in tokens.problem
    assert "still hold" in tokens.problem
    path.unlink()
    tokens.current()
    assert "cannot be read" in tokens.problem
    file(tmp_path, good.line)
    tokens.current()
    assert tokens.problem == ""


def test_a_file_that_was_opened_to_others_is_seen_though_its_text_is_the_same(tmp_path: Path) -> None:
    path = file(tmp_path, mint("ci", "read").line)
    tokens = Tokens(path)
    path.chmod(0o604)
    tokens.current()
    assert "everybody may read it" in tokens.problem
