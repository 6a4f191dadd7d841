// The driver's entry points: devices, contexts, memory, modules, launches. Streams, events and graphs are in
// cudastreams.cc. Names and numbers are those of the CUDA 12 driver API.
#include <cstdio>
#include <cstring>
#include <set>
#include <string>
#include <vector>

#include "driver.h"
#include "kernels.h"
#include "streams.h"

using namespace emulator;

namespace {

struct Context {
    int device;
    int references; // of a primary context
};

struct Module {
    std::set<std::string> entries;
};

bool initialised;
Context *primary;
std::vector<Context *> contexts;
thread_local std::vector<Context *> current;
long launches;

void endContext(Context *c) {
    contexts.erase(std::remove(contexts.begin(), contexts.end(), c), contexts.end());
    delete c;
    if (contexts.empty()) {
        drain();
        forget();
        releaseAll();
    }
}

bool live(Context *c) { return std::find(contexts.begin(), contexts.end(), c) != contexts.end(); }

} // namespace

int emulator::enter() {
    if (!initialised)
        return NotInitialized;
    if (current.empty() || current.back() == nullptr || !live(current.back()))
        return InvalidContext;
    return lost();
}

// ---- initialisation and devices ----

API cuInit(unsigned) {
    if (failing("nodevice") > 0)
        return NoDevice;
    initialised = true;
    return Success;
}

API cuDriverGetVersion(int *version) {
    *version = failing("olddriver") > 0 ? 11040 : 12090;
    return Success;
}

API cuDeviceGetCount(int *count) {
    *count = int(option("METRIX_EMULATOR_DEVICES", 1));
    return initialised ? Success : NotInitialized;
}

API cuDeviceGet(int *device, int ordinal) {
    if (!initialised)
        return NotInitialized;
    *device = ordinal;
    return ordinal >= 0 && ordinal < option("METRIX_EMULATOR_DEVICES", 1) ? Success : InvalidDevice;
}

API cuDeviceGetName(char *name, int length, int) {
    snprintf(name, size_t(length), "Metrix CPU emulator");
    return Success;
}

API cuDeviceTotalMem_v2(size_t *bytes, int) {
    *bytes = capacity();
    return Success;
}

API cuDeviceGetUuid(char *uuid, int device) {
    memset(uuid, 0, 16);
    uuid[15] = char(device);
    return Success;
}
API cuDeviceGetUuid_v2(char *uuid, int device) { return cuDeviceGetUuid(uuid, device); }

API cuDeviceGetAttribute(int *value, int attribute, int) {
    const long capability = option("METRIX_EMULATOR_CAPABILITY", 80);
    switch (attribute) {
    case 1: case 2: case 3: *value = 1024; break;                 // threads a block; block x, y
    case 4: *value = 64; break;                                   // block z
    case 5: *value = 0x7fffffff; break;                           // grid x
    case 6: case 7: *value = 65535; break;                        // grid y, z
    case 8: case 97: *value = 48 << 10; break;                    // shared memory a block, opt-in
    case 10: *value = 32; break;                                  // warp
    case 13: case 36: *value = 1000000; break;                    // clock rates in kHz
    case 16: *value = 4; break;                                   // multiprocessors
    case 37: *value = 256; break;                                 // memory bus in bits
    case 38: *value = 1 << 20; break;                             // second-level cache
    case 39: *value = 2048; break;                                // threads a multiprocessor
    case 19: case 40: case 41: case 115: *value = 1; break;       // mapping, copy engines, unified addresses, priorities
    case 75: *value = int(capability / 10); break;
    case 76: *value = int(capability % 10); break;
    default: *value = 0;
    }
    return Success;
}

// ---- contexts ----

API cuCtxCreate_v2(Context **context, unsigned, int device) {
    if (!initialised)
        return NotInitialized;
    Lock lock(mutex());
    *context = new Context{device, 0};
    contexts.push_back(*context);
    current.push_back(*context);
    return Success;
}

API cuCtxDestroy_v2(Context *context) {
    Lock lock(mutex());
    if (!live(context))
        return InvalidContext;
    if (!current.empty() && current.back() == context)
        current.pop_back();
    endContext(context);
    return Success;
}

API cuCtxSetCurrent(Context *context) {
    Lock lock(mutex());
    if (context != nullptr && !live(context))
        return InvalidContext;
    if (!current.empty())
        current.pop_back();
    if (context != nullptr)
        current.push_back(context);
    return Success;
}

