// cuDNN's legacy interface for convolutions, by plain loops: 2-d, one group, dilation 1, float32 or bfloat16 with
// float32 sums, any strides. Sizes are checked as cuDNN checks them. Names and numbers are those of cuDNN 9.
#include "library.h"

using namespace emulator;

namespace {

enum Status { Ok = 0, NotInitialised = 1001, BadParam = 2000, Unsupported = 3000, ExecutionFailed = 5000 };

struct Handle {
    CUstream stream = nullptr;
};

// Tensor is a tensor or a filter (n, c, h, w are then k, c, r, s).
struct Tensor {
    int type = -1;
    int size[4] = {};
    long stride[4] = {};

    size_t extent() const { // bytes from the first element to behind the last
        size_t last = 0;
        for (int i = 0; i < 4; i++)
            last += size_t(size[i] - 1) * size_t(stride[i]);
        return (last + 1) * elementSize(type);
    }
};

struct Convolution {
    int pad[2] = {}, step[2] = {1, 1}, mode = 1, compute = 0, math = 0;
};

enum Direction { Forward, BackwardData, BackwardFilter };

struct Perf {
    int algorithm, status;
    float time;
    size_t memory;
    int determinism, math, reserved[3];
};
static_assert(sizeof(Perf) == 48, "the layout of cudnnConvolution*AlgoPerf_t");

int describe(Tensor *t, int format, int type, int n, int c, int h, int w) {
    if (t == nullptr || n < 1 || c < 1 || h < 1 || w < 1 || format < 0 || format > 1)
        return BadParam;
    if (type != Float && type != BFloat16)
        return Unsupported;
    t->type = type;
    const int size[4] = {n, c, h, w};
    memcpy(t->size, size, sizeof size);
    const long nchw[4] = {long(c) * h * w, long(h) * w, w, 1}, nhwc[4] = {long(h) * w * c, 1, long(w) * c, c};
    memcpy(t->stride, format == 1 ? nhwc : nchw, sizeof nchw);
    return Ok;
}

// fit is BadParam unless x, w and y belong to one convolution.
int fit(const Tensor &x, const Tensor &w, const Convolution &conv, const Tensor &y) {
    if (x.type < 0 || w.type != x.type || y.type != x.type || conv.compute != Float)
        return BadParam;
    if (w.size[1] != x.size[1] || y.size[0] != x.size[0] || y.size[1] != w.size[0])
        return BadParam;
    for (int i = 0; i < 2; i++)
        if (y.size[2 + i] != (x.size[2 + i] + 2 * conv.pad[i] - w.size[2 + i]) / conv.step[i] + 1)
            return BadParam;
    return conv.mode == 1 ? Ok : Unsupported;
}

// Algorithms of every direction, best first: the deterministic ones are those of cuDNN, and need what is written
// here. Algorithm 0 of the backwards adds in no fixed order on a card.
struct Algorithm {
    int number;
    bool deterministic;
    size_t workspace;
};
const std::vector<Algorithm> &algorithms(Direction d) {
    static const std::vector<Algorithm> forward = {{1, true, 4096}, {0, true, 0}};
    static const std::vector<Algorithm> backward = {{0, false, 0}, {1, true, 8192}};
    return d == Forward ? forward : backward;
}

int list(Direction d, int requested, int *returned, Perf *perf) {
    *returned = 0;
    for (auto &a : algorithms(d)) {
        if (*returned == requested)
            return Ok;
        perf[(*returned)++] = {a.number, Ok, float(*returned), a.workspace, a.deterministic, 3, {}};
    }
    return Ok;
}

int workspaceOf(Direction d, int algorithm, size_t *bytes) {
    for (auto &a : algorithms(d))
        if (a.number == algorithm) {
            *bytes = a.workspace;
            return Ok;
        }
    return Unsupported;
}

// Dense is a tensor's values as float32 in the order n, h, w, c.
std::vector<float> dense(const void *p, const Tensor &t) {
    std::vector<float> values;
    values.reserve(size_t(t.size[0]) * t.size[1] * t.size[2] * t.size[3]);
    for (int n = 0; n < t.size[0]; n++)
        for (int h = 0; h < t.size[2]; h++)
            for (int w = 0; w < t.size[3]; w++)
                for (int c = 0; c < t.size[1]; c++)
                    values.push_back(read(p, t.type, n * t.stride[0] + c * t.stride[1] + h * t.stride[2] + w * t.stride[3]));
    return values;
}

// put writes alpha values + beta old.
void put(void *p, const Tensor &t, const std::vector<float> &values, float alpha, float beta) {
    size_t i = 0;
    for (int n = 0; n < t.size[0]; n++)
        for (int h = 0; h < t.size[2]; h++)
            for (int w = 0; w < t.size[3]; w++)
                for (int c = 0; c < t.size[1]; c++) {
                    const size_t at = n * t.stride[0] + c * t.stride[1] + h * t.stride[2] + w * t.stride[3];
                    const float old = beta == 0 ? 0 : beta * read(p, t.type, at); // beta 0: what was there is not read
                    write(p, t.type, at, alpha * values[i++] + old);
                }
}

// taps calls visit(pixel of x, tap of w, pixel of y) for every product of one image; each index counts pixels.
template <class F> void taps(const Tensor &x, const Tensor &w, const Convolution &conv, const Tensor &y, F visit) {
    for (int oy = 0; oy < y.size[2]; oy++)
        for (int ox = 0; ox < y.size[3]; ox++)
            for (int r = 0; r < w.size[2]; r++) {
                const int iy = oy * conv.step[0] - conv.pad[0] + r;
                if (iy < 0 || iy >= x.size[2])
                    continue;
                for (int s = 0; s < w.size[3]; s++) {
                    const int ix = ox * conv.step[1] - conv.pad[1] + s;
                    if (ix >= 0 && ix < x.size[3])
                        visit(iy * x.size[3] + ix, r * w.size[3] + s, oy * y.size[3] + ox);
                }
            }
}

struct Call {
    Direction direction;
    Tensor x, w, y;
    Convolution conv;
    const void *a, *b; // the operands
    void *out;
    float alpha, beta;
};

std::vector<float> forward(const Call &o) {
    const int c = o.x.size[1], k = o.w.size[0], all = o.w.size[2] * o.w.size[3];
    const auto x = dense(o.a, o.x), w = dense(o.b, o.w); // w: k, tap, c
    std::vector<float> turned(w.size());                 // tap, c, k
    for (int i = 0; i < k; i++)
        for (int j = 0; j < all * c; j++)
            turned[size_t(j) * k + i] = w[size_t(i) * all * c + j];
    const size_t xs = size_t(o.x.size[2]) * o.x.size[3] * c, ys = size_t(o.y.size[2]) * o.y.size[3] * k;
    std::vector<float> y(ys * o.x.size[0]);
    for (int n = 0; n < o.x.size[0]; n++)
        taps(o.x, o.w, o.conv, o.y, [&](int in, int tap, int out) {
            const float *from = &x[n * xs + size_t(in) * c];
            float *to = &y[n * ys + size_t(out) * k];
            for (int j = 0; j < c; j++) {
                const float *row = &turned[(size_t(tap) * c + j) * k];
                for (int i = 0; i < k; i++)
                    to[i] += from[j] * row[i];
            }
        });
    return y;
}

std::vector<float> backwardData(const Call &o) {
    const int c = o.x.size[1], k = o.w.size[0], all = o.w.size[2] * o.w.size[3];
    const auto w = dense(o.a, o.w), dy = dense(o.b, o.y);
    const size_t xs = size_t(o.x.size[2]) * o.x.size[3] * c, ys = size_t(o.y.size[2]) * o.y.size[3] * k;
    std::vector<float> dx(xs * o.x.size[0]);
    for (int n = 0; n < o.x.size[0]; n++)
        taps(o.x, o.w, o.conv, o.y, [&](int in, int tap, int out) {
            const float *from = &dy[n * ys + size_t(out) * k];
            float *to = &dx[n * xs + size_t(in) * c];
            for (int i = 0; i < k; i++) {
                const float *row = &w[(size_t(i) * all + tap) * c];
                for (int j = 0; j < c; j++)
                    to[j] += from[i] * row[j];
            }
        });
    return dx;
}

std::vector<float> backwardFilter(const Call &o) {
    const int c = o.x.size[1], k = o.w.size[0], all = o.w.size[2] * o.w.size[3];
    const auto x = dense(o.a, o.x), dy = dense(o.b, o.y);
    const size_t xs = size_t(o.x.size[2]) * o.x.size[3] * c, ys = size_t(o.y.size[2]) * o.y.size[3] * k;
    std::vector<double> total(size_t(k) * all * c);
    for (int n = 0; n < o.x.size[0]; n++) { // an image in float32, the images in float64
        std::vector<float> dw(total.size());
        taps(o.x, o.w, o.conv, o.y, [&](int in, int tap, int out) {
            const float *from = &dy[n * ys + size_t(out) * k], *row = &x[n * xs + size_t(in) * c];
            for (int i = 0; i < k; i++) {
                float *to = &dw[(size_t(i) * all + tap) * c];
                for (int j = 0; j < c; j++)
                    to[j] += from[i] * row[j];
            }
        });
        for (size_t i = 0; i < dw.size(); i++)
            total[i] += dw[i];
    }
    return std::vector<float>(total.begin(), total.end());
}

// Finish is what comes behind a convolution: scale z + offset, then a ReLU.
struct Finish {
    float scale;
    Tensor zd, offsetd;
    const void *z, *offset;
};

void apply(const Finish &f, const Tensor &y, std::vector<float> &values) {
    const auto offset = dense(f.offset, f.offsetd);
    std::vector<float> z;
    if (f.scale != 0) // 0: what is there is not read
        z = dense(f.z, f.zd);
    const size_t k = size_t(y.size[1]);
    for (size_t i = 0; i < values.size(); i++) {
        const float v = values[i] + (z.empty() ? 0 : f.scale * z[i]) + offset[i % k];
        values[i] = v < 0 ? 0 : v;
    }
}

int start(Handle *handle, const Call &call, int algorithm, void *workspace, size_t bytes, const Finish *finish = nullptr) {
    Lock lock(mutex());
    if (int e = fit(call.x, call.w, call.conv, call.y))
        return e;
    size_t needed = 0;
    if (int e = workspaceOf(call.direction, algorithm, &needed))
        return e;
    if (bytes < needed || (needed > 0 && !within(workspace, needed)))
        return BadParam;
    const Tensor *operands[3][3] = {{&call.x, &call.w, &call.y}, {&call.w, &call.y, &call.x}, {&call.x, &call.y, &call.w}};
    auto &t = operands[call.direction];
    if (!within(call.a, t[0]->extent()) || !within(call.b, t[1]->extent()) || !within(call.out, t[2]->extent()))
        return BadParam;
    const Finish behind = finish == nullptr ? Finish{} : *finish;
    const bool plain = finish == nullptr;
    const int failed = enqueue(handle->stream, [=] {
        if (needed > 0)
            memset(workspace, 0xff, needed); // nobody may rely on what it holds
        const Tensor &out = call.direction == Forward ? call.y : call.direction == BackwardData ? call.x : call.w;
        auto values = call.direction == Forward ? forward(call) : call.direction == BackwardData ? backwardData(call) : backwardFilter(call);
        if (!plain)
            apply(behind, out, values);
        put(call.out, out, values, call.alpha, call.beta);
        return 0;
    });
    return failed == 0 ? Ok : ExecutionFailed;
}

} // namespace

