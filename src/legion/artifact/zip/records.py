"""The records of a ZIP file, as the reader and the writer share them.

Source: APPNOTE.TXT - .ZIP File Format Specification, 6.3.10, sections 4.3 to 4.5. Numbers are little-endian.
"""

from __future__ import annotations

from struct import Struct

STORED = 0
DEFLATED = 8

UTF8 = 0x800
DESCRIPTOR = 0x8

FULL_16 = 0xFFFF
FULL_32 = 0xFFFFFFFF
ZIP64_FIELD = 0x0001

# signature, version needed, flags, method, time, date, crc, compressed size, size, name length, extra length
LOCAL = Struct("<4s5H3I2H")
LOCAL_SIGNATURE = b"PK\x03\x04"

# signature, made by, version needed, flags, method, time, date, crc, compressed size, size, name length,
# extra length, comment length, disk, internal attributes, external attributes, offset of the local record
CENTRAL = Struct("<4s6H3I5H2I")
CENTRAL_SIGNATURE = b"PK\x01\x02"

# crc, compressed size, size: after the data, behind the signature or without it
DESCRIPTOR_32 = Struct("<3I")
DESCRIPTOR_64 = Struct("<IQQ")
DESCRIPTOR_SIGNATURE = b"PK\x07\x08"

# signature, this disk, the directory's disk, entries here, entries, directory's size, its offset,
# comment length
END = Struct("<4s4H2IH")
END_SIGNATURE = b"PK\x05\x06"

# signature, size of the rest, made by, version needed, this disk, the directory's disk, entries here,
# entries, directory's size, its offset
END_64 = Struct("<4sQ2H2I4Q")
END_64_SIGNATURE = b"PK\x06\x06"

# signature, disk of the record above, its offset, disks
LOCATOR = Struct("<4sIQI")
LOCATOR_SIGNATURE = b"PK\x06\x07"
