// The kernels of engine/cuda/kernels, compiled for the CPU, and the table that finds them by name.
#include "shim.h"

#include "../../kernels/kernels.cu"

#include <tuple>
#include <type_traits>
#include <utility>

#include "internal.h"
#include "kernels.h"

namespace emulator {

namespace {

template <class V>
bool reachable(const V &argument) {
    if constexpr (std::is_pointer_v<V>)
        return argument == nullptr || find((const void *)argument, 1) != Where::Nowhere;
    return true;
}

template <class... A, size_t... I>
std::function<void()> bindTo(void (*kernel)(A...), void **params, std::index_sequence<I...>) {
    std::tuple<A...> arguments(*(std::remove_const_t<A> *)params[I]...);
    if (!(reachable(std::get<I>(arguments)) && ...))
        return nullptr;
    return [kernel, arguments] { std::apply(kernel, arguments); };
}

template <class... A>
std::function<void()> bindAll(void (*kernel)(A...), void **params) {
    return bindTo(kernel, params, std::index_sequence_for<A...>{});
}

template <class... A>
constexpr int count(void (*)(A...)) {
    return sizeof...(A);
}

#define ENTRY(name, f) {#name, [](void **params) { return bindAll(&f, params); }, count(&f)},
#undef KERNEL
#define KERNEL(name, parameters) ENTRY(name, ::name)
#define KERNEL_T(name, parameters) ENTRY(name##_f32, f32::name##_f32) ENTRY(name##_bf16, b16::name##_bf16)

const Kernel table[] = {
#include "../../kernels/kernels.h"
};

} // namespace

const Kernel *findKernel(const char *name) {
    for (auto &k : table)
        if (strcmp(k.name, name) == 0)
            return &k;
    return nullptr;
}

} // namespace emulator
