"""The one matcher of names."""

from __future__ import annotations

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.patterns import IgnoreRules, Pattern, is_pattern, match


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


@pytest.mark.parametrize(
    ("glob", "ignored", "kept"),
    [
        ("*.tmp", ["a.tmp", "sub/a.tmp", "a/b/.tmp", "x.tmp/inside", "a/x.tmp/b/c"], ["a.tmpx", "tmp", "a.tmp.pt"]),
        ("*.patch", ["diff.patch", "code/diff.patch"], ["patch", "diff.patch2"]),
        ("cache", ["cache", "a/cache", "cache/x", "a/cache/b/x"], ["caches", "a/xcache/b", "cache.txt"]),
        ("cache/", ["cache/x", "a/cache/b/x"], ["cache", "a/cache"]),
        ("*.d/", ["x.d/y", "a/x.d/y"], ["x.d", "a/x.d"]),
        ("/notes.txt", ["notes.txt"], ["a/notes.txt"]),
        ("./notes.txt", ["notes.txt"], ["a/notes.txt"]),
        ("/data/", ["data/x", "data/a/x"], ["data", "a/data/x"]),
        ("logs/*.txt", ["logs/a.txt", "logs/a.txt/b"], ["a/logs/a.txt", "logs/a/b.txt", "a.txt"]),
        ("logs/*", ["logs/a", "logs/a/b"], ["logs", "a/logs/b"]),
        ("logs/**", ["logs/a", "logs/a/b"], ["logs", "a/logs/b"]),
        ("**/logs/*.txt", ["logs/a.txt", "x/y/logs/a.txt"], ["logs/a/b.txt"]),
        ("a/**/b", ["a/b", "a/x/y/b", "a/x/b/c"], ["b", "x/a/b"]),
        ("**", ["a", "a/b/c"], []),
        ("*", ["a", "a/b/c", ".hidden"], []),
        ("[ab].pt", ["a.pt", "x/b.pt"], ["c.pt"]),
        ("ck[1].pt", ["ck[1].pt", "x/ck[1].pt", "ck1.pt"], ["ck2.pt"]),
        ("*.TMP", ["a.TMP"], ["a.tmp"]),
        ("émile ?", ["x/émile 1"], ["émile"]),
    ],
)  # fmt: skip
def test_ignore_globs_mean_what_users_of_gitignore_expect(glob, ignored, kept):
    rules = IgnoreRules([glob])

    assert [name for name in ignored if rules.matching(name) != glob] == []
    assert [name for name in kept if rules.matching(name) is not None] == []


def test_the_first_glob_that_ignores_a_name_is_told():
    rules = IgnoreRules(["*.pt", "a/", "*.tmp"])

    assert [rules.matching(name) for name in ("a/x.tmp", "x.tmp", "a/x.pt", "b/x")] == [
        "a/",
        "*.tmp",
        "*.pt",
        None,
    ]
    assert IgnoreRules().matching("a") is None


@given(
    st.text(alphabet="ab/*?[]!.", min_size=1, max_size=8), st.text(alphabet="ab/.", min_size=1, max_size=8)
)
def test_whatever_is_ignored_takes_what_lies_below_with_it(glob, name):
    rules = IgnoreRules([glob])

    if rules.matching(name.strip("/")) is not None:
        assert rules.matching(f"{name.strip('/')}/below/it") is not None
