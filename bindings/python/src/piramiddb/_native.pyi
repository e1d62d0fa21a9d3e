# SPDX-License-Identifier: Apache-2.0
# What cffi makes of pv.h and glue.h. Its types are C's; the modules beside give them Python's.
from typing import Any

ffi: Any
lib: Any
