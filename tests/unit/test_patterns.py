"""The one matcher of names."""

from __future__ import annotations

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.patterns import Pattern, is_pattern, match


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("*.pt", "a.pt", True),
        ("*.pt", "sub/a.pt", False),
        ("*.pt", ".pt", True),
        ("*.pt", "a.ptx", False),
        ("?", "é", True),
        ("?", "/", False),
        ("a?b", "a/b", False),
        ("[ab].pt", "a.pt", True),
        ("[!ab].pt", "a.pt", False),
        ("[^ab].pt", "c.pt", True),
        ("[!a]x", "/x", False),
        ("[a-c]x", "bx", True),
        ("[c-a]x", "bx", False),
        ("[!c-a]x", "bx", True),
        ("[]]", "]", True),
        ("[a-]", "-", True),
        ("[\\d]", "5", False),
        ("[\\d]", "\\", True),
        ("[&&~~||--[]", "&", True),
        ("a[", "a[", True),
        ("a[b/c]d", "a[b/c]d", True),
        ("a[1].pt", "a[1].pt", True),
        ("a[1].pt", "a1.pt", True),
        ("**", "a/b/c", True),
        ("**/c", "c", True),
        ("**/c", "a/b/c", True),
        ("**/c", "xc", False),
        ("a/**/c", "a/c", True),
        ("a/**/c", "a/b/b/c", True),
        ("a/**", "a/b/c", True),
        ("a/**", "a", False),
        ("a**c", "a/b/c", True),
        ("***", "a/b", True),
        ("a.b", "axb", False),
        ("a\nb", "a\nb", True),
        ("*", "a\nb", True),
        ("", "", True),
        ("", "a", False),
    ],
)
def test_patterns_match(pattern, name, expected):
    assert match(pattern, name) is expected


@given(st.text(alphabet="ab/*?[]!^-\\.&~|", max_size=12), st.text(alphabet="ab/*?[]!-\\.", max_size=12))
def test_any_pattern_compiles_matches_itself_and_has_a_true_prefix(pattern, name):
    compiled = Pattern(pattern)

    assert compiled.matches(pattern)
    if compiled.matches(name):
        assert name.startswith(compiled.prefix)


@given(
    st.text(alphabet="ab*?", max_size=8).filter(lambda text: "**" not in text),
    st.text(alphabet="ab", max_size=8),
)
def test_within_one_part_the_rules_are_those_of_the_shell(pattern, name):
    assert match(pattern, name) == fnmatch.fnmatchcase(name, pattern)


def test_a_text_without_magic_is_no_pattern():
    assert [is_pattern(text) for text in ("a.pt", "*.pt", "a?", "[a]", "a]")] == [
        False,
        True,
        True,
        True,
        False,
    ]
