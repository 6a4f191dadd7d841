// Streams, events and graphs of the emulated card. A stream is a queue. Ordinarily work runs as soon as it is
// enqueued; with METRIX_EMULATOR_ORDER=late it runs only when somebody waits for it, so that a program that
// forgets to wait, or lets two streams race, shows it.
#pragma once

#include <deque>
#include <functional>
#include <vector>

#include "internal.h"

// CUgraph_st is what a capture recorded, in the order of recording.
struct CUgraph_st {
    std::vector<std::function<int()>> work;
};

struct CUstream_st {
    bool blocking = true;   // waits for the default stream and is waited for by it
    int priority = 0;
    std::deque<std::function<int()>> queue;
    unsigned long enqueued = 0, done = 0;
    CUgraph_st *capture = nullptr; // records instead of running
    bool origin = false;           // the capture began here
    bool unjoined = false;         // recorded work that the origin has not waited for
    CUstream_st *root = nullptr;   // the origin of the capture it takes part in
};

struct CUevent_st {
    bool timing = true;
    CUstream_st *stream = nullptr; // where it was recorded last
    unsigned long position = 0;    // in that stream
    double milliseconds = 0;
    CUgraph_st *capture = nullptr; // recorded in a capture
};
typedef CUevent_st *CUevent;

namespace emulator {

CUstream resolve(CUstream s);
CUstream newStream(bool blocking, int priority);
int destroyStream(CUstream s);
bool known(CUstream s);
int runUntil(CUstream s, unsigned long position);
int record(CUevent e, CUstream s);
int waitFor(CUstream s, CUevent e);
bool reached(CUevent e);
int synchronize(CUevent e);
int beginCapture(CUstream s);
int endCapture(CUstream s, CUgraph_st **graph);
// refuseWhileCapturing is the error of a call that must not be made while a stream is being captured.
int refuseWhileCapturing();
// forget ends all streams, as the end of a context does.
void forget();

} // namespace emulator
