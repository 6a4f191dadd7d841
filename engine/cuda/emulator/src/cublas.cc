// cuBLAS: products of matrices, column by column as there, in float32, each element summed in order. Names and
// numbers are those of cuBLAS 12.
#include "library.h"

using namespace emulator;

namespace {

enum Status { Ok = 0, NotInitialised = 1, InvalidValue_ = 7, ExecutionFailed = 13 };

struct Handle {
    CUstream stream = nullptr;
    int math = 0;
};

// Matrix is an operand as it is used: element (row, column) of op(A).
struct Matrix {
    const float *p;
    long row, column; // strides

    float at(long i, long j) const { return p[i * row + j * column]; }
};

size_t bytes(long rows, long columns, long leading) { return (size_t(columns - 1) * leading + rows) * sizeof(float); }

int multiply(Handle *handle, int ta, int tb, int m, int n, int k, const float *alpha, const float *a, int lda, const float *b, int ldb, const float *beta,
             float *c, int ldc) {
    Lock lock(mutex());
    if (handle == nullptr)
        return NotInitialised;
    if (m < 0 || n < 0 || k < 0 || ta < 0 || ta > 1 || tb < 0 || tb > 1 || lda < std::max(1, ta ? k : m) || ldb < std::max(1, tb ? n : k) || ldc < std::max(1, m))
        return InvalidValue_;
    if (m == 0 || n == 0)
        return Ok;
    if (k > 0 && (!within(a, bytes(ta ? k : m, ta ? m : k, lda)) || !within(b, bytes(tb ? n : k, tb ? k : n, ldb))))
        return ExecutionFailed;
    if (!within(c, bytes(m, n, ldc)))
        return ExecutionFailed;
    const Matrix left = {a, ta ? lda : 1, ta ? 1 : lda}, right = {b, tb ? ldb : 1, tb ? 1 : ldb};
    const float scale = *alpha, keep = *beta;
    const int failed = enqueue(handle->stream, [=] {
        std::vector<float> rows(size_t(m) * k), column(k); // op(A) by rows
        for (long i = 0; i < m; i++)
            for (long l = 0; l < k; l++)
                rows[size_t(i) * k + l] = left.at(i, l);
        for (long j = 0; j < n; j++) {
            for (long l = 0; l < k; l++)
                column[l] = right.at(l, j);
            for (long i = 0; i < m; i++) {
                const float *row = &rows[size_t(i) * k];
                float sum = 0;
                for (long l = 0; l < k; l++)
                    sum += row[l] * column[l];
                const size_t at = size_t(j) * ldc + i;
                c[at] = scale * sum + (keep == 0 ? 0 : keep * c[at]);
            }
        }
        return 0;
    });
    return failed == 0 ? Ok : ExecutionFailed;
}

} // namespace

ENTRY(int) cublasCreate_v2(Handle **handle) {
    *handle = new Handle;
    return failing("cublas") > 0 ? NotInitialised : Ok;
}
ENTRY(int) cublasDestroy_v2(Handle *handle) {
    delete handle;
    return Ok;
}
ENTRY(int) cublasSetStream_v2(Handle *handle, CUstream stream) {
    handle->stream = stream;
    return Ok;
}
ENTRY(int) cublasSetMathMode(Handle *handle, int mode) {
    handle->math = mode;
    return Ok;
}
ENTRY(int) cublasSetWorkspace_v2(Handle *, void *workspace, size_t size) {
    Lock lock(mutex());
    return size == 0 || within(workspace, size) ? Ok : InvalidValue_;
}
ENTRY(int) cublasGetProperty(int property, int *value) {
    *value = property == 0 ? 12 : property == 1 ? 9 : 1;
    return Ok;
}
ENTRY(int) cublasGetVersion_v2(Handle *, int *version) {
    *version = 120901;
    return Ok;
}
ENTRY(const char *) cublasGetStatusString(int status) {
    switch (status) {
    case Ok: return "CUBLAS_STATUS_SUCCESS";
    case NotInitialised: return "CUBLAS_STATUS_NOT_INITIALIZED";
    case InvalidValue_: return "CUBLAS_STATUS_INVALID_VALUE";
    case ExecutionFailed: return "CUBLAS_STATUS_EXECUTION_FAILED";
    }
    return "unknown";
}

ENTRY(int) cublasSgemm_v2(Handle *h, int ta, int tb, int m, int n, int k, const float *alpha, const float *a, int lda, const float *b, int ldb,
                          const float *beta, float *c, int ldc) {
    return multiply(h, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}
