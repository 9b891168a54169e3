"""[[objects]]: what is published, and by which metainfo."""

from typing import Annotated, Literal, TypeAlias

from pydantic import ValidationInfo, field_validator

from seeder.config.fields import (
    ExistingFile,
    KeyPrefix,
    Moment,
    ObjectKey,
    Settings,
    Time,
    Token,
    array,
    choice,
    count,
    size,
    source_of,
    text,
)
from seeder.config.origins import DEFAULT_ORIGIN
from seeder.config.texts import one_of
from seeder.torrent.layout import LARGEST_PIECE_LENGTH, SMALLEST_PIECE_LENGTH
from seeder.torrent.objects import ObjectRef

MOST_OBJECTS = 1_000_000
Rung: TypeAlias = Literal["origin", "sidecar", "checksums", "build"]
RUNGS: tuple[Rung, ...] = ("origin", "sidecar", "checksums", "build")
Verify: TypeAlias = Literal["sample", "all"]
VERIFY: tuple[Verify, ...] = ("sample", "all")
TorrentFormat: TypeAlias = Literal["v1", "hybrid"]
TORRENT_FORMATS: tuple[TorrentFormat, ...] = ("v1", "hybrid")
_PieceLength = Annotated[
    int, size(least=SMALLEST_PIECE_LENGTH, most=LARGEST_PIECE_LENGTH, power_of_two=True)
]


class ObjectSettings(Settings):
    """[[objects]]: what to publish, an object or all below a prefix, and where metainfo comes from.

    It has either a `key` or a `prefix`; `seeder.config.combinations` checks that it has one.
    """

    origin: str = DEFAULT_ORIGIN
    # Old AWS names may be long or hold capitals; Ceph writes TENANT:BUCKET.
    bucket: Annotated[
        str, text("[A-Za-z0-9][A-Za-z0-9._:-]*", "the name of a bucket, without a slash", 255)
    ]
    key: ObjectKey | None = None
    prefix: KeyPrefix | None = None
    """What the keys of all its objects begin with; "" is the whole bucket."""
    max_objects: Annotated[int, count(1, MOST_OBJECTS)] = 10_000
    """Below the prefix; if there are more, none is published."""
    version_id: Token | None = None
    metainfo: Annotated[
        tuple[Annotated[Rung, choice(RUNGS)], ...], array('["origin", "build"]', least=1)
    ] = RUNGS
    torrent_file: ExistingFile | None = None
    piece_length: _PieceLength | None = None
    """Bytes; None: chosen by the object's size."""
    private: bool = False
    public: bool | None = None
    """Whether anybody may fetch the torrent; None means that anybody may unless it is private."""
    format: Annotated[TorrentFormat, choice(TORRENT_FORMATS)] = "v1"
    verify: Annotated[Verify, choice(VERIFY)] = "sample"
    refresh: Time = 600.0
    publish_at: Moment | None = None
    """Until then nobody hears of it (Unix s); None publishes it at once."""
    bundle: bool = False
    """Whether there is one torrent of all objects below the prefix, not one for each."""
    warm: bool = False
    """Whether all of its pieces are read into the cache ahead."""
    write_sidecar: bool = False
    """Whether the torrent is put beside the object, as KEY.torrent."""

    @property
    def ref(self) -> ObjectRef:
        """The object, as the rest of the program names it; its key may be a prefix."""
        key = self.prefix if self.key is None else self.key
        return ObjectRef(self.origin, self.bucket, key or "", self.version_id)

    def of(self, key: str) -> "ObjectSettings":
        """Return the section of one object below the prefix."""
        return self.model_copy(update={"key": key, "prefix": None})

    @property
    def is_public(self) -> bool:
        """Whether anybody may fetch the torrent."""
        return not self.private if self.public is None else self.public

    @field_validator("origin", mode="before")
    @classmethod
    def _known_origin(cls, name: object, info: ValidationInfo) -> object:
        source = source_of(info)
        return one_of(str(name), sorted(source.origins)) if source else name

    @field_validator("prefix")
    @classmethod
    def _key_or_prefix(cls, prefix: str | None, info: ValidationInfo) -> str | None:
        if prefix is not None and info.data.get("key") is not None:
            raise ValueError("want either a key or a prefix, not both")
        return prefix

    @field_validator("max_objects", "version_id", "torrent_file")
    @classmethod
    def _goes_along(cls, value: object, info: ValidationInfo) -> object:
        has_prefix = info.data.get("prefix") is not None
        if info.field_name == "max_objects" and not has_prefix:
            raise ValueError("goes with a prefix, and this is one object")
        if info.field_name != "max_objects" and value is not None and has_prefix:
            raise ValueError("goes with a key, and this is a prefix of many")
        return value

    @field_validator("bundle")
    @classmethod
    def _bundles_are_built(cls, bundle: bool, info: ValidationInfo) -> bool:
        if bundle and info.data.get("prefix", "") is None:
            raise ValueError("goes with a prefix, and this is one object")
        if bundle and "build" not in info.data.get("metainfo", ("build",)):
            raise ValueError('want "build" in metainfo: there is no other torrent of a prefix')
        if bundle and info.data.get("format") == "hybrid":
            raise ValueError('goes with format = "v1" only: bundles can\'t be hybrids')
        return bundle

    @field_validator("write_sidecar")
    @classmethod
    def _sidecars_are_for_all(cls, write: bool, info: ValidationInfo) -> bool:
        told = info.data
        if write and (told.get("bundle") or told.get("version_id") is not None):
            raise ValueError("goes with objects in their newest version, and not with a bundle")
        public = told.get("public")
        if write and not (not told.get("private") if public is None else public):
            raise ValueError(
                "want public = true, too: who may read the object in S3 can read the torrent there"
            )
        return write

    @field_validator("metainfo")
    @classmethod
    def _each_rung_once(cls, rungs: tuple[Rung, ...]) -> tuple[Rung, ...]:
        if len(set(rungs)) < len(rungs):
            raise ValueError("want each source once")
        return rungs
