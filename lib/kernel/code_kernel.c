/* SPDX-License-Identifier: Apache-2.0 */
/* code_kernel.c - choice of the table of sums over codes. */
#include "kernel/code_kernel.h"

#include "os/sys.h"

const pv__code_kernel *pv__code_kernel_at(size_t index) {
#if PV__KERNEL_X86
    switch (index) {
    case 0:
        return pv__code_kernel_scalar();
    case 1:
        return pv__code_kernel_avx2();
    case 2:
        return pv__code_kernel_avx512();
    default:
        return NULL;
    }
#elif PV__KERNEL_ARM
    switch (index) {
    case 0:
        return pv__code_kernel_scalar();
    case 1:
        return pv__code_kernel_neon();
#if PV__KERNEL_DOTPROD
    case 2:
        return pv__code_kernel_dotprod();
#endif
    default:
        return NULL;
    }
#else
    return index == 0 ? pv__code_kernel_scalar() : NULL;
#endif
}

const pv__code_kernel *pv__code_kernel_table(uint32_t cpu) {
    const pv__code_kernel *best = pv__code_kernel_scalar();
    for (size_t i = 1; pv__code_kernel_at(i); i++) {
        const pv__code_kernel *k = pv__code_kernel_at(i);
        if ((cpu & k->cpu) == k->cpu) {
            best = k;
        }
    }
    return best;
}

const pv__code_floats *pv__code_floats_table(uint32_t cpu) {
#if PV__KERNEL_X86
    if (cpu & PV__CPU_AVX2) {
        return cpu & PV__CPU_AVX512 ? pv__code_floats_avx512() : pv__code_floats_avx2();
    }
#elif PV__KERNEL_ARM
    if (cpu & PV__CPU_NEON) {
        return pv__code_floats_neon();
    }
#endif
    (void)cpu;
    return pv__code_floats_scalar();
}
