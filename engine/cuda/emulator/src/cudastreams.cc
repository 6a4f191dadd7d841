// The driver's entry points for streams, events and graphs.
#include "driver.h"
#include "streams.h"

using namespace emulator;

struct CUgraphExec_st {
    CUgraph_st graph;
};

API cuStreamCreateWithPriority(CUstream *stream, unsigned flags, int priority) {
    Lock lock(mutex());
    if (int e = enter())
        return e;
    *stream = newStream((flags & 1) == 0, priority);
    return Success;
}
API cuStreamCreate(CUstream *stream, unsigned flags) { return cuStreamCreateWithPriority(stream, flags, 0); }

API cuStreamDestroy_v2(CUstream stream) {
    Lock lock(mutex());
    return destroyStream(stream);
}

API cuStreamSynchronize(CUstream stream) {
    Lock lock(mutex());
    if (int e = enter())
        return e;
    return finish(stream);
}

API cuStreamQuery(CUstream stream) {
    Lock lock(mutex());
    if (int e = enter())
        return e;
    if (!known(stream))
        return InvalidHandle;
    CUstream s = resolve(stream);
    return s->capture != nullptr ? CaptureUnsupported : s->done == s->enqueued ? Success : NotReady;
}

API cuStreamGetPriority(CUstream stream, int *priority) {
    *priority = resolve(stream)->priority;
    return Success;
}

API cuStreamGetFlags(CUstream stream, unsigned *flags) {
    *flags = resolve(stream)->blocking ? 0 : 1;
    return Success;
}

API cuStreamWaitEvent(CUstream stream, CUevent event, unsigned) {
    Lock lock(mutex());
    if (int e = enter())
        return e;
    return waitFor(stream, event);
}

API cuEventCreate(CUevent *event, unsigned flags) {
    Lock lock(mutex());
    if (int e = enter())
        return e;
    *event = new CUevent_st;
    (*event)->timing = (flags & 2) == 0;
    return Success;
}

API cuEventDestroy_v2(CUevent event) {
    Lock lock(mutex());
    if (event->stream != nullptr && event->capture == nullptr)
        runUntil(event->stream, event->position);
    delete event;
    return Success;
}

API cuEventRecord(CUevent event, CUstream stream) {
    Lock lock(mutex());
    if (int e = enter())
        return e;
    return record(event, stream);
}

API cuEventQuery(CUevent event) {
    Lock lock(mutex());
    if (int e = enter())
        return e;
    return reached(event) ? Success : NotReady;
}

API cuEventSynchronize(CUevent event) {
    Lock lock(mutex());
    if (int e = enter())
        return e;
    return synchronize(event);
}

API cuEventElapsedTime(float *milliseconds, CUevent from, CUevent to) {
    Lock lock(mutex());
    if (!from->timing || !to->timing || from->stream == nullptr || to->stream == nullptr)
        return InvalidHandle;
    if (!reached(from) || !reached(to))
        return NotReady;
    *milliseconds = float(to->milliseconds - from->milliseconds);
    return Success;
}
API cuEventElapsedTime_v2(float *milliseconds, CUevent from, CUevent to) { return cuEventElapsedTime(milliseconds, from, to); }

// ---- graphs, made by capture only ----

API cuStreamBeginCapture_v2(CUstream stream, int) {
    Lock lock(mutex());
    if (int e = enter())
        return e;
    return beginCapture(stream);
}

API cuStreamEndCapture(CUstream stream, CUgraph_st **graph) {
    Lock lock(mutex());
    if (int e = enter())
        return e;
    return endCapture(stream, graph);
}

API cuStreamIsCapturing(CUstream stream, int *status) {
    *status = resolve(stream)->capture != nullptr;
    return Success;
}

API cuGraphInstantiateWithFlags(CUgraphExec_st **exec, CUgraph_st *graph, unsigned long long) {
    Lock lock(mutex());
    if (int e = enter())
        return e;
    if (graph == nullptr)
        return InvalidValue;
    *exec = new CUgraphExec_st{*graph};
    return Success;
}

API cuGraphInstantiate_v2(CUgraphExec_st **exec, CUgraph_st *graph, void *, char *, size_t) {
    return cuGraphInstantiateWithFlags(exec, graph, 0);
}

API cuGraphUpload(CUgraphExec_st *, CUstream) { return Success; }

API cuGraphLaunch(CUgraphExec_st *exec, CUstream stream) {
    Lock lock(mutex());
    if (int e = enter())
        return e;
    if (exec == nullptr)
        return InvalidValue;
    return enqueue(stream, [work = exec->graph.work]() -> int {
        for (auto &w : work)
            if (int e = w())
                return e;
        return 0;
    });
}

API cuGraphExecDestroy(CUgraphExec_st *exec) {
    Lock lock(mutex());
    delete exec;
    return Success;
}

API cuGraphDestroy(CUgraph_st *graph) {
    Lock lock(mutex());
    delete graph;
    return Success;
}
