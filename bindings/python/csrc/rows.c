/* SPDX-License-Identifier: Apache-2.0 */
/* rows.c - the module piramiddb._rows: the usual search, and the rows of an answer as an object.
 *
 * What is called once for every search stands here in C; all else goes through cffi. One call of a
 * function by cffi costs Python about as much as a small search, and each object that stands for
 * memory of C as much again. Nothing of the library is linked in: glue.c hands a table of it over.
 *
 * Python's stable ABI of 3.9 has no Py_buffer, though all versions have had it as it stands below;
 * 3.11 made it stable like this.
 *
 * The interpreter's lock is let go for the search alone. */
#define Py_LIMITED_API 0x03090000
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include "glue.h"

typedef struct rows_buffer {
    void *buf;
    PyObject *obj;
    Py_ssize_t len, itemsize;
    int readonly, ndim;
    char *format;
    Py_ssize_t *shape, *strides, *suboffsets;
    void *internal;
} rows_buffer;
#if Py_LIMITED_API < 0x030b0000
extern int PyObject_GetBuffer(PyObject *object, rows_buffer *view, int flags);
extern void PyBuffer_Release(rows_buffer *view);
#endif

typedef struct rows_object {
    PyObject_HEAD pv_results *results; /* NULL: no rows */
    PyObject *owner;                   /* what the results belong to; NULL: to this object */
    Py_ssize_t count;
    char texts; /* keys are strings */
} rows_object;

/* One row of an answer; Python's Hit is a subclass. */
typedef struct hit_object {
    PyObject_HEAD PyObject *results; /* what has the rows */
    PyObject *id, *score;
    Py_ssize_t row;
} hit_object;

/* All are written once, when the module is imported. */
static const pvpy_table *rows_c;
static PyTypeObject *rows_type, *hit_type;

/* Takes the results over, in every case. */
static PyObject *rows_new(pv_results *results, PyObject *owner) {
    rows_object *rows = PyObject_New(rows_object, rows_type);
    if (!rows) {
        if (!owner) {
            rows_c->results_free(results);
        }
        return NULL;
    }
    Py_XINCREF(owner);
    rows->results = results;
    rows->owner = owner;
    rows->count = (Py_ssize_t)rows_c->results_count(results);
    rows->texts = rows_c->results_ids_text(results, NULL) != NULL;
    return (PyObject *)rows;
}

static void rows_dealloc(PyObject *self) {
    rows_object *rows = (rows_object *)self;
    PyTypeObject *type = Py_TYPE(self);
    if (rows->owner) {
        Py_DECREF(rows->owner);
    } else if (rows->results) {
        rows_c->results_free(rows->results);
    }
    PyObject_Free(self);
    Py_DECREF(type); /* of types made by PyType_FromSpec an object holds one */
}

static PyObject *rows_bytes(const void *column, Py_ssize_t size) {
    return PyBytes_FromStringAndSize(column ? column : "", column ? size : 0);
}

static PyObject *rows_address(PyObject *self, PyObject *unused) {
    (void)unused;
    return PyLong_FromVoidPtr(((rows_object *)self)->results);
}

/* The ids of all rows: texts with offsets, or numbers. */
typedef struct rows_ids {
    const char *text;
    const uint64_t *at, *numbers;
} rows_ids;

static rows_ids rows_ids_of(const rows_object *rows) {
    rows_ids ids = {NULL, NULL, rows_c->results_ids_u64(rows->results)};
    ids.text = rows_c->results_ids_text(rows->results, &ids.at);
    return ids;
}

static PyObject *rows_key(const rows_ids *ids, Py_ssize_t i) {
    if (!ids->text) {
        return PyLong_FromUnsignedLongLong(ids->numbers[i]);
    }
    const Py_ssize_t size = (Py_ssize_t)(ids->at[i + 1] - ids->at[i] - 1); /* without its NUL */
    return PyUnicode_DecodeUTF8(ids->text + ids->at[i], size, NULL);
}

static PyObject *rows_keys(PyObject *self, PyObject *unused) {
    const rows_object *rows = (rows_object *)self;
    const rows_ids ids = rows_ids_of(rows);
    PyObject *list = PyList_New(rows->count);
    (void)unused;
    for (Py_ssize_t i = 0; list && i < rows->count; i++) {
        PyObject *key = rows_key(&ids, i);
        if (!key) {
            Py_DECREF(list);
            return NULL;
        }
        PyList_SetItem(list, i, key); /* takes it over */
    }
    return list;
}

static PyObject *rows_numbers(PyObject *self, PyObject *unused) {
    const rows_object *rows = (rows_object *)self;
    (void)unused;
    return rows_bytes(rows_c->results_ids_u64(rows->results),
                      rows->count * (Py_ssize_t)sizeof(uint64_t));
}

