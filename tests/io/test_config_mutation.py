# SPDX-License-Identifier: MIT
"""Promises of the five phases: one file, old or new, every other byte kept, and an audit trail that tells the truth."""

import os
import signal
import stat
import threading
from pathlib import Path

import pytest

from usp.config.model import load, packaged_text
from usp.io import failpoints
from usp.io.audit_log import append_audit_log, entries, verify
from usp.io.config_backups import content_hash, prune_backups, stamped_backups
from usp.io.config_mutation import (
    ConfigMutationError,
    MutationRateLimiter,
    atomic_write_config,
    create_config_backup,
    reconcile,
)
from usp.io.mutation_protocol import ConfigPaths, Mutation, close_mutation, open_mutation, replace_config
from usp.io.toml_edit import changed

CHANGE = {"orchestration.cusum_k": 0.72}
PHASES = [name for name in failpoints.NAMES if name.startswith("config.")]
AUDIT_POINTS = [name for name in failpoints.NAMES if name.startswith("audit.")]


@pytest.fixture
def paths(tmp_path):
    """A folder with the packaged configuration."""
    (tmp_path / "config.toml").write_text(packaged_text())
    return ConfigPaths(tmp_path / "config.toml", tmp_path / "io" / "mutations.log")


def write(paths, change, **options):
    atomic_write_config(paths.config, change, audit_log_path=paths.audit_log, **options)


def events(paths):
    return [entry["event"] for entry in entries(paths.audit_log)]


def mutation(paths, change, proposal_id="p-1"):
    old = paths.config.read_text()
    text, delta = changed(old, change)
    return Mutation(proposal_id, "Test", text, content_hash(old.encode()), load(text).content_hash, delta)


def test_the_requirements_example(paths):
    """The usage example of the requirement: three parameters, a trigger, an objective; file, backups, audit line."""
    best = {"orchestration.cusum_k": 0.72, "kernels.dgm_width_size": 256, "kernels.stiffness_low": 143.0}
    write(paths, best, trigger="DeepTuning_Iteration_500", best_objective=0.0234)
    config = load(paths.config)
    found = (config.orchestration.cusum_k, config.kernels.dgm_width_size, config.kernels.stiffness_low)
    assert found == (0.72, 256, 143.0)
    entry = entries(paths.audit_log)[-1]
    assert (entry["event"], entry["status"]) == ("MUTATION_SUCCESS", "SUCCESS")
    assert entry["delta"]["orchestration.cusum_k"] == [0.5, 0.72]
    assert entry["delta"]["kernels.dgm_width_size"] == [64, 256]
    assert (entry["trigger"], entry["best_objective"]) == ("DeepTuning_Iteration_500", 0.0234)
    assert Path(entry["backup"]).read_text() == packaged_text()
    assert paths.config.with_name("config.toml.bak").read_text() == packaged_text()
    assert verify(paths.audit_log) == []


AWKWARD = (
    packaged_text()
    .replace("cusum_k = 0.5\n", 'cusum_k   =\t5e-1   # the slack: keep "quotes", [brackets] and = signs  \n')
    .replace("cusum_h = 5.0\n", "\n\n   cusum_h=5.00\n# Ünïcödé ∑\n")
)


@pytest.mark.parametrize("text", [packaged_text(), AWKWARD, AWKWARD.replace("\n", "\r\n"), AWKWARD.rstrip("\n")])
def test_every_byte_outside_the_value_is_kept(paths, text):
    """Comments, order, spacing, blank lines, line ends and number formats of the operator's file survive."""
    paths.config.write_bytes(text.encode())
    write(paths, CHANGE)
    old, new = text.encode().split(b"\n"), paths.config.read_bytes().split(b"\n")
    different = [(a, b) for a, b in zip(old, new, strict=True) if a != b]
    assert len(different) == 1
    before, after = different[0]
    assert after in (before.replace(b"0.5", b"0.72"), before.replace(b"5e-1", b"0.72"))


def test_a_refused_change_leaves_the_file_and_says_why(paths):
    """Validation comes first: no byte moves, and the audit log has the reason."""
    with pytest.raises(ConfigMutationError, match="range"):
        write(paths, {"orchestration.cusum_k": 7.0}, trigger="T")
    assert paths.config.read_text() == packaged_text()
    entry = entries(paths.audit_log)[-1]
    assert (entry["event"], entry["status"], entry["trigger"]) == ("MUTATION_ABORTED", "ABORTED", "T")
    assert "cusum_k" in entry["error"]


@pytest.mark.parametrize("broken", ["cusum_k = 0.5\ncusum_k = 0.5", "= 1", "cusum_k = 0.5 0.6", "zzz = 1"])
def test_a_file_that_the_loader_refuses_is_not_written_to(paths, broken):
    """A broken file is not made worse; the message names what is wrong."""
    text = packaged_text().replace("cusum_k = 0.5", broken)
    paths.config.write_text(text)
    with pytest.raises(ConfigMutationError):
        write(paths, {"orchestration.cusum_h": 6.0})
    assert paths.config.read_text() == text


