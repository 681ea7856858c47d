"""Code versions: what they are, where they are stored, and how one becomes an environment on disk.

    version = capture("path/to/project")
    store = open_store("file:///var/lib/hwe/artifacts")
    store.put(version)
    with EnvCache("/var/cache/hwe", store).lease(version.hash) as environment:
        subprocess.run([environment.python, "-m", "orders"])

Every error is an EnvsError.
"""

from envs.artifact import read_file
from envs.cache import FINAL_PHASES, EnvCache, Lease
from envs.capture import CodeVersion, capture
from envs.difference import (
    Difference,
    FileChange,
    RequirementChange,
    difference,
    file_changes,
    requirement_changes,
)
from envs.errors import (
    AmbiguousHash,
    ArtifactCorrupt,
    BuildGivenUp,
    CacheUnusable,
    CaseCollision,
    CodeVersionNotFound,
    EnvironmentBroken,
    EnvironmentBuildFailed,
    EnvironmentDamaged,
    EnvsError,
    HashInvalid,
    IndexUnreachable,
    ProjectChanged,
    ProjectError,
    ProjectNotFound,
    ProjectSettingsInvalid,
    ProjectTooLarge,
    PythonNotFound,
    PythonUnsupported,
    StoreError,
    StoreNotSupported,
    StoreUnusable,
    SymlinkEscapes,
    SymlinkToDirectory,
    UnlockedRequirements,
    UnreadableFile,
    UnsupportedFile,
    UnusableName,
    WheelsUnusable,
)
from envs.eviction import Eviction, evict
from envs.failures import Failure, failed_builds
from envs.inspection import Inspected, inspect_environment, inspect_layer
from envs.interpreters import Interpreter, find_interpreter, find_interpreters
from envs.inventory import CachedLayer, CachedVersion, Inventory, Quarantined, take_inventory
from envs.manifest import FileEntry, Lock, Manifest
from envs.materialize import Environment
from envs.sandbox_settings import SandboxSettings
from envs.settings import ProjectSettings, read_project_settings
from envs.stores import (
    ArtifactStore,
    DirectoryStore,
    KeepsFiles,
    Storable,
    StoredArtifact,
    copy_version,
    files_of,
    open_store,
    read_stored_file,
)
from envs.wheel_building import store_wheels
from envs.wheels import Wheel, WheelList, copy_wheels

__all__ = [
    "FINAL_PHASES",
    "AmbiguousHash",
    "ArtifactCorrupt",
    "ArtifactStore",
    "BuildGivenUp",
    "CacheUnusable",
    "CachedLayer",
    "CachedVersion",
    "CaseCollision",
    "CodeVersion",
    "CodeVersionNotFound",
    "Difference",
    "DirectoryStore",
    "EnvCache",
    "Environment",
    "EnvironmentBroken",
    "EnvironmentBuildFailed",
    "EnvironmentDamaged",
    "EnvsError",
    "Eviction",
    "Failure",
    "FileChange",
    "FileEntry",
    "HashInvalid",
    "IndexUnreachable",
    "Inspected",
    "Interpreter",
    "Inventory",
    "KeepsFiles",
    "Lease",
    "Lock",
    "Manifest",
    "ProjectChanged",
    "ProjectError",
    "ProjectNotFound",
    "ProjectSettings",
    "ProjectSettingsInvalid",
    "ProjectTooLarge",
    "PythonNotFound",
    "PythonUnsupported",
    "Quarantined",
    "RequirementChange",
    "SandboxSettings",
    "Storable",
    "StoreError",
    "StoreNotSupported",
    "StoreUnusable",
    "StoredArtifact",
    "SymlinkEscapes",
    "SymlinkToDirectory",
    "UnlockedRequirements",
    "UnreadableFile",
    "UnsupportedFile",
    "UnusableName",
    "Wheel",
    "WheelList",
    "WheelsUnusable",
    "capture",
    "copy_version",
    "copy_wheels",
    "difference",
    "evict",
    "failed_builds",
    "file_changes",
    "files_of",
    "find_interpreter",
    "find_interpreters",
    "inspect_environment",
    "inspect_layer",
    "open_store",
    "read_file",
    "read_project_settings",
    "read_stored_file",
    "requirement_changes",
    "store_wheels",
    "take_inventory",
]