ENTRY(size_t) cudnnGetVersion() { return size_t(option("METRIX_EMULATOR_CUDNN", 91002)); }

ENTRY(const char *) cudnnGetErrorString(int status) {
    switch (status) {
    case Ok: return "CUDNN_STATUS_SUCCESS";
    case NotInitialised: return "CUDNN_STATUS_NOT_INITIALIZED";
    case BadParam: return "CUDNN_STATUS_BAD_PARAM";
    case Unsupported: return "CUDNN_STATUS_NOT_SUPPORTED";
    case ExecutionFailed: return "CUDNN_STATUS_EXECUTION_FAILED";
    }
    return "CUDNN_UNKNOWN_STATUS";
}

ENTRY(int) cudnnCreate(Handle **handle) {
    *handle = new Handle;
    return failing("cudnn") > 0 ? NotInitialised : Ok;
}
ENTRY(int) cudnnDestroy(Handle *handle) {
    delete handle;
    return Ok;
}
ENTRY(int) cudnnSetStream(Handle *handle, CUstream stream) {
    handle->stream = stream;
    return Ok;
}

ENTRY(int) cudnnCreateTensorDescriptor(Tensor **t) {
    *t = new Tensor;
    return Ok;
}
ENTRY(int) cudnnDestroyTensorDescriptor(Tensor *t) {
    delete t;
    return Ok;
}
ENTRY(int) cudnnSetTensor4dDescriptor(Tensor *t, int format, int type, int n, int c, int h, int w) { return describe(t, format, type, n, c, h, w); }
ENTRY(int) cudnnSetTensor4dDescriptorEx(Tensor *t, int type, int n, int c, int h, int w, int ns, int cs, int hs, int ws) {
    if (int e = describe(t, 0, type, n, c, h, w))
        return e;
    const long stride[4] = {ns, cs, hs, ws};
    memcpy(t->stride, stride, sizeof stride);
    return Ok;
}