def test_a_file_that_is_not_text_is_refused(paths):
    """Bytes that are not UTF-8 give a clear error and an audit line."""
    paths.config.write_bytes(b"\xff\xfe[orchestration]\n")
    with pytest.raises(ConfigMutationError):
        write(paths, CHANGE)
    assert events(paths) == ["MUTATION_FAILED"]


def test_a_missing_file_is_refused(tmp_path):
    """No file, no change; the message names the file."""
    with pytest.raises(ConfigMutationError, match=r"config\.toml"):
        atomic_write_config(tmp_path / "config.toml", CHANGE, audit_log_path=tmp_path / "log")


def test_permissions_are_kept_and_links_followed(paths):
    """The new file has the old one's mode; a symbolic link stays a link."""
    real = paths.config.rename(paths.config.with_name("real.toml"))
    real.chmod(0o640)
    paths.config.symlink_to(real)
    write(paths, CHANGE)
    assert paths.config.is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert load(real).orchestration.cusum_k == 0.72


def test_a_stale_temporary_file_blocks_nothing(paths):
    """What an earlier crash left lying about is in nobody's way, and is cleared at the next start."""
    for name in ("config.toml.tmp", "config.toml.abc123.tmp", "config.tmp"):
        paths.config.with_name(name).write_text("half")
    write(paths, CHANGE)
    reconcile(paths.config, paths.audit_log, None)
    assert not paths.config.with_name("config.toml.abc123.tmp").exists()
    assert load(paths.config).orchestration.cusum_k == 0.72


def test_a_full_disk_leaves_the_old_file(paths, monkeypatch):
    """An error of the system in the middle gives MUTATION_FAILED, the old file, and no temporary file."""
    real = os.replace

    def refusing(source, target):
        if str(target).endswith("config.toml"):
            raise OSError(28, "No space left on device")
        return real(source, target)

    monkeypatch.setattr(os, "replace", refusing)
    with pytest.raises(ConfigMutationError, match="No space left"):
        write(paths, CHANGE)
    monkeypatch.undo()
    assert paths.config.read_text() == packaged_text()
    assert events(paths) == ["MUTATION_INTENT", "MUTATION_FAILED"]
    assert not list(paths.config.parent.glob("*.tmp"))
    write(paths, CHANGE)


def test_concurrent_changes_all_happen_one_after_the_other(paths):
    """Several writers at once lose nothing: each finds the file that the one before wrote."""
    keys = ["cusum_k", "entropy_threshold", "sinkhorn_alpha", "holder_threshold"]
    threads = [threading.Thread(target=write, args=(paths, {f"orchestration.{key}": 0.55})) for key in keys]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = load(paths.config).orchestration
    assert [getattr(found, key) for key in keys] == [0.55] * 4
    assert verify(paths.audit_log) == []


def test_the_limiter_is_applied_inside_the_writer(paths):
    """With a limiter a change that is too large or too soon is refused before the file is touched."""
    limiter = MutationRateLimiter(stability_steps_required=0, max_mutations_per_hour=1)
    with pytest.raises(ConfigMutationError, match="too large"):
        write(paths, {"orchestration.cusum_k": 0.9}, limiter=limiter)
    write(paths, CHANGE, limiter=limiter)
    with pytest.raises(ConfigMutationError, match="Rate limit"):
        write(paths, {"orchestration.cusum_k": 0.8}, limiter=limiter)
    assert load(paths.config).orchestration.cusum_k == 0.72


def killed_at(name, action):
    """Run the action in a child process that is killed at a failpoint; true if it was."""
    child = os.fork()
    if child == 0:
        failpoints.configure(f"{name}:kill")
        try:
            action()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


@pytest.mark.parametrize("committed", [False, True])
@pytest.mark.parametrize("name", [*PHASES, *AUDIT_POINTS])
def test_a_kill_anywhere_leaves_the_old_or_the_new_file(paths, name, committed):
    """SIGKILL at every named point, then a start: the file is one of its two versions, and the audit says which."""
    new_text, _ = changed(packaged_text(), CHANGE)
    new_hash = load(new_text).content_hash
    assert killed_at(name, lambda: write(paths, CHANGE))
    assert paths.config.read_text() in (packaged_text(), new_text)
    done_before = "MUTATION_SUCCESS" in events(paths)
    had_intent = "MUTATION_INTENT" in events(paths)
    reconcile(paths.config, paths.audit_log, new_hash if committed else None)
    is_new = paths.config.read_text() == new_text
    assert is_new == (done_before or (committed and had_intent))
    assert paths.config.read_text() in (packaged_text(), new_text)
    results = [event for event in events(paths) if event != "MUTATION_INTENT"]
    assert results == ([] if not had_intent else ["MUTATION_SUCCESS"] if is_new else ["MUTATION_ABORTED"])
    assert verify(paths.audit_log) == []
    assert reconcile(paths.config, paths.audit_log, None) == []
    assert not list(paths.config.parent.glob("*.tmp"))