API cuCtxGetCurrent(Context **context) {
    *context = current.empty() ? nullptr : current.back();
    return Success;
}

API cuCtxPushCurrent_v2(Context *context) {
    current.push_back(context);
    return Success;
}

API cuCtxPopCurrent_v2(Context **context) {
    if (current.empty())
        return InvalidContext;
    if (context != nullptr)
        *context = current.back();
    current.pop_back();
    return Success;
}

API cuCtxGetDevice(int *device) {
    Lock lock(mutex());
    if (int e = enter())
        return e;
    *device = current.back()->device;
    return Success;
}

API cuCtxGetApiVersion(Context *, unsigned *version) {
    *version = 3020;
    return Success;
}

API cuCtxSynchronize() {
    Lock lock(mutex());
    if (int e = enter())
        return e;
    return drain();
}

API cuCtxGetStreamPriorityRange(int *least, int *greatest) {
    *least = 0;
    *greatest = -5;
    return Success;
}

API cuDevicePrimaryCtxRetain(Context **context, int device) {
    Lock lock(mutex());
    if (!initialised)
        return NotInitialized;
    if (primary == nullptr) {
        primary = new Context{device, 0};
        contexts.push_back(primary);
    }
    primary->references++;
    *context = primary;
    return Success;
}

API cuDevicePrimaryCtxRelease_v2(int) {
    Lock lock(mutex());
    if (primary == nullptr)
        return InvalidContext;
    if (--primary->references == 0) {
        endContext(primary);
        primary = nullptr;
    }
    return Success;
}

API cuDevicePrimaryCtxGetState(int, unsigned *flags, int *active) {
    *flags = 0;
    *active = primary != nullptr;
    return Success;
}
API cuDevicePrimaryCtxSetFlags_v2(int, unsigned) { return Success; }

// ---- memory ----

API cuMemAlloc_v2(void **p, size_t size) {
    Lock lock(mutex());
    if (int e = enter())
        return e;
    if (size == 0)
        return InvalidValue;
    if (int e = refuseWhileCapturing())
        return e;
    *p = allocate(size, false);
    return *p == nullptr ? OutOfMemory : Success;
}

API cuMemFree_v2(void *p) {
    Lock lock(mutex());
    if (int e = enter())
        return e;
    if (p == nullptr)
        return Success;
    if (int e = drain()) // a free waits for the card
        return e;
    int e = release(p, false);
    if (e == IllegalAddress)
        lose(e);
    return e;
}

API cuMemHostAlloc(void **p, size_t size, unsigned) {
    Lock lock(mutex());
    if (int e = enter())
        return e;
    *p = size == 0 ? nullptr : allocate(size, true);
    return size == 0 ? InvalidValue : *p == nullptr ? OutOfMemory : Success;
}
API cuMemAllocHost_v2(void **p, size_t size) { return cuMemHostAlloc(p, size, 0); }

API cuMemFreeHost(void *p) {
    Lock lock(mutex());
    if (int e = enter())
        return e;
    if (int e = drain())
        return e;
    return release(p, true);
}

API cuMemGetInfo_v2(size_t *available, size_t *total) {
    Lock lock(mutex());
    if (int e = enter())
        return e;
    *total = capacity();
    *available = *total - std::min(*total, used());
    return Success;
}

API cuMemGetAddressRange_v2(void **base, size_t *size, void *p) {
    Lock lock(mutex());
    void *start;
    size_t bytes;
    if (!range(p, &start, &bytes))
        return NotFound;
    if (base != nullptr)
        *base = start;
    if (size != nullptr)
        *size = bytes;
    return Success;
}

