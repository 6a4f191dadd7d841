// Prints, for each function that LIST names, what a caller must know of it: w for a word of eight bytes, an
// address or an integer, i for an integer of four bytes, by two and one for smaller ones, d and f for floating
// point, s with a size for a struct; the result first. FROM is what declares them: a source of the emulator, or
// NVIDIA's header. scripts/gpu-abi.sh compares the two.
#include FROM

#include <cstddef>
#include <cstdio>
#include <string>
#include <type_traits>

namespace abi {

template <class T> std::string kind() {
    if (std::is_void<T>::value)
        return "-";
    if (std::is_same<T, double>::value)
        return "d";
    if (std::is_same<T, float>::value)
        return "f";
    const size_t size = sizeof(std::conditional_t<std::is_void<T>::value, char, T>);
    if (std::is_pointer<T>::value || std::is_integral<T>::value || std::is_enum<T>::value)
        return size == 8 ? "w" : size == 4 ? "i" : std::to_string(size);
    return "s" + std::to_string(size);
}

template <class F> struct Signature;
template <class R, class... A> struct Signature<R(A...)> {
    static std::string text() {
        std::string s = kind<R>();
        for (const std::string &k : std::initializer_list<std::string>{kind<A>()...})
            s += " " + k;
        return s;
    }
};

} // namespace abi

int main() {
#define FUNCTION(f) printf("%s: %s\n", #f, abi::Signature<decltype(::f)>::text().c_str());
#include LIST
#ifdef CUDNN_VERSION
#define NUMBER(name, n) printf("%s = %ld\n", name, long(n));
    NUMBER("nhwc", CUDNN_TENSOR_NHWC)
    NUMBER("typeFloat", CUDNN_DATA_FLOAT)
    NUMBER("typeBFloat16", CUDNN_DATA_BFLOAT16)
    NUMBER("crossCorrelation", CUDNN_CROSS_CORRELATION)
    NUMBER("defaultMath", CUDNN_DEFAULT_MATH)
    NUMBER("tensorMath", CUDNN_TENSOR_OP_MATH)
    NUMBER("fmaMath", CUDNN_FMA_MATH)
    NUMBER("deterministic", CUDNN_DETERMINISTIC)
    NUMBER("activationReLU", CUDNN_ACTIVATION_RELU)
    NUMBER("propagateNaN", CUDNN_PROPAGATE_NAN)
    NUMBER("perf", sizeof(cudnnConvolutionFwdAlgoPerf_t))
    NUMBER("perf.algorithm", offsetof(cudnnConvolutionFwdAlgoPerf_t, algo))
    NUMBER("perf.status", offsetof(cudnnConvolutionFwdAlgoPerf_t, status))
    NUMBER("perf.memory", offsetof(cudnnConvolutionFwdAlgoPerf_t, memory))
    NUMBER("perf.determinism", offsetof(cudnnConvolutionFwdAlgoPerf_t, determinism))
    NUMBER("perf.math", offsetof(cudnnConvolutionFwdAlgoPerf_t, mathType))
    static_assert(sizeof(cudnnConvolutionBwdDataAlgoPerf_t) == sizeof(cudnnConvolutionFwdAlgoPerf_t), "of data");
    static_assert(sizeof(cudnnConvolutionBwdFilterAlgoPerf_t) == sizeof(cudnnConvolutionFwdAlgoPerf_t), "of weights");
    static_assert(offsetof(cudnnConvolutionBwdDataAlgoPerf_t, mathType) == offsetof(cudnnConvolutionFwdAlgoPerf_t, mathType), "of data");
    static_assert(offsetof(cudnnConvolutionBwdFilterAlgoPerf_t, mathType) == offsetof(cudnnConvolutionFwdAlgoPerf_t, mathType), "of weights");
#endif
#ifdef CUBLAS_VERSION
    printf("blasDefaultMath = %d\nblasTF32 = %d\nblasTranspose = %d\n", int(CUBLAS_DEFAULT_MATH), int(CUBLAS_TF32_TENSOR_OP_MATH), int(CUBLAS_OP_T));
#endif
}