def test_an_edit_by_somebody_else_is_noticed_before_the_intent(paths):
    """A text that was made from another version of the file is refused, with a way out."""
    planned = mutation(paths, CHANGE)
    paths.config.write_text(packaged_text() + "# a note\n")
    with pytest.raises(ConfigMutationError, match="edited by somebody else"):
        open_mutation(paths, planned)
    assert events(paths) == []


def test_an_edit_between_intent_and_replace_is_noticed(paths):
    """The file's hash is looked at again before the replace; the operator's edit wins and nothing is lost."""
    planned = mutation(paths, CHANGE)
    open_mutation(paths, planned)
    edited = packaged_text() + "# a note\n"
    paths.config.write_text(edited)
    with pytest.raises(ConfigMutationError, match="edited by somebody else"):
        replace_config(paths, "p-1", planned.text)
    assert "somebody edited it" in reconcile(paths.config, paths.audit_log, None)[0]
    assert paths.config.read_text() == edited
    assert events(paths)[-1] == "MUTATION_ABORTED"


def test_every_phase_may_be_done_twice(paths):
    """A phase that is repeated after a retry changes nothing more."""
    planned = mutation(paths, CHANGE)
    assert open_mutation(paths, planned) == open_mutation(paths, planned)
    replace_config(paths, "p-1", planned.text)
    replace_config(paths, "p-1", planned.text)
    close_mutation(paths, "p-1", "MUTATION_SUCCESS")
    close_mutation(paths, "p-1", "MUTATION_SUCCESS")
    assert events(paths) == ["MUTATION_INTENT", "MUTATION_SUCCESS"]
    assert len(stamped_backups(paths.config)) == 1


def test_an_unfinished_change_blocks_others_with_a_way_out(paths):
    """While one change is between its phases another one is refused, not mixed in."""
    open_mutation(paths, mutation(paths, CHANGE))
    with pytest.raises(ConfigMutationError, match="not finished"):
        write(paths, {"orchestration.cusum_h": 6.0})
    reconcile(paths.config, paths.audit_log, None)
    write(paths, {"orchestration.cusum_h": 6.0})


def test_a_replace_without_its_intent_is_refused(paths):
    """Nothing reaches the file that the audit log does not know."""
    with pytest.raises(ConfigMutationError, match="no open intent"):
        replace_config(paths, "p-9", packaged_text())


def test_a_backup_that_was_tampered_with_is_not_restored(paths):
    """Undoing a change needs the very version before it; anything else stops with an explanation."""
    planned = mutation(paths, CHANGE)
    backup = open_mutation(paths, planned)
    replace_config(paths, "p-1", planned.text)
    backup.write_text("# something else\n")
    with pytest.raises(ConfigMutationError, match="by hand"):
        reconcile(paths.config, paths.audit_log, None)
    assert paths.config.read_text() == planned.text


def test_a_committed_change_is_finished_even_if_the_file_went_back(paths):
    """When the epoch is committed, reconcile makes the file the new version, whatever the disk says."""
    planned = mutation(paths, CHANGE)
    open_mutation(paths, planned)
    reconcile(paths.config, paths.audit_log, planned.config_hash)
    assert paths.config.read_text() == planned.text
    assert events(paths)[-1] == "MUTATION_SUCCESS"


def test_backups_are_named_by_appending_and_limited(paths):
    """config.toml.bak, never config.bak; time-stamped ones have parts of a second and a limit."""
    for value in (0.6, 0.7, 0.8):
        write(paths, {"orchestration.cusum_k": value})
    assert len(stamped_backups(paths.config)) == 3
    assert not paths.config.with_name("config.bak").exists()
    newest = stamped_backups(paths.config)[-1]
    assert newest.read_text() == paths.config.with_name("config.toml.bak").read_text()
    prune_backups(paths.config, keep=1)
    assert stamped_backups(paths.config) == [newest]


def test_create_config_backup(paths):
    """The utility copies the file, and says what is missing."""
    create_config_backup(paths.config)
    assert paths.config.with_name("config.toml.bak").read_text() == packaged_text()
    elsewhere = paths.config.with_name("elsewhere")
    create_config_backup(paths.config, elsewhere)
    assert elsewhere.read_text() == packaged_text()
    with pytest.raises(FileNotFoundError, match=r"none\.toml"):
        create_config_backup(paths.config.with_name("none.toml"))


def test_an_old_style_audit_line_does_not_hide_an_open_intent(paths):
    """Other events after an intent leave it open."""
    open_mutation(paths, mutation(paths, CHANGE))
    append_audit_log(paths.audit_log, {"event": "EPOCH_VERDICT"})
    assert reconcile(paths.config, paths.audit_log, None)