namespace {

enum Side { Host, Device, Either };

// copy checks both ends and enqueues the copy. What a copy between the card and pageable host memory may do
// before it returns, it does.
int copy(void *dst, Side to, const void *src, Side from, size_t size, CUstream stream, bool wait) {
    Lock lock(mutex());
    if (int e = enter())
        return e;
    if (size == 0)
        return Success;
    const Where ends[] = {find(dst, size), find(src, size)};
    const Side sides[] = {to, from};
    bool pageable = false;
    for (int i = 0; i < 2; i++) {
        if (sides[i] == Device && ends[i] != Where::Device)
            return InvalidValue;
        if (sides[i] == Host && ends[i] == Where::Device)
            return InvalidValue;
        pageable = pageable || ends[i] == Where::Nowhere;
    }
    if (wait || pageable)
        if (int e = refuseWhileCapturing())
            return e;
    int e = enqueue(stream, [=] {
        memmove(dst, src, size);
        return 0;
    });
    if (e == 0 && (wait || pageable))
        e = finish(stream);
    return e;
}

int set(void *p, const void *pattern, size_t width, size_t n, CUstream stream) {
    Lock lock(mutex());
    if (int e = enter())
        return e;
    if (n == 0)
        return Success;
    if (find(p, n * width) == Where::Nowhere || uintptr_t(p) % width != 0)
        return InvalidValue;
    uint32_t value = 0;
    memcpy(&value, pattern, width);
    return enqueue(stream, [=] {
        for (size_t i = 0; i < n; i++)
            memcpy((char *)p + i * width, &value, width);
        return 0;
    });
}

} // namespace

API cuMemcpyHtoD_v2(void *dst, const void *src, size_t n) { return copy(dst, Device, src, Host, n, nullptr, true); }
API cuMemcpyDtoH_v2(void *dst, const void *src, size_t n) { return copy(dst, Host, src, Device, n, nullptr, true); }
API cuMemcpyDtoD_v2(void *dst, const void *src, size_t n) { return copy(dst, Device, src, Device, n, nullptr, false); }
API cuMemcpy(void *dst, const void *src, size_t n) { return copy(dst, Either, src, Either, n, nullptr, true); }
API cuMemcpyHtoDAsync_v2(void *dst, const void *src, size_t n, CUstream s) { return copy(dst, Device, src, Host, n, s, false); }
API cuMemcpyDtoHAsync_v2(void *dst, const void *src, size_t n, CUstream s) { return copy(dst, Host, src, Device, n, s, false); }
API cuMemcpyDtoDAsync_v2(void *dst, const void *src, size_t n, CUstream s) { return copy(dst, Device, src, Device, n, s, false); }
API cuMemcpyAsync(void *dst, const void *src, size_t n, CUstream s) { return copy(dst, Either, src, Either, n, s, false); }

API cuMemsetD8Async(void *p, unsigned char v, size_t n, CUstream s) { return set(p, &v, 1, n, s); }
API cuMemsetD16Async(void *p, unsigned short v, size_t n, CUstream s) { return set(p, &v, 2, n, s); }
API cuMemsetD32Async(void *p, unsigned v, size_t n, CUstream s) { return set(p, &v, 4, n, s); }
API cuMemsetD8_v2(void *p, unsigned char v, size_t n) { return set(p, &v, 1, n, nullptr); }
API cuMemsetD16_v2(void *p, unsigned short v, size_t n) { return set(p, &v, 2, n, nullptr); }
API cuMemsetD32_v2(void *p, unsigned v, size_t n) { return set(p, &v, 4, n, nullptr); }

// ---- modules ----

API cuModuleLoadData(Module **module, const char *image) {
    Lock lock(mutex());
    if (int e = enter())
        return e;
    if (strstr(image, ".version") == nullptr)
        return InvalidSource;
    if (failing("olddriver") > 0)
        return UnsupportedPTXVersion;
    const char *target = strstr(image, ".target sm_");
    if (target == nullptr || atol(target + 11) > option("METRIX_EMULATOR_CAPABILITY", 80))
        return InvalidSource;
    auto m = new Module;
    for (const char *at = strstr(image, ".entry "); at != nullptr; at = strstr(at, ".entry ")) {
        at += 7;
        m->entries.insert(std::string(at, strcspn(at, " (\n\t")));
    }
    *module = m;
    return Success;
}
API cuModuleLoadDataEx(Module **module, const char *image, unsigned, int *, void **) { return cuModuleLoadData(module, image); }

API cuModuleUnload(Module *module) {
    delete module;
    return Success;
}

API cuModuleGetFunction(const Kernel **function, Module *module, const char *name) {
    *function = module->entries.count(name) > 0 ? findKernel(name) : nullptr;
    return *function == nullptr ? NotFound : Success;
}