ENTRY(int) cudnnCreateFilterDescriptor(Tensor **w) { return cudnnCreateTensorDescriptor(w); }
ENTRY(int) cudnnDestroyFilterDescriptor(Tensor *w) { return cudnnDestroyTensorDescriptor(w); }
ENTRY(int) cudnnSetFilter4dDescriptor(Tensor *w, int type, int format, int k, int c, int r, int s) { return describe(w, format, type, k, c, r, s); }

ENTRY(int) cudnnCreateConvolutionDescriptor(Convolution **c) {
    *c = new Convolution;
    return Ok;
}
ENTRY(int) cudnnDestroyConvolutionDescriptor(Convolution *c) {
    delete c;
    return Ok;
}
ENTRY(int) cudnnSetConvolution2dDescriptor(Convolution *c, int padH, int padW, int stepH, int stepW, int dilationH, int dilationW, int mode, int compute) {
    if (padH < 0 || padW < 0 || stepH < 1 || stepW < 1 || mode < 0 || mode > 1)
        return BadParam;
    if (dilationH != 1 || dilationW != 1)
        return Unsupported;
    *c = Convolution{{padH, padW}, {stepH, stepW}, mode, compute, c->math};
    return Ok;
}
ENTRY(int) cudnnSetConvolutionMathType(Convolution *c, int math) {
    if (math < 0 || math > 3)
        return BadParam;
    c->math = math;
    return Ok;
}
ENTRY(int) cudnnSetConvolutionGroupCount(Convolution *, int groups) { return groups == 1 ? Ok : Unsupported; }