static PyObject *rows_scores(PyObject *self, PyObject *unused) {
    const rows_object *rows = (rows_object *)self;
    (void)unused;
    return rows_bytes(rows_c->results_scores(rows->results),
                      rows->count * (Py_ssize_t)sizeof(float));
}

static PyObject *rows_distances(PyObject *self, PyObject *unused) {
    const rows_object *rows = (rows_object *)self;
    (void)unused;
    return rows_bytes(rows_c->results_distances(rows->results),
                      rows->count * (Py_ssize_t)sizeof(float));
}

/* One hit; NULL: an exception is set. */
static PyObject *rows_hit(PyTypeObject *type, PyObject *results, const rows_ids *ids,
                          const float *scores, Py_ssize_t row) {
    PyObject *self = PyType_GenericAlloc(type, 0); /* all of it is zero */
    if (!self) {
        return NULL;
    }
    hit_object *hit = (hit_object *)self;
    hit->row = row;
    hit->id = rows_key(ids, row);
    hit->score = hit->id ? PyFloat_FromDouble((double)scores[row]) : NULL;
    if (!hit->score) {
        Py_DECREF(self);
        return NULL;
    }
    Py_INCREF(results);
    hit->results = results;
    return self;
}

/* hits(type, results, first, count): the type is a subclass of Hit. */
static PyObject *rows_hits(PyObject *self, PyObject *args) {
    const rows_object *rows = (rows_object *)self;
    PyObject *type = NULL, *results = NULL;
    Py_ssize_t first = 0, count = 0;
    if (!PyArg_ParseTuple(args, "OOnn", &type, &results, &first, &count)) {
        return NULL;
    }
    if (!PyType_Check(type) || !PyType_IsSubtype((PyTypeObject *)type, hit_type)) {
        PyErr_SetString(PyExc_TypeError, "hits are of a type that is a Hit");
        return NULL;
    }
    const float *scores = rows_c->results_scores(rows->results);
    if (first < 0 || count < 0 || first > rows->count || count > rows->count - first ||
        (count > 0 && !scores)) {
        PyErr_SetString(PyExc_IndexError, "there are no such rows");
        return NULL;
    }
    const rows_ids ids = rows_ids_of(rows);
    PyObject *list = PyList_New(count);
    for (Py_ssize_t i = 0; list && i < count; i++) {
        PyObject *hit = rows_hit((PyTypeObject *)type, results, &ids, scores, first + i);
        if (!hit) {
            Py_DECREF(list);
            return NULL;
        }
        PyList_SetItem(list, i, hit);
    }
    return list;
}

/* A subclass may be of those that the collector of garbage knows: how an object is freed is asked
 * of its type. */
static void hit_dealloc(PyObject *self) {
    hit_object *hit = (hit_object *)self;
    PyTypeObject *type = Py_TYPE(self);
    const freefunc drop = (freefunc)PyType_GetSlot(type, Py_tp_free);
    Py_XDECREF(hit->results);
    Py_XDECREF(hit->id);
    Py_XDECREF(hit->score);
    drop(self);
    Py_DECREF(type);
}

static PyMemberDef hit_members[] = {
    {"id", T_OBJECT_EX, offsetof(hit_object, id), READONLY, "Its id."},
    {"score", T_OBJECT_EX, offsetof(hit_object, score), READONLY, "Larger is nearer."},
    {"_results", T_OBJECT_EX, offsetof(hit_object, results), READONLY, "What has the rows."},
    {"_row", T_PYSSIZET, offsetof(hit_object, row), READONLY, "Its place there."},
    {NULL, 0, 0, 0, NULL},
};

static PyObject *rows_distance(PyObject *self, PyObject *row) {
    const rows_object *rows = (rows_object *)self;
    const float *distances = rows_c->results_distances(rows->results);
    const Py_ssize_t at = PyLong_AsSsize_t(row);
    if (at == -1 && PyErr_Occurred()) {
        return NULL;
    }
    if (!distances || at < 0 || at >= rows->count) {
        PyErr_SetString(PyExc_IndexError, "there is no such row");
        return NULL;
    }
    return PyFloat_FromDouble((double)distances[at]);
}

