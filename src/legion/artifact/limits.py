"""How much an archive may hold."""

from __future__ import annotations

import msgspec

from legion.errors import ArchiveError

MIB = 1024 * 1024
GIB = 1024 * MIB


class Limits(msgspec.Struct, frozen=True):
    """What is opened at most, counted while inflating. The defaults leave room for models of tens of GiB.

    `members` counts files and folders. `total_bytes` is what all of them inflate to. `ratio` is inflated bytes
    to bytes of the archive's file; it counts once more than `ratio_from` bytes have come out, so that a small
    and very regular model is not taken for a bomb. `directory_bytes` bounds a ZIP's list of members,
    `manifest_bytes` the manifest.
    """

    members: int = 100_000
    total_bytes: int = 128 * GIB
    ratio: int = 200
    ratio_from: int = 64 * MIB
    directory_bytes: int = 64 * MIB
    manifest_bytes: int = 64 * 1024

    def check(self, inflated: int, packed: int, member: str | None) -> None:
        """Refuse the archive once `inflated` bytes came, or will come, out of a file of `packed` bytes."""
        at = "" if member is None else f", at the member {member!r}"
        if inflated > self.total_bytes:
            raise ArchiveError(
                f"the archive holds more than {self.total_bytes:,} bytes{at}; pack less, or open it with wider Limits",
                member,
            )
        if inflated > self.ratio_from and inflated > self.ratio * packed:
            raise ArchiveError(
                f"the archive inflates to more than {self.ratio} times its size{at}, as only a bomb or "
                "an empty model does; pack it with legion pack if it is your own",
                member,
            )


DEFAULT = Limits()