ENTRY(int) cudnnGetConvolutionForwardAlgorithm_v7(Handle *, Tensor *x, Tensor *w, Convolution *c, Tensor *y, int requested, int *returned, Perf *perf) {
    const int e = fit(*x, *w, *c, *y);
    return e != Ok ? e : list(Forward, requested, returned, perf);
}
ENTRY(int) cudnnGetConvolutionBackwardDataAlgorithm_v7(Handle *, Tensor *w, Tensor *dy, Convolution *c, Tensor *dx, int requested, int *returned, Perf *perf) {
    const int e = fit(*dx, *w, *c, *dy);
    return e != Ok ? e : list(BackwardData, requested, returned, perf);
}
ENTRY(int) cudnnGetConvolutionBackwardFilterAlgorithm_v7(Handle *, Tensor *x, Tensor *dy, Convolution *c, Tensor *dw, int requested, int *returned, Perf *perf) {
    const int e = fit(*x, *dw, *c, *dy);
    return e != Ok ? e : list(BackwardFilter, requested, returned, perf);
}

ENTRY(int) cudnnGetConvolutionForwardWorkspaceSize(Handle *, Tensor *x, Tensor *w, Convolution *c, Tensor *y, int algorithm, size_t *bytes) {
    const int e = fit(*x, *w, *c, *y);
    return e != Ok ? e : workspaceOf(Forward, algorithm, bytes);
}
ENTRY(int) cudnnGetConvolutionBackwardDataWorkspaceSize(Handle *, Tensor *w, Tensor *dy, Convolution *c, Tensor *dx, int algorithm, size_t *bytes) {
    const int e = fit(*dx, *w, *c, *dy);
    return e != Ok ? e : workspaceOf(BackwardData, algorithm, bytes);
}
ENTRY(int) cudnnGetConvolutionBackwardFilterWorkspaceSize(Handle *, Tensor *x, Tensor *dy, Convolution *c, Tensor *dw, int algorithm, size_t *bytes) {
    const int e = fit(*x, *dw, *c, *dy);
    return e != Ok ? e : workspaceOf(BackwardFilter, algorithm, bytes);
}

