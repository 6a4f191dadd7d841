#include "streams.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>

namespace emulator {

namespace {

std::vector<CUstream> streams; // all but the default one
std::vector<CUstream> retired; // destroyed; events and queues may still name them
int error;                     // of the context
int captures;                  // under way

CUstream defaultStream() {
    static CUstream_st s;
    return &s;
}

bool late() {
    const char *order = getenv("METRIX_EMULATOR_ORDER");
    return order != nullptr && strstr(order, "late") != nullptr;
}

// Point is a place in a stream's queue.
struct Point {
    CUstream stream;
    unsigned long position;
};

// before returns what the order between the default stream and the blocking ones makes new work of s wait for.
std::vector<Point> before(CUstream s) {
    std::vector<Point> points;
    if (!s->blocking)
        return points;
    if (s != defaultStream())
        return {{defaultStream(), defaultStream()->enqueued}};
    for (CUstream x : streams)
        if (x->blocking)
            points.push_back({x, x->enqueued});
    return points;
}

int reach(const std::vector<Point> &points) {
    for (auto &p : points)
        if (int e = runUntil(p.stream, p.position))
            return e;
    return lost();
}

} // namespace

int lost() { return error; }
void lose(int e) { error = error == 0 ? e : error; }

int settle() {
    if (error == 0)
        lose(check());
    return error;
}

CUstream resolve(CUstream s) {
    // 1 and 2 are the driver's names of the legacy default stream and of a thread's own.
    return uintptr_t(s) <= 2 ? defaultStream() : s;
}

bool known(CUstream s) {
    return uintptr_t(s) <= 2 || std::find(streams.begin(), streams.end(), s) != streams.end();
}

CUstream newStream(bool blocking, int priority) {
    auto s = new CUstream_st;
    s->blocking = blocking;
    s->priority = priority;
    streams.push_back(s);
    return s;
}

int destroyStream(CUstream s) {
    auto it = std::find(streams.begin(), streams.end(), s);
    if (it == streams.end())
        return InvalidHandle;
    int e = runUntil(s, s->enqueued);
    streams.erase(it);
    retired.push_back(s);
    return e;
}

void forget() {
    for (auto list : {&streams, &retired}) {
        for (CUstream s : *list)
            delete s;
        list->clear();
    }
    defaultStream()->queue.clear();
    defaultStream()->done = defaultStream()->enqueued;
    error = 0;
    captures = 0;
}

int runUntil(CUstream s, unsigned long position) {
    while (s->done < position && error == 0) {
        auto work = std::move(s->queue.front());
        s->queue.pop_front();
        s->done++;
        if (int e = work())
            lose(e);
    }
    return error;
}

int enqueue(CUstream stream, std::function<int()> work) {
    if (!known(stream))
        return InvalidHandle;
    CUstream s = resolve(stream);
    if (error != 0)
        return error;
    if (s->capture != nullptr) {
        s->capture->work.push_back(std::move(work));
        s->unjoined = !s->origin;
        return Success;
    }
    if (captures > 0 && s == defaultStream())
        return CaptureInvalidated; // the default stream would wait for the one that is captured
    s->queue.push_back([points = before(s), work = std::move(work)] {
        int e = reach(points);
        return e != 0 ? e : work();
    });
    s->enqueued++;
    return late() ? Success : runUntil(s, s->enqueued);
}

int finish(CUstream stream) {
    if (!known(stream))
        return InvalidHandle;
    CUstream s = resolve(stream);
    if (s->capture != nullptr)
        return CaptureUnsupported;
    if (int e = reach(before(s)))
        return e;
    if (int e = runUntil(s, s->enqueued))
        return e;
    return settle();
}

int drain() {
    if (captures > 0)
        return CaptureUnsupported;
    std::vector<CUstream> all(streams.rbegin(), streams.rend());
    all.push_back(defaultStream());
    for (CUstream s : all)
        if (int e = runUntil(s, s->enqueued))
            return e;
    return settle();
}

static double now() {
    using namespace std::chrono;
    return duration<double, std::milli>(steady_clock::now().time_since_epoch()).count();
}

int record(CUevent e, CUstream stream) {
    if (!known(stream))
        return InvalidHandle;
    CUstream s = resolve(stream);
    e->stream = s;
    e->capture = s->capture;
    if (s->capture != nullptr)
        return error;
    int result = enqueue(stream, [e] {
        e->milliseconds = now();
        return 0;
    });
    e->position = s->enqueued;
    return result;
}

int waitFor(CUstream stream, CUevent e) {
    if (!known(stream))
        return InvalidHandle;
    CUstream s = resolve(stream), from = e->stream;
    if (from == nullptr || error != 0)
        return error; // never recorded: nothing to wait for
    if (e->capture == nullptr && s->capture == nullptr)
        return s == from ? Success : enqueue(stream, [from, position = e->position] { return runUntil(from, position); });
    if (e->capture == nullptr)
        return CaptureInvalidated; // a captured stream cannot wait for work outside the capture
    if (s->capture == nullptr) { // s takes part from here on
        s->capture = e->capture;
        s->root = from->origin ? from : from->root;
        s->origin = false;
    }
    if (s->capture != e->capture)
        return CaptureInvalidated;
    from->unjoined = false;
    s->unjoined = !s->origin;
    return Success;
}

bool reached(CUevent e) { return e->stream == nullptr || e->stream->done >= e->position; }

int synchronize(CUevent e) {
    if (e->capture != nullptr)
        return CaptureUnsupported;
    if (e->stream != nullptr)
        if (int failed = runUntil(e->stream, e->position))
            return failed;
    return settle();
}

int beginCapture(CUstream stream) {
    if (!known(stream))
        return InvalidHandle;
    CUstream s = resolve(stream);
    if (s == defaultStream())
        return CaptureUnsupported;
    if (s->capture != nullptr)
        return IllegalState;
    s->capture = new CUgraph_st;
    s->origin = true;
    s->root = s;
    captures++;
    return Success;
}

int endCapture(CUstream stream, CUgraph_st **graph) {
    if (!known(stream))
        return InvalidHandle;
    CUstream s = resolve(stream);
    *graph = nullptr;
    if (s->capture == nullptr || !s->origin)
        return CaptureUnmatched;
    CUgraph_st *g = s->capture;
    bool unjoined = false;
    for (CUstream x : streams)
        if (x->capture == g) {
            unjoined = unjoined || x->unjoined;
            x->capture = nullptr;
            x->root = nullptr;
            x->origin = x->unjoined = false;
        }
    captures--;
    if (unjoined) {
        delete g;
        return CaptureUnjoined;
    }
    *graph = g;
    return Success;
}

int refuseWhileCapturing() { return captures > 0 ? CaptureUnsupported : Success; }

} // namespace emulator
