// What the emulator's libraries share. Everything runs under one lock: the emulator is for being right, not fast.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>

struct CUstream_st;
typedef CUstream_st *CUstream;

namespace emulator {

// Errors of the driver that the emulator gives, by the driver's numbers.
enum Error {
    Success = 0,
    InvalidValue = 1,
    OutOfMemory = 2,
    NotInitialized = 3,
    NoDevice = 100,
    InvalidDevice = 101,
    InvalidContext = 201,
    UnsupportedPTXVersion = 222,
    InvalidSource = 300,
    InvalidHandle = 400,
    IllegalState = 401,
    NotFound = 500,
    NotReady = 600,
    IllegalAddress = 700,
    LaunchOutOfResources = 701,
    MisalignedAddress = 716,
    LaunchFailed = 719,
    NotSupported = 801,
    CaptureUnsupported = 900,
    CaptureInvalidated = 901,
    CaptureUnmatched = 903,
    CaptureUnjoined = 904,
};

typedef std::lock_guard<std::recursive_mutex> Lock;

// mutex guards all state of the three libraries.
std::recursive_mutex &mutex();

// ---- memory.cc ----

// allocate returns size bytes at a multiple of 256, filled with 0xff (NaN in every float format), between guards
// that cannot be touched; null if the card is full.
void *allocate(size_t size, bool pinned);
// release frees what allocate returned; InvalidValue if p is something else, IllegalAddress if bytes behind the
// block were overwritten.
int release(void *p, bool pinned);
// Where says what kind of memory a range of bytes lies in as a whole.
enum class Where { Nowhere, Device, Pinned };
Where find(const void *p, size_t size);
// range returns the start and size of the device block that p lies in.
bool range(const void *p, void **start, size_t *size);
// guarded reports whether p lies beside a block, in its guards.
bool guarded(const void *p);
// check returns IllegalAddress if bytes behind a block were overwritten.
int check();
// The card's bytes, and those in use.
size_t capacity();
size_t used();
size_t blocks(bool pinned);
void releaseAll();

// ---- streams.cc ----

// enqueue runs work on a stream in its turn, or records it where the stream is being captured.
int enqueue(CUstream stream, std::function<int()> work);
// finish runs what is queued on a stream, or on all of them (drain).
int finish(CUstream stream);
int drain();
// lost is the error that a context keeps after a failed launch, or 0.
int lost();
void lose(int error);
// settle returns lost(), else the error of overwritten guards.
int settle();

// ---- failures.cc ----

// failing returns the number behind a word of METRIX_EMULATOR_FAIL ("oom:1000,nodevice"), 1 for a word without
// number, or -1.
long failing(const char *word);
// option returns a number of the environment.
long option(const char *name, long otherwise);

} // namespace emulator
