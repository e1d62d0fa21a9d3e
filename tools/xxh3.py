#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""XXH3-64 with a seed, for tools that read the file format without the library.

hash64 is the fastest of: the package `xxhash`, the system's libxxhash, the code below. All give
the same numbers (https://github.com/Cyan4973/xxHash, doc/xxhash_spec.md); tests/cli/test_pvread.py
compares the code below with numbers of the library.
"""
import ctypes
import ctypes.util
import struct

_M64 = (1 << 64) - 1
_P32_1, _P32_2, _P32_3 = 0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D
_P64_1, _P64_2, _P64_3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
_P64_4, _P64_5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5
_SECRET = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671f"
    "cb79e64eccc0e578825ad07dccff7221b8084674f743248ee03590e6813a264c"
    "3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8"
    "a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364"
    "eac5ac8334d3ebc3c581a0fffa1363eb170ddd51b7f0da49d316552629d4689e"
    "2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e")


def _r32(b, at):
    return struct.unpack_from("<I", b, at)[0]


def _r64(b, at):
    return struct.unpack_from("<Q", b, at)[0]


def _fold(a, b):
    product = a * b
    return (product & _M64) ^ (product >> 64)


def _swap(x, size):
    return int.from_bytes(x.to_bytes(size, "little"), "big")


def _rotl(x, n):
    return ((x << n) | (x >> (64 - n))) & _M64


def _avalanche3(h):
    h ^= h >> 37
    h = h * 0x165667919E3779F9 & _M64
    return h ^ (h >> 32)


def _avalanche64(h):
    h ^= h >> 33
    h = h * _P64_2 & _M64
    h ^= h >> 29
    h = h * _P64_3 & _M64
    return h ^ (h >> 32)


def _short(b, n, seed):
    s = _SECRET
    if n == 0:
        return _avalanche64(seed ^ _r64(s, 56) ^ _r64(s, 64))
    if n <= 3:
        mixed = b[0] << 16 | b[n >> 1] << 24 | b[n - 1] | n << 8
        return _avalanche64(mixed ^ ((_r32(s, 0) ^ _r32(s, 4)) + seed & _M64))
    if n <= 8:
        seed ^= _swap(seed & 0xFFFFFFFF, 4) << 32
        flip = (_r64(s, 8) ^ _r64(s, 16)) - seed & _M64
        h = (_r32(b, n - 4) + (_r32(b, 0) << 32) & _M64) ^ flip
        h ^= _rotl(h, 49) ^ _rotl(h, 24)
        h = h * 0x9FB21C651E98DF25 & _M64
        h ^= (h >> 35) + n
        h = h * 0x9FB21C651E98DF25 & _M64
        return h ^ (h >> 28)
    low = _r64(b, 0) ^ ((_r64(s, 24) ^ _r64(s, 32)) + seed & _M64)
    high = _r64(b, n - 8) ^ ((_r64(s, 40) ^ _r64(s, 48)) - seed & _M64)
    return _avalanche3(n + _swap(low, 8) + high + _fold(low, high) & _M64)


def _mix16(b, at, s_at, seed):
    return _fold(_r64(b, at) ^ (_r64(_SECRET, s_at) + seed & _M64),
                 _r64(b, at + 8) ^ (_r64(_SECRET, s_at + 8) - seed & _M64))


def _middle(b, n, seed):
    acc = n * _P64_1
    if n <= 128:
        for i in range((n - 1) // 32, -1, -1):
            acc += _mix16(b, 16 * i, 32 * i, seed) + _mix16(b, n - 16 * i - 16, 32 * i + 16, seed)
        return _avalanche3(acc & _M64)
    for i in range(8):
        acc += _mix16(b, 16 * i, 16 * i, seed)
    acc = _avalanche3(acc & _M64)
    for i in range(8, n // 16):
        acc += _mix16(b, 16 * i, 16 * (i - 8) + 3, seed)
    return _avalanche3(acc + _mix16(b, n - 16, 136 - 17, seed) & _M64)


def _stripe(acc, v, k):
    for i in range(8):
        x = v[i] ^ k[i]
        acc[i ^ 1] += v[i]
        acc[i] = acc[i] + (x & 0xFFFFFFFF) * (x >> 32) & _M64


def _long(b, n, seed):
    secret = _SECRET
    if seed:
        words = struct.unpack("<24Q", secret)
        secret = struct.pack("<24Q", *((w + (-seed if i & 1 else seed)) & _M64
                                       for i, w in enumerate(words)))
    keys = [struct.unpack_from("<8Q", secret, 8 * i) for i in range(16)]
    last = struct.unpack_from("<8Q", secret, 128)
    acc = [_P32_3, _P64_1, _P64_2, _P64_3, _P64_4, _P32_2, _P64_5, _P32_1]
    for number in range((n - 1) // 64):
        _stripe(acc, struct.unpack_from("<8Q", b, 64 * number), keys[number % 16])
        if number % 16 == 15:
            for i in range(8):
                x = acc[i] & _M64
                acc[i] = ((x ^ (x >> 47)) ^ last[i]) * _P32_1 & _M64
    _stripe(acc, struct.unpack_from("<8Q", b, n - 64), struct.unpack_from("<8Q", secret, 121))
    h = n * _P64_1
    for i in range(4):
        h += _fold((acc[2 * i] & _M64) ^ _r64(secret, 11 + 16 * i),
                   (acc[2 * i + 1] & _M64) ^ _r64(secret, 19 + 16 * i))
    return _avalanche3(h & _M64)


def hash64_python(data, seed=0):
    n = len(data)
    return (_short if n <= 16 else _middle if n <= 240 else _long)(data, n, seed)


def _choose():
    try:
        import xxhash
        return lambda data, seed=0: xxhash.xxh3_64_intdigest(bytes(data), seed)
    except ImportError:
        pass
    try:
        name = ctypes.util.find_library("xxhash")
        found = ctypes.CDLL(name).XXH3_64bits_withSeed if name else None
    except (OSError, AttributeError):
        found = None
    if not found:
        return hash64_python
    found.restype = ctypes.c_uint64
    found.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint64]
    return lambda data, seed=0: found(bytes(data), len(data), seed)


hash64 = _choose()