static PyMethodDef rows_methods[] = {
    {"address", rows_address, METH_NOARGS, "Where the pv_results is."},
    {"keys", rows_keys, METH_NOARGS, "Ids of all rows."},
    {"numbers", rows_numbers, METH_NOARGS, "Ids of all rows as bytes; none where they are texts."},
    {"scores", rows_scores, METH_NOARGS, "Scores as bytes; none without scores."},
    {"distances", rows_distances, METH_NOARGS, "Distances as bytes; none without distances."},
    {"hits", rows_hits, METH_VARARGS, "Some rows as hits: type, results, first, count."},
    {"distance", rows_distance, METH_O, "Distance of one row."},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef rows_members[] = {
    {"count", T_PYSSIZET, offsetof(rows_object, count), READONLY, "How many rows there are."},
    {"texts", T_BOOL, offsetof(rows_object, texts), READONLY, "Are the ids strings?"},
    {NULL, 0, 0, 0, NULL},
};

static PyObject *module_bind(PyObject *module, PyObject *address) {
    (void)module;
    rows_c = PyLong_AsVoidPtr(address);
    if (!rows_c && PyErr_Occurred()) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *module_own(PyObject *module, PyObject *address) {
    pv_results *results = PyLong_AsVoidPtr(address);
    (void)module;
    return !results && PyErr_Occurred() ? NULL : rows_new(results, NULL);
}

static PyObject *module_view(PyObject *module, PyObject *args) {
    (void)module;
    if (PyTuple_Size(args) != 2) {
        PyErr_SetString(PyExc_TypeError, "view takes an address and an owner");
        return NULL;
    }
    pv_results *results = PyLong_AsVoidPtr(PyTuple_GetItem(args, 0));
    return !results && PyErr_Occurred() ? NULL : rows_new(results, PyTuple_GetItem(args, 1));
}

/* By hand: PyArg_ParseTuple takes longer than all of the rest. */
static PyObject *module_search(PyObject *module, PyObject *args) {
    rows_buffer vector;
    (void)module;
    if (PyTuple_Size(args) != 4) {
        PyErr_SetString(PyExc_TypeError, "search takes place, vector, k and include");
        return NULL;
    }
    const pvpy_place *place = PyLong_AsVoidPtr(PyTuple_GetItem(args, 0));
    const long long k = PyLong_AsLongLong(PyTuple_GetItem(args, 2));
    const unsigned long include = PyLong_AsUnsignedLong(PyTuple_GetItem(args, 3));
    if (PyErr_Occurred()) {
        return NULL;
    }
    if (PyObject_GetBuffer(PyTuple_GetItem(args, 1), &vector, 0) != 0) { /* 0: without gaps */
        return NULL;
    }
    pv_results *results;
    PyThreadState *state = PyEval_SaveThread();
    results = rows_c->search(place, vector.buf, k, (uint32_t)include);
    PyEval_RestoreThread(state);
    PyBuffer_Release(&vector);
    if (!results) {
        Py_RETURN_NONE;
    }
    return rows_new(results, NULL);
}

static PyMethodDef module_methods[] = {
    {"bind", module_bind, METH_O, "Take the address of pvpy_functions; first of all."},
    {"own", module_own, METH_O, "Rows of a pv_results, by its address; they free it."},
    {"view", module_view, METH_VARARGS, "Rows of a pv_results that belongs to another object."},
    {"search", module_search, METH_VARARGS, "pvpy_search; None: pvpy_err has the error."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module_def = {
    PyModuleDef_HEAD_INIT,
    "piramiddb._rows",
    "The usual search, and rows of answers.",
    -1,
    module_methods,
    NULL,
    NULL,
    NULL,
    NULL,
};

/* Makes a type and shows it in the module. */
static int module_type(PyObject *module, const char *name, PyType_Spec *spec, PyTypeObject **out) {
    PyObject *type = PyType_FromSpec(spec);
    if (!type) {
        return 0;
    }
    Py_INCREF(type); /* for *out */
    *out = (PyTypeObject *)type;
    if (PyModule_AddObject(module, name, type) != 0) { /* takes the other one over */
        Py_DECREF(type);
        return 0;
    }
    return 1;
}

PyMODINIT_FUNC PyInit__rows(void) {
    static PyType_Slot rows_slots[] = {
        {Py_tp_dealloc, rows_dealloc},
        {Py_tp_methods, rows_methods},
        {Py_tp_members, rows_members},
        {0, NULL},
    };
    static PyType_Slot hit_slots[] = {
        {Py_tp_dealloc, hit_dealloc},
        {Py_tp_members, hit_members},
        {0, NULL},
    };
    static PyType_Spec rows_spec = {"piramiddb._rows.Rows", sizeof(rows_object), 0,
                                    Py_TPFLAGS_DEFAULT, rows_slots};
    static PyType_Spec hit_spec = {"piramiddb._rows.Hit", sizeof(hit_object), 0,
                                   Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, hit_slots};
    PyObject *module = PyModule_Create(&module_def);
    if (!module || !module_type(module, "Rows", &rows_spec, &rows_type) ||
        !module_type(module, "Hit", &hit_spec, &hit_type)) {
        Py_XDECREF(module);
        return NULL;
    }
    return module;
}
