"""What every `Vault` does."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from holdfast.content.hashing import chunk_id, content_digest
from holdfast.content.manifests import ChunkRef, SegmentRef, decode_refs, encode_manifest
from holdfast.errors import (
    ChunkMissingError,
    CorruptContentError,
    IdempotencyError,
    MalformedContentError,
    PackConflictError,
    RunExistsError,
    RunNotFoundError,
    StaleBaseError,
    StoredFileNotFoundError,
    UploadNotFoundError,
    UsageError,
)
from holdfast.names import RunPath
from holdfast.protocol.messages import (
    ContentKey,
    ContentQuery,
    FileRef,
    LocateQuery,
    PackRange,
    ReadQuery,
    Resume,
    RunState,
    RunUpdate,
)
from tests.contract.storing import (
    Source,
    commit,
    damage,
    fetch,
    new_id,
    noise,
    open_run,
    ranges_of,
    spec,
    store,
)

NOWHERE = RunPath("me", "mnist", "nowhere")


def names_of(page) -> list[str]:
    return [file.name for file in page.files]


def all_ones(count: int) -> bytes:
    return ((1 << count) - 1).to_bytes((count + 7) // 8, "little")


# ---------------------------------------------------------------- runs


def test_a_new_run_is_running_and_has_a_readable_name(vault):
    info = vault.open_run(spec("run1", config={"lr": 1}, tags=["a"], group="g"))

    adjective, noun, count = info.name.split("-")
    assert adjective
    assert noun
    assert count == "1"
    assert (info.state, info.attempts, info.config, info.tags) == (RunState.RUNNING, 1, {"lr": 1}, ["a"])
    assert vault.get_run(info.path) == info


def test_names_count_the_runs_of_their_project(vault):
    first, second = vault.open_run(spec("r1")), vault.open_run(spec("r2"))
    other = vault.open_run(spec("r1", "other"))

    counts = [info.name.rpartition("-")[2] for info in (first, second, other)]
    assert counts == ["1", "2", "1"]


def test_a_given_name_is_kept(vault):
    assert vault.open_run(spec("r1", name="mine")).name == "mine"


def test_opening_again_with_the_same_attempt_changes_nothing(vault):
    first = vault.open_run(spec("r1", resume=Resume.NEVER))
    vault.update_run(first.path, RunUpdate(state=RunState.FINISHED, exit_code=0))

    again = vault.open_run(spec("r1", resume=Resume.NEVER))

    assert (again.attempts, again.state, again.name) == (1, RunState.FINISHED, first.name)


def test_a_further_attempt_joins_the_run(vault):
    first = vault.open_run(spec("r1", config={"a": 1, "b": 1}))
    vault.update_run(first.path, RunUpdate(state=RunState.FAILED, exit_code=3, step=7))

    again = vault.open_run(spec("r1", attempt="attempt-2", resume=Resume.MUST, config={"b": 2}))

    assert (again.attempts, again.state, again.exit_code, again.ended_at) == (2, RunState.RUNNING, None, None)
    assert (again.name, again.config, again.step) == (first.name, {"a": 1, "b": 2}, 7)


def test_resume_never_refuses_a_run_of_another_attempt(vault, run):
    with pytest.raises(RunExistsError):
        vault.open_run(spec("run1", attempt="attempt-2", resume=Resume.NEVER))


def test_resume_must_refuses_a_run_that_is_not_there_and_makes_nothing(vault):
    with pytest.raises(RunNotFoundError):
        vault.open_run(spec("r1", resume=Resume.MUST))

    assert vault.list_projects().projects == []


def test_an_update_changes_only_what_it_names(vault, run):
    vault.update_run(
        run, RunUpdate(notes="n\0", tags=["x"], config={"a": [1, None]}, summary={"loss": 0.5}, step=3)
    )
    vault.update_run(run, RunUpdate(name="new"))

    info = vault.get_run(run)
    assert (info.name, info.notes, info.tags, info.step) == ("new", "n", ["x"], 3)
    assert (info.config, info.summary) == ({"a": [1, None]}, {"loss": 0.5})


def test_an_edit_by_somebody_else_is_no_sign_of_life(vault, run):
    before = vault.get_run(run)

    assert vault.update_run(run, RunUpdate(name="new")).heartbeat_at == before.heartbeat_at
    assert vault.update_run(run, RunUpdate(attempt="attempt-1")).heartbeat_at > before.heartbeat_at


def test_the_late_word_of_an_older_attempt_changes_nothing_of_the_newer_one(vault, run):
    vault.open_run(spec("run1", attempt="attempt-2"))
    vault.update_run(run, RunUpdate(attempt="attempt-2", summary={"loss": 1}, step=9, name="new"))

    late = RunUpdate(
        attempt="attempt-1", state=RunState.CRASHED, config={"a": 1}, summary={}, step=3, name="old"
    )
    info = vault.update_run(run, late)

    assert (info.state, info.exit_code, info.ended_at) == (RunState.RUNNING, None, None)
    assert (info.name, info.config, info.summary, info.step) == ("new", {}, {"loss": 1}, 9)
    ended = vault.update_run(run, RunUpdate(attempt="attempt-2", state=RunState.FINISHED, exit_code=0))
    assert (ended.state, ended.exit_code) == (RunState.FINISHED, 0)
    assert vault.update_run(run, late).state is RunState.FINISHED


def test_an_ended_run_has_its_end_and_exit_code(vault, run):
    info = vault.update_run(run, RunUpdate(state=RunState.FAILED, exit_code=3))

    assert (info.state, info.exit_code) == (RunState.FAILED, 3)
    assert info.ended_at >= info.created_at


def test_a_run_that_is_not_there_is_an_error_everywhere(vault, run):
    calls = [
        lambda: vault.get_run(NOWHERE),
        lambda: vault.update_run(NOWHERE, RunUpdate()),
        lambda: vault.begin(NOWHERE),
        lambda: vault.begin(run, attempt="attempt-of-no-one"),
        lambda: vault.list_files(NOWHERE),
        lambda: vault.get_files(NOWHERE, [FileRef(name="a")]),
        lambda: vault.list_versions(NOWHERE, "a"),
        lambda: vault.manifest(NOWHERE, FileRef(name="a")),
        lambda: vault.locate(NOWHERE, LocateQuery(refs=[FileRef(name="a")])),
        lambda: list(vault.read(NOWHERE, ReadQuery(ranges=[PackRange(pack=new_id(), offset=8, length=1)]))),
        lambda: vault.verify(NOWHERE, ReadQuery(ranges=[PackRange(pack=new_id(), offset=8, length=1)])),
        lambda: vault.delete_files(NOWHERE, ["a"]),
    ]
    for call in calls:
        with pytest.raises(RunNotFoundError):
            call()


def test_runs_are_listed_newest_first_in_pages(vault):
    for number in range(5):
        open_run(vault, f"r{number}")
    open_run(vault, "elsewhere", "other")

    first = vault.list_runs("me", "mnist", limit=3)
    rest = vault.list_runs("me", "mnist", after=first.next, limit=3)

    assert [info.run_id for info in (*first.runs, *rest.runs)] == ["r4", "r3", "r2", "r1", "r0"]
    assert rest.next is None
    assert vault.list_runs("me", "unknown").runs == []


def test_projects_are_listed_by_name_in_pages(vault):
    for project in ("b", "a", "c"):
        open_run(vault, "r1", project)
    open_run(vault, "r2", "a")

    first = vault.list_projects("me", limit=2)
    rest = vault.list_projects("me", after=first.next, limit=2)

    found = [(info.project, info.run_count) for info in (*first.projects, *rest.projects)]
    assert found == [("a", 2), ("b", 1), ("c", 1)]
    assert rest.next is None
    assert vault.list_projects("nobody").projects == []


def test_a_run_counts_its_files_and_their_bytes(vault, run):
    store(vault, run, "a", noise(3000))
    store(vault, run, "a", noise(2000, 1))
    store(vault, run, "b", b"")

    info = vault.get_run(run)
    assert (info.file_count, info.size_bytes) == (2, 2000)
    assert vault.list_runs("me", "mnist").runs == [info]


# ---------------------------------------------------------------- ranks


def open_ranks(vault, *ranks, start="1", **rest):
    for rank in ranks:
        info = vault.open_run(spec("run1", attempt=f"start{start}-rank{rank}", rank=rank, **rest))
    return info


def end(vault, run, rank, state, exit_code=None, *, start="1"):
    update = RunUpdate(attempt=f"start{start}-rank{rank}", state=state, exit_code=exit_code)
    return vault.update_run(run, update)


def test_the_ranks_of_one_start_are_one_attempt_of_the_run_in_any_order(vault):
    assert open_ranks(vault, 1, 0, 2).attempts == 1
    assert open_ranks(vault, 2, 0, 1, start="2").attempts == 2
    assert open_ranks(vault, 0, start="3").attempts == 3


@pytest.mark.parametrize(
    ("first", "second", "state", "code"),
    [
        ((RunState.FINISHED, 0), (RunState.FINISHED, 0), RunState.FINISHED, 0),
        ((RunState.FINISHED, 0), (RunState.FAILED, 3), RunState.FAILED, 3),
        ((RunState.FAILED, 3), (RunState.FINISHED, 0), RunState.FAILED, 3),
        ((RunState.CRASHED, None), (RunState.FAILED, 3), RunState.CRASHED, None),
    ],
)
def test_a_run_of_several_ranks_ends_when_all_have_and_as_the_worst_of_them(
    vault, first, second, state, code
):
    run = open_ranks(vault, 0, 1).path

    between = end(vault, run, 1, *first)
    after = end(vault, run, 0, *second)

    assert (between.state, between.exit_code, between.ended_at) == (RunState.RUNNING, None, None)
    assert between.ranks == {0: RunState.RUNNING, 1: first[0]}
    assert (after.state, after.exit_code, after.ranks) == (state, code, {0: second[0], 1: first[0]})
    assert after.ended_at >= after.created_at


def test_a_start_with_fewer_ranks_is_not_judged_by_those_of_the_last(vault):
    run = open_ranks(vault, 0, 1).path
    end(vault, run, 1, RunState.CRASHED)
    end(vault, run, 0, RunState.FAILED, 1)
    open_ranks(vault, 0, start="2")

    assert end(vault, run, 0, RunState.FINISHED, 0, start="2").state is RunState.FINISHED


def test_a_rank_that_is_started_again_alone_leaves_the_others_their_say(vault):
    run = open_ranks(vault, 0, 1).path
    end(vault, run, 1, RunState.CRASHED)
    open_ranks(vault, 1, start="2")
    end(vault, run, 1, RunState.FINISHED, 0, start="2")

    assert end(vault, run, 0, RunState.FAILED, 5).exit_code == 5


def test_config_summary_and_step_are_those_of_the_lowest_rank_and_names_of_any(vault):
    run = open_ranks(vault, 1, config={"a": 1, "b": 1}).path
    open_ranks(vault, 0, config={"b": 0})
    open_ranks(vault, 2, config={"b": 2, "c": 2})

    vault.update_run(run, RunUpdate(attempt="start1-rank0", summary={"loss": 0}, step=1))
    other = RunUpdate(attempt="start1-rank1", config={}, summary={"loss": 1}, step=5, tags=["t"], notes="n")
    info = vault.update_run(run, other)

    assert info.config == {"a": 1, "b": 0, "c": 2}
    assert (info.summary, info.step, info.tags, info.notes) == ({"loss": 0}, 1, ["t"], "n")


def test_resume_never_lets_the_other_ranks_of_the_start_in(vault):
    open_ranks(vault, 0, 1, resume=Resume.NEVER)

    for rank in (0, 1):
        with pytest.raises(RunExistsError):
            open_ranks(vault, rank, start="2", resume=Resume.NEVER)


def test_ranks_that_end_at_the_same_moment_leave_no_run_running(vault):
    ranks = range(8)
    run = open_ranks(vault, *ranks).path

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda rank: end(vault, run, rank, RunState.FINISHED, 0), ranks))

    assert vault.get_run(run).state is RunState.FINISHED


def test_of_a_name_that_two_ranks_store_both_are_versions_and_the_newest_counts(vault):
    run = open_ranks(vault, 0, 1).path

    store(vault, run, "a", b"of 0", attempt="start1-rank0")
    store(vault, run, "a", b"of 1", attempt="start1-rank1")
    store(vault, run, "a", b"of 0 again", attempt="start1-rank0")

    assert [fetch(vault, run, "a", number) for number in (1, 2, 3)] == [b"of 0", b"of 1", b"of 0 again"]
    assert fetch(vault, run, "a") == b"of 0 again"


def test_names_are_counted_without_gap_or_twin_when_many_open_at_once(place):
    vaults = [place.open() for _ in range(4)]
    with ThreadPoolExecutor(8) as pool:
        infos = list(pool.map(lambda at: vaults[at % 4].open_run(spec(f"r{at}")), range(24)))

    counts = sorted(int(info.name.rpartition("-")[2]) for info in infos)
    assert counts == list(range(1, 25))
    for opened in vaults:
        opened.close()


# ---------------------------------------------------------------- have and put


def test_have_tells_what_was_put_before(vault, run):
    upload = vault.begin(run)
    source = Source(upload, noise(20_000))
    unknown = [chunk_id(upload.domain_key, bytes([n])) for n in range(3)]
    source.put(vault)

    bits = vault.have(upload.upload_id, b"".join([unknown[0], *source.ids, *unknown[1:]]))

    assert bits == (((1 << 20) - 1) << 1).to_bytes(3, "little")


def test_have_of_nothing_is_nothing(vault, run):
    assert vault.have(vault.begin(run).upload_id, b"") == b""


def test_have_refuses_what_is_no_list_of_ids(vault, run):
    upload = vault.begin(run)
    for ids in (b"x" * 33, bytes(32 * (upload.have_max + 1))):
        with pytest.raises(UsageError):
            vault.have(upload.upload_id, ids)


def test_have_knows_a_segment_once_all_its_chunks_were_committed(vault, run):
    upload = vault.begin(run)
    source = Source(upload, noise(200_000), 100)
    source.put(vault)
    segments = b"".join(source.segments)
    before = vault.have(upload.upload_id, segments)
    commit(vault, upload, [source.entry("a")])

    assert len(source.segments) > 1
    assert not any(before)
    assert vault.have(upload.upload_id, segments) == all_ones(len(source.segments))


def test_chunks_of_another_project_are_unknown(vault, run):
    store(vault, run, "a", noise(3000))
    ids = Source(vault.begin(run), noise(3000)).ids
    stranger = vault.begin(open_run(vault, "run1", "other"))

    assert vault.have(stranger.upload_id, b"".join(ids)) == b"\0"
    with pytest.raises(ChunkMissingError) as caught:
        commit(vault, stranger, [Source(vault.begin(run), noise(3000)).entry("a")])
    assert sorted(caught.value.details["missing"]) == sorted(id_.hex() for id_ in ids)


def test_projects_have_keys_of_their_own(vault, run):
    other = open_run(vault, "run1", "other")
    sibling = open_run(vault, "run2")

    assert vault.begin(run).domain_key == vault.begin(sibling).domain_key
    assert vault.begin(run).domain_key != vault.begin(other).domain_key


def test_a_pack_put_twice_gives_the_same_receipt(vault, run):
    upload = vault.begin(run)
    source, pack_id = Source(upload, noise(5000)), new_id()

    first = vault.put_pack(upload.upload_id, pack_id, source.pack())
    second = vault.put_pack(vault.begin(run).upload_id, pack_id, source.pack())

    assert first == second
    assert (first.pack_id, first.chunks) == (pack_id, 5)
    assert first.size_bytes == sum(map(len, source.pack()))


def test_a_pack_put_twice_at_once_is_stored_once(vault, place, run):
    upload = vault.begin(run)
    source, pack_id = Source(upload, noise(50_000)), new_id()

    with ThreadPoolExecutor(4) as pool:
        receipts = list(
            pool.map(lambda _: vault.put_pack(upload.upload_id, pack_id, source.pack()), range(4))
        )

    assert receipts == receipts[:1] * 4
    assert len(list(place.blobs.list())) == 1
    commit(vault, upload, [source.entry("a")])
    assert fetch(vault, run, "a") == source.data


def test_a_pack_id_cannot_be_used_for_other_bytes(vault, run):
    upload = vault.begin(run)
    first, second, pack_id = Source(upload, noise(5000)), Source(upload, noise(5000, 1)), new_id()
    vault.put_pack(upload.upload_id, pack_id, first.pack())

    with pytest.raises(PackConflictError):
        vault.put_pack(upload.upload_id, pack_id, second.pack())

    assert vault.have(upload.upload_id, b"".join(second.ids)) == b"\0"
    commit(vault, upload, [first.entry("a")])
    assert fetch(vault, run, "a") == first.data


def test_two_projects_may_use_the_same_pack_id(vault, run):
    pack_id = new_id()
    for where in (run, open_run(vault, "run1", "other")):
        upload = vault.begin(where)
        source = Source(upload, noise(5000))
        vault.put_pack(upload.upload_id, pack_id, source.pack())
        commit(vault, upload, [source.entry("a")])
        assert fetch(vault, where, "a") == source.data


@pytest.mark.parametrize("pack_id", ["short", "A" * 32, "../" + "a" * 30, "a" * 65, "a" * 31 + "\n"])
def test_a_pack_id_of_another_form_is_refused(vault, run, pack_id):
    upload = vault.begin(run)
    with pytest.raises(UsageError):
        vault.put_pack(upload.upload_id, pack_id, Source(upload, noise(10)).pack())


@pytest.mark.parametrize("at", [0, 9, 40, 100, -40, -1])
def test_a_pack_with_a_wrong_byte_is_refused_and_leaves_nothing(vault, place, run, at):
    upload = vault.begin(run)
    source = Source(upload, noise(900))
    pack = bytearray(b"".join(source.pack()))
    pack[at] ^= 1

    with pytest.raises(MalformedContentError):
        vault.put_pack(upload.upload_id, new_id(), [pack])

    assert vault.have(upload.upload_id, b"".join(source.ids)) == b"\0"
    assert list(place.blobs.list()) == []


def test_a_cut_pack_is_refused_and_leaves_nothing(vault, place, run):
    upload = vault.begin(run)
    pack = b"".join(Source(upload, noise(900)).pack())
    for length in (0, 7, 500, len(pack) - 1):
        with pytest.raises(MalformedContentError):
            vault.put_pack(upload.upload_id, new_id(), [pack[:length]])
    assert list(place.blobs.list()) == []


def test_a_pack_of_another_project_is_refused(vault, run):
    stranger = vault.begin(open_run(vault, "run1", "other"))
    with pytest.raises(MalformedContentError):
        vault.put_pack(stranger.upload_id, new_id(), Source(vault.begin(run), noise(900)).pack())


def test_an_upload_that_never_began_is_an_error_everywhere(vault, run):
    source = Source(vault.begin(run), noise(900))
    calls = [
        lambda: vault.have(new_id(), source.ids[0]),
        lambda: vault.have_contents(new_id(), ContentQuery(keys=[])),
        lambda: vault.put_pack(new_id(), new_id(), source.pack()),
        lambda: commit(vault, source.upload.model_copy(update={"upload_id": new_id()}), []),
    ]
    for call in calls:
        with pytest.raises(UploadNotFoundError):
            call()


def test_whole_contents_are_known_anywhere_in_the_project(vault, run):
    big, small = noise(200_000), noise(500, 1)
    store(vault, run, "a", big)
    store(vault, run, "b", small)
    upload = vault.begin(open_run(vault, "run2"))
    keys = [ContentKey(digest=content_digest(data), size=len(data)) for data in (small, b"unknown", big)]
    wrong_size = ContentKey(digest=content_digest(big), size=1)

    answer = vault.have_contents(upload.upload_id, ContentQuery(keys=[*keys, wrong_size]))

    assert [manifest is not None for manifest in answer.manifests] == [True, False, True, False]
    source = Source(upload, big)
    entry = source.entry("copy", manifest=answer.manifests[2])
    assert commit(vault, upload, [entry]).versions[0].created
    assert fetch(vault, RunPath("me", "mnist", "run2"), "copy") == big


def test_whole_contents_of_another_project_are_unknown(vault, run):
    data = noise(5000)
    store(vault, run, "a", data)
    stranger = vault.begin(open_run(vault, "run1", "other"))
    query = ContentQuery(keys=[ContentKey(digest=content_digest(data), size=len(data))])

    assert vault.have_contents(stranger.upload_id, query).manifests == [None]


# ---------------------------------------------------------------- commit


@pytest.mark.parametrize("size", [0, 1, 999, 1000, 1001, 64_000, 64_001, 300_000])
def test_what_was_committed_is_read_back(vault, run, size):
    data = noise(size)
    store(vault, run, "a", data, mode=0o755, mtime_ns=5, policy="now", fidelity="later")

    [info] = vault.get_files(run, [FileRef(name="a")])

    assert fetch(vault, run, "a") == data
    assert (info.version, info.size, info.digest) == (1, size, content_digest(data))
    assert (info.mode, info.mtime_ns, info.policy, info.fidelity) == (0o755, 5, "now", "later")


def test_compressed_chunks_are_read_back(vault, run):
    data = b"all work and no play " * 5000
    upload = vault.begin(run)
    source = Source(upload, data, 50_000)
    source.put(vault)
    commit(vault, upload, [source.entry("a")])

    assert fetch(vault, run, "a") == data


@pytest.mark.parametrize(
    "name",
    ["a b/c d", "[x](y)*?", "ünï/文件/🎉", "%2e%2e", "a'b\"c;--", "x" * 255, "back\\slash", "~", "a#b?c=d&e"],
)
def test_unusual_names_are_stored_as_they_are(vault, run, name):
    store(vault, run, name, b"x")

    assert names_of(vault.list_files(run)) == [name]
    assert names_of(vault.list_files(run, pattern=name)) == [name]
    assert fetch(vault, run, name) == b"x"
    assert vault.delete_files(run, [name]).deleted == [name]


def test_versions_of_a_file_count_up_and_stay(vault, run):
    states = [noise(3000, n) for n in range(4)]
    assert [store(vault, run, "a", state) for state in states] == [1, 2, 3, 4]

    assert [fetch(vault, run, "a", n + 1) for n in range(4)] == states
    assert fetch(vault, run, "a") == states[-1]
    assert [info.version for info in vault.list_versions(run, "a")] == [4, 3, 2, 1]


def test_equal_content_makes_no_new_version(vault, run):
    upload = vault.begin(run)
    source = Source(upload, noise(3000))
    source.put(vault)
    commit(vault, upload, [source.entry("a")])

    [again] = commit(vault, upload, [source.entry("a", mode=0o600, mtime_ns=9)]).versions

    assert (again.version, again.created) == (1, False)
    assert len(vault.list_versions(run, "a")) == 1


def test_a_content_that_returns_makes_a_new_version(vault, run):
    assert [store(vault, run, "a", data) for data in (b"x", b"y", b"x")] == [1, 2, 3]


def test_one_commit_may_hold_two_states_of_a_file(vault, run):
    upload = vault.begin(run)
    one, two = Source(upload, noise(1000)), Source(upload, noise(1000, 1))
    one.put(vault)
    two.put(vault)

    result = commit(vault, upload, [one.entry("a"), two.entry("a"), two.entry("a"), one.entry("b")])

    assert [(v.name, v.version, v.created) for v in result.versions] == [
        ("a", 1, True),
        ("a", 2, True),
        ("a", 2, False),
        ("b", 1, True),
    ]
    assert fetch(vault, run, "a") == two.data


def test_a_commit_without_entries_is_fine(vault, run):
    assert commit(vault, vault.begin(run), []).versions == []


def test_a_commit_with_a_missing_chunk_publishes_nothing_and_succeeds_later_under_the_same_key(vault, run):
    upload = vault.begin(run)
    there, absent, key = Source(upload, noise(1000)), Source(upload, noise(2000, 1)), new_id()
    there.put(vault)
    entries = [there.entry("a"), absent.entry("b")]

    with pytest.raises(ChunkMissingError) as caught:
        commit(vault, upload, entries, key)

    assert sorted(caught.value.details["missing"]) == sorted(id_.hex() for id_ in absent.ids)
    assert vault.list_files(run).files == []
    absent.put(vault)
    assert all(version.created for version in commit(vault, upload, entries, key).versions)


def test_a_missing_segment_or_chunk_of_a_segment_is_named(vault, run):
    upload = vault.begin(run)
    source = Source(upload, noise(100_000), 100)
    only_segments, only_chunks = Source(upload, b""), Source(upload, source.data, 100)
    only_chunks.segments = {}
    only_segments.segments, only_segments.chunks = source.segments, [b"x"]
    only_segments.ids = [chunk_id(upload.domain_key, b"x")]

    with pytest.raises(ChunkMissingError) as caught:
        commit(vault, upload, [source.entry("a")])
    assert {id_.hex() for id_ in source.segments} <= set(caught.value.details["missing"])

    only_segments.put(vault)
    with pytest.raises(ChunkMissingError) as caught:
        commit(vault, upload, [source.entry("a")])
    assert set(caught.value.details["missing"]) == {id_.hex() for id_ in source.ids}

    only_chunks.put(vault)
    commit(vault, upload, [source.entry("a")])
    assert fetch(vault, run, "a") == source.data


def test_a_commit_repeated_under_its_key_has_one_effect(vault, run):
    upload, key = vault.begin(run), new_id()
    one, two = Source(upload, noise(1000)), Source(upload, noise(1000, 1))
    one.put(vault)
    two.put(vault)
    first = commit(vault, upload, [one.entry("a")], key)
    commit(vault, upload, [two.entry("a")])

    again = commit(vault, vault.begin(run), [one.entry("a")], key)

    assert again == first
    assert len(vault.list_versions(run, "a")) == 2


def test_a_key_used_for_other_entries_is_refused(vault, run):
    upload, key = vault.begin(run), new_id()
    source = Source(upload, noise(1000))
    source.put(vault)
    commit(vault, upload, [source.entry("a")], key)

    with pytest.raises(IdempotencyError):
        commit(vault, upload, [source.entry("b")], key)


def test_a_stale_base_is_refused_and_publishes_nothing(vault, run):
    upload = vault.begin(run)
    source, other = Source(upload, noise(1000)), Source(upload, noise(1000, 1))
    source.put(vault)
    other.put(vault)
    commit(vault, upload, [source.entry("a", base=0)])

    for base in (0, 2):
        with pytest.raises(StaleBaseError):
            commit(vault, upload, [other.entry("b", base=0), other.entry("a", base=base)])

    assert names_of(vault.list_files(run)) == ["a"]
    assert commit(vault, upload, [other.entry("a", base=1)]).versions[0].version == 2


def test_a_manifest_that_does_not_add_up_is_refused(vault, run):
    upload = vault.begin(run)
    source = Source(upload, noise(100_000), 100)
    source.put(vault)
    [segment, *_] = source.segments.items()
    short = SegmentRef(segment[0], len(decode_refs(segment[1])), len(decode_refs(segment[1])))
    lies = [
        source.entry("a", size=99_999),
        source.entry("a", manifest=b"", size=0),
        source.entry("a", manifest=b"\x01Z"),
        source.entry("a", manifest=encode_manifest([ChunkRef(source.ids[0], 99)]), size=99),
        source.entry("a", manifest=encode_manifest([short]), size=short.raw_bytes),
    ]
    for lie in lies:
        with pytest.raises(MalformedContentError):
            commit(vault, upload, [lie])
    assert vault.list_files(run).files == []


def test_two_threads_that_commit_one_file_make_two_versions(vault, run):
    uploads = [vault.begin(run) for _ in range(6)]
    sources = [Source(upload, noise(3000, n)) for n, upload in enumerate(uploads)]

    def save(source):
        source.put(vault)
        return commit(vault, source.upload, [source.entry("a"), source.entry(f"own-{source.ids[0].hex()}")])

    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(save, sources))

    numbers = [result.versions[0].version for result in results]
    assert sorted(numbers) == [1, 2, 3, 4, 5, 6]
    for number, source in zip(numbers, sources, strict=True):
        assert fetch(vault, run, "a", number) == source.data


def test_of_two_threads_with_the_same_base_one_wins(vault, run):
    uploads = [vault.begin(run) for _ in range(4)]
    sources = [Source(upload, noise(1000, n)) for n, upload in enumerate(uploads)]

    def save(source):
        source.put(vault)
        try:
            return commit(vault, source.upload, [source.entry("a", base=0)]).versions[0].version
        except StaleBaseError:
            return None

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(save, sources))

    assert sorted(results, key=str) == [1, None, None, None]


def test_one_commit_sent_twice_at_once_has_one_effect(vault, run):
    upload, key = vault.begin(run), new_id()
    source = Source(upload, noise(3000))
    source.put(vault)

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: commit(vault, upload, [source.entry("a")], key), range(4)))

    assert results == results[:1] * 4
    assert len(vault.list_versions(run, "a")) == 1


def test_several_threads_may_open_one_new_run(vault):
    with ThreadPoolExecutor(4) as pool:
        infos = list(pool.map(lambda n: vault.open_run(spec("r", "new", attempt=f"attempt-{n}")), range(4)))

    assert sorted(info.attempts for info in infos) == [1, 2, 3, 4]
    assert len({info.name for info in infos}) == 1


def test_a_late_version_of_an_older_attempt_does_not_become_the_newest(vault, run):
    vault.open_run(spec("run1", attempt="attempt-2"))
    store(vault, run, "a", b"new", attempt="attempt-2")

    assert store(vault, run, "a", b"late", attempt="attempt-1") == 2
    assert store(vault, run, "a", b"late", attempt="attempt-1") == 2
    assert store(vault, run, "b", b"only here", attempt="attempt-1") == 1

    assert fetch(vault, run, "a") == b"new"
    assert fetch(vault, run, "a", 2) == b"late"
    assert names_of(vault.list_files(run)) == ["a", "b"]
    assert [info.version for info in vault.list_versions(run, "a")] == [2, 1]
    assert store(vault, run, "a", b"newer", attempt="attempt-2") == 3
    assert fetch(vault, run, "a") == b"newer"


def test_an_upload_belongs_to_the_newest_attempt_unless_told(vault, run):
    store(vault, run, "a", b"first")
    vault.open_run(spec("run1", attempt="attempt-2"))
    store(vault, run, "a", b"second")

    store(vault, run, "a", b"late", attempt="attempt-1")

    assert fetch(vault, run, "a") == b"second"


# ---------------------------------------------------------------- reading


def test_files_are_listed_by_name_in_pages(vault, run):
    names = ["b", "a/z", "a", "B", "é", "a.b", "_", "a/b/c"]
    upload = vault.begin(run)
    source = Source(upload, b"x")
    source.put(vault)
    commit(vault, upload, [source.entry(name) for name in names])

    listed, after = [], None
    while True:
        page = vault.list_files(run, after=after, limit=3)
        assert len(page.files) <= 3
        listed += names_of(page)
        after = page.next
        if after is None:
            break

    assert listed == sorted(names)


def test_files_are_listed_by_pattern(vault, run):
    names = ["a.pt", "b.pt", "sub/c.pt", "sub/deep/d.pt", "sub/x.txt", "a[1].pt", "a1.pt", "100%_.pt"]
    upload = vault.begin(run)
    source = Source(upload, b"x")
    source.put(vault)
    commit(vault, upload, [source.entry(name) for name in names])

    def listed(pattern):
        found, after = [], None
        while True:
            page = vault.list_files(run, pattern=pattern, after=after, limit=2)
            found += names_of(page)
            after = page.next
            if after is None:
                return found

    assert listed("*.pt") == sorted(["a.pt", "b.pt", "a[1].pt", "a1.pt", "100%_.pt"])
    assert listed("**.pt") == sorted(name for name in names if name.endswith(".pt"))
    assert listed("sub/*") == ["sub/c.pt", "sub/x.txt"]
    assert listed("sub/**") == ["sub/c.pt", "sub/deep/d.pt", "sub/x.txt"]
    assert listed("?.pt") == ["a.pt", "b.pt"]
    assert listed("a[1].pt") == ["a1.pt", "a[1].pt"]
    assert listed("100%_.pt") == ["100%_.pt"]
    assert listed("nothing*") == []


def test_an_absent_file_or_version_is_named(vault, run):
    store(vault, run, "a", b"x")
    calls = [
        lambda: vault.get_files(run, [FileRef(name="a"), FileRef(name="gone")]),
        lambda: vault.list_versions(run, "gone"),
        lambda: vault.manifest(run, FileRef(name="gone")),
        lambda: vault.locate(run, LocateQuery(refs=[FileRef(name="gone")])),
        lambda: vault.get_files(run, [FileRef(name="a", version=2)]),
        lambda: vault.manifest(run, FileRef(name="a", version=0)),
    ]
    for call in calls[:4]:
        with pytest.raises(StoredFileNotFoundError, match="gone"):
            call()
    for call in calls[4:]:
        with pytest.raises(StoredFileNotFoundError, match="version"):
            call()


def test_a_manifest_lists_all_chunks_in_order(vault, run):
    upload = vault.begin(run)
    source = Source(upload, noise(150_050), 100)
    source.put(vault)
    commit(vault, upload, [source.entry("a")])

    manifest = vault.manifest(run, FileRef(name="a"))

    assert manifest.domain_key == upload.domain_key
    assert [ref.id for ref in decode_refs(manifest.refs)] == source.ids
    assert manifest.info.name == "a"


def test_places_of_several_files_come_in_order_and_pages_go_on(vault, run):
    datas = {f"f{n}": noise(3500, n) for n in range(5)}
    for name, data in datas.items():
        store(vault, run, name, data)
    refs = [FileRef(name=name) for name in reversed(datas)]
    whole = vault.locate(run, LocateQuery(refs=refs))
    tail = vault.locate(run, LocateQuery(refs=refs, start=6))

    assert [info.name for info in whole.files] == list(reversed(datas))
    assert len(whole.chunks) == 20 * 52
    assert len(tail.chunks) == 14 * 52
    assert [place[:36] for place in records(tail.chunks)] == [
        place[:36] for place in records(whole.chunks)[6:]
    ]
    assert tail.files == whole.files


def records(chunks: bytes) -> list[bytes]:
    return [chunks[at : at + 52] for at in range(0, len(chunks), 52)]


def test_a_range_of_many_frames_is_read_at_once(vault, run):
    data = noise(6 << 20)
    upload = vault.begin(run)
    source = Source(upload, data, 700_001)
    source.put(vault)
    commit(vault, upload, [source.entry("a")])
    ranges = ranges_of(vault, run, "a")
    joined = PackRange(pack=ranges[0].pack, offset=ranges[0].offset, length=sum(r.length for r in ranges))

    single = b"".join(vault.read(run, ReadQuery(ranges=ranges)))
    at_once = b"".join(vault.read(run, ReadQuery(ranges=[joined])))

    assert at_once == single
    assert len(at_once) == joined.length


def test_the_largest_chunk_is_read_back(vault, run):
    data = noise((4 << 20) + 5)
    upload = vault.begin(run)
    source = Source(upload, data, 4 << 20)
    source.put(vault)
    commit(vault, upload, [source.entry("a")])

    assert fetch(vault, run, "a") == data


def test_a_run_reads_only_packs_that_its_versions_refer_to(vault, run):
    store(vault, run, "a", noise(3000))
    [first, *_] = ranges_of(vault, run, "a")
    sibling, stranger = open_run(vault, "run2"), open_run(vault, "run1", "other")

    for who in (sibling, stranger):
        with pytest.raises(StoredFileNotFoundError):
            list(vault.read(who, ReadQuery(ranges=[first])))
    store(vault, sibling, "copy", noise(3000))
    assert b"".join(vault.read(sibling, ReadQuery(ranges=[first])))


def test_a_pack_that_was_put_and_not_committed_cannot_be_read(vault, run):
    upload = vault.begin(run)
    pack_id = Source(upload, noise(3000)).put(vault)
    with pytest.raises(StoredFileNotFoundError):
        list(vault.read(run, ReadQuery(ranges=[PackRange(pack=pack_id, offset=8, length=1068)])))


def test_ranges_beyond_whole_frames_are_refused(vault, run):
    store(vault, run, "a", noise(3000))
    [first, *_] = ranges_of(vault, run, "a")
    for offset, length in (
        (first.offset + 1, first.length),
        (first.offset, first.length - 1),
        (0, 8),
        (1 << 30, 9),
    ):
        with pytest.raises(CorruptContentError):
            list(
                vault.read(run, ReadQuery(ranges=[PackRange(pack=first.pack, offset=offset, length=length)]))
            )
    assert fetch(vault, run, "a") == noise(3000)


# ---------------------------------------------------------------- damage


def test_a_damaged_chunk_is_reported_never_served_and_heals_when_it_is_put_again(vault, place, run):
    upload = vault.begin(run)
    source, fine = Source(upload, noise(3000)), Source(upload, noise(1000, 1))
    pack_id = source.put(vault)
    fine.put(vault)
    commit(vault, upload, [source.entry("hurt"), source.entry("twin"), fine.entry("fine")])
    second = ranges_of(vault, run, "hurt")[1]
    damage(place.blobs, pack_id, second.offset + 500)

    with pytest.raises(CorruptContentError) as caught:
        fetch(vault, run, "hurt")

    assert caught.value.details["files"] == ["hurt", "twin"]
    assert (caught.value.details["pack"], caught.value.details["offset"]) == (pack_id, second.offset)
    assert vault.have(upload.upload_id, b"".join(source.ids)) == b"\x05"
    assert fetch(vault, run, "fine") == fine.data
    query = ContentQuery(keys=[ContentKey(digest=content_digest(source.data), size=3000)])
    assert vault.have_contents(upload.upload_id, query).manifests == [None]
    with pytest.raises(ChunkMissingError):
        commit(vault, upload, [source.entry("new")])

    source.put(vault)
    assert vault.have(upload.upload_id, b"".join(source.ids)) == b"\x07"
    assert fetch(vault, run, "hurt") == source.data
    assert fetch(vault, run, "twin") == source.data


def test_a_damaged_chunk_of_a_segment_heals_too(vault, place, run):
    upload = vault.begin(run)
    source = Source(upload, noise(100_000), 500)
    pack_id = source.put(vault)
    commit(vault, upload, [source.entry("hurt")])
    damage(place.blobs, pack_id, ranges_of(vault, run, "hurt")[3].offset + 2)

    with pytest.raises(CorruptContentError):
        fetch(vault, run, "hurt")
    segments = b"".join(source.segments)
    assert vault.have(upload.upload_id, segments) != all_ones(len(source.segments))

    source.put(vault)
    commit(vault, upload, [source.entry("again")])
    assert fetch(vault, run, "hurt") == source.data
    assert vault.have(upload.upload_id, segments) == all_ones(len(source.segments))


def test_nothing_of_a_damaged_frame_is_yielded(vault, place, run):
    upload = vault.begin(run)
    source = Source(upload, noise(3000))
    pack_id = source.put(vault)
    commit(vault, upload, [source.entry("a")])
    ranges = ranges_of(vault, run, "a")
    damage(place.blobs, pack_id, ranges[1].offset + 1067)
    received = bytearray()

    with pytest.raises(CorruptContentError):  # noqa: PT012 - the loop is what may raise at any step
        for block in vault.read(run, ReadQuery(ranges=ranges)):
            received += block

    assert len(received) <= ranges[0].length


def test_verify_tells_whether_frames_lie_whole_on_the_disk(vault, place, run):
    store(vault, run, "a", noise(3000))
    ranges = ranges_of(vault, run, "a")
    assert vault.verify(run, ReadQuery(ranges=ranges)).size_bytes == sum(part.length for part in ranges)

    damage(place.blobs, ranges[1].pack, ranges[1].offset + 67)

    vault.verify(run, ReadQuery(ranges=ranges[:1]))
    with pytest.raises(CorruptContentError, match="'a'"):
        vault.verify(run, ReadQuery(ranges=ranges))


def test_who_checks_by_himself_gets_the_same_bytes(vault, run):
    store(vault, run, "a", noise(2_500_000))
    ranges = ranges_of(vault, run, "a")

    checked, unchecked = (
        b"".join(vault.read(run, ReadQuery(ranges=ranges, is_checked=is_checked)))
        for is_checked in (True, False)
    )

    assert unchecked == checked
    assert len(checked) == sum(each.length for each in ranges)


@pytest.mark.parametrize("is_checked", [True, False])
def test_a_cut_pack_is_reported_as_damage(vault, place, run, is_checked):
    upload = vault.begin(run)
    source = Source(upload, noise(3000))
    source.put(vault)
    commit(vault, upload, [source.entry("a")])
    for blob in list(place.blobs.list()):
        data = place.blobs.read(blob.name, 0, blob.size_bytes)
        writer = place.blobs.create(blob.name)
        writer.write([data[:2000]])
        writer.commit()
    query = ReadQuery(ranges=ranges_of(vault, run, "a"), is_checked=is_checked)

    with pytest.raises(CorruptContentError):
        list(vault.read(run, query))


def test_a_lost_pack_is_reported_as_damage(vault, place, run):
    upload = vault.begin(run)
    source = Source(upload, noise(3000))
    source.put(vault)
    commit(vault, upload, [source.entry("a")])
    for blob in place.blobs.list():
        place.blobs.delete(blob.name)

    with pytest.raises(CorruptContentError):
        fetch(vault, run, "a")

    assert vault.have(upload.upload_id, b"".join(source.ids)) != b"\x07"


# ---------------------------------------------------------------- deleting


def test_deleted_files_are_neither_listed_nor_readable(vault, run):
    for name in ("a", "b"):
        store(vault, run, name, noise(1000))
        store(vault, run, name, noise(3000, 1))
    pieces = ranges_of(vault, run, "a")

    assert vault.delete_files(run, ["a", "unknown"]).deleted == ["a"]
    assert vault.delete_files(run, ["a"]).deleted == []

    assert names_of(vault.list_files(run)) == ["b"]
    assert vault.get_run(run).file_count == 1
    for call in (
        lambda: vault.get_files(run, [FileRef(name="a")]),
        lambda: vault.get_files(run, [FileRef(name="a", version=1)]),
        lambda: vault.list_versions(run, "a"),
        lambda: fetch(vault, run, "a"),
    ):
        with pytest.raises(StoredFileNotFoundError):
            call()
    vault.delete_files(run, ["b"])
    with pytest.raises(StoredFileNotFoundError):
        list(vault.read(run, ReadQuery(ranges=pieces)))


def test_a_deleted_name_goes_on_with_the_next_number(vault, run):
    store(vault, run, "a", noise(1000))
    store(vault, run, "a", noise(1000, 1))
    vault.delete_files(run, ["a"])

    assert store(vault, run, "a", noise(1000, 1), base=0) == 3

    assert [info.version for info in vault.list_versions(run, "a")] == [3]
    with pytest.raises(StoredFileNotFoundError):
        fetch(vault, run, "a", 2)


# ---------------------------------------------------------------- restarts


def test_everything_is_there_after_a_restart(place):
    vault = place.open()
    run = open_run(vault)
    upload, key = vault.begin(run), new_id()
    source, late = Source(upload, noise(300_000)), Source(upload, noise(900, 1))
    source.put(vault)
    late_pack = late.put(vault)
    first = commit(vault, upload, [source.entry("a")], key)
    before = vault.get_run(run)
    vault.close()

    vault = place.open()

    assert vault.get_run(run) == before
    assert fetch(vault, run, "a") == source.data
    assert commit(vault, upload, [source.entry("a")], key) == first
    assert vault.put_pack(upload.upload_id, late_pack, late.pack()).chunks == 1
    assert vault.have(upload.upload_id, late.ids[0]) == b"\x01"
    assert commit(vault, upload, [late.entry("late")]).versions[0].created
    vault.close()


def test_two_open_vaults_on_one_place_see_each_other(place, vault, run):
    other = place.open()
    assert store(vault, run, "a", b"one") == 1
    assert store(other, run, "a", b"two") == 2
    assert fetch(vault, run, "a") == b"two"
    other.close()


def test_a_caller_has_a_name(vault):
    identity = vault.whoami()
    assert identity.user
    assert identity.entity


def test_random_files_survive_the_round_trip(vault, run):
    datas = {f"d{n % 3}/f{n}": os.urandom(n * 37) for n in range(100)}
    upload = vault.begin(run)
    sources = {name: Source(upload, data) for name, data in datas.items()}
    for source in sources.values():
        source.put(vault)

    commit(vault, upload, [source.entry(name) for name, source in sources.items()])

    assert {name: fetch(vault, run, name) for name in datas} == datas