ENTRY(int) cudnnConvolutionForward(Handle *h, const float *alpha, Tensor *xd, const void *x, Tensor *wd, const void *w, Convolution *c, int algorithm,
                                   void *workspace, size_t bytes, const float *beta, Tensor *yd, void *y) {
    return start(h, {Forward, *xd, *wd, *yd, *c, x, w, y, *alpha, *beta}, algorithm, workspace, bytes);
}
ENTRY(int) cudnnConvolutionBackwardData(Handle *h, const float *alpha, Tensor *wd, const void *w, Tensor *dyd, const void *dy, Convolution *c, int algorithm,
                                        void *workspace, size_t bytes, const float *beta, Tensor *dxd, void *dx) {
    return start(h, {BackwardData, *dxd, *wd, *dyd, *c, w, dy, dx, *alpha, *beta}, algorithm, workspace, bytes);
}
ENTRY(int) cudnnConvolutionBackwardFilter(Handle *h, const float *alpha, Tensor *xd, const void *x, Tensor *dyd, const void *dy, Convolution *c, int algorithm,
                                          void *workspace, size_t bytes, const float *beta, Tensor *dwd, void *dw) {
    return start(h, {BackwardFilter, *xd, *dwd, *dyd, *c, x, dy, dw, *alpha, *beta}, algorithm, workspace, bytes);
}

// Activation descriptors: a ReLU is all that is known.
ENTRY(int) cudnnCreateActivationDescriptor(int **a) {
    *a = new int(-1);
    return Ok;
}
ENTRY(int) cudnnDestroyActivationDescriptor(int *a) {
    delete a;
    return Ok;
}
ENTRY(int) cudnnSetActivationDescriptor(int *a, int mode, int nan, double) {
    if (nan < 0 || nan > 1)
        return BadParam;
    *a = mode;
    return mode == 1 ? Ok : Unsupported;
}

ENTRY(int) cudnnConvolutionBiasActivationForward(Handle *h, const float *alpha, Tensor *xd, const void *x, Tensor *wd, const void *w, Convolution *c,
                                                 int algorithm, void *workspace, size_t bytes, const float *scale, Tensor *zd, const void *z,
                                                 Tensor *offsetd, const void *offset, const int *activation, Tensor *yd, void *y) {
    if (failing("finish") > 0)
        return Unsupported;
    const int k = yd->size[1], size[4] = {1, k, 1, 1};
    if (*activation != 1 || offsetd->type != yd->type || memcmp(offsetd->size, size, sizeof size) != 0 || zd->type != yd->type ||
        memcmp(zd->size, yd->size, sizeof zd->size) != 0)
        return BadParam;
    if (!within(offset, offsetd->extent()) || !within(z, zd->extent()))
        return BadParam;
    const Finish f = {*scale, *zd, *offsetd, z, offset};
    return start(h, {Forward, *xd, *wd, *yd, *c, x, w, y, *alpha, 0}, algorithm, workspace, bytes, &f);
}
