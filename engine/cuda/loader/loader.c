// libcuda.a: every function of the CUDA driver, found when the program starts instead of when it is
// linked. A program built with it needs no CUDA to build and starts on a machine without a driver,
// where gorgonia.org/cu linked against the driver itself could not even begin.
//
// functions.h, which build.sh makes from cuda.h, holds one FUNCTION(name) for each. A function is a jump
// through its slot. Before main, the slots are filled from libcuda.so.1; what stays empty answers with an
// error of the driver's own numbering:
//
//   303 CUDA_ERROR_SHARED_OBJECT_INIT_FAILED       there is no libcuda.so.1 on this machine
//   302 CUDA_ERROR_SHARED_OBJECT_SYMBOL_NOT_FOUND  the driver is too old to have this function
//
// gorgonia.org/cu calls cuInit before main and ends the process if that fails. So cuInit succeeds here
// whatever happens, and every later call answers with what it should have said; only the version
// and the names of errors are told then too.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

#if !defined(__linux__) || !defined(__x86_64__)
#error "the jumps below are for Linux on x86-64"
#endif

enum { LIBRARY_MISSING = 303, FUNCTION_MISSING = 302 };

// Where a driver lies that the loader's own search does not find: containers, WSL.
static const char *const places[] = {
    "libcuda.so.1",
    "/usr/local/nvidia/lib64/libcuda.so.1",
    "/usr/lib/wsl/lib/libcuda.so.1",
};

static int problem = LIBRARY_MISSING;
static int answer_problem(void) { return problem; }
static int answer_function_missing(void) { return FUNCTION_MISSING; }

#define FUNCTION(name)                                                       \
    __attribute__((visibility("hidden"))) void *metrix_slot_##name;          \
    __asm__(".text\n.globl " #name "\n.hidden " #name "\n.type " #name       \
            ", @function\n" #name ":\n\tjmp *metrix_slot_" #name "(%rip)\n");
#include "functions.h"
#undef FUNCTION

static const struct function {
    const char *name;
    void **slot;
} functions[] = {
#define FUNCTION(name) {#name, &metrix_slot_##name},
#include "functions.h"
#undef FUNCTION
    {NULL, NULL},
};

static int (*driver_init)(unsigned);

// answers_always: these need no initialised driver.
static int answers_always(const char *name) {
    return !strcmp(name, "cuDriverGetVersion") || !strcmp(name, "cuGetErrorString") || !strcmp(name, "cuGetErrorName");
}

// fail makes every function answer with code, except, unless all are meant, those that always answer.
static void fail(int code, int all) {
    problem = code;
    for (const struct function *f = functions; f->name; f++)
        if (all || !answers_always(f->name)) *f->slot = (void *)answer_problem;
}

__attribute__((constructor)) static void open_driver(void) {
    void *library = NULL;
    for (size_t i = 0; !library && i < sizeof places / sizeof *places; i++) library = dlopen(places[i], RTLD_NOW | RTLD_GLOBAL);
    if (!library) {
        fail(LIBRARY_MISSING, 1);
        return;
    }
    driver_init = (int (*)(unsigned))dlsym(library, "cuInit");
    for (const struct function *f = functions; f->name; f++) {
        *f->slot = dlsym(library, f->name);
        if (!*f->slot) *f->slot = (void *)answer_function_missing;
    }
}

__attribute__((visibility("hidden"))) int cuInit(unsigned flags) {
    int code = driver_init ? driver_init(flags) : LIBRARY_MISSING;
    if (code) fail(code, !driver_init);
    return 0;
}
