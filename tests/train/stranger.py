"""Check every checksum of a file as docs/formats.md describes them, without the program."""
import struct
import sys

import h5py

TABLE = []
for i in range(256):
    for _ in range(8):
        i = i >> 1 ^ (0x82F63B78 if i & 1 else 0)
    TABLE.append(i)


def crc32c(data, crc=0):
    """Plain: begins with crc and is not inverted."""
    for byte in data:
        crc = crc >> 8 ^ TABLE[(crc ^ byte) & 255]
    return crc


def check_arrays(file):
    places = []

    def visit(name, x):
        if not isinstance(x, h5py.Dataset) or "checksums" not in x.attrs:
            return
        rows = x.attrs["checksum_rows"][0]
        for b, expected in enumerate(x.attrs["checksums"]):
            data = x[()] if x.shape == () else x[b * rows:(b + 1) * rows]
            assert crc32c(data.tobytes(), 0xFFFFFFFF) ^ 0xFFFFFFFF == expected, (name, b)
        places.append((x.id.get_offset(), x.nbytes))

    file.visititems(visit)
    return sorted(places)


def check_rest(path, places):
    data = open(path, "rb").read()
    size, arrays, crc, zero, magic = struct.unpack("<qqII8s", data[-32:])
    assert magic == b"ltmseal2" and zero == 0 and size + 16 * arrays + 32 == len(data)
    listed = [struct.unpack_from("<qq", data, size + 16 * i) for i in range(arrays)]
    assert listed == places
    others, at = b"", 0
    for place, count in places:
        others += data[at:place]
        at = place + count
    assert crc32c(others + data[at:size] + data[size:-16]) == crc


for path in sys.argv[1:]:
    with h5py.File(path, "r") as file:
        found = check_arrays(file)
    check_rest(path, found)
    print(f"{path}: {len(found)} arrays")