API cuFuncGetAttribute(int *value, int attribute, const Kernel *) {
    *value = attribute == 0 ? 256 : 0; // threads a block
    return Success;
}
API cuFuncSetAttribute(const Kernel *, int, int) { return Success; }
API cuFuncSetCacheConfig(const Kernel *, int) { return Success; }

API cuLaunchKernel(const Kernel *kernel, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared,
                   CUstream stream, void **params, void **extra) {
    Lock lock(mutex());
    if (int e = enter())
        return e;
    if (kernel == nullptr)
        return InvalidHandle;
    if (extra != nullptr)
        return NotSupported;
    if (gx == 0 || gy == 0 || gz == 0 || bx == 0 || by == 0 || bz == 0 || gx > 0x7fffffff || gy > 65535 || gz > 65535 || bz > 64 || shared > 48 << 10)
        return InvalidValue;
    if (uint64_t(bx) * by * bz > 256) // the bound every kernel is compiled with
        return LaunchOutOfResources;
    auto body = kernel->bind(params);
    const Grid grid = {{gx, gy, gz}, {bx, by, bz}};
    return enqueue(stream, [=]() -> int {
        launches++;
        if (long n = failing("xid"); n > 0 && launches >= n)
            return LaunchFailed;
        if (body == nullptr)
            return IllegalAddress;
        const char *order = getenv("METRIX_EMULATOR_ORDER");
        const bool reverse = order != nullptr && strstr(order, "reverse") != nullptr;
        int e = run(grid, [](void *f) { (*(std::function<void()> *)f)(); }, (void *)&body, reverse);
        if (e != 0)
            fprintf(stderr, "metrix emulator: kernel %s, grid %u x %u x %u, block %u x %u x %u: error %d\n", kernel->name, gx, gy, gz, bx, by, bz, e);
        return e;
    });
}

API cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, const Kernel *, int, size_t) {
    *blocks = 8;
    return Success;
}

// ---- errors ----

API cuGetErrorName(int error, const char **name) {
    switch (error) {
#define NAME(code, word) case code: *name = word; return Success;
        NAME(Success, "CUDA_SUCCESS")
        NAME(InvalidValue, "CUDA_ERROR_INVALID_VALUE")
        NAME(OutOfMemory, "CUDA_ERROR_OUT_OF_MEMORY")
        NAME(NotInitialized, "CUDA_ERROR_NOT_INITIALIZED")
        NAME(NoDevice, "CUDA_ERROR_NO_DEVICE")
        NAME(InvalidDevice, "CUDA_ERROR_INVALID_DEVICE")
        NAME(InvalidContext, "CUDA_ERROR_INVALID_CONTEXT")
        NAME(UnsupportedPTXVersion, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION")
        NAME(InvalidSource, "CUDA_ERROR_INVALID_SOURCE")
        NAME(InvalidHandle, "CUDA_ERROR_INVALID_HANDLE")
        NAME(IllegalState, "CUDA_ERROR_ILLEGAL_STATE")
        NAME(NotFound, "CUDA_ERROR_NOT_FOUND")
        NAME(NotReady, "CUDA_ERROR_NOT_READY")
        NAME(IllegalAddress, "CUDA_ERROR_ILLEGAL_ADDRESS")
        NAME(LaunchOutOfResources, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES")
        NAME(MisalignedAddress, "CUDA_ERROR_MISALIGNED_ADDRESS")
        NAME(LaunchFailed, "CUDA_ERROR_LAUNCH_FAILED")
        NAME(NotSupported, "CUDA_ERROR_NOT_SUPPORTED")
        NAME(CaptureUnsupported, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED")
        NAME(CaptureInvalidated, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED")
        NAME(CaptureUnmatched, "CUDA_ERROR_STREAM_CAPTURE_UNMATCHED")
        NAME(CaptureUnjoined, "CUDA_ERROR_STREAM_CAPTURE_UNJOINED")
#undef NAME
    }
    *name = nullptr;
    return InvalidValue;
}
API cuGetErrorString(int error, const char **text) { return cuGetErrorName(error, text); }

// ---- of the emulator alone ----

// metrixEmulatorReport writes "blocks device pinned launches" to report and returns the number of blocks that are
// still allocated.
API metrixEmulatorReport(char *report, size_t size) {
    Lock lock(mutex());
    snprintf(report, size, "%zu %zu %zu %ld", blocks(false), used(), blocks(true), launches);
    return int(blocks(false) + blocks(true));
}
