// Sums in units of 2^-44, which do not depend on their order: package internal/exact on the card.

// A float32 times 2^44 is a float32 (or infinite, and then flagged), so nothing is rounded before the truncation.
SINGLE(exact_add, (i64* acc, const float* x, int limit, int* flag, i64 n)) {
    int over = 0;
    for (i64 i = first(); i < n; i += stride()) {
        const float v = x[i];
        over |= limit - (__float_as_int(v) & 0x7fffffff);
        acc[i] += __float2ll_rz(v * 17592186044416.0f);
    }
    if (over < 0) *flag = 1; // everybody writes the same
}

SINGLE(exact_float32, (float* dst, const i64* acc, i64 n)) {
    for (i64 i = first(); i < n; i += stride()) dst[i] = __double2float_rn(__ll2double_rn(acc[i]) * (1.0 / 17592186044416.0));
}
