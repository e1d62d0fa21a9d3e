/* SPDX-License-Identifier: Apache-2.0 */
/* log.h - messages to the caller's callback; silent without one. The library never prints. */
#ifndef PV_BASE_LOG_H
#define PV_BASE_LOG_H

#include "base/base.h"

typedef struct pv__logger {
    pv_log_fn fn; /* NULL: silent */
    void *ctx;
    int level_max; /* PV_LOG_* */
} pv__logger;

PV_PRIVATE void pv__log(const pv__logger *l, int level, const char *category, const char *fmt, ...)
    PV_PRINTF(4, 5);

#endif
