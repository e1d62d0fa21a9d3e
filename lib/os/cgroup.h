/* SPDX-License-Identifier: Apache-2.0 */
/* cgroup.h - the limits that a Linux container sets for this process; for sys.c. */
#ifndef PV_OS_CGROUP_H
#define PV_OS_CGROUP_H

#include "base/base.h"

/* Bytes of memory this process's control groups allow (v1 or v2, the tightest on the way to the
 * root), UINT64_MAX when there is no limit or no control group. Never fails. */
PV_PRIVATE uint64_t pv__cgroup_memory_bytes(void);
/* Whole processors' worth of time allowed, rounded up; UINT_MAX when not limited. */
PV_PRIVATE unsigned pv__cgroup_cores(void);

#endif
