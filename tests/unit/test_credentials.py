from __future__ import annotations

import stat

import pytest

from holdfast.credentials import Credential, load_credential, load_credentials, server_url, store_credential
from holdfast.errors import SettingsError
from holdfast.settings import Secret

ALICE = Credential(Secret("hf_alice"), "alice")
BOB = Credential(Secret("hf_bob"), "bob")


def test_what_was_stored_is_loaded_whatever_way_the_url_is_written(tmp_path):
    store_credential(tmp_path / "home", "http://Vault.lan:8420/", ALICE)

    assert load_credential(tmp_path / "home", "http://vault.lan:8420") == ALICE


def test_servers_do_not_disturb_each_other_and_the_last_login_wins(tmp_path):
    store_credential(tmp_path, "http://one", ALICE)
    store_credential(tmp_path, "http://two", ALICE)
    store_credential(tmp_path, "http://two", BOB)

    assert load_credentials(tmp_path) == {"http://one": ALICE, "http://two": BOB}


def test_only_the_owner_can_read_the_file_and_no_part_of_a_write_is_left(tmp_path):
    store_credential(tmp_path, "http://one", ALICE)

    [file] = tmp_path.iterdir()
    assert file.name == "credentials"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_without_a_file_there_are_no_credentials(tmp_path):
    assert load_credential(tmp_path, "http://one") is None


@pytest.mark.parametrize("text", ["", "[]", "{", '{"http://one": {}}', '{"http://one": 3}'])
def test_a_damaged_file_is_an_error_that_names_it(tmp_path, text):
    (tmp_path / "credentials").write_text(text)

    with pytest.raises(SettingsError, match="credentials"):
        load_credentials(tmp_path)


def test_a_key_does_not_show_in_a_repr():
    assert "hf_alice" not in repr(ALICE)


@pytest.mark.parametrize(
    "url", ["", "vault", "ftp://vault", "http://", "http://user:key@vault", "http://vault:x"]
)
def test_what_is_no_server_url_is_refused(url):
    with pytest.raises(SettingsError):
        server_url(url)


def test_an_ipv6_address_keeps_its_brackets():
    assert server_url("http://[::1]:8420/holdfast/") == "http://[::1]:8420/holdfast"
