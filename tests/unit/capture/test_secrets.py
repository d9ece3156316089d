"""No secret of the corpus is captured, and nothing else of it is lost."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from holdfast.capture.secrets import mask_arguments, mask_text, without_credentials
from holdfast.server.auth import new_api_key

HERE = Path(__file__).parent


def corpus(name):
    lines = (HERE / name).read_text().splitlines()
    return [line for line in lines if not line.startswith("# ")]


@pytest.mark.parametrize("line", corpus("corpus_secret.txt"))
def test_what_is_marked_is_masked_and_the_rest_stays(line):
    words = re.sub("[«»]", "", line).split("\t")
    secrets = re.findall("«(.*?)»", line)
    rest = [piece for piece in re.split("«.*?»|\t", line) if piece]

    masked = " ".join(mask_arguments(words))

    assert not [secret for secret in secrets if secret in masked]
    assert "***" in masked
    assert not [piece for piece in rest if piece.strip() not in masked]


@pytest.mark.parametrize("line", corpus("corpus_plain.txt"))
def test_what_is_no_secret_stays(line):
    words = line.split("\t")

    assert mask_arguments(words) == words


def test_what_is_masked_is_not_masked_again():
    words = [re.sub("[«»]", "", word) for line in corpus("corpus_secret.txt") for word in line.split("\t")]
    once = mask_arguments(words)

    assert mask_arguments(once) == once


def test_a_known_key_is_masked_wherever_it_is():
    key = new_api_key()

    assert mask_arguments(["--note", f"<{key}>", "--n", "very secret"], ["very secret"]) == [
        "--note",
        "<***>",
        "--n",
        "***",
    ]
    assert key not in mask_text(f"the key is {key}.")


@pytest.mark.parametrize(
    ("remote", "shown"),
    [
        ("https://me:pw@github.com/me/repo.git", "https://github.com/me/repo.git"),
        ("https://ghp_abcdefghijklmnopqrstuvwxyz0123456789@github.com/me/repo", "https://github.com/me/repo"),
        ("https://gitlab.com/me/repo.git", "https://gitlab.com/me/repo.git"),
        (
            "https://host:8443/me/repo.git?private_token=abc",
            "https://host:8443/me/repo.git?private_token=***",
        ),
        ("git@github.com:me/repo.git", "git@github.com:me/repo.git"),
        ("ssh://git:pw@host:22/me/repo.git", "ssh://git@host:22/me/repo.git"),
        ("http://[::1]:3000/me/repo", "http://[::1]:3000/me/repo"),
        ("/srv/git/repo.git", "/srv/git/repo.git"),
        ("file:///srv/git/repo.git", "file:///srv/git/repo.git"),
        ("", ""),
    ],
)
def test_a_remote_is_shown_without_credentials(remote, shown):
    assert without_credentials(remote) == shown


@pytest.mark.parametrize("piece", ["a=", '"', "x:y ", "A", "a.b-", "https://@", "-", "sk-", "eyJ."])
def test_an_endless_argument_is_cut_and_takes_no_endless_time(piece):
    began = time.monotonic()

    [masked] = mask_arguments([piece * 100_000])

    assert len(masked) < 10_000
    assert time.monotonic() - began < 10


def test_a_secret_that_a_cut_goes_through_is_not_shown():
    secret = "ghp_" + "a1" * 20
    for length in range(3_950, 4_010, 7):
        [masked] = mask_arguments(["x " * (length // 2) + secret + " y" * 4_000])

        assert "ghp_" not in masked
