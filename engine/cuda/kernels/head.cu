// The end of the head: rows of unit length, a warp each.

SINGLE(l2norm, (float* y, float* length, const float* x, int n, int d, float eps)) {
    const int row = warpRow();
    if (row >= n) return;
    const float* from = x + (i64)row * d;
    float sum = 0;
    for (int i = threadIdx.x; i < d; i += 32) sum += from[i] * from[i];
    const float norm = sqrtf(warpSum(sum)), factor = 1 / fmaxf(norm, eps);
    for (int i = threadIdx.x; i < d; i += 32) y[(i64)row * d + i] = from[i] * factor;
    if (threadIdx.x == 0) length[row] = norm;
}

SINGLE(l2norm_backward, (float* dx, const float* dy, const float* y, const float* length, int n, int d, float eps)) {
    const int row = warpRow();
    if (row >= n) return;
    const i64 at = (i64)row * d;
    float dot = 0;
    for (int i = threadIdx.x; i < d; i += 32) dot += y[at + i] * dy[at + i];
    dot = warpSum(dot);
    const float norm = length[row], factor = norm < eps ? 0.0f : 1 / norm;
    for (int i = threadIdx.x; i < d; i += 32) dx[at + i] = norm < eps ? 0.0f : (dy[at + i] - y[at + i] * dot) * factor;
}
