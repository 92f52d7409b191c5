"""Where one request goes."""

from __future__ import annotations

import msgspec

from legion.gateway.deployments.release import Release
from legion.gateway.deployments.variant import Variant


class Choice(msgspec.Struct, frozen=True):
    """`release` answers the request, for `variant`; the variant may have another release by the time of the answer."""

    variant: Variant
    release: Release
