/* SPDX-License-Identifier: Apache-2.0 */
/* test_header_cxx.cpp - pv.h as a C++11 program sees it: -std=c++11 -Wall -Wextra -Wpedantic
 * without a warning, every INIT macro as an initialiser, every kind of call linked with C names.
 * Prints `3 passed, 0 failed`; needs nothing but the library. */
#include <pv.h>
#include <pv_unstable.h>

#include <cstdio>
#include <cstring>

static int t_failed = 0;

static void t_case(bool ok, const char *what) {
    if (!ok) {
        std::fprintf(stderr, "failed: %s\n", what);
        t_failed++;
    }
}

static bool t_initialisers() {
    pv_open_opts a = PV_OPEN_OPTS_INIT;
    pv_collection_opts b = PV_COLLECTION_OPTS_INIT;
    pv_collection_info c = PV_COLLECTION_INFO_INIT;
    pv_record d = PV_RECORD_INIT;
    pv_batch e = PV_BATCH_INIT;
    pv_write_opts f = PV_WRITE_OPTS_INIT;
    pv_ids g = PV_IDS_INIT;
    pv_query h = PV_QUERY_INIT;
    pv_query_vectors i = PV_QUERY_VECTORS_INIT;
    pv_iter_opts j = PV_ITER_OPTS_INIT;
    pv_stats k = PV_STATS_INIT;
    pv_error l = PV_ERROR_INIT;
    return a.struct_size == sizeof(a) && b.struct_size == sizeof(b) && c.struct_size == sizeof(c) &&
           d.struct_size == sizeof(d) && e.struct_size == sizeof(e) && f.struct_size == sizeof(f) &&
           g.struct_size == sizeof(g) && h.struct_size == sizeof(h) && i.struct_size == sizeof(i) &&
           j.struct_size == sizeof(j) && k.struct_size == sizeof(k) && l.struct_size == sizeof(l);
}

static bool t_round_trip() {
    pv_db *db = nullptr;
    pv_results *res = nullptr;
    pv_error err = PV_ERROR_INIT;
    const float v[2] = {0.6f, 0.8f};
    pv_collection_opts c = PV_COLLECTION_OPTS_INIT;
    c.dims = 2;
    pv_record r = PV_RECORD_INIT;
    r.id = "a";
    r.vector = v;
    r.dims = 2;
    pv_query q = PV_QUERY_INIT;
    q.vector = v;
    q.dims = 2;
    bool ok = pv_open(":memory:", nullptr, &db, &err) == 0 &&
              pv_collection_ensure(db, nullptr, "docs", &c, &err) == 0 &&
              pv_upsert(db, nullptr, "docs", &r, 1, nullptr, &err) == 0 &&
              pv_search(db, nullptr, "docs", &q, &res, &err) == 0 && pv_results_count(res) == 1 &&
              std::strcmp(pv_results_id(res, 0), "a") == 0;
    pv_results_free(res);
    return pv_close(db, nullptr) == 0 && ok;
}

int main() {
    t_case(pv_version_number() == PV_VERSION_NUMBER, "version");
    t_case(t_initialisers(), "initialisers");
    t_case(t_round_trip(), "round trip");
    std::printf("%d passed, %d failed\n", 3 - t_failed, t_failed);
    return t_failed ? 1 : 0;
}
