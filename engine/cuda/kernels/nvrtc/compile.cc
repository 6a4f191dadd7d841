// Compiles kernels.cu to PTX with nvrtc, which needs no CUDA installation and no card:
//
//	compile LIBNVRTC SOURCE FOLDER OUTPUT ARCHITECTURE
//
// FOLDER is where SOURCE's includes lie. The same source, library and architecture give the same bytes.
#include <cstdio>
#include <cstdlib>
#include <dlfcn.h>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

typedef struct Program_ *Program;

static void *library;

template <class F> F entry(const char *name) {
    void *f = dlsym(library, name);
    if (f == nullptr) {
        fprintf(stderr, "compile: the nvrtc library lacks %s\n", name);
        exit(1);
    }
    return (F)f;
}

// text calls the pair of functions by which nvrtc gives a text: its size, then itself.
static std::string text(Program p, const char *size, const char *get) {
    size_t n = 0;
    entry<int (*)(Program, size_t *)>(size)(p, &n);
    std::vector<char> buffer(n + 1);
    entry<int (*)(Program, char *)>(get)(p, buffer.data());
    return buffer.data();
}

int main(int count, char **arguments) {
    if (count != 6) {
        fprintf(stderr, "usage: compile LIBNVRTC SOURCE FOLDER OUTPUT ARCHITECTURE\n");
        return 2;
    }
    library = dlopen(arguments[1], RTLD_NOW);
    if (library == nullptr) {
        fprintf(stderr, "compile: %s\n", dlerror());
        return 1;
    }
    std::ifstream in(arguments[2]);
    std::stringstream source;
    source << in.rdbuf();
    if (!in) {
        fprintf(stderr, "compile: cannot read %s\n", arguments[2]);
        return 1;
    }
    Program p = nullptr;
    entry<int (*)(Program *, const char *, const char *, int, const char *const *, const char *const *)>("nvrtcCreateProgram")(
        &p, source.str().c_str(), "kernels.cu", 0, nullptr, nullptr);
    const std::string include = std::string("--include-path=") + arguments[3], architecture = std::string("--gpu-architecture=") + arguments[5];
    const char *options[] = {include.c_str(), architecture.c_str(), "--std=c++17"};
    const int failed = entry<int (*)(Program, int, const char *const *)>("nvrtcCompileProgram")(p, sizeof options / sizeof *options, options);
    fputs(text(p, "nvrtcGetProgramLogSize", "nvrtcGetProgramLog").c_str(), stderr);
    if (failed != 0)
        return 1;
    std::ofstream out(arguments[4], std::ios::binary);
    out << text(p, "nvrtcGetPTXSize", "nvrtcGetPTX");
    return out.good() ? 0 : 1;
}
